"""Reading masks from pictures and from the published files of packed bits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reddiff_jax import pictures
from reddiff_jax._checks import check_picture_shape
from reddiff_jax._npz import ArrayFileError, open_npz, read_npy
from reddiff_jax.masks._observed import observed
from reddiff_jax.masks.holes import Hole, Marks, measured, missing_pixels

_PALETTE_SIDE = 256
_MAX_BYTES = 2**32  # of an array: 20,000 masks of 256 x 256 pixels that are not packed


@dataclass(frozen=True)
class FileMask:
    """A mask as it was read.

    Args (fields):
        mask: (H, W, 1), or (H, W, 3) where the channels differ; 1 = observed.
        hole: What marked the hole; None for a published file of packed bits, which has its own convention.
        missing: Share of pixels that are missing.
    """

    mask: Float[Array, "H W #3"]
    hole: Hole | None
    missing: float


def load(
    path: str | Path,
    shape: Sequence[int],
    *,
    index: int | None = None,
    name: str | None = None,
    seed: int = 0,
    entry: str | None = None,
    hole: Hole | None = None,
    invert: bool = False,
    enlarge: int = 1,
) -> Float[Array, "H W #3"]:
    """Reads one mask from a picture, a NumPy array, or a published file of packed masks.

    - A picture, or ``.npy`` or ``.npz`` with an array (H, W), (H, W, 1) or (H, W, 3), or n of them: black or zero is
      missing, unless ``hole`` says something else. Numbers are relative to the largest of the file. A pixel belongs to
      the hole if an eighth of it or more is painted, in pictures and arrays alike.
    - ``.npz`` with ``m`` and ``shape``: the published packed bits, (n, 3 H W), channels first, 1 = observed.
    - ``.npz`` with one-dimensional bytes: Palette's packed bits, (n, 256, 256), 1 = missing.

    Args:
        path: The file.
        shape: ``(H, W)`` or ``(H, W, C)`` that the mask must have.
        index: Which of the file's masks.
        name: Instead of ``index``: a picture's name; a hash of it chooses the mask, whatever else is in a list.
        seed: With ``name``: another seed chooses other masks.
        entry: Which array of an ``.npz`` with several, such as ``"20-30% freeform"``.
        hole: What marks the hole, not for packed bits; ``Hole.BLACK`` if None. ``Hole.AUTO`` decides by share, as the
            command line does; ``read`` tells what it decided.
        invert: Swaps observed and missing.
        enlarge: Each pixel of the file covers this many pixels squared; 2 is the published use of masks of 256 x 256
            pixels for pictures of 512 x 512.

    Returns:
        Mask (H, W, 1), or (H, W, 3) where the channels differ; 1 = observed.

    Raises:
        ValueError: If the sizes differ, or it is not clear which mask or what hole is meant.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391) and Saharia et al. 2021 (arXiv 2111.05826) for the packed files.
    """
    return read(
        path, shape, index=index, name=name, seed=seed, entry=entry, hole=hole, invert=invert, enlarge=enlarge
    ).mask


def read(
    path: str | Path,
    shape: Sequence[int],
    *,
    index: int | None = None,
    name: str | None = None,
    seed: int = 0,
    entry: str | None = None,
    hole: Hole | None = None,
    invert: bool = False,
    enlarge: int = 1,
) -> FileMask:
    """Reads one mask as ``load`` does, and tells what marked the hole and how much is missing."""
    h, w = check_picture_shape("masks.load", shape)
    if index is not None and name is not None:
        raise ValueError(f"masks.load: both index={index} and name={name!r} are given; give one of them.")
    if enlarge < 1 or h % enlarge or w % enlarge:
        raise ValueError(f"masks.load: enlarge is {enlarge} but must divide the picture's {w} x {h} pixels.")
    choice = _Choice(index, name, seed)
    try:
        missing, hole = _read_missing(Path(path), (h // enlarge, w // enlarge), choice, entry, hole)
    except ArrayFileError as error:
        raise ValueError(f"masks.load: {path} cannot be read ({error}). Write it again with numpy.save.") from error
    if (missing == missing[:, :, :1]).all():
        missing = missing[:, :, :1]
    elif len(shape) == 3 and shape[2] == 1:
        raise ValueError(
            f"masks.load: {path} has another mask for each channel but the picture is gray; give one mask."
        )
    mask = (missing == invert).repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    return FileMask(observed(jnp.asarray(mask)), hole, float(1 - mask.mean()))


@dataclass(frozen=True)
class _Choice:
    """Which of a file's masks."""

    index: int | None
    name: str | None
    seed: int


def _read_missing(
    path: Path, size: tuple[int, int], choice: _Choice, entry: str | None, hole: Hole | None
) -> tuple[np.ndarray, Hole | None]:
    """Reads one mask (H, W, 1 or 3), True = missing, and what marked the hole."""
    plain = hole or Hole.BLACK
    if path.suffix not in (".npy", ".npz"):
        marks = _marks_of_picture(path)
        _check_size(path, marks.level.shape[:2], size)
        return missing_pixels(f"masks.load: {path}", marks, plain)
    if path.suffix == ".npy":
        masks = _plain_masks(path, read_npy(path, max_bytes=_MAX_BYTES), size)
    else:
        with open_npz(path, max_bytes=_MAX_BYTES) as file:
            if {"m", "shape"} <= set(file.files):
                _check_packed(path, hole)
                return ~_published_mask(path, file, size, choice), None
            array = file[_choose_entry(path, file.files, entry)]
        if array.ndim == 1 and array.dtype == np.uint8:
            _check_packed(path, hole)
            return ~_palette_mask(path, array, size, choice), None
        masks = _plain_masks(path, array, size)
    _check_size(path, masks.shape[1:3], size)
    mask = masks[_choose_index(path, len(masks), choice)]
    if not np.isfinite(mask).all():
        raise ValueError(f"masks.load: {path} has values that are not finite; a mask has two values, such as 0 and 1.")
    return missing_pixels(f"masks.load: {path}", measured(mask), plain)


def _marks_of_picture(path: Path) -> Marks:
    raw = pictures.read_one(path)
    return measured(raw.values, raw.alpha, joined=True)


def _check_packed(path: Path, hole: Hole | None) -> None:
    if hole not in (None, Hole.AUTO):
        raise ValueError(
            f"masks.load: {path} has packed bits, which say themselves what is missing; leave --hole {hole.value} out "
            "(hole= in Python)."
        )


def _plain_masks(path: Path, array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An array of one or many masks as (n, H, W, 1 or 3)."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"masks.load: {path} has the type {array.dtype}; give numbers or truth values.")
    if not array.size:
        raise ValueError(f"masks.load: {path} has an array of shape {array.shape}, without pixels; give a mask (H, W).")
    if array.ndim == 2:
        return array[None, :, :, None]
    if array.ndim == 3:
        one = array.shape[:2] == size or array.shape[2] in (1, 3)
        return array[None] if one else array[:, :, :, None]
    if array.ndim == 4:
        return array
    raise ValueError(
        f"masks.load: {path} has an array of shape {array.shape} but masks are (H, W), (H, W, 1) or n of them."
    )


def _published_mask(path: Path, file: Any, size: tuple[int, int], choice: _Choice) -> np.ndarray:
    count, length = (int(n) for n in file["shape"])
    if length != 3 * size[0] * size[1]:
        raise ValueError(
            f"masks.load: the masks of {path} have {length // 3} pixels each but {size[1]} x {size[0]} are needed. "
            "Use pictures of that size or other masks."
        )
    bits = np.ravel(file["m"])
    chosen = _choose_index(path, count, choice)
    row = bits[chosen * length :][:length] if bits.size == count * length else _unpack(bits, chosen * length, length)
    return np.moveaxis(row.reshape(3, *size), 0, 2) != 0  # (H, W, 3)


def _palette_mask(path: Path, packed: np.ndarray, size: tuple[int, int], choice: _Choice) -> np.ndarray:
    _check_size(path, (_PALETTE_SIDE, _PALETTE_SIDE), size)
    length = _PALETTE_SIDE**2
    chosen = _choose_index(path, packed.size * 8 // length, choice)
    return _unpack(packed, chosen * length, length).reshape(*size, 1) == 0


def _unpack(packed: np.ndarray, start: int, length: int) -> np.ndarray:
    """Bits start to start + length of packed bytes, most significant bit first."""
    first = start // 8
    bits = np.unpackbits(packed[first : (start + length + 7) // 8].astype(np.uint8))
    return bits[start - 8 * first :][:length]


def _choose_entry(path: Path, entries: list[str], entry: str | None) -> str:
    if entry is None and len(entries) == 1:
        return entries[0]
    if entry not in entries:
        raise ValueError(
            f"masks.load: entry is {entry!r} but {path} has {entries}. Say entry=... with one of these in Python; for "
            "the command line save one alone by numpy.save."
        )
    return entry


def _choose_index(path: Path, count: int, choice: _Choice) -> int:
    index = choice.index
    if choice.name is not None:
        text = choice.name if choice.seed == 0 else f"{choice.name}\n{choice.seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % count
    if index is None and count != 1:
        raise ValueError(
            f"masks.load: {path} has {count} masks. Say which: index=..., or name=... with the picture's name."
        )
    if not 0 <= (index or 0) < count:
        raise ValueError(f"masks.load: index is {index} but {path} has {count} masks, counted from 0.")
    return index or 0


def _check_size(path: Path, found: tuple[int, ...], size: tuple[int, int]) -> None:
    if tuple(found) != size:
        turned = tuple(found) == size[::-1]
        remedy = "It lies on its side: turn it" if turned else "Use pictures of that size or another mask"
        raise ValueError(
            f"masks.load: the mask of {path} has {found[1]} x {found[0]} pixels but {size[1]} x {size[0]} are needed. "
            f"{remedy}."
        )
