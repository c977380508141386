"""TIFF files that Pillow cannot read without loss: floating-point colours, separate planes of 16 bits."""

from typing import Any

import numpy as np

from reddiff_jax.pictures._descriptions import DESCRIPTIONS, is_layout, own_white
from reddiff_jax.pictures._pillow import UNKNOWN_CHANNEL, WHITE_IS_ZERO
from reddiff_jax.pictures.form import FLOAT, Form, PictureError

_ORIENTATION = 274
_TURNS = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: array.swapaxes(0, 1)[:, ::-1],
    7: lambda array: array.swapaxes(0, 1)[::-1, ::-1],
    8: lambda array: array.swapaxes(0, 1)[::-1],
}


class TiffFile:
    """One page of a TIFF file."""

    def __init__(self, page: Any):
        self.page = page
        self.orientation = int(page.tags.valueof(_ORIENTATION, 1))
        if page.photometric.name not in ("MINISBLACK", "MINISWHITE", "RGB") or page.imagedepth != 1:
            raise PictureError(f"its colours are {page.photometric.name}; save it as gray or RGB")
        # RGB has three channels and gray one, and what follows is alpha or something unknown.
        self.colours = 3 if page.photometric.name == "RGB" else 1
        if page.samplesperpixel not in (self.colours, self.colours + 1):
            raise PictureError(f"it has {page.samplesperpixel} channels; save it as gray or RGB")
        if any(each.name not in ("ASSOCALPHA", "UNASSALPHA") for each in page.extrasamples):
            raise PictureError(UNKNOWN_CHANNEL)

    def form(self) -> Form:
        """What the file is like."""
        page = self.page
        height, width = page.imagelength, page.imagewidth
        if self.orientation in (5, 6, 7, 8):
            height, width = width, height
        bits = {1: 8, 2: 16}.get(page.dtype.itemsize, FLOAT) if page.dtype.kind == "u" else FLOAT
        if bits == FLOAT and page.photometric.name == "MINISWHITE":
            raise PictureError(WHITE_IS_ZERO)
        white = float(2**page.bitspersample - 1) if bits != FLOAT else None
        return Form(
            height,
            width,
            bits,
            gray=self.colours == 1,
            alpha=page.samplesperpixel == self.colours + 1,
            white=own_white(page.description or "") if white is None else white,
            profile=page.tags.valueof(34675),
            exif=self._exif(),
        )

    def _exif(self) -> bytes | None:
        """What describes the picture, as EXIF data."""
        from PIL import Image

        kept = Image.Exif()
        for tag in DESCRIPTIONS:
            value = self.page.tags.valueof(tag)
            if isinstance(value, str) and value and not is_layout(value):
                kept[tag] = value
        return kept.tobytes() if len(kept) else None

    def values(self, form: Form) -> tuple[np.ndarray, np.ndarray | None]:
        """The file's numbers (H, W, 1 or 3), upright, and alpha (H, W, 1) in [0, 1] or None."""
        try:
            array = self.page.asarray()
        except (ValueError, RuntimeError) as error:
            if "imagecodecs" in str(error):
                name = self.page.compression.name
                raise PictureError(
                    f"its compression {name} needs the package imagecodecs; install it, or save without compression"
                ) from error
            raise
        if self.page.samplesperpixel > 1 and self.page.planarconfig.name == "SEPARATE":
            array = np.moveaxis(array, 0, -1)
        array = array.reshape(self.page.imagelength, self.page.imagewidth, -1)
        if self.page.photometric.name == "MINISWHITE":
            array = int(form.white or 0) - array
        if self.orientation in _TURNS:
            array = _TURNS[self.orientation](array)
        if array.dtype.kind != "u":
            array = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
        colours, alpha = array[:, :, : self.colours], array[:, :, self.colours :]
        if not form.alpha:
            return colours, None
        largest = 1.0 if array.dtype.kind == "f" else float(np.iinfo(self.page.dtype).max)
        alpha = np.clip(alpha.astype(np.float32) / largest, 0, 1)
        if self.page.extrasamples and self.page.extrasamples[0].name == "ASSOCALPHA":
            straight = colours / np.maximum(alpha, 1e-6)
            colours = straight if colours.dtype.kind == "f" else np.round(straight).astype(colours.dtype)
        return colours, alpha
