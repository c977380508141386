"""Picture files to arrays in [-1, 1] and back."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reddiff_jax._files import replacing

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
ROUNDING_SIGMA = 0.0023  # standard deviation of rounding to 8 bits, 2 / 255 / sqrt(12), of pixels in [-1, 1]
_ORIENTATION = 0x0112  # of EXIF; 5 to 8 swap height and width


class PictureError(ValueError):
    """A picture file that cannot be read."""


def find_pictures(folder: str | Path) -> list[Path]:
    """All picture files below a folder, sorted by path; a picture file is returned as itself."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def picture_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture file as ``read_uint8`` gives it, without decoding it.

    Raises:
        PictureError: If it is not a readable picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} cannot be read as a picture ({_brief(error)}).") from error


def read_uint8(path: str | Path, *, channels: int = 3) -> np.ndarray:
    """Reads a picture as uint8 (H, W, channels); transparent pixels over white, 16-bit pictures cut to 8.

    Raises:
        PictureError: If the file is missing, broken or no picture.
    """
    from PIL import Image, ImageOps

    if channels not in (1, 3):
        raise ValueError(f"channels is {channels} but pictures are read as gray (1) or RGB (3).")
    try:
        with Image.open(path) as source:
            image = ImageOps.exif_transpose(source)
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} cannot be read as a picture ({_brief(error)}).") from error
    return array.reshape(*array.shape[:2], channels)


def read_picture(path: str | Path, *, channels: int = 3) -> np.ndarray:
    """Reads a picture as float32 (H, W, channels) in [-1, 1]."""
    return to_float(read_uint8(path, channels=channels))


def write_picture(path: str | Path, x: np.ndarray, *, text: Mapping[str, str] | None = None) -> None:
    """Writes an image (H, W, 1 or 3) in [-1, 1] as a picture; values outside are cut, then rounded to 8 bit.

    The file appears only when complete.

    Args:
        path: File to write; its suffix sets the format.
        x: The image.
        text: Words for the metadata of a PNG, by keyword.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path = Path(path)
    array = to_uint8(x)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    options = {}
    if text:
        options["pnginfo"] = PngInfo()
        for keyword, words in text.items():
            options["pnginfo"].add_text(keyword, words)
    with replacing(path) as partial:
        image.save(partial, format=Image.registered_extensions().get(path.suffix.lower(), "PNG"), **options)


def to_float(array: np.ndarray) -> np.ndarray:
    """uint8 pixels to float32 in [-1, 1]."""
    return array.astype(np.float32) / 127.5 - 1.0


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Pixels in [-1, 1] to uint8, cut to the range and rounded."""
    return np.round((np.clip(np.asarray(x, np.float32), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def center_crop(array: np.ndarray, size: int) -> np.ndarray:
    """Centre square of the picture, reduced by an antialiased filter to size x size pixels (uint8 in and out)."""
    from PIL import Image

    side = min(array.shape[:2])
    if side < size:
        raise ValueError(f"a picture of {array.shape[1]} x {array.shape[0]} pixels has no {size} x {size} crop.")
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    square = array[top : top + side, left : left + side]
    image = Image.fromarray(square[..., 0] if square.shape[-1] == 1 else square)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS)).reshape(size, size, array.shape[-1])


def shrink(x: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 1 or 3) in [-1, 1], reduced until its longer side has at most ``side`` pixels."""
    from PIL import Image

    factor = side / max(x.shape[:2])
    if factor >= 1:
        return x
    width, height = (max(1, round(factor * length)) for length in (x.shape[1], x.shape[0]))
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX))
        for plane in np.moveaxis(np.asarray(x, np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)


def _brief(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
