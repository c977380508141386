"""A picture, a mask or a kernel in memory, as the file that a job reads."""

from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import pictures
from reddiff_jax._checks import describe
from reddiff_jax._ranges import warn_of_image
from reddiff_jax.masks import Hole
from reddiff_jax.pictures._pillow import exif_of

_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_OF_TIFF = ("CMYK", "LAB", "YCbCr", "I", "F")
# Pillow writes no file of these; the other mode holds the same pixels.
_SAME = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA", "RGBX": "RGB", "HSV": "RGB"}
_OF_16_BITS = ("I;16L", "I;16B", "I;16N")


def is_pil(value: Any) -> bool:
    """Whether it is a PIL image, without importing PIL."""
    return hasattr(value, "save") and hasattr(value, "mode")


def picture_file(picture: Any, path: Path, *, white: float | None, page: int | None) -> tuple[Path, float | None]:
    """A file with the picture, and the number that is white in it where it must be said.

    Args:
        picture: A file, a PIL image, or an array.
        path: Where one in memory goes; without suffix.
        white: The number that is white, as the user says it.
        page: Which page of a file.

    Raises:
        ValueError: In one line, for what is no picture.
    """
    if isinstance(picture, str | Path):
        return _one_file(picture, "picture"), white
    if page is not None:
        raise ValueError(f"restore: page is {page} but only files have pages; leave page out.")
    if is_pil(picture):
        return _pil_file(picture, path, "picture"), white
    if white is not None:
        raise ValueError(
            f"restore: white is {white} but arrays are uint8, or floating-point in [-1, 1]; convert the array, and "
            "leave white out."
        )
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        what = f"has shape {array.shape}" if array.ndim else f"is {describe(picture)}"
        raise ValueError(
            f"restore: picture {what} but must be a file, a PIL image, or an array (H, W), (H, W, 1) or (H, W, 3); "
            "call restore for each picture of a batch."
        )
    if not array.size:
        raise ValueError(f"restore: picture has shape {array.shape} but must have pixels; was it cropped to nothing?")
    pixels = array.reshape(*array.shape[:2], -1)
    if array.dtype == np.uint8:
        pictures.write_picture(path.with_suffix(".png"), pictures.to_float(pixels))
        return path.with_suffix(".png"), None
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"restore: picture has type {array.dtype} but must be uint8, or floating-point in [-1, 1]; convert it, "
            "such as by x / 32767.5 - 1 for 16 bits."
        )
    _check_pixels(array)
    pictures.write_picture(path.with_suffix(".tif"), pixels, bits=pictures.FLOAT)
    return path.with_suffix(".tif"), 1.0


def mask_file(mask: Any, path: Path, hole: Hole | None) -> Path:
    """A file with the mask; an array must be what masks are here.

    Args:
        mask: A file, a PIL image, or an array of 0 and 1.
        path: Where one in memory goes; without suffix.
        hole: What marks the hole, as the user says it.

    Raises:
        ValueError: In one line, for what is no mask.
    """
    if isinstance(mask, str | Path):
        return Path(mask)
    if is_pil(mask):
        return _pil_file(mask, path, "mask")
    array = np.asarray(mask)
    if array.dtype != bool and not np.issubdtype(array.dtype, np.number):
        raise ValueError(
            f"restore: mask is {describe(mask)} but must be a file, a PIL image, or an array (H, W) of 0 (missing) and "
            "1 (observed)."
        )
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"restore: mask has shape {array.shape} but must be (H, W) as the picture.")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"restore: mask has values from {array.min():g} to {array.max():g} but must be of 0 (missing) and 1 "
            "(observed); compare it, such as by mask > 0.5."
        )
    array = array.astype(np.float32)
    if array.min() == array.max():
        raise ValueError(
            f"restore: mask is {array.min():g} everywhere but must be 0 where pixels are missing and 1 where they were "
            "observed."
        )
    if hole is None and array.mean() < 0.5:
        raise ValueError(
            f"restore: mask has {1 - array.mean():.0%} of 0, which is missing; give 1 - mask if 1 marks the hole, or "
            "hole=rd.masks.Hole.BLACK if so much is missing."
        )
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def kernel_file(kernel: Any, path: Path) -> str | Path:
    """A file with the kernel, or the words that describe it.

    Raises:
        ValueError: In one line, for what is no kernel.
    """
    if isinstance(kernel, str | Path):
        return kernel
    array = np.asarray(kernel)
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(
            f"restore: kernel is {describe(kernel)} but must be a file, an array (h, w), or words like 'gaussian:2.5'."
        )
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def _one_file(given: str | Path, name: str) -> Path:
    if not str(given):
        raise ValueError(f"restore: {name} is '' but must be a file's name.")
    path = Path(given)
    if path.is_dir():
        raise ValueError(
            f"restore: {name} is the folder {path} but must be one file; `reddiff-jax restore` takes folders."
        )
    return path


def _pil_file(image: Any, path: Path, name: str) -> Path:
    """A file with the pixels of a PIL image, upright, its EXIF data and its colour profile."""
    from PIL import Image, ImageOps

    if 0 in image.size:
        raise ValueError(f"restore: {name} has {image.width} x {image.height} pixels; was it cropped to nothing?")
    image.load()
    exif, profile, mode = exif_of(image), image.info.get("icc_profile"), image.mode
    image = ImageOps.exif_transpose(image)
    if mode in _SAME:
        image = image.convert(_SAME[mode])
    elif mode in _OF_16_BITS:
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
    elif mode not in (*_OF_PNG, *_OF_TIFF):
        raise ValueError(f"restore: {name} has Pillow's mode {mode}; convert it, such as by {name}.convert('RGB').")
    path = path.with_suffix(".tif" if image.mode in _OF_TIFF else ".png")
    options = {"exif": exif, "icc_profile": profile}
    image.save(path, **{option: value for option, value in options.items() if value})
    return path


def _check_pixels(array: np.ndarray) -> None:
    """Raises ValueError for floating-point pixels that are none, and warns of those that look like [0, 1]."""
    if not (finite := np.isfinite(array)).all():
        raise ValueError(
            f"restore: {array.size - int(finite.sum())} of the {array.size} values of picture are not finite; replace "
            "them, and where they are missing hide them by a mask that is 0 there (task='inpaint')."
        )
    if np.quantile(np.abs(array), 0.98) > pictures.FAR:
        raise ValueError(
            f"restore: picture has values from {array.min():.3g} to {array.max():.3g} but floating-point pixels are in "
            "[-1, 1], black to white; convert it, such as by x / 127.5 - 1 from [0, 255]."
        )
    warn_of_image(array, "picture", stacklevel=7)
