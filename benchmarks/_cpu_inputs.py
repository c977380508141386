"""What benchmarks/cpu.py compares on: degraded photos, their originals, and the bundled network's weights for PyTorch.

python -m benchmarks._cpu_inputs FOLDER --sigma 0.1 --missing 0.7 64x16 256x16 1024x1
"""

import argparse
import inspect
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import reddiff_jax as rd
from reddiff_jax.converting.residual_unet import Layout


def write_pictures(folder: Path, size: int, count: int, *, sigma: float, missing: float) -> None:
    """Writes SIZE/clean, SIZE/noisy, SIZE/masked and SIZE/mask.png: crops of the sample photos, repeated."""
    photos = sorted((Path(inspect.getfile(rd)).parent / "data" / "photos").glob("*.png"))
    draw = np.random.default_rng(size)
    mask = draw.random((size, size, 1)) >= missing
    root = folder / str(size)
    for name in ("clean", "noisy", "masked"):
        (root / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * mask[..., 0]).astype(np.uint8)).save(root / "mask.png")
    for i in range(count):
        photo = Image.open(photos[i % len(photos)]).convert("RGB")
        side = min(photo.size)
        x = np.asarray(photo.crop((0, 0, side, side)).resize((size, size), Image.Resampling.LANCZOS), np.float32)
        x = np.roll(x, 17 * (i // len(photos)), axis=1) / 127.5 - 1
        noisy = x + sigma * draw.normal(size=x.shape)
        for name, picture in (("clean", x), ("noisy", noisy), ("masked", noisy * mask)):
            pixels = np.clip(127.5 * picture + 127.5, 0, 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:03}.png")


def torch_weights(prior: Any) -> dict[str, Any]:
    """What ``_torch_tasks.load`` reads of a residual UNet: its configuration, the schedule, a state dict."""
    import torch

    net, levels = prior.net, jax.vmap(prior.schedule)(jnp.arange(prior.schedule.num_timesteps))
    weights = {name: torch.from_numpy(np.array(array)) for name, array in Layout(net).to_torch(prior.params).items()}
    return {
        "net": {"widths": list(net.widths), "num_res_blocks": net.num_res_blocks, "patch_size": net.patch_size},
        "schedule": torch.from_numpy(np.stack([np.asarray(each, np.float32) for each in levels], axis=1)),
        "weights": weights,
    }


def main() -> None:
    """Writes all of it."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="+", help="SIZExCOUNT")
    parser.add_argument("--sigma", type=float, required=True)
    parser.add_argument("--missing", type=float, required=True)
    args = parser.parse_args()
    for each in args.sets:
        size, count = map(int, each.split("x"))
        write_pictures(args.folder, size, count, sigma=args.sigma, missing=args.missing)
    torch.save(torch_weights(rd.load_prior()), args.folder / "net.pt")


if __name__ == "__main__":
    main()
