"""Simulated measurements of pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import masks, measurements, pictures, tasks
from reddiff_jax.jobs.checks import check_seed
from reddiff_jax.jobs.errors import JobError, with_path
from reddiff_jax.jobs.events import Event, Failure, Outcome, Report
from reddiff_jax.jobs.finding import find_inputs
from reddiff_jax.jobs.inputs import own_arrays
from reddiff_jax.jobs.locking import LOCK, holding
from reddiff_jax.jobs.options import check_parts
from reddiff_jax.jobs.outputs import PREVIEWS, REFERENCES, UnwritableError, prepare_folder, writing_result
from reddiff_jax.masks import Hole
from reddiff_jax.measurements import Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.problems import measure
from reddiff_jax.tasks import Shape


def measure_pictures(
    inputs: Sequence[str | Path],
    *,
    task: str,
    sigma: float,
    out: str | Path,
    seed: int = 0,
    mask: str | Path | None = None,
    hole: Hole = Hole.AUTO,
    kernel: str | Path | None = None,
    white: float | None = None,
    page: int | None = None,
    size: int | None = None,
    channels: int = 3,
    report: Report = lambda event: None,
) -> Outcome:
    """Simulates measurements of pictures: ``NAME.npz``, ``preview/NAME.png`` and ``reference/NAME.png``, the original.

    Args:
        inputs: Picture files and folders.
        task: Name of the task.
        sigma: Standard deviation of the noise, for pixels in [-1, 1].
        out: Output folder.
        seed: Seed of masks, kernels and noise; each picture's depend on its name, too.
        mask: Mask file, or folder of masks named as the pictures; drawn if None.
        hole: What marks the hole in a mask file.
        kernel: The same for blur kernels.
        white: The number that is white in pictures of more than 8 bits; None for what the file says.
        page: Which page of files with several, counted from 1.
        size: Measure the central square, reduced to this many pixels a side; the whole picture if None, cropped to
            a multiple of the task's factor.
        channels: 3 (RGB) or 1 (gray).
        report: Called after each picture.

    Raises:
        JobError: If nothing can be done, or another process works on the folder.
        ValueError: For an unknown task or an impossible number.
    """
    known, out = tasks.by_name(task), Path(out)
    tasks.check_sigma(sigma, known)
    check_seed(seed)
    check_parts(task, mask, kernel)
    if known.draw is None and mask is None:
        raise JobError(f"{task} needs a mask of your own: --mask FILE.")
    if size is not None and (size < known.factor or size % known.factor):
        raise JobError(f"size is {size} but {task} needs a multiple of {known.factor}.")

    def say(text: str) -> None:
        report(Event("note", text, 0.0))

    items, failures = find_inputs(inputs, out=out, measured=False, recorded=_sources(out), say=say)
    for failure in failures:
        report(Event("failed", failure.name, 0.0, failure.reason))
    done: list[str] = []
    if not items:
        return Outcome(done, [], failures)
    prepare_folder(out)
    with holding(out / LOCK):
        for index, item in enumerate(items):
            try:
                x, bits = _original(item.path, channels, size, known.factor, white, page)
                measurement = simulate(item.stem, x, task, sigma, seed, mask=mask, hole=hole, kernel=kernel)
                header = replace(measurement.header, source=item.path.name)
                measurement = replace(measurement, header=header)
                error = None
            except MemoryError:
                raise
            except Exception as wrong:
                # Readers raise nearly anything for a broken file, and one file must not end the others' work.
                error = wrong
            if error is None:
                try:
                    _write(out, item.name, measurement, known.result(x), bits)
                except UnwritableError as wrong:
                    error = wrong
            if error is None:
                done.append(item.name)
                report(Event("measured", item.name, (index + 1) / len(items)))
            else:
                failures.append(Failure(item.name, with_path(item.path, error)))
                report(Event("failed", item.name, (index + 1) / len(items), failures[-1].reason))
    return Outcome(done, [], failures)


def _sources(out: Path) -> dict[str, str]:
    """Name of a measurement file that is there -> the picture's file that it is of."""
    sources = {}
    for path in out.rglob(f"*{measurements.SUFFIX}"):
        try:
            source = measurements.read_header(path).source
        except measurements.MeasurementError:
            continue
        if source is not None:
            sources[path.relative_to(out).with_suffix("").as_posix()] = source
    return sources


def _write(out: Path, name: str, measurement: Measurement, reference: np.ndarray, bits: int) -> None:
    """Writes the measurement, its preview and its original."""
    target = out / f"{name}{measurements.SUFFIX}"
    with writing_result(target):
        for folder in (out, out / PREVIEWS, out / REFERENCES):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        measurements.write_measurement(target, measurement)
        pictures.write_picture(out / PREVIEWS / f"{name}.png", np.clip(measurement.preview(), -1, 1))
        pictures.write_picture(out / REFERENCES / f"{name}.png", reference, bits=bits)


def _original(
    path: Path, channels: int, size: int | None, factor: int, white: float | None, page: int | None
) -> tuple[np.ndarray, int]:
    """A picture (H, W, C) in [-1, 1] of a size that the task divides, and the bits that it is exact in, 8 or 16."""
    bits = min(pictures.look(path, page=page).bits, 16)
    x = pictures.read_picture(path, channels=channels, white=white, page=page)
    if bits == 8:
        array = pictures.to_uint8(x)
        x = pictures.to_float(array if size is None else pictures.center_crop(array, size))
    elif size is not None:
        x = pictures.center_crop(x, size)
    if bits == 16:
        # The reference must be what was measured.
        x = np.round(np.clip(x, -1, 1) * 32767.5 + 32767.5).astype(np.float32) / np.float32(32767.5) - np.float32(1)
    height, width = (side // factor * factor for side in x.shape[:2])
    if min(height, width) == 0:
        raise JobError(f"a picture of {x.shape[1]} x {x.shape[0]} pixels is too small for a factor of {factor}.")
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return x[top : top + height, left : left + width], bits


def simulate(
    stem: str,
    x: np.ndarray,
    task: str,
    sigma: float,
    seed: int,
    *,
    mask: str | Path | None = None,
    hole: Hole = Hole.AUTO,
    kernel: str | Path | None = None,
) -> Measurement:
    """Measures one picture; its mask or kernel and its noise are drawn from (seed, stem).

    Args:
        stem: The picture's name.
        x: The picture, (H, W, C) in [-1, 1].
        task: Name of the task.
        sigma: Standard deviation of the noise, for pixels in [-1, 1].
        seed: Seed.
        mask: Mask file, or folder of masks, instead of a drawn one.
        hole: What marks the hole in a mask file.
        kernel: The same for blur kernels.
    """
    known, key = tasks.by_name(task), masks.key_of(stem, seed)
    shape: Shape = x.shape  # type: ignore[assignment]
    if known.gray and shape[2] == 1:
        raise JobError(f"{task} makes no sense for gray pictures; take RGB ones.")
    arrays, _ = own_arrays(mask, kernel, shape, stem, hole=hole, growth=0)
    arrays = arrays or known.simulate(jax.random.fold_in(key, 0), shape)
    y = measure(jax.random.fold_in(key, 1), known.operator(shape, arrays), gaussian(sigma), jnp.asarray(x)).y
    if "mask" in arrays:
        y = y * arrays["mask"]  # no noise where nothing was seen
    return measurements.make_measurement(task, sigma, np.asarray(y), shape, arrays, seed)
