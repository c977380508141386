"""Reading masks and kernels, of one picture or of many."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import masks, measurements, pictures, tasks
from reddiff_jax._npz import open_npz, read_npy
from reddiff_jax._text import shown
from reddiff_jax.jobs.errors import JobError, brief
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.found_kernels import kernel_of
from reddiff_jax.jobs.options import Options
from reddiff_jax.masks.holes import PAINT, SAID, Hole, are_scattered
from reddiff_jax.measurements import Header
from reddiff_jax.tasks import Arrays, Shape, Task

GROWTH = 1
"""Pixels by which painted holes are grown: the best mean for photos saved as JPEG (benchmarks/growing.py)."""

_NAMED = "paint the hole in a colour of its own, or say what marks it: --hole white, black, transparent or paint"
_LEAST_SIDE = 5  # pixels of a kernel's picture from which its border is looked at
_DARK_RING = 0.25  # of a kernel's largest value: the most that half of its outermost pixels may have
_ASYMMETRY = 0.05  # of the largest value: what JPEG changes
_MOST_MISSING = 0.9  # more is nearly always a mask read the wrong way round


def read_kernel(path: str | Path) -> np.ndarray:
    """Reads a blur kernel from a picture (brighter = more) or an ``.npy`` file, as float32 (kh, kw) with sum 1.

    A picture with transparent pixels is laid over black; where it has one colour only, its opacity is the kernel.

    Raises:
        JobError: If it is no kernel.
    """
    path = Path(path)
    with _file_errors(path, "a kernel"):
        kernel = _kernel_array(path) if path.suffix in (".npy", ".npz") else _kernel_picture(path)
        if kernel.ndim != 2 or not kernel.size:
            raise ValueError(f"it has shape {kernel.shape}; give one kernel of two axes (h, w)")
        if not np.isfinite(kernel).all() or kernel.min() < 0 or kernel.max() == 0:
            raise ValueError("it must have finite values of at least 0, and not only zeros")
        kernel = kernel / kernel.max()  # numbers near the largest float have no finite sum
    return (kernel / kernel.sum()).astype(np.float32)


def _kernel_array(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        loaded = read_npy(path)
    else:
        with open_npz(path) as file:
            if "kernel" not in file.files and len(file.files) != 1:
                names = shown(", ".join(file.files)) or "nothing"
                raise ValueError(f"it holds {names}; name one array kernel, or save it alone by numpy.save")
            loaded = file["kernel" if "kernel" in file.files else file.files[0]]
    if loaded.dtype.kind not in "biuf":
        raise ValueError(f"it has the type {loaded.dtype}; give real numbers")
    return loaded.astype(np.float64)


def _kernel_picture(path: Path) -> np.ndarray:
    raw = pictures.read_one(path)  # its scale does not matter: the sum is 1
    kernel = pictures.to_channels(raw.values, 1)[..., 0].astype(np.float64)
    if raw.alpha is not None:
        alpha = raw.alpha[..., 0].astype(np.float64)
        painted = kernel[alpha > 0]
        one_colour = painted.size > 0 and painted.min() == painted.max() and alpha.min() < alpha.max()
        kernel = alpha if one_colour else kernel * alpha
    if _is_bright_outside(kernel):
        raise ValueError(
            "it is bright at its border, but a kernel is white on black and dark around; invert it if it is black on "
            "white, or cut it out"
        )
    return kernel


def _is_bright_outside(kernel: np.ndarray) -> bool:
    """Whether a picture is no kernel as it is: a negative of one, or a photo.

    Most of a kernel's outermost pixels are dark, even of a loop that is cut out tightly. Where they are not, it was cut
    off or is a box: then it is the same when it is turned by 180 degrees, and no brighter outside than inside. A side
    of four pixels or less has no inside.
    """
    if min(kernel.shape) < _LEAST_SIDE or not kernel.max() > 0:
        return False
    inside = kernel[1:-1, 1:-1]
    ring = np.concatenate([kernel[0], kernel[-1], kernel[1:-1, 0], kernel[1:-1, -1]])
    if np.median(ring) <= _DARK_RING * kernel.max():
        return False
    symmetric = np.abs(kernel - kernel[::-1, ::-1]).max() <= _ASYMMETRY * kernel.max()
    return not (symmetric and ring.mean() <= inside.mean() * (1 + _ASYMMETRY))


@dataclass(frozen=True)
class OwnMask:
    """A picture's mask as the user gave it, and what was decided about it.

    Args (fields):
        mask: (H, W, 1 or 3) float32, 1 = observed.
        said: What was decided, in one line.
        record: The same for the manifest: ``hole``, ``missing`` in percent, ``grow`` in pixels.
    """

    mask: np.ndarray
    said: str
    record: dict[str, Any]


def read_mask(
    path: str | Path, shape: Shape, name: str, *, hole: Hole = Hole.AUTO, growth: int | None = None
) -> OwnMask:
    """Reads the mask of one picture, and says what was decided.

    Args:
        path: Mask file, or a folder with a mask named as the picture.
        shape: Shape of the picture.
        name: Stem of the picture; also chooses among several masks in one file.
        hole: What marks the hole.
        growth: Pixels by which holes are grown; if None, ``GROWTH`` for painted holes, and 0 for arrays and for
            scattered pixels, which no paint has smeared.

    Raises:
        JobError: If there is none, it is not of that size, or it hides nothing, all, or more than 90 % without a
            ``hole`` that says so.
    """
    path = own_file(Path(path), name, "mask")
    with _file_errors(path, "a mask"):
        read = masks.read(path, shape, name=name, hole=hole)
    marked = "its bits say what is missing" if read.hole is None else SAID[read.hole]
    if growth is None:
        painted = path.suffix not in (".npy", ".npz") and not are_scattered(np.asarray(read.mask) == 0)
        growth = GROWTH if painted else 0
    return _own_mask(path, np.asarray(read.mask), marked, read.hole, growth, asked=hole is not Hole.AUTO, remedy=_NAMED)


def mask_of_picture(path: Path, alpha: np.ndarray, *, growth: int | None = None) -> OwnMask:
    """The mask of a picture that is transparent where something was erased.

    Args:
        path: The picture.
        alpha: Its alpha (H, W, 1) in [0, 1].
        growth: Pixels by which holes are grown; ``GROWTH`` if None.

    Raises:
        JobError: If nothing was erased, or nearly all.
    """
    mask = (alpha >= 1 - PAINT).astype(np.float32)
    remedy = "erase what is to be filled in, or give a mask: --mask FILE"
    return _own_mask(
        path,
        mask,
        SAID[Hole.TRANSPARENT],
        Hole.TRANSPARENT,
        GROWTH if growth is None else growth,
        asked=False,
        remedy=remedy,
    )


def _own_mask(
    path: Path, mask: np.ndarray, marked: str, hole: Hole | None, growth: int, *, asked: bool, remedy: str
) -> OwnMask:
    share = float((mask == 0).mean())
    if share in (0.0, 1.0):
        raise JobError(f"{path}: {marked}, and {'nothing' if share == 0 else 'everything'} is missing; {remedy}.")
    if share > _MOST_MISSING and not asked:
        raise JobError(f"{path}: {marked}, and {_percent(share)} of pixels are missing; {remedy}.")
    said = f"{marked}, {_percent(share)} of pixels missing"
    if growth:
        mask = masks.grow(mask, growth)
        grown = float((mask == 0).mean())
        if grown == 1:
            raise JobError(f"{path}: {said}, and everything when it is grown by {growth} px; lower --grow.")
        said += f", {_percent(grown)} when grown by {growth} px"
    record = {"hole": None if hole is None else hole.value, "missing": round(100 * share, 3), "grow": growth}
    return OwnMask(mask, f"{path}: {said}", record)


def _percent(share: float) -> str:
    """1.6 %, 0.012 %, 96 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.4g} %"


def own_file(path: Path, name: str, what: str) -> Path:
    """The file itself, or the one of that name in a folder."""
    if path.is_dir():
        files = (file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith("."))
        found = [file for file in files if file.stem == name]
        if len(found) != 1:
            raise JobError(f"{path} holds {len(found)} files named {name}; one {what} for each picture is needed.")
        return found[0]
    if not path.exists():
        raise JobError(f"{what} {path} does not exist; check the name.")
    if not path.is_file():  # reading a device or a pipe might never end
        raise JobError(f"{what} {path} is no file; give a file, or a folder of them.")
    return path


@contextmanager
def _file_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except measurements.BROKEN as error:
        reason = brief(error).removeprefix("masks.load: ").rstrip(".")
        raise JobError(f"{path} cannot be used as {what}: {reason}.") from error


def own_arrays(
    mask: str | Path | None,
    kernel: str | Path | None,
    shape: Shape,
    stem: str,
    *,
    hole: Hole = Hole.AUTO,
    growth: int | None = None,
) -> tuple[Arrays, OwnMask | None]:
    """The picture's arrays from the files that were given, ``{}`` if none was; and its mask with what was decided."""
    if mask is not None:
        own = read_mask(mask, shape, stem, hole=hole, growth=growth)
        return {"mask": own.mask}, own
    if kernel is not None:
        return {"kernel": own_kernel(kernel, stem)}, None
    return {}, None


def own_kernel(kernel: str | Path, stem: str) -> np.ndarray:
    """The picture's kernel, float32 (kh, kw) with sum 1: in words, from a file, or from one of its name in a folder."""
    if tasks.is_in_words(str(kernel)):
        return tasks.kernel_in_words(str(kernel))
    return read_kernel(own_file(Path(kernel), stem, "kernel"))


def arrays_of(options: Options, item: Item, header: Header) -> tuple[Arrays, OwnMask | None]:
    """What belongs to the picture's operator, and what was decided about a mask of the user's own."""
    task = tasks.by_name(header.task)
    if item.path.suffix == measurements.SUFFIX:
        return (measurements.read_measurement(item.path).arrays if task.needs == "mask" else {}), None
    arrays, own = own_arrays(
        options.mask, kernel_of(options, item), header.in_shape, item.stem, hole=options.hole, growth=options.grow
    )
    if task.needs is None or arrays:
        return arrays, own
    if needs_own_mask(task):
        alpha = pictures.read_raw(item.path, page=options.page).alpha
        own = mask_of_picture(item.path, np.ones(1) if alpha is None else alpha, growth=options.grow)
        return {"mask": own.mask}, own
    return task.simulate(jax.random.key(0), header.in_shape), None


def needs_own_mask(task: Task) -> bool:
    """Whether only the user knows a picture's mask."""
    return task.needs == "mask" and (task.draw is None or task.drawn_from_key)


def digests_of(options: Options, item: Item) -> dict[str, str]:
    """A digest of each file that a picture is restored from, or of the words that describe its kernel."""
    contents = {"picture": item.path.read_bytes()}
    for name, given in (("mask", options.mask), ("kernel", kernel_of(options, item))):
        if given is not None:
            in_words = name == "kernel" and tasks.is_in_words(str(given))
            contents[name] = str(given).encode() if in_words else own_file(Path(given), item.stem, name).read_bytes()
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in contents.items()}
