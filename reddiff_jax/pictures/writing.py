"""The one writer of picture files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax._files import replacing
from reddiff_jax.pictures import _png16
from reddiff_jax.pictures._descriptions import DESCRIPTION, DESCRIPTIONS, OWN_WHITE
from reddiff_jax.pictures.arrays import resize, to_uint8
from reddiff_jax.pictures.form import FLOAT, SUFFIXES, Form, Picture
from reddiff_jax.pictures.reading import read

_TIFF = (".tif", ".tiff")
FAR = 4.0  # beyond the range of a picture with much noise
_MOST = 0.9  # of a picture's values: in [0, 255] at least a tenth are above 4


def write_picture(
    path: str | Path,
    x: np.ndarray,
    *,
    like: Picture | str | Path | None = None,
    bits: int | None = None,
    text: Mapping[str, str] | None = None,
) -> None:
    """Writes an image (H, W, 1 or 3) in [-1, 1] as a picture: black is -1, white 1.

    Values outside the range are cut and rounded to whole numbers, but of a floating-point picture. The file appears
    only when complete.

    Args:
        path: File to write; its suffix sets the format. 16 bits need .png or .tif, floating-point numbers .tif.
        x: The image.
        like: A picture that came in, or its file: bits, white, alpha (resized where the sizes differ), colour profile
            and EXIF are taken from it. If it is gray, an image of three channels is written gray, as their mean: the
            nearest gray image.
        bits: 8, 16, or 32 for floating-point numbers; those of ``like``, or 8, if None.
        text: Words for the metadata of a PNG, by keyword.

    Raises:
        ValueError: If x is no image in that range, or the format is unknown or cannot hold what is asked for.
        TypeError: If ``like`` is something else.
        FileNotFoundError: If the folder is missing.
        PictureError: If ``like`` cannot be read.
    """
    path, x = Path(path), _checked(x)
    _check_place(path)
    if isinstance(like, str | Path):
        like = read(like)
    if not isinstance(like, Picture | None):
        raise TypeError(
            f"write_picture: like is of type {type(like).__name__} but must be a picture's file, or what pictures.read "
            "gives; leave it out if there is none."
        )
    form = Form(*x.shape[:2]) if like is None else like.form
    bits = form.bits if bits is None else bits
    _check_bits(path, bits)
    if like is not None and form.gray:
        x = x.mean(axis=2, keepdims=True)
    gray = x.shape[2] == 1
    alpha = None if like is None or like.alpha is None else _resized_alpha(like.alpha, (x.shape[0], x.shape[1]))
    # A profile of RGB says nothing about gray numbers, nor the reverse.
    profile = form.profile if form.gray == gray else None
    with replacing(path) as partial:
        if bits == 8:
            _write_8_bits(partial, path.suffix.lower(), to_uint8(x), alpha, profile, form.exif, text)
        elif bits == FLOAT:
            white = form.white if form.bits == FLOAT and form.white else 1.0
            _write_tiff(partial, np.float32(white / 2) * (x + 1), alpha, profile, form.exif, white)
        else:
            white = form.white if form.bits == 16 and form.white else 65535.0
            array = np.round((np.clip(x, -1, 1).astype(np.float64) + 1) * (white / 2)).astype(np.uint16)
            if path.suffix.lower() in _TIFF:
                _write_tiff(partial, array, alpha, profile, form.exif, None)
            else:
                channels = [array] if alpha is None else [array, np.round(alpha * 65535).astype(np.uint16)]
                partial.write_bytes(
                    _png16.encode(np.concatenate(channels, axis=2), profile=profile, exif=form.exif, text=text)
                )


def _checked(x: Any) -> np.ndarray:
    """The image as float32, if it is one in the range of pictures."""
    given = np.asarray(x)
    if given.dtype.kind not in "fV":  # V: bfloat16, which NumPy does not know
        remedy = "pictures.to_float(x) converts uint8" if given.dtype == np.uint8 else "convert it"
        raise ValueError(
            f"write_picture: x has type {given.dtype} but must be floating-point in [-1, 1], black to white; {remedy}."
        )
    x = given.astype(np.float32)
    if x.ndim != 3 or x.shape[2] not in (1, 3) or not x.size:
        raise ValueError(f"write_picture: x has shape {x.shape} but one image is (H, W, 1) or (H, W, 3).")
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        raise ValueError("write_picture: x has values that are not finite; replace them, such as by numpy.nan_to_num.")
    # Single values are far out in noisy measurements; those of a picture in [0, 255] nearly all are.
    if max(-low, high) > FAR and np.quantile(np.abs(x), _MOST) > FAR:
        raise ValueError(
            f"write_picture: x has values from {low:.3g} to {high:.3g} but pixels are in [-1, 1], black to white; "
            "convert it, such as by x / 127.5 - 1 from [0, 255]."
        )
    return x


def _check_place(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"write_picture: {path} has {f'the suffix {path.suffix}' if path.suffix else 'no suffix'}; name it "
            f"{', '.join(sorted(SUFFIXES))}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"write_picture: the folder {path.parent} does not exist; make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"write_picture: {path} is a folder; choose another name.")


def _check_bits(path: Path, bits: int) -> None:
    suffix = path.suffix.lower()
    if bits not in (8, 16, FLOAT):
        raise ValueError(f"bits is {bits!r} but must be 8, 16, or {FLOAT} for floating-point numbers.")
    if bits == FLOAT and suffix not in _TIFF:
        raise ValueError(f"{path} cannot hold floating-point numbers; name it .tif, or say bits=8 or bits=16.")
    if bits == 16 and suffix not in (".png", *_TIFF):
        raise ValueError(f"{path} cannot hold 16 bits; name it .png or .tif, or say bits=8.")


def _resized_alpha(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return alpha if alpha.shape[:2] == size else np.clip(resize(alpha, size), 0, 1)


def _write_8_bits(
    path: Path,
    suffix: str,
    array: np.ndarray,
    alpha: np.ndarray | None,
    profile: bytes | None,
    exif: bytes | None,
    text: Mapping[str, str] | None,
) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if alpha is not None and suffix not in (".jpg", ".jpeg", ".bmp"):
        array = np.concatenate([array, np.round(alpha * 255).astype(np.uint8)], axis=2)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    options: dict[str, Any] = {}
    if text:
        options["pnginfo"] = PngInfo()
        for keyword, words in text.items():
            options["pnginfo"].add_text(keyword, words)
    if profile and suffix != ".bmp":
        options["icc_profile"] = profile
    if exif and suffix != ".bmp":
        options["exif"] = exif
    image.save(path, format=Image.registered_extensions().get(suffix, "PNG"), **options)


def _write_tiff(
    path: Path,
    array: np.ndarray,
    alpha: np.ndarray | None,
    profile: bytes | None,
    exif: bytes | None,
    white: float | None,
) -> None:
    import tifffile

    options: dict[str, Any] = {"photometric": "minisblack" if array.shape[2] == 1 else "rgb"}
    if alpha is not None:
        alpha = alpha.astype(np.float32) if white is not None else np.round(alpha * 65535).astype(np.uint16)
        array = np.concatenate([array, alpha], axis=2)
        options |= {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    elif array.shape[2] == 1:
        array = array[:, :, 0]
    said = _descriptions(exif)
    description = said.pop(DESCRIPTION, None)
    if white is not None:  # numbers without a scale could not be read again
        description = f"{OWN_WHITE}{white:g}"
    tags = [(tag, "s", 0, text, True) for tag, text in said.items()]
    tifffile.imwrite(
        path,
        array,
        iccprofile=profile,
        description=description,
        metadata=None,
        software=False,
        extratags=tags,
        **options,
    )


def _descriptions(exif: bytes | None) -> dict[int, str]:
    """What EXIF data says in words about a picture; tifffile writes no more of it."""
    from PIL import Image

    if exif is None:
        return {}
    found = Image.Exif()
    found.load(exif)
    # A TIFF's texts are ASCII.
    return {tag: str(found[tag]).encode("ascii", "replace").decode() for tag in DESCRIPTIONS if tag in found}
