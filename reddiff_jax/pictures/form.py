"""What a picture file is like apart from its pixels, and which files are pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
FORMATS = "PNG, JPEG, WebP, BMP or TIFF"
FLOAT = 32
"""Bits of files whose pixels are floating-point numbers, or integers of 32 bits."""


class PictureError(ValueError):
    """A picture file that cannot be read; the message is one line that says what to do."""


class SeveralPagesError(PictureError):
    """A file with several pages, none of which was chosen."""


@dataclass(frozen=True)
class Form:
    """What a picture file is like, apart from its pixels: what must come out again.

    Args (fields):
        height: Height in pixels, the camera's rotation applied.
        width: Width in pixels.
        bits: 8, 16, or 32 for floating-point numbers and integers of 32 bits.
        gray: Whether it has one channel.
        alpha: Whether it has an alpha channel.
        white: The file's number for white, pixel value 1; None where the file does not say.
        profile: ICC profile of its colours.
        exif: EXIF data without the rotation.
    """

    height: int
    width: int
    bits: int = 8
    gray: bool = False
    alpha: bool = False
    white: float | None = 255.0
    profile: bytes | None = None
    exif: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """A picture file's pixels and its form.

    Args (fields):
        pixels: (H, W, C) float32, black -1 and white 1; white where the picture is fully transparent.
        alpha: (H, W, 1) float32, 0 = transparent, 1 = opaque; None where there is no alpha channel.
        form: What must come out again.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    form: Form


def find_pictures(folder: str | Path) -> list[Path]:
    """All picture files below a folder, sorted by path; a picture file is returned as itself."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
