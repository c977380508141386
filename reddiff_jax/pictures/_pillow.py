"""Picture files through Pillow: each mode that it knows, exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np

from reddiff_jax.pictures._descriptions import DESCRIPTION, DESCRIPTIONS, is_layout, own_white
from reddiff_jax.pictures.form import FLOAT, Form, PictureError

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _MAX_SAMPLE_VALUE = 258, 262, 274, 281
_SUBFILE, _EXIF, _GPS = 254, 0x8769, 0x8825
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_UNSPECIFIED = 0  # an extra channel that is no alpha
_UNSIGNED, _SIGNED = 1, 2
_EXIF_SIZES = (0xA002, 0xA003)
UNKNOWN_CHANNEL = "it has a channel that is neither a colour nor said to be alpha; save it as gray or RGB without it"
"""The error of such a file: the channel could not go out again."""

WHITE_IS_ZERO = "its 0 is white, and its numbers do not say which is black; save it with black at 0"
"""The error of numbers without a scale that run from white to black."""

_LOW_BYTES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGB;16N": "RGB;16B",  # native order, which is little-endian on all machines that JAX runs on
    "RGBA;16N": "RGBA;16B",
}
"""Pillow keeps the upper byte of two. Read in the other order of bytes, the same numbers give the lower one."""


class PillowFile:
    """A picture file that Pillow has opened, at one of its pages."""

    def __init__(self, image: Any):
        self.image = image
        self.tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
        if _UNSPECIFIED in self.tags.get(_EXTRA_SAMPLES, ()):
            raise PictureError(UNKNOWN_CHANNEL)
        self.tiles = list(image.tile)  # gone once the picture is decoded, which a PNG is when it is asked for its EXIF

    @property
    def raw_modes(self) -> set[str]:
        """How Pillow unpacks the pixels."""
        return {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in self.tiles if tile.args}

    @property
    def deep(self) -> bool:
        """Whether there are several channels of 16 bits, of which Pillow keeps 8."""
        bits = self.tags.get(_BITS_PER_SAMPLE, (8,))
        return self.image.mode in ("RGB", "RGBA") and (max(bits) > 8 or any(";16" in mode for mode in self.raw_modes))

    @property
    def readable(self) -> bool:
        """Whether the numbers come as they are: no bits are lost, and none turns negative or positive."""
        bits, kind = max(self.tags.get(_BITS_PER_SAMPLE, (8,))), max(self.tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
        if (kind == _SIGNED and bits <= 8) or (kind == _UNSIGNED and bits > 16):
            return False
        return not self.deep or self.raw_modes == {"LA;16B"} or self.raw_modes <= set(_LOW_BYTES)

    def form(self) -> Form:
        """What the file is like; the pixels are looked at only where it has a palette."""
        image, mode = self.image, self.image.mode
        width, height = image.size
        # Pillow gives the size of a turned TIFF upright, that of others as it is stored.
        if image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
        integer16 = mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM"))
        bits = 16 if integer16 or self.deep else FLOAT if mode in ("I", "F") else 8
        if bits == FLOAT and self.tags.get(_PHOTOMETRIC) == 0:
            raise PictureError(WHITE_IS_ZERO)
        gray = mode in ("1", "L", "LA", "La", "I", "F") or integer16 or self.raw_modes == {"LA;16B"}
        if mode in ("P", "PA"):
            colours = np.asarray(image.convert("RGB"))
            gray = bool((colours == colours[:, :, :1]).all())
        alpha = mode in ("LA", "La", "RGBA", "RGBa", "PA") or ("transparency" in image.info and bits == 8)
        # What is converted to sRGB leaves its profile behind.
        profile = None if mode in ("CMYK", "LAB", "YCbCr", "HSV") else image.info.get("icc_profile")
        return Form(height, width, bits, gray, alpha, self._white(bits), profile or None, exif_of(image))

    def _white(self, bits: int) -> float | None:
        if bits != 16:
            return 255.0 if bits == 8 else own_white(str(self.tags.get(DESCRIPTION, "")))
        stored = self.tags.get(_BITS_PER_SAMPLE, (16,))
        largest = self.tags.get(_MAX_SAMPLE_VALUE) or 2 ** max(stored) - 1
        return float(max(largest) if isinstance(largest, tuple) else largest)

    def values(self, form: Form) -> tuple[np.ndarray, np.ndarray | None]:
        """The file's numbers (H, W, 1 or 3), upright, and alpha (H, W, 1) in [0, 1] or None."""
        if self.deep:
            array = self._both_bytes()
        else:
            image = _upright(self.image)
            if self.tags.get(_PHOTOMETRIC) == 0 and form.bits == 16:  # 0 is white, which Pillow leaves to us
                array = np.asarray(int(form.white or 0) - np.asarray(image, np.int32), np.uint16)
            else:
                array = _numbers(image, form)
        array = array.reshape(*array.shape[:2], -1)
        if not form.alpha:
            return array, None
        return array[:, :, :-1], array[:, :, -1:].astype(np.float32) / (255 if form.bits == 8 else 65535)

    def _both_bytes(self) -> np.ndarray:
        """The numbers (H, W, C) of 16 bits, by decoding twice."""
        if self.raw_modes == {"LA;16B"}:
            # Four bytes a pixel, as they are in the file: upper and lower byte of gray, upper and lower byte of alpha.
            pairs = self._decoded(lambda mode: "RGBA")
            return pairs[:, :, 0::2].astype(np.uint16) << 8 | pairs[:, :, 1::2]
        return self._decoded(lambda mode: mode).astype(np.uint16) << 8 | self._decoded(_LOW_BYTES.__getitem__)

    def _decoded(self, raw_mode: Callable[[str], str]) -> np.ndarray:
        """The pixels, uint8 and upright, unpacked in another way."""
        from PIL import Image

        with Image.open(self.image.filename) as image:
            if frame := self.image.tell():
                image.seek(frame)
            image.tile = [
                tile._replace(
                    args=raw_mode(args) if isinstance(args := tile.args, str) else (raw_mode(args[0]), *args[1:])
                )
                for tile in self.tiles
            ]
            return np.asarray(_upright(image))


def count_pages(image: Any) -> int:
    """How many pictures a file holds; previews of a TIFF and what phones hang on a JPEG are none."""
    frames = getattr(image, "n_frames", 1)
    if image.format == "MPO":
        return 1
    if image.format != "TIFF" or frames == 1:
        return frames
    return len(find_pages(image, frames))


def find_pages(image: Any, frames: int) -> list[int]:
    """The frames of a TIFF that are pictures, not smaller versions or masks of others."""
    kept = []
    for frame in range(frames):
        image.seek(frame)
        if not int(image.tag_v2.get(_SUBFILE, 0)) & 0b101:
            kept.append(frame)
    image.seek(0)
    return kept


def _upright(image: Any) -> Any:
    """The decoded picture with the camera's rotation applied; Pillow applies that of a TIFF when it decodes."""
    from PIL import ImageOps

    image.load()
    return ImageOps.exif_transpose(image)


def _numbers(image: Any, form: Form) -> np.ndarray:
    mode = image.mode
    if form.bits == 16:
        return np.asarray(image).astype(np.uint16)
    if form.bits == FLOAT:
        return np.asarray(image)
    if mode in ("CMYK", "LAB"):
        return np.asarray(_to_srgb(image))
    if mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr", "HSV"):
        raise PictureError(f"its pixels are of Pillow's mode {mode}; save it as 8-bit or 16-bit gray or RGB")
    wanted = {(False, False): "RGB", (False, True): "RGBA", (True, False): "L", (True, True): "LA"}
    if form.gray and form.alpha and mode in ("P", "PA"):
        image = image.convert("RGBA")  # Pillow has no way from a palette to gray with alpha that keeps both
    return np.asarray(image.convert(wanted[form.gray, form.alpha]))


def _to_srgb(image: Any) -> Any:
    """Inks through their profile, without one by Pillow's formula; CIE Lab through that of D50."""
    import io

    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode == "CMYK" and not profile:
        return image.convert("RGB")
    try:
        lab = image.mode == "LAB"
        source = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError as error:
        raise PictureError(f"its {image.mode} colours cannot be converted ({error}); save it as RGB") from error


def exif_of(image: Any) -> bytes | None:
    """The EXIF data without rotation, sizes and preview."""
    from PIL import Image

    try:
        given = image.getexif()
        kept = Image.Exif()
        for tag, value in given.items():
            own = tag == _ORIENTATION or tag in (_EXIF, _GPS) or (tag == DESCRIPTION and is_layout(value))
            if not own and (image.format != "TIFF" or tag in DESCRIPTIONS):
                kept[tag] = value
        for tag in (_EXIF, _GPS):
            if found := {key: value for key, value in given.get_ifd(tag).items() if key not in _EXIF_SIZES}:
                kept[tag] = found
        return kept.tobytes() if len(kept) else None
    except Exception:
        # Cameras write nearly anything; a picture is not refused for what it says about itself.
        return None
