"""Tiles for a picture and a network: the fewest multiply-adds under a bound of memory."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reddiff_jax.nets import multiply_adds
from reddiff_jax.priors import NetPrior, Prior, tiled

# Measured on photos at sigma 0.05 to 2 (the bundled prior, 384^2 in four tiles): from 16 shared pixels to 128, tiles
# predict the photo as well as the whole does, within 0.3 %.
_STRIDES_SHARED = 4  # what a residual block of the coarsest level sees
_SHARED = 64  # of what is no network of ours
_LEAST = 3  # side of a tile, in units of what is shared: less would be all ramp


@dataclass(frozen=True)
class Tiles:
    """Tiles that cover a picture, in pixels."""

    size: tuple[int, int]  # height and width
    overlap: int  # that neighbours share at least
    count: int

    @property
    def pixels(self) -> int:
        """What is computed in all."""
        return self.count * math.prod(self.size)


def choose_tiles(
    shape: Sequence[int], most_pixels: int, *, overlap: int, stride: int = 1, attention: float = 0.0
) -> Tiles:
    """The tiles of one size that cover a picture with the least work.

    A tile of P pixels costs ``P + attention P^2``.

    Args:
        shape: Height and width of the picture; further numbers play no part.
        most_pixels: Largest area of a tile, to which memory is in proportion.
        overlap: Pixels that neighbours share; less where a quarter of a square tile is less.
        stride: What must divide the sides of a tile that is not as long as the picture.
        attention: Cost of attention between the pixels of a tile, 1 / pixel.

    Returns:
        The tiles; of equal work the fewest.

    Raises:
        ValueError: If no tile of at least ``stride`` a side is as small as the bound.
    """
    overlap = min(overlap, math.isqrt(most_pixels) // 4)
    found = [
        Tiles((height, width), overlap, rows * columns)
        for rows, height in _divisions(shape[0], overlap, stride)
        for columns, width in _divisions(shape[1], overlap, stride)
        if height * width <= most_pixels
    ]
    if not found:
        raise ValueError(f"most_pixels is {most_pixels} but tiles of {stride} x {stride} are needed; take more.")

    def work(tiles: Tiles) -> tuple[float, int]:
        return tiles.pixels * (1 + attention * math.prod(tiles.size)), tiles.count

    return min(found, key=work)


def in_tiles(prior: Prior, shape: Sequence[int], most_pixels: int) -> Prior:
    """The prior of pictures of a shape (H, W, C), in tiles of at most so many pixels that suit its network."""
    if shape[0] * shape[1] <= most_pixels:
        return prior
    net = _net_of(prior)
    if net is None:
        chosen = choose_tiles(shape, most_pixels, overlap=_SHARED)
    else:
        shared = _STRIDES_SHARED * net.stride
        chosen = choose_tiles(shape, most_pixels, overlap=shared, stride=net.stride, attention=attention_per_pixel(net))
    return tiled(prior, chosen.size, chosen.overlap)


def attention_per_pixel(net: Any) -> float:
    """The ratio b / a of a network whose multiply-adds are ``a P + b P^2`` for P pixels; 0 without attention."""
    sides = 16 * net.stride, 32 * net.stride
    (low, high), (few, many) = (multiply_adds(net, side) / side**2 for side in sides), (side**2 for side in sides)
    slope = (high - low) / (many - few)
    # What does not depend on the pixels, such as the embedding of time, makes it negative without attention.
    return max(0.0, slope / (low - slope * few))


def _net_of(prior: Any) -> Any:
    """The network of a prior, or of the one that it wraps; None if there is none of ours."""
    while not isinstance(prior, NetPrior):
        prior = getattr(prior, "prior", None)
        if prior is None:
            return None
    return prior.net if hasattr(prior.net, "stride") else None


def _divisions(length: int, overlap: int, stride: int) -> Iterator[tuple[int, int]]:
    """Numbers of tiles along a side, and their length: that of the side, or a multiple of the stride below it."""
    yield 1, length
    for count in range(2, length):
        size = -(-(length + (count - 1) * overlap) // count)
        size = -(-size // stride) * stride
        if size < max(_LEAST * overlap, stride):
            return
        if size < length:
            yield count, size
