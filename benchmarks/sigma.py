"""How well the noise level of a picture is estimated, and what that costs in denoising.

    python -m benchmarks.sigma [--sizes 64 128] [--denoise 2]

White noise is added to pictures without much of their own: photos of the scikit-image wheel, reduced to each of SIZES;
the bundled emoji of 64 pixels; an axial slice of MNI152 if nilearn is installed. Rounded to 8 bits and cut to [-1, 1],
as files are. ``rd.estimate_sigma`` is compared with the noise that was added, with the prior and without. Photos
keep a little noise of their camera, and such small ones are nearly all detail, which is hard: the reduction makes both
smaller or harder.

Rows "denoising" compare the PSNR of the default solver, which is told the estimate, with that of the solver which is
told the truth. Rows "JPEG" compare ``rd.estimate_jpeg_sigma`` with the error that JPEG has made.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import metrics, pictures

SIGMAS = (0.02, 0.05, 0.1, 0.2)
QUALITIES = (50, 75, 90)
LUMINANCE = np.array([[0.299], [0.587], [0.114]], np.float32)
EMOJI = Path(rd.__file__).parent / "data" / "emoji"

by_details = jax.jit(rd.estimate_sigma)
by_prior = jax.jit(lambda prior, y: rd.estimate_sigma(y, prior=prior))
run = jax.jit(rd.run)


def noisy(x: np.ndarray, sigma: float) -> np.ndarray:
    """The picture as a file of 8 bits with white noise."""
    y = x + sigma * np.random.default_rng(0).normal(size=x.shape)
    return pictures.to_float(pictures.to_uint8(y))


def kinds(sizes: Sequence[int]) -> dict[tuple[str, int], tuple[str, dict[str, np.ndarray]]]:
    """Kind and size of pictures -> (name of the prior, pictures)."""
    emoji = {path.stem: pictures.read_picture(path) for path in sorted(EMOJI.glob("*.png"))}
    found = {}
    for size in sizes:
        photos = _pictures.held_out(size)
        found["photos", size] = "photo", photos
        found["photos, gray", size] = "photo", {name: x @ LUMINANCE for name, x in photos.items()}
        if importlib.util.find_spec("nilearn") is not None:
            found["heads, gray", size] = "photo", {"MNI152": _pictures.head_slice(size)}
    found["emoji", 64] = "emoji64", emoji
    found["emoji, gray", 64] = "emoji64", {name: x @ LUMINANCE for name, x in emoji.items()}
    return found


def estimates(kind: str, size: int, prior: rd.Prior, xs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each noise level: relative errors of the estimates, means and the largest."""
    rows = []
    for sigma in SIGMAS:
        found = {}
        for name, x in xs.items():
            y = jnp.asarray(noisy(x, sigma))
            found[name] = float(by_details(y)) / sigma - 1, float(by_prior(prior, y)) / sigma - 1
        errors = np.asarray(list(found.values()))  # (N, 2)
        row = {"what": "estimates", "pictures": kind, "size": size, "sigma": sigma}
        row |= {"details, mean error %": round(100 * float(errors[:, 0].mean()), 1)}
        row |= {"prior, mean error %": round(100 * float(errors[:, 1].mean()), 1)}
        row |= {"prior, largest error %": round(100 * float(abs(errors[:, 1]).max()), 1)}
        row |= {"within 15 %": f"{int((abs(errors[:, 1]) <= 0.15).sum())} of {len(errors)}"}
        row |= {"each %": {name: round(100 * error[1], 1) for name, error in found.items()}}
        rows.append(row)
        print(row, flush=True)
    return rows


def denoising(prior: rd.Prior, xs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each picture and noise level: PSNR with the true level and with the estimated one."""
    rows = []
    for name, x in xs.items():
        for sigma in SIGMAS:
            y = jnp.asarray(noisy(x, sigma))
            row: dict[str, Any] = {"what": "denoising", "pictures": name, "sigma": sigma}
            row["estimate"] = round(float(by_prior(prior, y)), 4)
            for said, level in (("PSNR, true", sigma), ("PSNR, estimate", row["estimate"])):
                problem = rd.problem(y, rd.denoising(x.shape), rd.gaussian(level))  # type: ignore[arg-type]
                solution = run(jax.random.key(0), rd.default_solver(prior, problem), problem)
                row[said] = round(float(metrics.psnr(jnp.clip(solution.x, -1, 1), jnp.asarray(x))), 3)
            rows.append(row)
            print(row, flush=True)
    return rows


def of_jpeg(xs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each quality: the error of JPEG files and its estimate, means over pictures."""
    from PIL import Image

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for quality in QUALITIES:
            errors = []
            for name, x in xs.items():
                path = Path(folder) / f"{name}.jpg"
                Image.fromarray(pictures.to_uint8(x)).save(path, quality=quality)
                errors.append(
                    (float(np.sqrt(np.mean((pictures.read_picture(path) - x) ** 2))), rd.estimate_jpeg_sigma(path))
                )
            true, estimate = np.mean(errors, axis=0)
            rows.append(
                {
                    "what": "JPEG",
                    "quality": quality,
                    "error": round(float(true), 4),
                    "estimate": round(float(estimate), 4),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Runs the comparison and writes results/sigma.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=(64, 128))
    parser.add_argument("--denoise", type=int, default=2, help="photos that are denoised, reduced to 64 pixels")
    parser.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results")
    args = parser.parse_args()
    rows = of_jpeg(_pictures.held_out(args.sizes[0]))
    for (kind, size), (prior_name, xs) in kinds(args.sizes).items():
        prior = rd.load_prior(prior_name)
        rows += estimates(kind, size, rd.gray_prior(prior) if "gray" in kind else prior, xs)
    rows += denoising(rd.load_prior(), dict(list(_pictures.held_out(64).items())[: args.denoise]))
    settings = {"sizes": args.sizes, "sigmas": SIGMAS, "rounded": True}
    _report.write("sigma", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
