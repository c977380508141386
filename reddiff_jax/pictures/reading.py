"""The one reader of picture files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax._files import check_file
from reddiff_jax.pictures._pillow import PillowFile, count_pages, find_pages
from reddiff_jax.pictures._tifffile import TiffFile
from reddiff_jax.pictures.arrays import over_white, to_channels, to_float, to_uint8
from reddiff_jax.pictures.form import FLOAT, FORMATS, Form, Picture, PictureError, SeveralPagesError

_DARK = 4096  # a 16-bit picture without larger numbers most likely has 12 bits


@dataclass(frozen=True)
class Raw:
    """A picture file's own numbers.

    Args (fields):
        values: (H, W, 1 or 3), uint8, uint16, or 32 bits.
        alpha: (H, W, 1) float32 in [0, 1], or None.
        form: What the file is like.
    """

    values: np.ndarray
    alpha: np.ndarray | None
    form: Form


def look(path: str | Path, *, page: int | None = None) -> Form:
    """What a picture file is like, without decoding it.

    Args:
        path: The file.
        page: Which page of a file with several, counted from 1.

    Raises:
        PictureError: If it is not a readable picture, or has several pages and none is chosen.
    """
    with _opened(path, page) as file:
        return file.form()


def picture_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture file as it is read, without decoding it.

    Raises:
        PictureError: If it is not a readable picture, or has no scale of its own.
    """
    form = look(path)
    if form.white is None:
        raise PictureError(f"{path} has numbers of {form.bits} bits without a scale; save it with 8 or 16 bits.")
    return form.height, form.width


def read_raw(path: str | Path, *, page: int | None = None) -> Raw:
    """Reads a picture's own numbers, upright; arguments and errors are those of ``look``."""
    with _opened(path, page) as file:
        form = file.form()
        return Raw(*file.values(form), form)


def read_one(path: str | Path) -> Raw:
    """Reads the own numbers of a file that must be one picture, such as a mask or a kernel.

    Raises:
        PictureError: As ``look``, and of several pages without the advice to choose one.
    """
    try:
        return read_raw(path)
    except SeveralPagesError as error:
        raise PictureError(f"{path} has several pages or moves; save the one that is meant alone.") from error


def read(
    path: str | Path, *, channels: int | None = None, white: float | None = None, page: int | None = None
) -> Picture:
    """Reads a picture with all that must come out again.

    The camera's rotation is applied. 8 and 16 bits are kept exactly; inks (CMYK), YCbCr and CIE Lab become sRGB.

    Args:
        path: PNG, JPEG, WebP, BMP or TIFF file.
        channels: 1 (gray: the luma of ITU-R BT.601) or 3 (RGB); as the file has it if None.
        white: The number that is white in files of more than 8 bits that do not say it. 16 bits are 65535 where it is
            None, or where most numbers are above it; numbers of 32 bits, integers or floating-point, have no scale of
            their own.
        page: Which page of a file with several, counted from 1.

    Raises:
        PictureError: If the file is missing, broken, no picture, of several pages or of an unknown scale.
    """
    return _scaled(path, read_raw(path, page=page), channels, white)


def read_picture(
    path: str | Path, *, channels: int | None = 3, white: float | None = None, page: int | None = None
) -> np.ndarray:
    """Reads a picture's pixels as float32 (H, W, channels) in [-1, 1]; transparent ones over white.

    The camera's rotation is applied, and 16 bits are kept. ``write_picture(path, x, like=...)`` writes an image as the
    same kind of file again.

    Args:
        path: PNG, JPEG, WebP, BMP or TIFF file.
        channels: 3 (RGB, a gray picture three times), 1 (gray, the luma of ITU-R BT.601), or None for what the file
            has.
        white: The number that is white in files of more than 8 bits that do not say it: 4095 for 12 bits in 16, 1.0 for
            many floating-point pictures. 16 bits are 65535 where it is None, or where most numbers are above it;
            numbers of 32 bits, integers or floating-point, have no scale of their own.
        page: Which page of a file with several, counted from 1.

    Raises:
        ValueError: If the file is missing, broken, no picture, of several pages or of an unknown scale.
    """
    raw = read_raw(path, page=page)
    if raw.alpha is not None:
        ground = _white(path, raw, white)
        raw = replace(raw, values=over_white(raw.values, raw.alpha, ground), alpha=None)
    return _scaled(path, raw, channels, white).pixels


def read_uint8(path: str | Path, *, channels: int = 3) -> np.ndarray:
    """Reads a picture as uint8 (H, W, channels); transparent pixels over white, deeper pictures rounded to 8 bits.

    Raises:
        PictureError: As ``read``.
    """
    _check_channels(channels)
    raw = read_raw(path)
    if raw.form.bits != 8:
        return to_uint8(read_picture(path, channels=channels))
    values = raw.values if raw.alpha is None else over_white(raw.values, raw.alpha, 255.0)
    return to_channels(values, channels)


def _scaled(path: str | Path, raw: Raw, channels: int | None, white: float | None) -> Picture:
    """The file's numbers with black at -1 and white at 1."""
    if channels is not None:
        _check_channels(channels)
    white = _white(path, raw, white)
    form, values = replace(raw.form, white=white), raw.values
    if channels is not None and form.bits == 8:
        values = to_channels(values, channels)
    x = to_float(values) if form.bits == 8 else values.astype(np.float32) / np.float32(white / 2) - np.float32(1)
    x = x if channels is None else to_channels(x, channels)
    if raw.alpha is not None:
        x = np.where(raw.alpha == 0, np.float32(1), x)
    return Picture(x, raw.alpha, form)


def _white(path: str | Path, raw: Raw, white: float | None) -> float:
    """The number that is white; refuses to guess it."""
    if white is not None and (isinstance(white, bool) or not isinstance(white, Real)):
        raise TypeError(f"white is {white!r} but must be a number, such as 4095.")
    form, values = raw.form, raw.values
    if form.bits == 8:
        return 255.0
    if not np.isfinite(values).all():
        raise PictureError(f"{path} has pixels that are not finite; replace them.")
    low, high = float(values.min()), float(values.max())
    say = "say which number is white: --white {:g} on the command line, white={:g} in Python"
    if white is not None and not (np.isfinite(white) and white > 0):
        raise PictureError(f"white is {white} but must be a finite number above 0.")
    if white is not None and not _says_its_white(form, high):
        # Highlights above white exist; a picture that is mostly above it has another scale.
        if np.median(values) <= white:
            return float(white)
        if form.bits != 16 or high < _DARK:
            raise PictureError(
                f"{path} has numbers from {low:g} to {high:g}, most of them above the white of {white:g}; "
                "name a larger one."
            )
        # The white is that of other files of the folder: these 16 bits have their own.
    if form.white is None:
        guess = 1.0 if 0 < high <= 1 else high if high > 0 else 1.0
        raise PictureError(
            f"{path} has numbers of {FLOAT} bits, from {low:g} to {high:g}, without a scale; "
            f"{say.format(guess, guess)}."
        )
    if form.bits == 16 and form.white == 65535 and 0 < high < _DARK:
        raise PictureError(
            f"{path} has 16 bits but no number above {high:g}, as 12 bits in 16 have; {say.format(4095, 4095)}, "
            "or 65535 if it is that dark."
        )
    if form.bits == 16 and high > form.white:
        raise PictureError(
            f"{path} has numbers up to {high:g}, above the white of {form.white:g} that it names; "
            f"{say.format(high, high)}."
        )
    return form.white


def _says_its_white(form: Form, high: float) -> bool:
    """Whether a file names its white, and does not contradict itself; 65535 says only that there are 16 bits."""
    return form.white is not None and not (form.bits == 16 and form.white == 65535) and high <= form.white


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels} but pictures are read as gray (1) or RGB (3).")


@contextmanager
def _opened(path: str | Path, page: int | None) -> Iterator[PillowFile | TiffFile]:
    """One page of a picture file; everything that can be wrong with it becomes a PictureError of one line."""
    from PIL import Image, UnidentifiedImageError

    if not isinstance(path, str | Path):
        raise TypeError(f"path is of type {type(path).__name__} but must be a picture's file; pixels need no reading.")
    if page is not None and (isinstance(page, bool) or not isinstance(page, Integral)):
        raise TypeError(f"page is {page!r} but must be a whole number, counted from 1.")
    if page is not None and page < 1:
        raise PictureError(f"page is {page} but pages are counted from 1.")
    try:
        check_file(path)
        try:
            with Image.open(path) as image:
                _turn_to(image, page)
                file = PillowFile(image)
                if file.readable:
                    yield file
                    return
        except UnidentifiedImageError:
            if not _is_tiff(path):
                raise
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            pages = [each for each in tiff.pages if not each.is_reduced]  # type: ignore[union-attr]
            yield TiffFile(pages[_chosen(len(pages), page)])
    except PictureError as error:
        message = str(error).rstrip(".")
        raise type(error)(f"{message}." if str(path) in message else f"{path}: {message}.") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{path} cannot be read as a picture; give a {FORMATS} file.") from error
    except FileNotFoundError as error:
        raise PictureError(f"{path} does not exist; check the name.") from error
    except Exception as error:
        # Readers raise nearly anything for a stranger's broken file.
        raise PictureError(f"{path} cannot be read as a picture ({_brief(error)}); give a {FORMATS} file.") from error


def _turn_to(image: Any, page: int | None) -> None:
    chosen = _chosen(count_pages(image), page)
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        chosen = find_pages(image, image.n_frames)[chosen]
    if chosen:
        image.seek(chosen)


def _chosen(count: int, page: int | None) -> int:
    if page is None and count > 1:
        raise SeveralPagesError(
            f"it has {count} pages; choose one with --page (page= in Python), 1 to {count}, or split the file"
        )
    if page is not None and page > count:
        raise PictureError(f"page is {page} but it has {count}")
    return (page or 1) - 1


def _is_tiff(path: str | Path) -> bool:
    with Path(path).open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _brief(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # the path is named already
    return (str(error) or type(error).__name__).splitlines()[0]
