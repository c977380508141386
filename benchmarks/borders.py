"""Deblurring pictures that are parts of larger ones: what is gained by borders that are unknown.

    python -m benchmarks.borders [--sizes 96 192] [--sigma 0.0023]

Each photo is blurred as a whole, and its centre is cut out: as a camera does it, the blurred picture shows what lies
beyond its border. It is then deblurred by its known kernel with the settings of the command line, once with each way to
go on beyond the border. For comparison the blurred picture itself, and Wiener's filter and Richardson-Lucy's iteration
of scikit-image, whose balance and number of steps are the best of a few for each blur, chosen on the same pictures.
``interior`` is the PSNR without a margin of the kernel's reach.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import measurements, metrics, tasks
from reddiff_jax.jobs.borders import Border
from reddiff_jax.jobs.framing import corner, frame_header, framed, reach
from reddiff_jax.settings import NoiseAwareSettings, default_settings

KERNELS = ("gaussian:2.5", "defocus:4", "motion:15@30")
PHOTOS = ("astronaut", "coffee")
BORDERS = (Border.UNKNOWN, Border.REFLECT, Border.CIRCULAR)
BALANCES = (1e-4, 1e-3, 1e-2, 1e-1)  # of Wiener's filter
ITERATIONS = (5, 10, 20, 40)  # of Richardson and Lucy

runs = jax.jit(jax.vmap(lambda key, solver, problem: rd.run(key, solver, problem).x, in_axes=(0, None, 0)))


def restored(
    xs: list[np.ndarray],
    ys: list[np.ndarray],
    kernel: np.ndarray,
    sigma: float,
    border: Border,
    prior: rd.Prior,
    lam: float | None,
) -> list[np.ndarray]:
    """The pictures deblurred as the command line does it."""
    task, problems, places = tasks.by_name("deblur"), [], []
    for y in ys:
        measurement = measurements.make_measurement("deblur", sigma, y, y.shape, {"kernel": kernel})
        if border is Border.UNKNOWN:
            frame = frame_header(measurement.header, kernel)
            problems.append(framed(measurement, frame))
            places.append(corner(measurement, frame))
        else:
            problems.append(measurement.problem(task.blurred(y.shape, measurement.arrays, border.boundary)))
            places.append((0, 0))
    settings = default_settings(
        rd.problem(jnp.asarray(ys[0]), task.operator(ys[0].shape, {"kernel": kernel}), rd.gaussian(sigma))
    )
    assert isinstance(settings, NoiseAwareSettings)
    settings = settings if lam is None else settings.changed({"lam": lam})
    x = np.asarray(runs(jax.random.split(jax.random.key(0), len(ys)), settings.solver(prior), rd.stack(problems)))
    h, w, _ = ys[0].shape
    return [each[top : top + h, left : left + w] for each, (top, left) in zip(x, places, strict=True)]


def by_channels(y: np.ndarray, fn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function of gray pictures in [0, 1], of each channel of a picture in [-1, 1]."""
    return 2 * np.stack([fn((y[..., c] + 1) / 2) for c in range(y.shape[2])], axis=-1).astype(np.float32) - 1


def classical(ys: list[np.ndarray], kernel: np.ndarray) -> dict[str, list[list[np.ndarray]]]:
    """Restorations by classical methods, for each of their parameters."""
    from skimage import restoration

    # scikit-image pads by zeros what is mirrored here first, so that neither sees an edge that is not there.
    margin = max(kernel.shape)

    def padded(fn: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        def apply(y: np.ndarray) -> np.ndarray:
            return fn(np.pad(y, margin, mode="reflect"))[margin:-margin, margin:-margin]

        return apply

    def wiener(balance: float) -> Callable[[np.ndarray], np.ndarray]:
        return padded(lambda y: np.asarray(restoration.wiener(y, kernel, balance, clip=False)))

    def lucy(steps: int) -> Callable[[np.ndarray], np.ndarray]:
        return padded(lambda y: restoration.richardson_lucy(y, kernel, steps, clip=False, filter_epsilon=1e-6))

    made = (("wiener", [wiener(b) for b in BALANCES]), ("richardson_lucy", [lucy(n) for n in ITERATIONS]))
    return {name: [[by_channels(y, fn) for y in ys] for fn in fns] for name, fns in made}


def psnr(xs: list[np.ndarray], originals: list[np.ndarray], margin: int = 0) -> float:
    """Mean PSNR, without a margin."""
    inside = slice(margin, -margin or None)
    return float(
        np.mean(
            [
                metrics.psnr(jnp.clip(x, -1, 1)[inside, inside], jnp.asarray(original)[inside, inside])
                for x, original in zip(xs, originals, strict=True)
            ]
        )
    )


def main() -> None:
    """Measures and writes results/borders.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=(96, 192))
    parser.add_argument("--kernels", nargs="*", default=KERNELS)
    parser.add_argument("--sigma", type=float, default=0.0023, help="of the noise; that of rounding if left out")
    parser.add_argument("--lam", type=float, help="weight of the prior in place of the command line's")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, rows = rd.load_prior(args.prior), []
    photos = [x for name, x in _pictures.held_out(256).items() if name in PHOTOS]
    settings = {"prior": str(args.prior or "bundled"), "pictures": list(PHOTOS), "sigma": args.sigma, "lam": args.lam}
    for size in args.sizes:
        for text in args.kernels:
            kernel = tasks.kernel_in_words(text)
            margin = max(max(pair) for pair in reach(kernel))
            inside = slice(128 - size // 2, 128 + size // 2)
            xs, ys = [], []
            for i, photo in enumerate(photos):
                blurred = np.asarray(rd.blur(kernel, photo.shape)(jnp.asarray(photo)))
                noise = args.sigma * np.random.default_rng(i).normal(size=photo.shape)
                xs.append(photo[inside, inside])
                ys.append((blurred + noise)[inside, inside].astype(np.float32))
            found = {"blurred": ys}
            for name, each in classical(ys, kernel).items():
                found[name] = max(each, key=lambda made: psnr(made, xs))
            for border in BORDERS:
                found[border] = restored(xs, ys, kernel, args.sigma, border, prior, args.lam)
            for name, made in found.items():
                row = {"kernel": text, "size": size, "method": str(name), "PSNR": psnr(made, xs)}
                rows.append({**row, "interior": psnr(made, xs, margin)})
                print(rows[-1], flush=True)
            _report.write("borders", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
