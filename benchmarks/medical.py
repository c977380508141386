"""MRI and CT of heads with a prior of photos: which way of using it is best, beside total variation.

    python -m benchmarks.medical [--prior PRIOR] [--size 128]

Pictures, which no prior here has seen and this repository does not have: three axial slices of Colin27 (`ch2.nii.gz` of
Debian's mricron-data, BSD), and for CT two of a skull (Debian's invesalius-examples, GPL-2; numbers only). They are
downloaded by apt-get. Settings of total variation are chosen on a slice of MNI152 (nilearn).

MRI is of a complex picture, magnitude in [0, 1] and a smooth phase, a quarter of the lines measured, one coil or eight;
CT is of 30 parallel views. Noise has standard deviation 0.05 for pixels in [-1, 1]. Ways to use an RGB prior:

- real and imaginary part, each by ``rd.gray_prior``: the unknown is (H, W, 2);
- magnitude by ``rd.gray_prior``, the phase estimated from the calibration lines and put into the coil maps: (H, W, 1);
- RGB: the unknown has three channels, whose mean is measured (what the tasks `mri4` and `ct30` do with RGB pictures).

PSNR and SSIM are of the magnitude, cut to [0, 1]; means over slices.
"""

import argparse
import plistlib
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import nibabel
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _pictures, _report, _settings
from reddiff_jax import metrics, pictures, plot, tasks

SIGMA = 0.05
ACCELERATION, COILS, VIEWS = 4, 8, 30
COLIN, SKULL = (0.45, 0.55, 0.65), (0.4, 0.6)  # slices, of the height
WEIGHTS = (0.003, 0.01, 0.03, 0.1)  # of total variation
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


def colin(size: int) -> np.ndarray:
    """Slices of Colin27's T1 picture, (N, size, size, 1) in [0, 1]."""
    with tempfile.TemporaryDirectory() as scratch:
        file = _unpacked("mricron-data", Path(scratch)) / "usr/share/mricron/templates/ch2.nii.gz"
        volume: np.ndarray = nibabel.load(file).get_fdata()  # type: ignore[attr-defined]
    return np.stack([_pictures.axial(volume, fraction, size) for fraction in COLIN]) / 2 + 0.5


def skull(size: int) -> np.ndarray:
    """CT slices, (N, size, size, 1): -1000 to 1500 Hounsfield units are 0 to 1."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = _unpacked("invesalius-examples", Path(scratch))
        with tarfile.open(next(folder.rglob("Cranium.inv3"))) as project:
            project.extractall(scratch, filter="data")
        plist = plistlib.loads(next(Path(scratch).rglob("main.plist")).read_bytes())
        matrix = plist["matrix"]
        file = next(Path(scratch).rglob(matrix["filename"]))
        volume = np.fromfile(file, matrix["dtype"]).reshape(matrix["shape"])
    slices = [volume[round(fraction * len(volume))] for fraction in SKULL]
    gray = [np.round(255 * np.clip((x + 1000.0) / 2500, 0, 1)).astype(np.uint8)[..., None] for x in slices]
    return np.stack([pictures.to_float(pictures.center_crop(x, size)) for x in gray]) / 2 + 0.5


def _unpacked(package: str, folder: Path) -> Path:
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (file,) = folder.glob(f"{package}*.deb")
    subprocess.run(["dpkg-deb", "-x", file, folder / package], check=True)
    return folder / package


def phase(size: int) -> np.ndarray:
    """A smooth phase, (size, size), radians."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    return 2.0 * columns + 4.0 * rows**2 - 3.0 * rows * columns


def restore(solver: rd.Solver, problems: rd.Problem) -> np.ndarray:
    """Restores stacked problems, the same keys for all methods."""
    count = len(jax.tree.leaves(problems.y)[0])
    return np.asarray(runs(jax.random.split(jax.random.key(1), count), solver, problems).x)


def by_total_variation(weight: float, problem: rd.Problem, steps: int = 60) -> np.ndarray:
    """``min |A x - y|^2 / 2 + weight L TV(x)`` by FISTA (Beck & Teboulle 2009), L the largest eigenvalue of A^T A."""
    from skimage.restoration import denoise_tv_chambolle

    operator = problem.operator
    assert isinstance(operator, rd.LinearOperator)

    @jax.jit
    def normal(operator: rd.LinearOperator, x: jax.Array) -> jax.Array:
        return operator.adjoint(operator(x))

    v = jax.random.normal(jax.random.key(0), operator.in_shape)
    for _ in range(15):
        v = normal(operator, v)
        largest = float(jnp.linalg.norm(v))
        v = v / largest
    target = operator.adjoint(problem.y)
    x = extrapolated = np.zeros(operator.in_shape, np.float32)
    momentum = 1.0
    for _ in range(steps):
        gradient = normal(operator, jnp.asarray(extrapolated)) - target
        moved = np.asarray(extrapolated - gradient / largest)
        new = denoise_tv_chambolle(moved, weight=weight, channel_axis=-1, max_num_iter=50).reshape(x.shape)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = (new + (momentum - 1) / following * (new - x)).astype(np.float32)
        x, momentum = new, following
    return x


class Mri:
    """Measurements of complex pictures, and the ways to pose their restoration."""

    def __init__(self, magnitudes: np.ndarray, coils: int):
        size = magnitudes.shape[1]
        self.shape = (size, size)
        self.maps = rd.coil_maps(coils, self.shape) if coils else jnp.ones((*self.shape, 1))
        self.coils = coils
        z = magnitudes[..., 0] * np.exp(1j * phase(size))
        keys = jax.random.split(jax.random.key(2), len(z))
        self.masks = [rd.masks.cartesian(key, self.shape, acceleration=ACCELERATION) for key in keys]
        # Pixels of the magnitude in [0, 1] have half of the noise of pixels in [-1, 1].
        self.problems = [
            rd.measure(key, self.operator(mask, 2), rd.gaussian(SIGMA / 2), jnp.stack([each.real, each.imag], -1))
            for key, mask, each in zip(keys, self.masks, jnp.asarray(z), strict=True)
        ]

    def operator(self, mask: jax.Array, channels: int, turned: jax.Array | None = None) -> rd.LinearOperator:
        """Of a picture as real and imaginary part, or of its magnitude where the phase factors are given."""
        maps = self.maps if turned is None else self.maps * turned[..., None]
        given = None if turned is None and not self.coils else maps
        return rd.mri(mask, (*self.shape, channels), coil_maps=given)

    def complex_problems(self) -> rd.Problem:
        """The unknown is (H, W, 2)."""
        return rd.stack(self.problems)

    def magnitude_problems(self) -> rd.Problem:
        """The unknown is 2 magnitude - 1, (H, W, 1): what is measured of 1 is known."""
        posed = []
        for problem, mask in zip(self.problems, self.masks, strict=True):
            operator = self.operator(mask, 1, self._phase_factors(problem, mask))
            y = problem.y if self.coils else problem.y[..., None]
            posed.append(rd.problem(2 * y - operator(jnp.ones(operator.in_shape)), operator, rd.gaussian(SIGMA)))
        return rd.stack(posed)

    def _phase_factors(self, problem: rd.Problem, mask: jax.Array) -> jax.Array:
        side = self.shape[1]
        lines = round(0.32 / ACCELERATION * side)  # the middle ones, which masks.cartesian always measures
        window = np.zeros(side)
        window[side // 2 - lines // 2 : side // 2 - lines // 2 + lines] = np.hanning(lines + 2)[1:-1]
        y = problem.y * (window[None, :, None] if self.coils else window[None, :])
        low = problem.operator.adjoint(y)  # type: ignore[attr-defined]
        z = jax.lax.complex(low[..., 0], low[..., 1])
        return z / jnp.maximum(jnp.abs(z), 1e-6)


def mri_methods(prior: rd.Prior, magnitudes: np.ndarray, coils: int, weight: float) -> dict[str, np.ndarray]:
    """Magnitudes (N, H, W, 1) in [0, 1], restored in every way."""
    case = Mri(magnitudes, coils)
    # Real and imaginary part are in [-1, 1] as they are, the magnitude becomes so by doubling, its noise too.
    gray = rd.gray_prior(prior)
    halved, unhalved = (_settings.built_in("mri4", sigma, "reddiff") for sigma in (SIGMA / 2, SIGMA))
    whole, sized = case.complex_problems(), case.magnitude_problems()
    aware = _long_runs.noise_aware(gray, num_steps=unhalved.num_evaluations)
    pinv = np.stack([each.operator.pinv(each.y) for each in case.problems])  # type: ignore[attr-defined]
    tv = np.stack([by_total_variation(weight, each) for each in case.problems])
    return {
        "A+y": _size(pinv),
        "total variation": _size(tv),
        "RED-diff, real and imaginary": _size(restore(halved.solver(gray), whole)),
        "noise-aware, real and imaginary": _size(restore(aware, whole)),
        "RED-diff, magnitude": restore(unhalved.solver(gray), sized) / 2 + 0.5,
        "noise-aware, magnitude": restore(aware, sized) / 2 + 0.5,
        "RED-diff, RGB": restore(unhalved.solver(prior), _of_rgb(sized)).mean(-1, keepdims=True) / 2 + 0.5,
    }


def ct_methods(prior: rd.Prior, x: np.ndarray, weight: float) -> dict[str, np.ndarray]:
    """Pictures (N, H, W, 1) in [0, 1], restored in every way."""
    problems = ct_problems(x)
    gray, settings = rd.gray_prior(prior), _settings.built_in(f"ct{VIEWS}", SIGMA, "reddiff")
    stacked = rd.stack(problems)
    results = {
        "A+y": np.stack([each.operator.pinv(each.y) for each in problems]),  # type: ignore[attr-defined]
        "total variation": np.stack([by_total_variation(weight, each) for each in problems]),
        "RED-diff, gray": restore(settings.solver(gray), stacked),
        "noise-aware, gray": restore(_long_runs.noise_aware(gray, num_steps=settings.num_evaluations), stacked),
        "RED-diff, RGB": restore(settings.solver(prior), _of_rgb(stacked)).mean(-1, keepdims=True),
    }
    return {name: each / 2 + 0.5 for name, each in results.items()}


def ct_problems(x: np.ndarray) -> list[rd.Problem]:
    """Few views of pictures in [0, 1], measured as 2 x - 1."""
    operator = tasks.by_name(f"ct{VIEWS}").operator(x.shape[1:], {})
    keys = jax.random.split(jax.random.key(3), len(x))
    return [
        rd.measure(key, operator, rd.gaussian(SIGMA), jnp.asarray(2 * each - 1, jnp.float32))
        for key, each in zip(keys, x, strict=True)
    ]


def _of_rgb(problems: rd.Problem) -> rd.Problem:
    """The same measurements of the mean of three channels."""

    def posed(problem: rd.Problem) -> rd.Problem:
        shape = (*problem.operator.in_shape[:2], 3)
        mean = rd.colorization(shape, weights=(1 / 3,) * 3)
        return rd.problem(problem.y, problem.operator @ mean, rd.gaussian(SIGMA))

    return jax.vmap(posed)(problems)


def _size(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=-1, keepdims=True)


def best_weight(problem: rd.Problem, reference: np.ndarray, result: Callable[[np.ndarray], np.ndarray]) -> float:
    """The weight of total variation with the best PSNR on a slice that is not reported on."""
    return max(WEIGHTS, key=lambda weight: scores(result(by_total_variation(weight, problem)), reference)[0])


def scores(x: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of pixels in [0, 1]."""
    cut, original = jnp.asarray(np.clip(x, 0, 1), jnp.float32), jnp.asarray(reference, jnp.float32)
    return float(metrics.psnr(cut, original, data_range=1.0)), float(_ssim(cut, original))


_ssim = jax.jit(partial(metrics.ssim, data_range=1.0))


def main() -> None:
    """Runs the comparison and writes results/medical.json and results/medical_panel.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="folder or bundled name")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args()
    prior = rd.load_prior(args.prior)
    heads, tuning = colin(args.size), _pictures.head_slice(args.size)[None] / 2 + 0.5
    weights = {
        coils: best_weight(Mri(tuning, coils).problems[0], tuning[0], lambda x: _size(x)) for coils in (0, COILS)
    }
    weights[-1] = best_weight(ct_problems(tuning)[0], tuning[0], lambda x: x / 2 + 0.5)
    cases: list[tuple[str, np.ndarray, Callable[[], dict[str, np.ndarray]]]] = [
        ("MRI, 1 coil", heads, lambda: mri_methods(prior, heads, 0, weights[0])),
        (f"MRI, {COILS} coils", heads, lambda: mri_methods(prior, heads, COILS, weights[COILS])),
        (f"CT, {VIEWS} views, T1 head", heads, lambda: ct_methods(prior, heads, weights[-1])),
    ]
    bones = skull(args.size)
    cases.append((f"CT, {VIEWS} views, skull", bones, lambda: ct_methods(prior, bones, weights[-1])))
    rows: list[dict[str, Any]] = []
    shown: dict[str, list[tuple[np.ndarray, str]]] = {}
    for name, x, restored in cases:
        for method, results in restored().items():
            values = [scores(a, b) for a, b in zip(results, x, strict=True)]
            row = {"case": name, "method": method}
            row |= {"PSNR": float(np.mean([p for p, _ in values])), "SSIM": float(np.mean([s for _, s in values]))}
            rows.append(row | {"PSNR each": [p for p, _ in values]})
            print(_report.markdown([row], list(row)).splitlines()[-1], flush=True)
            if "skull" not in name:
                cells = shown.setdefault(name, [(2 * x[1] - 1, "")])
                cells.append((2 * results[1] - 1, f"{method} {values[1][0]:.1f} dB"))
    width = max(len(cells) for cells in shown.values())
    padded = {name: [*cells, *[(None, "")] * (width - len(cells))] for name, cells in shown.items()}
    panel = plot.sheet(
        [[x for x, _ in cells] for cells in padded.values()],
        columns=["original", *[""] * (width - 1)],
        rows=list(padded),
        captions=[[caption for _, caption in cells] for cells in padded.values()],
        min_cell=224,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    plot.write_sheet(args.out / "medical_panel.png", panel)
    _report.shrink_picture(args.out / "medical_panel.png")
    names = {0: "MRI, 1 coil", COILS: f"MRI, {COILS} coils", -1: "CT"}
    settings = {
        "prior": str(args.prior or "photo"),
        "size": args.size,
        "sigma": SIGMA,
        "weights of total variation": {names[key]: weight for key, weight in weights.items()},
    }
    _report.write("medical", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
