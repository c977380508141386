"""Updates by PyTorch, which trains several times faster than JAX on a CPU, most of all where that computes in bfloat16.

The batches, the noise, the timesteps and the targets are those of the JAX engine, drawn by the same keys, and so is the
state: either engine goes on from what the other has reached. Only residual UNets are trained here.
"""

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from reddiff_jax._keys import key_from
from reddiff_jax.converting.residual_unet import Layout
from reddiff_jax.nets import ResidualUNet
from reddiff_jax.nets.residual_unet import NUM_FREQUENCIES
from reddiff_jax.schedules import Schedule
from reddiff_jax.training.engines import Engine, TrainState
from reddiff_jax.training.objective import BETAS, MAX_GRADIENT_NORM, TrainingConfig, draw_task


def torch_engine(
    state: TrainState, net: Any, schedule: Schedule, config: TrainingConfig, *, bfloat16: bool | None = None
) -> Engine:
    """Updates by PyTorch, on the CPU's cores or a GPU that it finds.

    Args:
        state: Where to begin.
        net: The network, a ``nets.ResidualUNet``.
        schedule: Noise schedule.
        config: How to train.
        bfloat16: Whether convolutions compute in bfloat16, all but the last; where the device has it if None.

    Raises:
        ImportError: Without PyTorch.
        TypeError: For another network.
    """
    if not isinstance(net, ResidualUNet):
        raise TypeError(f"net is a {type(net).__name__}, but PyTorch trains residual UNets only; take the JAX engine.")
    return _TorchEngine(state, net, schedule, config, bfloat16)


class _TorchEngine:
    compiles = False

    def __init__(
        self, state: TrainState, net: ResidualUNet, schedule: Schedule, config: TrainingConfig, bfloat16: bool | None
    ):
        import torch

        self._torch, self._net, self._config = torch, net, config
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self._bfloat16 = _has_bfloat16(torch, self._device) if bfloat16 is None else bfloat16
        self._layout = Layout(net)
        self._template, self._step = state, int(state.step)
        self._task = jax.jit(lambda key, crops: draw_task(schedule, config, jax.random.split(key)[0], crops))
        self._rates = config.learning_rates()
        self._params = {name: tensor.requires_grad_() for name, tensor in self._tensors(state.params).items()}
        self._ema = self._tensors(state.ema)
        self._optimizer = torch.optim.AdamW(
            self._params.values(), betas=BETAS, weight_decay=config.weight_decay, lr=config.learning_rate
        )
        means, squares = (self._tensors(optax.tree_utils.tree_get(state.opt_state, name)) for name in ("mu", "nu"))
        for name, parameter in self._params.items():
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(self._step)),
                "exp_avg": means[name],
                "exp_avg_sq": squares[name],
            }

    def update(self, crops: np.ndarray) -> float:
        torch, step = self._torch, self._step
        task = self._task(jax.random.fold_in(key_from(self._config.seed), step), crops)
        x_t, t, target = (torch.from_numpy(np.array(each)).to(self._device) for each in task)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            # (B, H, W, C) seen as (B, C, H, W) is what PyTorch calls channels_last.
            out = forward(torch, self._params, self._net, x_t.movedim(-1, 1), t)
        loss = (out - target.movedim(-1, 1)).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._params.values(), MAX_GRADIENT_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = float(np.asarray(self._rates(step)))
        self._optimizer.step()
        with torch.no_grad():
            new = [parameter.detach() for parameter in self._params.values()]
            torch._foreach_lerp_(list(self._ema.values()), new, 1 - self._config.ema_decay(step).item())
        self._step += 1
        return loss.item()

    def state(self) -> TrainState:
        of = self._optimizer.state
        means, squares = (
            self._arrays({name: of[parameter][key] for name, parameter in self._params.items()})
            for key in ("exp_avg", "exp_avg_sq")
        )
        step = jnp.asarray(self._step, jnp.int32)
        opt_state = optax.tree_utils.tree_set(self._template.opt_state, mu=means, nu=squares, count=step)
        return TrainState(self._arrays(self._params), self._arrays(self._ema), opt_state, step)

    def _tensors(self, params: Any) -> dict[str, Any]:
        arrays = self._layout.to_torch(params)
        tensors = {name: self._torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        return {
            name: tensor.contiguous(memory_format=self._torch.channels_last) if tensor.ndim == 4 else tensor
            for name, tensor in tensors.items()
        }

    def _arrays(self, tensors: Mapping[str, Any]) -> Any:
        arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
        return self._layout.from_torch(arrays)


def forward(torch: ModuleType, params: Mapping[str, Any], net: ResidualUNet, x_t: Any, t: Any) -> Any:
    """``nets.ResidualUNet`` by PyTorch, for images (B, C, H, W) and timesteps (B,); the last convolution in float32."""
    functional = torch.nn.functional

    def layer(name: str) -> tuple[Any, Any]:
        return params[f"{name}.weight"], params[f"{name}.bias"]

    frequencies = 10_000 ** (-torch.arange(NUM_FREQUENCIES, device=t.device) / NUM_FREQUENCIES)
    phases = t[:, None].float() * frequencies
    embedding = torch.cat([phases.cos(), phases.sin()], 1)
    with torch.autocast(x_t.device.type, enabled=False):
        for name in ("time.0", "time.2"):
            embedding = functional.silu(functional.linear(embedding, *layer(name)))

    def run_level(h: Any, name: str) -> Any:
        for block in range(net.num_res_blocks):
            modulation = functional.linear(embedding, *layer(f"{name}.{block}.film"))
            a, b = modulation.to(h.dtype)[:, :, None, None].chunk(2, 1)
            inner = functional.conv2d(h, *layer(f"{name}.{block}.conv1"), padding=1)
            h = h + functional.conv2d((inner * (1 + a) + b).relu(), *layer(f"{name}.{block}.conv2"), padding=1)
        return h

    first = h = functional.conv2d(functional.pixel_unshuffle(x_t, net.patch_size), *layer("head"), padding=1)
    skips = []
    for level in range(len(net.widths) - 1):
        h = run_level(h, f"down.{level}")
        skips.append(h)
        h = functional.conv2d(h, *layer(f"shrink.{level}"), stride=2)
    h = run_level(h, f"down.{len(skips)}")
    for level, skip in reversed(list(enumerate(skips))):
        h = skip + functional.conv_transpose2d(h, *layer(f"grow.{level}"), stride=2)
        h = run_level(h, f"up.{level}")
    with torch.autocast(x_t.device.type, enabled=False):
        h = functional.conv2d((h + first).float(), *layer("tail"), padding=1)
    return functional.pixel_shuffle(h, net.patch_size)


def _has_bfloat16(torch: ModuleType, device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    # PyTorch has no public question yet; elsewhere float32 is the faster one.
    ask = (getattr(torch.cpu, f"_is_{name}_supported", lambda: False) for name in ("avx512_bf16", "amx_tile"))
    return any(supported() for supported in ask)
