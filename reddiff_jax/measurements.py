"""Measurements of pictures and their files.

A measurement file is an ``.npz`` with ``y`` (float32 or complex64, lossless), the arrays of its operator (``mask``,
``kernel``, ...) and ``meta``, a JSON text: format, task, sigma, shapes and the seed it was simulated from. Nothing in
it is pickled.
"""

import json
import math
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from reddiff_jax import tasks
from reddiff_jax._files import replacing
from reddiff_jax._npz import Npz, open_npz
from reddiff_jax._rules import check, list_of, number, read_json, record, table_of, text, tuple_of, whole
from reddiff_jax._text import shown
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import Operator
from reddiff_jax.problems import Problem, pose
from reddiff_jax.tasks import Arrays, Shape, Task

SUFFIX = ".npz"
FORMAT = 1
BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


MAX_NUMBERS = 2**28
"""The most numbers of a picture that a measurement file may be of: 9,400 x 9,400 pixels in colour."""

_SIDE = whole(1, 2**20)
_META = record(
    {
        "format": whole(FORMAT, FORMAT),
        "task": text(100),
        "sigma": number(0, 1e30),
        "y_shape": list_of(whole(1, 2**28), 1, 4),
        "in_shape": tuple_of(_SIDE, _SIDE, whole(1, 1024)),
        "array_shapes": table_of(list_of(whole(0, 2**28), 0, 8), 16, names=text(100)),
    },
    optional={"seed": whole(-(2**63), 2**63 - 1).or_null(), "source": text(1000).or_null()},
)


class MeasurementError(ValueError):
    """A file that holds no measurement; the message is one line."""


@dataclass(frozen=True)
class Header:
    """Metadata of a measurement, read before its numbers; pictures of equal headers share a compilation.

    Args (fields):
        task: Name of the task.
        sigma: Standard deviation of the noise, for pixels in [-1, 1].
        y_shape: Shape of the measurement.
        in_shape: Shape of the picture.
        array_shapes: Names and shapes of the operator's arrays.
        seed: Seed it was simulated from, if it was.
        source: Name of the picture's file, if it was simulated from one.
    """

    task: str
    sigma: float
    y_shape: tuple[int, ...]
    in_shape: Shape
    array_shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    seed: int | None = field(default=None, compare=False)
    source: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Measurement:
    """One measurement, its operator's arrays and its header."""

    header: Header
    y: np.ndarray
    arrays: Arrays

    @property
    def task(self) -> Task:
        """The task."""
        return tasks.by_name(self.header.task)

    def operator(self) -> Operator:
        """The operator that made it."""
        return self.task.operator(self.header.in_shape, self.arrays)

    def problem(self, operator: Operator | None = None) -> Problem:
        """The inverse problem; ``operator`` is one that was built before, if any.

        Raises:
            ValueError: If shapes do not fit.
        """
        return pose(jnp.asarray(self.y), self.operator() if operator is None else operator, gaussian(self.header.sigma))

    def preview(self) -> np.ndarray:
        """The measurement as a picture (H, W, 1 or 3) in [-1, 1]: itself, its magnitudes, or A+ y."""
        if self.task.is_picture:
            return self.y
        if self.y.ndim == 1 or min(self.y.shape[:2]) < 8:
            return self.task.result(np.clip(np.asarray(self.operator().pinv(jnp.asarray(self.y))), -1, 1))
        plane = np.atleast_3d(np.abs(self.y) if np.iscomplexobj(self.y) else self.y).mean(axis=-1, keepdims=True)
        if plane.min() >= 0:  # magnitudes of Fourier coefficients, a few of which outshine all others
            plane = np.log1p(100 * plane / max(float(plane.max()), 1e-12))
        low, high = float(plane.min()), float(plane.max())
        return 2 * (plane - low) / max(high - low, 1e-12) - 1


def make_measurement(
    task: str, sigma: float, y: np.ndarray, in_shape: Shape, arrays: Arrays, seed: int | None = None
) -> Measurement:
    """Makes a measurement from its parts, and checks them.

    Raises:
        ValueError: If the parts do not fit.
    """
    y = tasks.stored(y)
    shapes = tuple(sorted((name, tuple(map(int, np.shape(array)))) for name, array in arrays.items()))
    header = Header(task, tasks.check_sigma(sigma), _sizes(y.shape), _picture_shape(in_shape), shapes, seed)
    _check_shapes(header, tasks.by_name(task))
    if not np.isfinite(y).all():
        raise ValueError("y has values that are not finite.")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the {name} has values that are not finite.")
    if "mask" in arrays and not np.isin(arrays["mask"], (0, 1)).all():
        raise ValueError("the mask has values other than 0 and 1.")
    return Measurement(header, y, {name: tasks.stored(array) for name, array in arrays.items()})


def write_measurement(path: str | Path, measurement: Measurement) -> None:
    """Writes a measurement file, which appears only when complete."""
    path = Path(path)
    header = measurement.header
    meta = {
        "format": FORMAT,
        "task": header.task,
        "sigma": header.sigma,
        "y_shape": header.y_shape,
        "in_shape": header.in_shape,
        "array_shapes": dict(header.array_shapes),
        "seed": header.seed,
        "source": header.source,
    }
    arrays: dict[str, Any] = {"meta": np.asarray(json.dumps(meta)), "y": measurement.y, **measurement.arrays}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_header(path: str | Path) -> Header:
    """Reads the header of a measurement file.

    Raises:
        MeasurementError: If it is missing, broken or of another kind.
    """
    with _one_line(path), open_npz(path) as file:
        return _header(file)


def read_measurement(path: str | Path) -> Measurement:
    """Reads a measurement file.

    Raises:
        MeasurementError: If it is missing, broken, of another kind, or does not fit its header.
    """
    with _one_line(path):
        with open_npz(path) as file:
            header = _header(file)
            y, arrays = file["y"], {name: file[name] for name, _ in header.array_shapes}
        measurement = make_measurement(header.task, header.sigma, y, header.in_shape, arrays, header.seed)
        if measurement.header != header:
            raise ValueError("its arrays do not have the shapes that it names")
        return replace(measurement, header=header)


class _one_line:
    """Turns everything that can be wrong with a file into a MeasurementError."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> None:
        if not self.path.is_file():
            raise MeasurementError(f"{self.path} does not exist; check the name.")

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, BROKEN):
            reason = shown((str(error) or type(error).__name__).splitlines()[0].rstrip("."), 1000)
            raise MeasurementError(
                f"{self.path} cannot be read as a measurement file ({reason}); write it again with reddiff-jax measure."
            ) from error


def _header(file: Npz) -> Header:
    """What a file says of itself, compared with what its arrays say; none of them is unpacked."""
    if not {"meta", "y"} <= set(file.files):
        raise ValueError(f"it holds {shown(', '.join(file.files)) or 'nothing'}, not y and meta")
    meta = read_json(file.read_text("meta"))
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    check(meta, _META)
    header = Header(
        task=meta["task"],
        sigma=tasks.check_sigma(float(meta["sigma"])),
        y_shape=_sizes(meta["y_shape"]),
        in_shape=_picture_shape(meta["in_shape"]),
        array_shapes=tuple(sorted((name, tuple(shape)) for name, shape in meta["array_shapes"].items())),
        seed=meta.get("seed"),
        source=meta.get("source"),
    )
    if math.prod(header.in_shape) > MAX_NUMBERS:
        raise ValueError(f"its picture has {math.prod(header.in_shape)} numbers, more than the {MAX_NUMBERS} allowed")
    _check_shapes(header, tasks.by_name(header.task))
    for name, shape in (("y", header.y_shape), *header.array_shapes):
        found = file.header(name)
        if found.shape != shape:
            raise ValueError(f"its {shown(name)} has shape {found.shape}, but it says {shape}")
        if found.dtype.kind == "U" or (name == "y" and found.dtype not in (np.float32, np.complex64)):
            raise ValueError(f"its {shown(name)} is {found.dtype}, not float32 or complex64")
    return header


def _sizes(values: Any) -> tuple[int, ...]:
    sizes = tuple(int(value) for value in values)
    if not 1 <= len(sizes) <= 4 or min(sizes) < 1:
        raise ValueError(f"{values} is no shape of a measurement")
    return sizes


def _picture_shape(values: Any) -> Shape:
    height, width, channels = (int(value) for value in values)
    if min(height, width, channels) < 1:
        raise ValueError(f"{values} is no shape of a picture")
    return height, width, channels


def _check_shapes(header: Header, task: Task) -> None:
    if task.is_picture and (
        len(header.y_shape) != 3 or task.in_shape(_picture_shape(header.y_shape), header.in_shape[2]) != header.in_shape
    ):
        raise ValueError(f"a measurement of shape {header.y_shape} is not of a picture {header.in_shape}")
    if task.needs is None:
        expected = tuple(sorted(task.array_shapes(header.in_shape).items()))
        if header.array_shapes != expected:
            raise ValueError(f"it holds arrays {dict(header.array_shapes)} but its task needs {dict(expected)}")
        return
    names = [name for name, _ in header.array_shapes]
    if names != [task.needs]:
        raise ValueError(f"it holds the arrays {names} but its task needs {task.needs}")
    for name, shape in header.array_shapes:
        h, w, c = header.in_shape
        if name == "mask" and shape not in ((h, w, 1), (h, w, c)):
            raise ValueError(f"its mask has shape {shape} but its picture {header.in_shape}")
        if name == "kernel" and (len(shape) != 2 or min(shape) < 1):
            raise ValueError(f"its kernel has shape {shape}, not (height, width)")
