"""Whole restorations without JAX, from the shell: what benchmarks/cpu.py compares ``reddiff-jax restore`` with.

    python -m benchmarks._torch_tasks reddiff IN OUT --weights net.pt --mask mask.png --sigma 0.1 [--compiled]

Pictures are read, restored in batches, and written, as ``restore`` does. ``reddiff`` and ``diffpir`` have the bundled
prior's network in PyTorch, ``bm3d`` and ``tv`` none.
"""

import argparse
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TV_OF_SIGMA = 1.0  # weight of total variation by the noise's standard deviation, pixels in [0, 1]


def module_of(widths: list[int], *, num_res_blocks: int, patch_size: int, schedule: np.ndarray) -> Any:
    """The bundled residual UNet as one would write it in PyTorch: (B, 3, H, W), timesteps (B,) -> noise (B, 3, H, W).

    Args:
        widths: Channels of each level.
        num_res_blocks: Blocks of each level, down and up.
        patch_size: Side of the patches that are folded into channels.
        schedule: alpha_t and sigma_t of every timestep, (T, 2); the network predicts v.
    """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.film = nn.Linear(128, 2 * channels)
            self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

        def forward(self, x: Any, embedding: Any) -> Any:
            a, b = self.film(embedding)[:, :, None, None].chunk(2, 1)
            return x + self.conv2((self.conv1(x) * (1 + a) + b).relu())

    def levels(channels: list[int]) -> nn.ModuleList:
        return nn.ModuleList(nn.ModuleList(Block(each) for _ in range(num_res_blocks)) for each in channels)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            folded, steps = 3 * patch_size**2, list(itertools.pairwise(widths))
            self.time = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU())
            self.head = nn.Conv2d(folded, widths[0], 3, padding=1)
            self.down, self.up = levels(widths), levels(widths[:-1])
            self.shrink = nn.ModuleList(nn.Conv2d(wide, deep, 2, 2) for wide, deep in steps)
            self.grow = nn.ModuleList(nn.ConvTranspose2d(deep, wide, 2, 2) for wide, deep in steps)
            self.tail = nn.Conv2d(widths[0], folded, 3, padding=1)
            self.register_buffer("frequencies", 10_000 ** (-torch.arange(32) / 32), persistent=False)
            self.register_buffer("table", torch.tensor(np.asarray(schedule, np.float32)), persistent=False)

        def forward(self, x_t: Any, t: Any) -> Any:
            phases = t[:, None] * self.frequencies
            embedding = self.time(torch.cat([phases.cos(), phases.sin()], 1))
            first = h = self.head(nn.functional.pixel_unshuffle(x_t, patch_size))
            skips = []
            for level, blocks in enumerate(self.down):
                for block in blocks:  # type: ignore[union-attr]
                    h = block(h, embedding)
                if level < len(self.shrink):
                    skips.append(h)
                    h = self.shrink[level](h)
            for level in reversed(range(len(self.up))):
                h = skips[level] + self.grow[level](h)
                for block in self.up[level]:  # type: ignore[union-attr]
                    h = block(h, embedding)
            v = nn.functional.pixel_shuffle(self.tail(h + first), patch_size)
            table: Any = self.table
            alpha_t, sigma_t = table[t].T[:, :, None, None, None]
            return alpha_t * v + sigma_t * x_t

    return Net().requires_grad_(False).eval()


def load(path: Path, *, compiled: bool) -> tuple[Any, np.ndarray]:
    """The network of a file, channels last, and its schedule."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    stored = torch.load(path, weights_only=True)
    schedule = stored["schedule"].numpy()
    module = module_of(**stored["net"], schedule=schedule)
    module.load_state_dict(stored["weights"])
    module = module.to(memory_format=torch.channels_last)
    return (torch.compile(module, dynamic=False) if compiled else module), schedule


def batches(folder: Path, size: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and pictures (B, H, W, 3) in [-1, 1]."""
    paths = sorted(folder.glob("*.png"))
    for start in range(0, len(paths), size):
        part = paths[start : start + size]
        pixels = np.stack([np.asarray(Image.open(path).convert("RGB"), np.float32) for path in part])
        yield [path.name for path in part], pixels / 127.5 - 1


def write(out: Path, names: list[str], x: np.ndarray) -> None:
    """Pictures (B, H, W, 3) in [-1, 1] as PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(names, np.clip(127.5 * x + 127.5, 0, 255).round().astype(np.uint8), strict=True):
        Image.fromarray(picture).save(out / name)


def by_network(args: argparse.Namespace) -> None:
    """RED-diff for inpainting, or deepinv's DiffPIR for denoising, with its own settings but for the steps."""
    import torch

    from benchmarks import _torch_solvers

    module, schedule = load(args.weights, compiled=args.compiled)
    model: Any = None
    if args.method == "diffpir":
        from benchmarks._torch import import_deepinv

        deepinv = import_deepinv()
        denoiser = _torch_solvers.deepinv_denoiser(module, schedule)
        fidelity = deepinv.optim.data_fidelity.L2()
        model = deepinv.sampling.DiffPIR(denoiser, fidelity, sigma=args.sigma / 2, max_iter=args.steps)
        physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(args.sigma / 2))
    for names, pixels in batches(args.folder, args.batch):
        y = torch.from_numpy(pixels).movedim(-1, 1).contiguous()
        torch.manual_seed(0)
        if args.method == "diffpir":
            x = 2 * model((y + 1) / 2, physics) - 1
        else:
            seen = np.asarray(Image.open(args.mask).convert("L"), np.float32) > 127
            mask = torch.from_numpy(seen.astype(np.float32)).expand(len(y), 1, -1, -1)
            x = _torch_solvers.reddiff(
                module, schedule, y * mask, mask, lambda _, y=y: torch.randn_like(y), num_steps=args.steps
            )
        write(args.out, names, x.movedim(1, -1).numpy())


def classical(args: argparse.Namespace) -> None:
    """BM3D, or total variation, of pictures in [0, 1]."""
    for names, pixels in batches(args.folder, 1):
        y, sigma = (pixels[0].astype(np.float64) + 1) / 2, args.sigma / 2
        if args.method == "bm3d":
            from bm3d import bm3d_rgb  # type: ignore[import-not-found]

            x = bm3d_rgb(y, sigma)
        else:
            from skimage.restoration import denoise_tv_chambolle

            x = denoise_tv_chambolle(y, weight=TV_OF_SIGMA * sigma, channel_axis=-1)
        write(args.out, names, 2 * x[None] - 1)


def main() -> None:
    """Restores a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=("reddiff", "diffpir", "bm3d", "tv"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--sigma", type=float, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    (by_network if args.method in ("reddiff", "diffpir") else classical)(args)


if __name__ == "__main__":
    main()
