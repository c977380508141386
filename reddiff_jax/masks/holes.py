"""What marks the hole in a mask that somebody painted."""

import enum
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Bool, Float

from reddiff_jax.pictures import to_channels

PAINT = 1 / 8
"""Part of a pixel that paint must cover for it to count as hole.

Of an antialiased stroke all but the faintest pixels count, and the ringing of a mask saved as JPEG does not.
"""

_UNCLEAR = 0.4  # of smaller share: either may be the hole
_SCATTERED = 0.02  # share of single pixels from which they are no dust
_LABELS = 8  # values that a mask has at most if they are labels; antialiasing and JPEG make more
_EDGE = 3  # pixels from paint within which its faint edge lies
_ROUNDING = 1e-6  # of float32 numbers
_PHOTO = 1 / 3  # share of half-tones that no antialiasing explains


class Hole(enum.Enum):
    """What marks the missing pixels in a mask file."""

    AUTO = "auto"
    """The smaller share: of the transparent and the painted pixels where some are transparent, or else of the dark and
    the bright ones. Where that says nothing it is an error: from 40 to 60 %, or for scattered single pixels."""
    BLACK = "black"
    """What differs from the brightest pixels."""
    WHITE = "white"
    """What differs from black."""
    TRANSPARENT = "transparent"
    """What was erased."""
    PAINT = "paint"
    """What was painted on a transparent layer, in any colour."""


SAID = {
    Hole.BLACK: "black marks the hole",
    Hole.WHITE: "white marks the hole",
    Hole.TRANSPARENT: "transparency marks the hole",
    Hole.PAINT: "paint on a transparent layer marks the hole",
}
"""A sentence for each choice."""

_REMEDY = "say what marks the hole: --hole {} or --hole {} (hole=masks.Hole.{} in Python)"


@dataclass(frozen=True)
class Marks:
    """What is painted in a mask file.

    Args (fields):
        level: (H, W, C), from 0 (black) to 1 (the brightest of the file).
        alpha: (H, W, 1) from 0 (transparent) to 1, or None.
        joined: Whether the channels of a pixel are one colour; if not, each has a mask of its own.
        span: The file's numbers for black and for its brightest.
    """

    level: np.ndarray
    alpha: np.ndarray | None = None
    joined: bool = False
    span: tuple[float, float] = (0.0, 1.0)

    def luma(self) -> np.ndarray:
        """Brightness (H, W, 1) of colours; the level itself (H, W, C) of masks apart."""
        return to_channels(self.level, 1) if self.joined else self.level

    def distance_from_black(self) -> np.ndarray:
        """From 0 to 1, (H, W, 1) or of masks apart (H, W, C)."""
        # By luma, pure blue would be nearly black, and yellow nearly white.
        return self.level.max(axis=2, keepdims=True) if self.joined else self.level

    def distance_from_brightest(self) -> np.ndarray:
        """From 0 to 1, (H, W, 1) or of masks apart (H, W, C)."""
        if not self.joined:
            return 1 - self.level
        # Layers are laid over white; without any, the ground may be coloured paper, which JPEG tints beside paint.
        luma = self.luma()[..., 0]
        coloured = self.alpha is None and self.level.shape[2] > 1
        brightest = np.median(self.level[luma >= (1 - PAINT) * luma.max()], axis=0) if coloured else 1.0
        return np.abs(self.level - brightest).max(axis=2, keepdims=True)


def measured(values: np.ndarray, alpha: np.ndarray | None = None, *, joined: bool = False) -> Marks:
    """What a file's numbers (H, W, C) mark: 0 and 1, 0 and 255, and -1 and 1 are all black and white."""
    values = values.astype(np.float32)
    low, high = min(float(values.min()), 0.0), float(values.max())
    level = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return Marks(level, alpha, joined, (low, high))


def missing_pixels(name: str, marks: Marks, hole: Hole) -> tuple[Bool[np.ndarray, "H W C"], Hole]:
    """Finds the missing pixels.

    Args:
        name: Of the file, for errors.
        marks: What is painted in it.
        hole: What marks the hole.

    Returns:
        Mask with True = missing, and what marked the hole, which ``Hole.AUTO`` decides.

    Raises:
        ValueError: If the file has not what should mark the hole, or it cannot be decided.
    """
    level = marks.luma()
    alpha = np.ones_like(level[:, :, :1]) if marks.alpha is None else marks.alpha
    transparent = bool((alpha < 1 - PAINT).any())  # an alpha channel without holes says nothing
    if hole in (Hole.TRANSPARENT, Hole.PAINT) and not transparent:
        raise ValueError(f"{name} has no transparent pixels; {_REMEDY.format('black', 'white', 'BLACK')}.")
    paint = {
        Hole.BLACK: alpha * marks.distance_from_brightest(),  # over white
        Hole.WHITE: alpha * marks.distance_from_black(),  # over black
        Hole.TRANSPARENT: 1 - alpha,
        Hole.PAINT: alpha,
    }
    if hole is not Hole.AUTO:
        _check_labels(name, marks, paint[hole])
        return paint[hole] > PAINT, hole
    if transparent:
        _check_one_convention(name, level[np.broadcast_to(alpha > 1 - PAINT, level.shape)])
    pair = (Hole.TRANSPARENT, Hole.PAINT) if transparent else (Hole.BLACK, Hole.WHITE)
    remedy = _REMEDY.format(pair[0].value, pair[1].value, pair[0].name)
    halftones = ((level > PAINT) & (level < 1 - PAINT)).mean()
    if not transparent and halftones > _PHOTO:
        raise ValueError(
            f"{name} has {halftones:.0%} half-tones, as photos have; paint the mask in two colours, on a blank or "
            "transparent layer."
        )
    missing = {choice: paint[choice] > PAINT for choice in pair}
    chosen = min(pair, key=lambda choice: missing[choice].mean())
    share = missing[chosen].mean()
    if share > _UNCLEAR:
        raise ValueError(f"{name} may mark its hole either way ({share:.0%} and {1 - share:.0%}); {remedy}.")
    if share > _SCATTERED and are_scattered(missing[chosen]):
        raise ValueError(f"{name} has single pixels, of which either kind may be missing; {remedy}.")
    _check_labels(name, marks, paint[chosen])
    return missing[chosen], chosen


def _check_one_convention(name: str, opaque: np.ndarray) -> None:
    """Refuses black and white paint on a layer of which parts are transparent: either may mark the hole."""
    black, white = opaque < PAINT, opaque > 1 - PAINT
    if black.any() and white.any() and (black | white).mean() > 1 - _PHOTO:
        raise ValueError(
            f"{name} has black, white and transparent pixels; say what marks the hole: --hole black, white, "
            "transparent or paint (hole=masks.Hole.BLACK in Python)."
        )


def _check_labels(name: str, marks: Marks, paint: np.ndarray) -> None:
    """Refuses a mask of few values of which some differ too little from the ground to count as paint.

    Beside paint such values are the faint pixels of an edge; elsewhere they are labels, such as 1 of 0, 1 and 255.
    """
    missing = paint > PAINT
    faint = (paint > _ROUNDING) & ~missing
    if not faint.any() or len(np.unique(paint)) > _LABELS:
        return
    beside = grow((~missing).astype(np.float32), _EDGE) == 0
    if (faint & ~beside).any():
        low, high = marks.span
        values = low + (high - low) * np.unique(marks.luma())[:_LABELS]
        listed = ", ".join(f"{value:.4g}" for value in values.tolist())
        raise ValueError(
            f"{name} has the values {listed}, of which some are nearly the ground's, and not beside paint; give a mask "
            "of two values, such as 0 and 255."
        )


def are_scattered(missing: Bool[Array | np.ndarray, "*batch H W C"]) -> bool:
    """Whether single pixels are missing, not holes.

    The next pixel to the right of a missing one, or below it, is missing, too, with a probability that is the missing
    share where pixels are missing by themselves, and near 1 in holes; the middle of the two divides them.
    """
    pairs = (
        (missing[..., :-1, :, :], missing[..., 1:, :, :]),  # a pixel and the one below it
        (missing[..., :, :-1, :], missing[..., :, 1:, :]),  # a pixel and the one to its right
    )
    with_neighbour = sum(int(first.sum()) for first, _ in pairs)
    both = sum(int((first & second).sum()) for first, second in pairs)
    return with_neighbour == 0 or bool(both / with_neighbour < (1 + missing.mean()) / 2)


def grow(mask: Float[Array | np.ndarray, "H W C"], pixels: float) -> Float[np.ndarray, "H W C"]:
    """Grows the holes of a mask: pixels nearer to a hole than ``pixels`` are missing, too.

    Antialiased strokes and JPEG leave traces of a hole's colour around it, which a solver would keep as a thin line.

    Args:
        mask: 1 = observed, 0 = missing.
        pixels: Radius in pixels, at least 0.

    Raises:
        ValueError: For a negative radius.
    """
    if not pixels >= 0:
        raise ValueError(f"masks.grow: pixels is {pixels} but must be at least 0.")
    mask = np.asarray(mask)
    missing, reach = mask == 0, int(pixels)
    grown = missing.copy()
    h, w = missing.shape[:2]
    sums = np.pad(np.cumsum(missing, axis=1, dtype=np.int32), ((0, 0), (1, 0), (0, 0)))
    for down in range(-reach, reach + 1):
        # How far the disc reaches to the sides, this many rows below its middle.
        side = int((pixels**2 - down**2) ** 0.5)
        right, left = np.minimum(np.arange(w) + side + 1, w), np.maximum(np.arange(w) - side, 0)
        row = sums[:, right] > sums[:, left]
        if abs(down) < h:
            grown[max(0, down) : h + min(0, down)] |= row[max(0, -down) : h + min(0, -down)]
    return np.where(grown, 0, mask).astype(mask.dtype)
