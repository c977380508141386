"""Blurs that nobody tells: how exactly they are found, and what that costs the restoration.

    python -m benchmarks.blind [--size 64] [--restored 3]

Each reporting photo is blurred by its mirrored border and made noisy. ``rd.estimate_blur`` finds the blur, once with
its kind said and once without, and ``rd.default_solver`` restores by the true kernel and by the one that was found
without. For comparison blind Richardson-Lucy (Fish et al. 1995, JOSA A 12), whose numbers of rounds are the
best of a few for each picture. A row is a blur and a noise level; a run that was stopped goes on.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import metrics
from reddiff_jax.blurs import Blur

BLURS = (
    Blur(rd.BlurKind.GAUSSIAN, 1.0),
    Blur(rd.BlurKind.GAUSSIAN, 1.5),
    Blur(rd.BlurKind.GAUSSIAN, 2.0),
    Blur(rd.BlurKind.DEFOCUS, 3.0),
    Blur(rd.BlurKind.MOTION, 9.0, np.pi / 6),
)
SIGMAS = (0.01, 0.05)
ROUNDS = (1, 2, 4, 8, 16)  # of blind Richardson-Lucy, ten updates of the kernel and ten of the picture each
SIDE = 15  # of its kernel

run = jax.jit(jax.vmap(lambda key, solver, problem: rd.run(key, solver, problem).x, in_axes=(0, None, 0)))


def richardson_lucy(y: np.ndarray) -> list[np.ndarray]:
    """The pictures after each of ``ROUNDS``, of one in [-1, 1]."""
    from scipy.signal import fftconvolve

    margin = SIDE
    pad = ((margin, margin), (margin, margin), (0, 0))
    data = np.pad(np.clip((y + 1) / 2, 1e-3, 1), pad, mode="reflect").mean(-1)
    x, kernel, found = data.copy(), np.full((SIDE, SIDE), 1 / SIDE**2), []
    half = slice(x.shape[0] // 2 - SIDE // 2, x.shape[0] // 2 + SIDE // 2 + 1)
    planes = np.pad(np.clip((y + 1) / 2, 1e-3, 1), pad, mode="reflect")
    for done in range(1, ROUNDS[-1] + 1):
        for _ in range(10):
            ratio = data / np.maximum(fftconvolve(x, kernel, mode="same"), 1e-6)
            kernel = np.maximum(kernel * fftconvolve(ratio, x[::-1, ::-1], mode="same")[half, half] / x.sum(), 0)
            kernel /= kernel.sum()
        for _ in range(10):
            ratio = data / np.maximum(fftconvolve(x, kernel, mode="same"), 1e-6)
            x = np.maximum(x * fftconvolve(ratio, kernel[::-1, ::-1], mode="same"), 1e-6)
        if done in ROUNDS:
            channels = []
            for plane in np.moveaxis(planes, -1, 0):
                sharp = plane.copy()
                for _ in range(10):
                    ratio = plane / np.maximum(fftconvolve(sharp, kernel, mode="same"), 1e-6)
                    sharp = np.maximum(sharp * fftconvolve(ratio, kernel[::-1, ::-1], mode="same"), 1e-6)
                channels.append(sharp[margin:-margin, margin:-margin])
            found.append((2 * np.stack(channels, axis=-1) - 1).astype(np.float32))
    return found


def psnr(x: Any, original: np.ndarray) -> float:
    """PSNR within the range of pictures."""
    return float(metrics.psnr(jnp.clip(jnp.asarray(x), -1, 1), jnp.asarray(original)))


def measured(blur: Blur, sigma: float, photos: list[np.ndarray], num_restored: int, prior: rd.Prior) -> dict[str, Any]:
    """The row of a blur and a noise level."""
    ys = [
        np.asarray(rd.blur(blur.kernel, x.shape)(jnp.asarray(x)))
        + sigma * np.random.default_rng(i).normal(size=x.shape)
        for i, x in enumerate(photos)
    ]
    told = [rd.estimate_blur(y, kinds=[blur.kind]) for y in ys]
    found = [rd.estimate_blur(y) for y in ys]
    row = {
        "blur": str(blur),
        "sigma": sigma,
        "mean error": float(np.mean([abs(each.pixels / blur.pixels - 1) for each in told])),
        "largest error": float(np.max([abs(each.pixels / blur.pixels - 1) for each in told])),
        "found": [str(each) for each in found],
    }
    if not num_restored:
        return row
    photos, ys, found, restored = photos[:num_restored], ys[:num_restored], found[:num_restored], {}
    for name, kernels in (("known", [blur.kernel] * len(ys)), ("found", [each.kernel for each in found])):
        side = max(kernel.shape[0] for kernel in kernels)
        padded = [np.pad(kernel, (side - kernel.shape[0]) // 2) for kernel in kernels]
        problems = [
            rd.problem(jnp.asarray(y, jnp.float32), rd.blur(kernel, y.shape), rd.gaussian(sigma))
            for y, kernel in zip(ys, padded, strict=True)
        ]
        keys = jax.random.split(jax.random.key(0), len(ys))
        restored[name] = run(keys, rd.default_solver(prior, problems[0]), rd.stack(problems))
    lucy = [max(psnr(each, x) for each in richardson_lucy(y)) for y, x in zip(ys, photos, strict=True)]
    return row | {
        "PSNR, blurred": float(np.mean([psnr(y, x) for y, x in zip(ys, photos, strict=True)])),
        "PSNR, Richardson-Lucy": float(np.mean(lucy)),
        **{
            f"PSNR, {name}": float(np.mean([psnr(each, x) for each, x in zip(xs, photos, strict=True)]))
            for name, xs in restored.items()
        },
    }


def main() -> None:
    """Measures and writes results/blind.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--restored", type=int, default=3, help="photos that are restored, too")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    photos = list(_pictures.held_out(args.size).values())
    settings = {"prior": "photo", "size": args.size, "restored": args.restored}
    rows, prior = _report.read("blind", settings=settings, out=args.out), rd.load_prior()
    done = {(row["blur"], row["sigma"]) for row in rows}
    for blur in BLURS:
        for sigma in SIGMAS:
            if (str(blur), sigma) not in done:
                rows.append(measured(blur, sigma, photos, args.restored, prior))
                print(rows[-1], flush=True)
                _report.write("blind", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
