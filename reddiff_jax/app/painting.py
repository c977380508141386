"""Strokes that were painted over a picture, as a mask."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def hole_of(layers: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray | None:
    """The pixels that any layer covers, even a little; None if nothing was painted.

    Args:
        layers: RGBA, uint8 (h, w, 4), all painted over the same picture, which may have been shown smaller.
        size: Height and width of the picture itself.

    Returns:
        Boolean (H, W), True where the picture is to be filled in.
    """
    from PIL import Image

    height, width = size
    hole = np.zeros(size, bool)
    for layer in layers:
        covered = Image.fromarray(np.uint8(255) * (np.asarray(layer)[..., 3] > 0))
        if covered.size != (width, height):
            covered = covered.resize((width, height), Image.Resampling.BILINEAR)
        hole |= np.asarray(covered) > 0
    return hole if hole.any() else None


def write_mask(path: Path, hole: np.ndarray) -> None:
    """Writes a hole as a picture in which it is white."""
    from PIL import Image

    Image.fromarray(np.uint8(255) * hole).save(path)
