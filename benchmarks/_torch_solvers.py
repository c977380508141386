"""Solvers in PyTorch, for comparisons of speed: RED-diff written plainly, and deepinv's."""

from collections.abc import Callable
from typing import Any

import numpy as np


def reddiff(
    module: Any,
    schedule: Any,
    y: Any,
    mask: Any,
    noise: Callable[[int], Any],
    *,
    num_steps: int,
    lam: float = 0.25,
    learning_rate: float = 0.1,
) -> Any:
    """RED-diff for inpainting as one would write it: a loop over timesteps, Adam, no gradient through the network.

    Args:
        module: Network (B, C, H, W), (B,) -> (B, C or 2 C, H, W), on y's device and in its dtype.
        schedule: (num_timesteps, 2) array of alpha_t and sigma_t.
        y: Measurements (B, C, H, W), 0 where nothing was seen.
        mask: What was seen, (B, 1, H, W).
        noise: Step -> (B, C, H, W), the noise of that step.
        num_steps: Number of steps, of evenly spaced timesteps from the last to 0.
        lam: Weight of the prior, times sigma_t / alpha_t.
        learning_rate: Adam's.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), algorithm 1, with its weighting sigma_t / alpha_t, in pixel units.
    """
    import torch

    mu = y.clone().float().requires_grad_()
    adam = torch.optim.Adam([mu], lr=learning_rate, betas=(0.9, 0.99))
    for k, t in enumerate(np.round(np.linspace(len(schedule) - 1, 0, num_steps)).astype(int).tolist()):
        alpha, sigma = schedule[t].tolist()
        eps = noise(k)
        with torch.no_grad():
            x_t = (alpha * mu + sigma * eps).to(y.dtype)
            eps_hat = module(x_t, torch.full((len(y),), t, device=y.device))[:, : y.shape[1]].float()
            weight = lam * sigma / alpha
        loss = 0.5 * (mask * (mu - y)).square().sum() + weight * ((eps_hat - eps) * mu).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
    return mu.detach()


def deepinv_denoiser(module: Any, schedule: Any) -> Any:
    """The network as deepinv's denoiser of images in [0, 1] with white noise of standard deviation sigma."""
    import torch

    levels = torch.tensor(2 * 0.5 * schedule[:, 1] / schedule[:, 0])  # sigma_t / alpha_t, of pixels in [-1, 1]

    class Denoiser(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = module

        def forward(self, x, sigma, **_):
            x = 2 * x - 1
            noise = 2 * torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1)[0]
            t = int(torch.searchsorted(levels, noise.detach().double().cpu()).clamp(max=len(levels) - 1))
            alpha = float(1 / (1 + noise**2) ** 0.5)
            eps_hat = self.net(alpha * x, torch.full((len(x),), t, device=x.device))[:, : x.shape[1]]
            return ((x - noise * eps_hat) + 1) / 2

    return Denoiser()
