"""Time of each operator against deepinv's: same pictures, same machine, same run.

    python -m benchmarks.operators [--size 256] [--only mri ...]

Microseconds of A, its adjoint and its pseudo-inverse for a batch of 1 and of 16, compilation apart; both sides use all
cores. Each figure is the median of interleaved calls. Needs what `make oracles` installs. Where both pseudo-inverses
iterate, the number of iterations is each library's own, and the batch of 16 is left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _report
from benchmarks._torch import import_deepinv

BATCHES = (1, 16)
_CALLS = ("A", "adjoint", "pinv")
_PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Pair:
    """An operator here and its like in deepinv.

    Args (fields):
        ours: Our operator.
        theirs: deepinv's.
        note: Where they differ.
        pinv: deepinv's pseudo-inverse, if not ``A_dagger``.
    """

    ours: rd.Operator
    theirs: Any
    note: str = ""
    pinv: Callable | None = None


def pairs(size: int) -> dict[str, Callable[[], Pair]]:
    """The operators that both have, by name, built when called."""
    import torch

    physics = import_deepinv().physics
    rng = np.random.default_rng(0)
    shape, channels_first = (size, size, 3), (3, size, size)
    key = jax.random.key(0)

    def tensor(array: Any) -> Any:
        return torch.from_numpy(np.array(array))

    def inpainting() -> Pair:
        mask = (rng.random((size, size)) > 0.7).astype(np.float32)
        theirs = physics.Inpainting(img_size=channels_first, mask=tensor(mask)[None, None].expand(1, 3, size, size))
        return Pair(rd.inpainting(mask), theirs)

    def gaussian_blur() -> Pair:
        kernel = tensor(rd.kernels.gaussian(61, 3.0))[None, None]
        return Pair(rd.gaussian_blur(shape), physics.Blur(filter=kernel, padding="reflect", use_fft=True))

    def motion_blur() -> Pair:
        kernel = rd.kernels.motion(key, 61)
        theirs = physics.Blur(filter=tensor(kernel)[None, None], padding="reflect", use_fft=True)
        return Pair(rd.blur(kernel, shape), theirs)

    def circular_blur() -> Pair:
        kernel = rd.kernels.motion(key, 61)
        theirs = physics.BlurFFT(img_size=channels_first, filter=tensor(kernel)[None, None])
        return Pair(rd.blur(kernel, shape, boundary=rd.operators.Boundary.CIRCULAR), theirs)

    def super_resolution() -> Pair:
        box = torch.full((1, 1, 4, 4), 1 / 16)
        theirs = physics.Downsampling(img_size=channels_first, filter=box, factor=4, padding="circular")
        return Pair(rd.super_resolution(shape, 4), theirs)

    def bicubic() -> Pair:
        theirs = physics.Downsampling(img_size=channels_first, filter="bicubic", factor=4, padding="reflect")
        return Pair(rd.bicubic(shape, 4), theirs)

    def colorization() -> Pair:
        return Pair(rd.colorization(shape), physics.Decolorize(srf="average"))

    def demosaicing() -> Pair:
        theirs = physics.Demosaicing(img_size=channels_first)
        return Pair(rd.demosaicing(shape), theirs, "ours gives one channel, deepinv's three, two of them zero")

    def compressed_sensing() -> Pair:
        count = shape[0] * shape[1] * 3 // 4
        signs = [tensor(np.sign(rng.standard_normal(channels_first)).astype(np.float32))]
        theirs = physics.StructuredRandom(channels_first, (3, size // 2, size // 2), diagonals=signs)
        return Pair(rd.compressed_sensing(key, shape, num_measurements=count), theirs, "deepinv's uses sine transforms")

    def mri() -> Pair:
        mask = np.asarray(rd.masks.cartesian(key, (size, size), acceleration=4))[..., 0]
        theirs = physics.MRI(mask=tensor(mask)[None, None], img_size=(size, size))
        return Pair(rd.mri(mask, (size, size, 2)), theirs)

    def multicoil_mri() -> Pair:
        maps = np.asarray(rd.coil_maps(8, (size, size)), np.complex64)
        mask = np.asarray(rd.masks.cartesian(key, (size, size), acceleration=4))[..., 0]
        theirs = physics.MultiCoilMRI(
            mask=tensor(mask)[None, None], coil_maps=tensor(maps.transpose(2, 0, 1))[None], img_size=(size, size)
        )
        return Pair(rd.mri(mask, (size, size, 2), coil_maps=maps), theirs)

    def parallel_ct() -> Pair:
        angles = np.linspace(0, np.pi, 60, endpoint=False)
        theirs = physics.Tomography(angles=tensor(np.rad2deg(angles)), img_width=size, normalize=False)
        note = "60 views, one channel; pinv: both filter back"
        return Pair(rd.parallel_ct((size, size, 1), angles), theirs, note, theirs.fbp)

    def spatially_varying_blur() -> Pair:
        kernels = np.stack([np.asarray(rd.kernels.gaussian(31, sigma)) for sigma in (0.8, 1.6, 2.4, 3.2)])
        ramp = np.linspace(0, 1, size, dtype=np.float32)
        rows, columns = np.meshgrid(ramp, ramp, indexing="ij")
        weights = np.stack([r * c for r in (1 - rows, rows) for c in (1 - columns, columns)])
        theirs = physics.SpaceVaryingBlur(
            filters=tensor(kernels)[None, None],
            multipliers=tensor(weights)[None, None],
            padding="reflect",
            use_fft=True,
        )
        return Pair(rd.varying_blur(kernels, weights[..., None], shape), theirs)

    made = (
        inpainting,
        gaussian_blur,
        motion_blur,
        circular_blur,
        super_resolution,
        bicubic,
        colorization,
        demosaicing,
        compressed_sensing,
        mri,
        multicoil_mri,
        parallel_ct,
        spatially_varying_blur,
    )
    return {make.__name__: make for make in made}


def compare(pair: Pair, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Times of both sides for a batch."""
    import torch

    exact = import_deepinv().physics.DecomposablePhysics
    height, width, channels = pair.ours.in_shape
    x = np.random.default_rng(1).standard_normal((batch, height, width, channels)).astype(np.float32)
    x_first = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    rows = []
    with torch.inference_mode():
        y_first = pair.theirs.A(x_first)
        y = jax.vmap(pair.ours)(jnp.asarray(x))
        calls: dict[str, tuple[tuple[Callable, Any], tuple[Callable, Any]]] = {
            "A": ((lambda operator, v: operator(v), jnp.asarray(x)), (pair.theirs.A, x_first)),
            "adjoint": ((lambda operator, v: operator.adjoint(v), y), (pair.theirs.A_adjoint, y_first)),
            "pinv": ((lambda operator, v: operator.pinv(v), y), (pair.pinv or pair.theirs.A_dagger, y_first)),
        }
        for name in _CALLS:
            (fn, ours_in), (theirs, theirs_in) = calls[name]
            if name == "pinv" and batch > 1 and pair.pinv is None and not isinstance(pair.theirs, exact):
                continue  # deepinv iterates, for minutes
            compiled = jax.jit(jax.vmap(fn, in_axes=(None, 0)))
            ours_s, theirs_s = _interleaved(
                lambda compiled=compiled, v=ours_in: jax.block_until_ready(compiled(pair.ours, v)),
                lambda theirs=theirs, v=theirs_in: theirs(v),
                repeats,
            )
            rows.append(
                {
                    "what": name,
                    "batch": batch,
                    "ours (us)": round(1e6 * ours_s, 1),
                    "deepinv (us)": round(1e6 * theirs_s, 1),
                    "ratio": round(ours_s / theirs_s, 3),
                }
            )
    return rows


def _interleaved(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median seconds of both, called in turn; the first two calls, which compile and allocate, are left out.

    What takes more than seconds is called less often.
    """
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    for turn in range(repeats + 2):
        for call, seconds in zip((ours, theirs), times, strict=True):
            called = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - called)
        if turn > 1 and time.perf_counter() - began > _PATIENCE:
            break
    return statistics.median(times[0][2:]), statistics.median(times[1][2:])


def main() -> None:
    """Runs the comparison and writes results/operators.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", nargs="*")
    args = parser.parse_args()
    rows = []
    for name, make in pairs(args.size).items():
        if args.only and name not in args.only:
            continue
        pair = make()
        for batch in BATCHES:
            for row in compare(pair, batch, args.repeats):
                rows.append({"operator": name, **row, "note": pair.note})
                print(_report.markdown([rows[-1]], list(rows[-1])).splitlines()[-1], flush=True)
    if not args.only:
        _report.write("operators", settings={"size": args.size, "repeats": args.repeats, "dtype": "float32"}, rows=rows)


if __name__ == "__main__":
    main()
