"""Quality on the five held-out photos: RED-diff with the presets against classical methods.

    python -m benchmarks.quality [--prior PRIOR] [--size 256] [--only sr4 ...]

Columns are means over the pictures. SSIM is of pixels in [0, 1]. Classical methods come from scikit-image and Pillow,
with their noise or regularisation weight set from sigma_y: Wiener deconvolution, total variation (Chambolle),
biharmonic inpainting, bicubic interpolation.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import metrics, tasks

TASKS = ("denoise", "inpaint_freeform", "inpaint_random", "sr4", "deblur_gauss61")
SIGMAS = (0.0, 0.05)


def denoised_by_total_variation(y: np.ndarray, sigma: float) -> np.ndarray:
    """Chambolle's total variation, its weight the noise's standard deviation."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(y, weight=sigma, channel_axis=-1) if sigma > 0 else y


def baselines(name: str, problem: rd.Problem, sigma: float) -> dict[str, Callable[[], np.ndarray]]:
    """Classical methods for a task, as functions that return an image."""
    y = np.asarray(problem.y)
    operator = problem.operator
    if name == "denoise":
        return {"total variation": lambda: denoised_by_total_variation(y, sigma)}
    if isinstance(operator, rd.Inpainting):
        return {"biharmonic": lambda: _biharmonic(y, np.asarray(operator.mask)[..., 0] == 0, sigma)}
    if name.startswith(("sr", "bicubic")):
        return {"bicubic": lambda: _bicubic(y, operator.in_shape)}
    return {"wiener": lambda: _wiener(y, _kernel(operator), sigma)}


def _biharmonic(y: np.ndarray, missing: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    return denoised_by_total_variation(inpaint_biharmonic(y, missing, channel_axis=-1), sigma)


def _bicubic(y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    planes = [
        np.asarray(Image.fromarray(y[..., c]).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
        for c in range(y.shape[-1])
    ]
    return np.stack(planes, axis=-1)


def _wiener(y: np.ndarray, kernel: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import wiener

    # Weight of the Laplacian regulariser: the noise's variance, with a floor for the boundary.
    balance = max(sigma**2, 1e-3)
    planes = [np.asarray(wiener(y[..., c], kernel, balance, clip=False)) for c in range(y.shape[-1])]
    return np.stack(planes, axis=-1)


def _kernel(operator: rd.Operator) -> np.ndarray:
    """Point spread function of a blur: its response to one bright pixel in the middle of a large picture."""
    h, w, c = operator.in_shape
    impulse = jnp.zeros((h, w, c)).at[h // 2, w // 2].set(1.0)
    half = min(30, min(h, w) // 2 - 1)
    response = np.asarray(operator(impulse))[..., 0]
    return response[h // 2 - half : h // 2 + half + 1, w // 2 - half : w // 2 + half + 1]


def main() -> None:
    """Runs the comparison and writes results/quality.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--only", nargs="*", default=TASKS, choices=TASKS)
    parser.add_argument("--pictures", type=Path, help="folder to write the restored pictures to")
    args = parser.parse_args()
    prior, lpips = rd.load_prior(args.prior), metrics.load_lpips()
    names = list(_pictures.held_out(args.size))
    x = np.stack(list(_pictures.held_out(args.size).values()))

    @jax.jit
    def judge(lpips, restored):
        def one(a, b):
            ssim = metrics.ssim((a + 1) / 2, (b + 1) / 2, data_range=1.0)
            return {"PSNR": metrics.psnr(a, b), "SSIM": ssim, "LPIPS": lpips(a, b)}

        return jax.vmap(one)(jnp.clip(restored, -1, 1), jnp.asarray(x))

    rows = []
    for name in args.only:
        for sigma in SIGMAS:
            if name == "denoise" and sigma == 0:
                continue
            problems = simulate(name, sigma, x)
            stacked = rd.stack(problems)
            solver = tasks.by_name(name).preset(sigma).solver(prior)
            runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))
            restored = runs(_keys(len(x)), solver, stacked).x
            results = {"A+y": jax.vmap(lambda p: p.operator.pinv(p.y))(stacked), "RED-diff": restored}
            for method in baselines(name, problems[0], sigma):
                results[method] = jnp.asarray(
                    np.stack([baselines(name, p, sigma)[method]() for p in problems]), jnp.float32
                )
            for method, images in results.items():
                values = {key: np.asarray(value) for key, value in judge(lpips, images).items()}
                row = {"task": name, "sigma": sigma, "method": method}
                row |= {key: round(float(value.mean()), 4) for key, value in values.items()}
                row |= {"per picture PSNR": dict(zip(names, values["PSNR"].round(2).tolist(), strict=True))}
                if method == "RED-diff":
                    row["num_steps"] = solver.num_steps
                rows.append(row)
                print(
                    _report.markdown([row], ["task", "sigma", "method", "PSNR", "SSIM", "LPIPS"]).splitlines()[-1],
                    flush=True,
                )
                if args.pictures:
                    _save(args.pictures / f"{name}_{sigma}" / method, names, images)
            _report.write(
                "quality",
                settings={"prior": str(args.prior or "bundled"), "size": args.size, "pictures": names},
                rows=rows,
            )


def simulate(name: str, sigma: float, x: np.ndarray) -> list[rd.Problem]:
    """One measurement of each picture."""
    task = tasks.by_name(name)
    problems = []
    for key, image in zip(_keys(len(x), seed=1), x, strict=True):
        operator = task.operator(image.shape, task.simulate(key, image.shape))
        problems.append(rd.measure(key, operator, rd.gaussian(sigma), jnp.asarray(image)))
    return problems


def _keys(count: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


def _save(folder: Path, names: list[str], images) -> None:
    from reddiff_jax import pictures

    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        pictures.write_picture(folder / f"{name}.png", np.asarray(image))


if __name__ == "__main__":
    main()
