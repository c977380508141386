"""What TIFF files say about a picture in words, and what such words say about the file only."""

import re

# Of a TIFF's tags, which describe the picture and not how the file stores it: description, make, model, date, artist,
# copyright.
DESCRIPTION = 270
DESCRIPTIONS = (DESCRIPTION, 271, 272, 306, 315, 33432)

OWN_WHITE = "reddiff-jax white="
"""What the description of our own floating-point TIFFs says before the number that is white."""

# How tifffile, ImageJ and OME note the layout of a file's arrays, which is not that of a file written from it.
_LAYOUTS = (OWN_WHITE, '{"shape":', "ImageJ=", "<?xml", "<OME")


def own_white(description: str) -> float | None:
    """The number that is white in a floating-point TIFF of ours; None for other files."""
    found = re.match(re.escape(OWN_WHITE) + r"([0-9.e+-]+)", description)
    return float(found[1]) if found else None


def is_layout(text: object) -> bool:
    """Whether words describe how a file stores its numbers, so that they must not go into another one."""
    return isinstance(text, str) and text.lstrip().startswith(_LAYOUTS)
