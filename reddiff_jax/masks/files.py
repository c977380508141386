"""Reading masks from pictures and from the published files of packed bits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reddiff_jax._checks import check_picture_shape
from reddiff_jax._npz import ArrayFileError, open_npz, read_npy
from reddiff_jax.masks._observed import observed

_PALETTE_SIDE = 256
_MAX_BYTES = 2**32  # of an array: 20,000 masks of 256 x 256 pixels that are not packed


def load(
    path: str | Path,
    shape: Sequence[int],
    *,
    index: int | None = None,
    name: str | None = None,
    seed: int = 0,
    entry: str | None = None,
    invert: bool = False,
    enlarge: int = 1,
) -> Float[Array, "H W #3"]:
    """Reads one mask from a picture, a NumPy array, or a published file of packed masks.

    - A picture: pixels brighter than half of its brightest one are observed.
    - ``.npy`` or ``.npz`` with an array (H, W), (H, W, 1) or (H, W, 3), or n of them: non-zero is observed.
    - ``.npz`` with ``m`` and ``shape``: the published packed bits, (n, 3 H W), channels first, 1 = observed.
    - ``.npz`` with one-dimensional bytes: Palette's packed bits, (n, 256, 256), 1 = missing.

    Args:
        path: The file.
        shape: ``(H, W)`` or ``(H, W, C)`` that the mask must have.
        index: Which of the file's masks.
        name: Instead of ``index``: a picture's name; a hash of it chooses the mask, whatever else is in a list.
        seed: With ``name``: another seed chooses other masks.
        entry: Which array of an ``.npz`` with several, such as ``"20-30% freeform"``.
        invert: Swaps observed and missing.
        enlarge: Each pixel of the file covers this many pixels squared; 2 is the published use of masks of 256 x 256
            pixels for pictures of 512 x 512.

    Returns:
        Mask (H, W, 1), or (H, W, 3) where the channels differ; 1 = observed.

    Raises:
        ValueError: If the sizes differ, or it is not clear which mask is meant.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391) and Saharia et al. 2021 (arXiv 2111.05826) for the packed files.
    """
    h, w = check_picture_shape("masks.load", shape)
    if index is not None and name is not None:
        raise ValueError(f"masks.load: both index={index} and name={name!r} are given; give one of them.")
    if enlarge < 1 or h % enlarge or w % enlarge:
        raise ValueError(f"masks.load: enlarge is {enlarge} but must divide the picture's {h} x {w} pixels.")
    try:
        mask = _read_mask(Path(path), (h // enlarge, w // enlarge), _Choice(index, name, seed), entry)
    except ArrayFileError as error:
        raise ValueError(f"masks.load: {path} cannot be read ({error}). Write it again with numpy.save.") from error
    if (mask == mask[:, :, :1]).all():
        mask = mask[:, :, :1]
    return observed(jnp.asarray((mask != invert).repeat(enlarge, axis=0).repeat(enlarge, axis=1)))


@dataclass(frozen=True)
class _Choice:
    """Which of a file's masks."""

    index: int | None
    name: str | None
    seed: int


def _read_mask(path: Path, size: tuple[int, int], choice: _Choice, entry: str | None) -> np.ndarray:
    """Reads one mask (H, W, 1 or 3), True = observed."""
    if path.suffix not in (".npy", ".npz"):
        masks = _read_picture(path)[None]
    elif path.suffix == ".npy":
        masks = _plain_masks(path, read_npy(path, max_bytes=_MAX_BYTES), size)
    else:
        with open_npz(path, max_bytes=_MAX_BYTES) as file:
            if {"m", "shape"} <= set(file.files):
                return _published_mask(path, file, size, choice)
            array = file[_choose_entry(path, file.files, entry)]
        if array.ndim == 1 and array.dtype == np.uint8:
            return _palette_mask(path, array, size, choice)
        masks = _plain_masks(path, array, size)
    _check_size(path, masks.shape[1:3], size)
    return masks[_choose_index(path, len(masks), choice)] != 0


def _read_picture(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        # Float keeps 16-bit pictures; half of the maximum serves 0/1, 0/255 and lossy files alike.
        grey = np.asarray(
            picture.convert("RGB").convert("F") if picture.mode in ("P", "RGBA") else picture.convert("F")
        )
    return (grey > grey.max() / 2)[:, :, None]


def _plain_masks(path: Path, array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An array of one or many masks as (n, H, W, 1 or 3)."""
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
            f"masks.load: the masks of {path} have {length // 3} pixels each but {size[0]} x {size[1]} are needed. "
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
        raise ValueError(f"masks.load: entry is {entry!r} but {path} has {entries}. Say entry=... with one of these.")
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
        raise ValueError(
            f"masks.load: the mask of {path} has {found[0]} x {found[1]} pixels but {size[0]} x {size[1]} are needed. "
            "Use pictures of that size or another mask."
        )
