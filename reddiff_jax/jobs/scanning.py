"""Restoring scans: k-space and sinograms as instruments write them, in the format that came in."""

import enum
import glob
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import scans
from reddiff_jax.batching import run_many
from reddiff_jax.estimating import estimate_sigma
from reddiff_jax.jobs.errors import JobError, with_path
from reddiff_jax.jobs.events import Event, Failure, Outcome, Report
from reddiff_jax.masks import key_of
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import denoising, each_slice
from reddiff_jax.priors import Prior, gray_prior, tiled
from reddiff_jax.problems import Problem, pose
from reddiff_jax.scans.arrays import read_array
from reddiff_jax.scans.dicom import is_dicom
from reddiff_jax.scans.files import SUFFIXES, suffix_of
from reddiff_jax.settings import NoiseAwareSettings, Settings, check_serves, default_settings
from reddiff_jax.solvers import Averaged, RedDiff, Solver, Step, coupling, langevin_step, proximal_step
from reddiff_jax.volumes import slices

MRI, CT, DENOISE = "mri", "ct", "denoise"
TASKS = (MRI, CT)
"""Tasks of scans alone; volumes are denoised, too."""

AUTO = "auto"
_PARTIAL = ".partial_"
STD = "_std"
"""Ends the name of the file with the standard deviations of several restorations."""


class Layout(enum.StrEnum):
    """Whose conventions a sinogram has."""

    SCIKIT_IMAGE = "scikit-image"
    ASTRA = "astra"
    TOMOPY = "tomopy"


@dataclass(frozen=True)
class ScanOptions:
    """How scans are to be restored.

    Args (fields):
        task: "mri" or "ct"; or "denoise" of volumes.
        mask: Which points of k-space are measured: a file, or "auto" and None for those that are not 0.
        angles: Of the views of CT: "FIRST:LAST" in degrees, without the last, or a file of degrees.
        center: Index of the detector element where the axis is seen, or "auto" to find it; None: the layout's.
        layout: Whose conventions the sinogram has.
        lam_z: Weight of the coupling of neighbouring slices, ``solvers.coupling``; with 0 each is restored by itself.
        sigma: Standard deviation of the noise for pixels in [-1, 1]; estimated if None.
        solver: Name of the solver; None: what does the task best.
        changes: Fields of the settings to be replaced.
        samples: Restorations of each slice; of several, their mean and their standard deviation are written.
        batch_size: Slices restored at once.
        seed: Seed of everything drawn.
        tile: Slices with a longer side go through the prior in tiles of this size.
        overwrite: Do again what the output folder holds already.
    """

    task: str
    mask: str | Path | None = None
    angles: str | None = None
    center: str | None = None
    layout: Layout = Layout.ASTRA
    lam_z: float = 0.0
    sigma: float | None = None
    solver: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1
    batch_size: int = 4
    seed: int = 0
    tile: int = 512
    overwrite: bool = False

    def check(self) -> None:
        """Raises JobError for options that do not go together."""
        if self.task == CT and self.angles is None:
            raise JobError("--task ct needs the angles of the views: --angles 0:180, or a file of degrees.")
        if self.task not in (*TASKS, DENOISE):
            raise JobError(f"volumes are restored by --task denoise, scans by mri and ct; the task is {self.task}.")
        if self.lam_z < 0 or (self.lam_z and self.solver not in (None, "noise_aware")):
            raise JobError("lam-z must be at least 0, and is of --solver noise_aware, whose step couples the slices.")
        if self.task != CT and (self.angles is not None or self.center is not None):
            raise JobError(f"angles and center are of CT; leave them out for --task {self.task}.")
        if self.task != MRI and self.mask is not None:
            raise JobError("a mask is of MRI; for CT leave out views of the sinogram, and their angles.")
        if min(self.samples, self.batch_size) < 1:
            raise JobError("samples and batch-size must be at least 1.")


@dataclass(frozen=True)
class _Scan:
    """A scan posed slice by slice."""

    problems: list[Problem]
    images: Callable[[int, jax.Array], np.ndarray]  # (slice, x) -> the picture in the units of the scan
    finished: Callable[[np.ndarray], np.ndarray]  # all pictures (S, H, W) as they are written
    like: Any
    said: str


def restore_scans(
    inputs: Sequence[str | Path],
    prior: Prior,
    *,
    out: str | Path,
    options: ScanOptions,
    channels: int = 3,
    report: Report = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Restores scans, slice by slice, into files of their names and formats.

    Args:
        inputs: Files of scans, and folders of them.
        prior: The diffusion prior.
        out: Output folder; what it holds is kept, unless ``options.overwrite``.
        options: How.
        channels: Channels of the prior's pictures: 3 go by ``rd.gray_prior``.
        report: Called with progress.
        stop: Asked before each scan.

    Raises:
        JobError: If the options do not go together, or there is nothing to do.
    """
    options.check()
    out, outcome = Path(out), Outcome()
    paths = list(_files(inputs, outcome, options.task))
    if not paths and not outcome.failures:
        raise JobError(f"there are no files of scans; they end in {', '.join(SUFFIXES)}.")
    used = tiled(prior if channels == 1 else gray_prior(prior), options.tile)
    out.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        target = out / path.name
        if stop():
            outcome.left.append(path.name)
        elif target.resolve() == path.resolve():
            outcome.failures.append(Failure(path.name, f"{path} would be written over; give another --out."))
        elif target.exists() and not options.overwrite:
            outcome.skipped.append(path.name)
            report(Event("skipped", path.name, (number + 1) / len(paths)))
        else:
            try:
                _restore(path, target, used, options, report, number, len(paths))
            except (ValueError, TypeError, OSError) as error:
                outcome.failures.append(Failure(path.name, with_path(path, error)))
                report(Event("failed", path.name, (number + 1) / len(paths), outcome.failures[-1].reason))
            else:
                outcome.done.append(path.name)
                report(Event("restored", path.name, (number + 1) / len(paths)))
    return outcome


def _files(inputs: Iterable[str | Path], outcome: Outcome, task: str) -> Iterable[Path]:
    """The files, for volumes folders of a DICOM series, too; and what can be none into the outcome."""
    for given in map(Path, inputs):
        if given.is_dir() and task == DENOISE and any(map(is_dicom, given.iterdir())):
            yield given
        elif given.is_dir():
            yield from sorted(each for each in given.iterdir() if suffix_of(each) in SUFFIXES and _is_whole(each))
        elif suffix_of(given) not in SUFFIXES:
            reason = f"{given} is no file of a scan; those end in {', '.join(SUFFIXES)}."
            outcome.failures.append(Failure(given.name, reason))
        else:
            yield given


def _is_whole(path: Path) -> bool:
    """Whether a file stands for its scan: of BART's pairs one does."""
    return path.is_file() and suffix_of(path) != ".hdr"


def _restore(
    path: Path, target: Path, prior: Prior, options: ScanOptions, report: Report, number: int, total: int
) -> None:
    report(Event("look", path.name, number / total, "reading the scan"))
    scan = {MRI: _posed_mri, CT: _posed_ct, DENOISE: _posed_volume}[options.task](path, options)
    problems = scan.problems
    if options.sigma is not None:
        problems = [replace(each, noise=gaussian(options.sigma)) for each in problems]
    report(Event("decided", path.name, number / total, f"{path}: {scan.said}, {_said_of_noise(problems, options)}"))
    # Tweedie's formula, the default for noise alone, has no step that a coupling could be part of.
    settings = default_settings(problems[0], NoiseAwareSettings.name if options.lam_z else options.solver)
    if options.samples > 1 and "sample" not in options.changes:
        settings = settings.drawing()
    settings = settings.changed(options.changes)
    check_serves(settings, problems[0])
    report(Event("settings", path.name, number / total, f"{len(problems)} slices", settings))
    units = [_coupled(problems)] if options.lam_z else problems
    batch_size = 1 if options.lam_z else options.batch_size
    solver = _coupling_solver(settings, prior, options) if options.lam_z else settings.solver(prior)
    repeated = [each for each in units for _ in range(options.samples)]
    restored: list[list[jax.Array]] = [[] for _ in problems]  # slice by slice its samples
    for index, solution in enumerate(
        run_many(key_of(path.name, options.seed), solver, repeated, batch_size=batch_size)
    ):
        first = index // options.samples
        if not bool(solution.finite):
            raise JobError(f"{'the volume' if options.lam_z else f'slice {first}'} diverged; try a larger --sigma.")
        for offset, x in enumerate(solution.x if options.lam_z else [solution.x]):
            restored[first + offset].append(x)
        share = (index + 1) / len(repeated)
        report(Event("step", path.name, (number + share) / total, f"{index + 1} of {len(repeated)}"))
    stack = np.stack([[scan.images(number, x) for x in each] for number, each in enumerate(restored)])  # (S, K, H, W)
    _write(target, scan.finished(stack.mean(axis=1)), scan.like)
    if options.samples > 1:
        beside = target.with_name(f"{_stem(target)}{STD}{suffix_of(target)}")
        _write(beside, scan.finished(np.abs(stack).std(axis=1, ddof=1)), scan.like)


def _coupled(problems: list[Problem]) -> Problem:
    """The slices as one problem; their noise has one level."""
    level = float(np.median([float(each.noise.sigma_y) for each in problems]))  # type: ignore[attr-defined]
    operator = each_slice([each.operator for each in problems])  # type: ignore[misc]
    return pose(jnp.stack([each.y for each in problems]), operator, gaussian(level))


def _coupling_solver(settings: Settings, prior: Prior, options: ScanOptions) -> Solver:
    """The solver of a volume: noise-aware, with the coupling in its step."""
    assert isinstance(settings, NoiseAwareSettings)
    make = langevin_step if settings.sample else proximal_step
    step = make(num_cg=settings.num_cg, coupling=coupling(options.lam_z))
    solver = settings.solver(slices(prior, batch=options.batch_size))
    if isinstance(solver, Averaged):
        return replace(solver, solver=_with_step(solver.solver, step))
    return _with_step(solver, step)


def _with_step(solver: Solver, step: Step) -> RedDiff:
    assert isinstance(solver, RedDiff)
    return replace(solver, step_rule=step)


def _write(target: Path, images: np.ndarray, like: Any) -> None:
    """Writes beside the target and renames, so that nothing half written has its name."""
    if suffix_of(target) == "":  # a folder, whose files are whole each
        scans.write_like(target, images, like)
        return
    scans.write_like(target.with_name(_PARTIAL + target.name), images, like)
    for each in target.parent.glob(f"{_PARTIAL}{glob.escape(_stem(target))}.*"):
        os.replace(each, target.with_name(each.name.removeprefix(_PARTIAL)))


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix_of(path))]


def _said_of_noise(problems: list[Problem], options: ScanOptions) -> str:
    levels = [float(each.noise.sigma_y) for each in problems]  # type: ignore[attr-defined]
    return f"sigma {np.median(levels):.3g} ({'estimated' if options.sigma is None else 'given'})"


def _posed_mri(path: Path, options: ScanOptions) -> _Scan:
    kspace = scans.read_kspace(path)
    mask = None
    if options.mask is not None and str(options.mask) != AUTO:
        mask = np.asarray(read_array(Path(options.mask), ("mask",)))
    white = scans.white_of(kspace)
    indices = range(len(kspace.values))
    slices = [scans.pose_mri(kspace, index, white=white, mask=mask) for index in indices]
    share = float(np.mean([np.asarray(each.problem.operator.observed).mean() for each in slices]))
    said = (
        f"{len(slices)} slices of {kspace.values.shape[1]} x {kspace.values.shape[2]}, {kspace.num_coils} coils, "
        f"{100 * share:.0f} % of k-space measured"
    )
    return _Scan(
        [each.problem for each in slices],
        lambda index, x: slices[index].image(x),
        kspace.cropped,
        kspace,
        said,
    )


def _posed_ct(path: Path, options: ScanOptions) -> _Scan:
    projections = scans.read_projections(path)
    sinogram = _sinogram(projections, options)
    if options.center == AUTO:
        sinogram = sinogram.centered()
    elif options.center is not None:
        sinogram = sinogram.centered(_number("center", options.center))
    white = sinogram.white()
    problems = [sinogram.problem(index, white=white) for index in range(len(sinogram.values))]
    views, detectors = sinogram.values.shape[1:]
    said = f"{len(problems)} slices of {views} views and {detectors} detector elements, center {sinogram.center:.2f}"
    return _Scan(
        problems,
        lambda index, x: sinogram.to_attenuation(x, white),
        lambda images: images,
        None,
        said,
    )


def _posed_volume(path: Path, options: ScanOptions) -> _Scan:
    volume = scans.read_volume(path)
    limits = volume.limits()
    pixels = volume.pixels(limits)
    operator = denoising(pixels.shape[1:])
    middle = jnp.asarray(pixels[len(pixels) // 2])
    sigma = float(estimate_sigma(jnp.clip(middle, -1, 1))) if options.sigma is None else options.sigma
    problems = [pose(jnp.asarray(each), operator, gaussian(sigma)) for each in pixels]
    unit = f" {volume.unit}" if volume.unit else ""
    said = f"{len(problems)} slices of {pixels.shape[1]} x {pixels.shape[2]}, {limits[0]:.4g} to {limits[1]:.4g}{unit}"
    return _Scan(
        problems,
        lambda index, x: volume.of_pixels(np.asarray(x)[None], limits)[0],
        lambda images: images,
        volume,
        said,
    )


def _sinogram(projections: np.ndarray, options: ScanOptions) -> scans.Sinogram:
    if projections.ndim not in (2, 3):
        raise JobError(f"the sinogram has shape {projections.shape} but one slice has two axes, several have three.")
    match options.layout:
        case Layout.TOMOPY:
            projections = projections[:, None] if projections.ndim == 2 else projections
            return scans.from_tomopy(projections, _angles(options, projections.shape[0]))
        case Layout.ASTRA:
            stack = projections[None] if projections.ndim == 2 else projections
            of_slice = lambda each: scans.from_astra(each, _angles(options, stack.shape[1]))  # noqa: E731
        case Layout.SCIKIT_IMAGE:
            stack = projections[None] if projections.ndim == 2 else projections
            of_slice = lambda each: scans.from_scikit_image(each, _degrees(options, stack.shape[2]))  # noqa: E731
    slices = [of_slice(each) for each in stack]
    return replace(slices[0], values=np.concatenate([each.values for each in slices]))


def _angles(options: ScanOptions, views: int) -> np.ndarray:
    return np.deg2rad(_degrees(options, views))


def _degrees(options: ScanOptions, views: int) -> np.ndarray:
    """Angles in degrees from the words of the command line."""
    text = str(options.angles)
    first, colon, last = text.partition(":")
    if colon and not Path(text).exists():
        return np.linspace(_number("angles", first), _number("angles", last), views, endpoint=False)
    path = Path(text)
    if not path.is_file():
        raise JobError(f"angles is {text!r} but must be FIRST:LAST in degrees, such as 0:180, or a file of degrees.")
    if path.suffix.lower() in (".npy", ".npz", ".mat"):
        return np.ravel(read_array(path, ("angles", "theta")))
    try:
        return np.ravel(np.loadtxt(path, delimiter="," if "," in path.read_text() else None))
    except ValueError as error:
        raise JobError(f"{path} cannot be read as angles ({str(error).splitlines()[0]}).") from None


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise JobError(f"{name} is {text!r} but must be a number{', or auto' if name == 'center' else ''}.")
    return value
