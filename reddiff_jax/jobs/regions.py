"""Regions: where little of a picture is missing, only windows around the holes are restored.

A window is a picture of its own, an item of a batch among others; all windows of a picture have one size. Of what it
gives only the hole's pixels are pasted, so that every pixel that was seen comes back bit for bit.

A hole that fits is whole within a window, with a margin of what was seen around it, the wider the hole the wider. A
long scratch is cut into pieces: it is narrow, so that each piece sees both of its banks; where windows overlap, their
results are blended.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.options import Options
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.tasks import Arrays

# Measured on photos (benchmarks/regions.py): wider margins gain less than 0.1 dB in the hole.
_MARGIN = 8  # least pixels seen around a hole, and pixels over which windows are blended
_MARGIN_PER_DEPTH = 1.5  # margin of wide holes, in units of the distance from their middle to what was seen
_PIECE_PER_DEPTH = 4  # least length of a piece of a hole that is cut
_SIDES = (48, 64, 96, 128, 192, 256, 384, 512)  # few, so that few programs are compiled
_WORTHWHILE = 0.7  # largest share of a whole picture's pixels that windows may have

_MOST_NOISE = 2 * pictures.ROUNDING_SIGMA
"""Noise that is left where it was seen: what is above is to be removed from all of the picture."""

_MOST_ESTIMATED = 0.03
"""The same where nobody asked for noise to be removed: most photos saved as JPEG look like less."""


@dataclass(frozen=True)
class Region:
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part (height, width, ...) of an array (H, W, ...)."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]

    def header(self, header: Header) -> Header:
        """The header of the part's measurement, where entry (i, j) depends on pixel (i, j) alone."""
        size = self.height, self.width
        if size == header.in_shape[:2]:
            return header
        shapes = tuple((name, (*size, *shape[2:])) for name, shape in header.array_shapes)
        y_shape, in_shape = (*size, header.y_shape[2]), (*size, header.in_shape[2])
        return replace(header, y_shape=y_shape, in_shape=in_shape, array_shapes=shapes)

    def measured(self, measurement: Measurement) -> Measurement:
        """The part's measurement."""
        header = self.header(measurement.header)
        if header == measurement.header:
            return measurement
        return Measurement(
            header, self.of(measurement.y), {name: self.of(array) for name, array in measurement.arrays.items()}
        )


@dataclass
class _Hole:
    """Connected pixels that are missing."""

    rows: np.ndarray  # (N,)
    columns: np.ndarray  # (N,)
    depth: float  # largest distance to what was seen

    @property
    def margin(self) -> int:
        return max(_MARGIN, round(_MARGIN_PER_DEPTH * self.depth))

    def pieces(self, side: int) -> list[tuple[int, int, int, int]] | None:
        """Boxes (top, left, bottom, right) with their margins, for windows of a side; None if it cannot be cut so."""
        core = side - 2 * self.margin
        if max(np.ptp(self.rows), np.ptp(self.columns)) < core:
            return [self._box(np.full(self.rows.size, True))]
        if core < _PIECE_PER_DEPTH * self.depth:
            return None
        places, boxes, left = (self.rows, self.columns), [], np.full(self.rows.size, True)
        while left.any():
            # Along its longer side: a piece of a slanting scratch is then no longer across than along.
            along, across = sorted(places, key=lambda place: -np.ptp(place[left]))
            band = left & (along < along[left].min() + core)
            piece = band & (across < across[band].min() + core)
            boxes.append(self._box(piece))
            left &= ~piece
        return boxes

    def _box(self, chosen: np.ndarray) -> tuple[int, int, int, int]:
        rows, columns, margin = self.rows[chosen], self.columns[chosen], self.margin
        return rows.min() - margin, columns.min() - margin, rows.max() + 1 + margin, columns.max() + 1 + margin


def whole(shape: Sequence[int]) -> Region:
    """All of a picture."""
    return Region(0, 0, shape[0], shape[1])


def regions_of(options: Options, item: Item, header: Header, arrays: Arrays) -> tuple[bool, tuple[Region, ...]]:
    """Whether seen pixels come back as they came, and what is restored of a picture of which some are missing."""
    all_of_it = whole(header.in_shape)
    if item.path.suffix == measurements.SUFFIX or tasks.by_name(header.task).needs != "mask":
        return False, (all_of_it,)
    if header.sigma > (_MOST_ESTIMATED if options.sigma is None else _MOST_NOISE):
        return False, (all_of_it,)
    if options.exact_sizes:
        return True, (all_of_it,)
    return True, find_regions(np.asarray(arrays["mask"]), options.tile)


def find_regions(mask: np.ndarray, most: int = _SIDES[-1]) -> tuple[Region, ...]:
    """Windows of one size that hold all missing pixels; all of the picture where windows would not spare much.

    Args:
        mask: (H, W, 1 or C), 0 = missing in that channel.
        most: Largest side of a window.
    """
    missing = ~(np.asarray(mask) != 0).all(axis=-1)
    all_of_it = whole(missing.shape)
    if not missing.any() or _share_of_cells(missing) > _WORTHWHILE:
        return (all_of_it,)
    holes = _holes(missing)
    best: tuple[Region, ...] = (all_of_it,)
    fewest = _WORTHWHILE * missing.size
    for side in _SIDES:
        if side > most or side > max(missing.shape):
            break
        regions = _cover(holes, side, missing.shape)
        if regions is not None and (pixels := sum(region.height * region.width for region in regions)) < fewest:
            best, fewest = regions, pixels
    return best


def pasted(y: np.ndarray, mask: np.ndarray, regions: Sequence[Region], xs: Sequence[np.ndarray]) -> np.ndarray:
    """The picture whose missing pixels are those of the windows, and whose other pixels are those of ``y``.

    Args:
        y: (H, W, C).
        mask: (H, W, 1 or C), 0 = missing.
        regions: The windows, which hold all that is missing.
        xs: Their restorations, (height, width, C) each.
    """
    sums, weights = np.zeros(y.shape, np.float32), np.zeros((*y.shape[:2], 1), np.float32)
    for region, x in zip(regions, xs, strict=True):
        weight = _weight(region, y.shape)
        part = region.of(sums)
        part += weight * x
        part = region.of(weights)
        part += weight
    return np.where(mask != 0, y, sums / np.maximum(weights, np.finfo(np.float32).tiny))


def _weight(region: Region, shape: Sequence[int]) -> np.ndarray:
    """One inside, falling to nearly zero at half a margin from a window's edge that is not the picture's, (h, w, 1)."""
    ramps = []
    for start, length, size in ((region.top, region.height, shape[0]), (region.left, region.width, shape[1])):
        there, back = np.arange(length), np.arange(length)[::-1]
        distance = np.minimum(
            there if start > 0 else np.full(length, length), back if start + length < size else np.full(length, length)
        )
        ramps.append(np.clip(2 * distance / _MARGIN - 1, 1e-6, 1.0))
    return (ramps[0][:, None] * ramps[1][None, :])[..., None].astype(np.float32)


def _share_of_cells(missing: np.ndarray, side: int = 32) -> float:
    """Share of the cells of a grid in which something is missing."""
    h, w = missing.shape
    cells = np.pad(missing, ((0, -h % side), (0, -w % side)))
    return float(cells.reshape(cells.shape[0] // side, side, -1, side).any(axis=(1, 3)).mean())


def _holes(missing: np.ndarray) -> list[_Hole]:
    from scipy import ndimage

    labels, count = ndimage.label(missing, np.ones((3, 3)))  # type: ignore[misc]
    # What lies beyond the picture was not seen, but a hole there has no other bank.
    depths = ndimage.distance_transform_edt(missing)
    holes = []
    for label, place in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = np.nonzero(labels[place] == label)
        depth = float(depths[place][rows, columns].max())  # type: ignore[index]
        holes.append(_Hole(rows + place[0].start, columns + place[1].start, depth))
    assert len(holes) == count
    return holes


def _cover(holes: Sequence[_Hole], side: int, shape: tuple[int, ...]) -> tuple[Region, ...] | None:
    """Few windows of a size that hold all pieces of all holes; None if a hole neither fits nor can be cut."""
    boxes: list[Any] = []
    for hole in holes:
        pieces = hole.pieces(side)
        if pieces is None:
            return None
        boxes += pieces
    size = [min(side, length) for length in shape]
    limits = np.asarray([0, 0, *shape])
    cut = np.sort(np.asarray(boxes).reshape(-1, 4), axis=0)[:0]  # (0, 4): corners of the windows so far
    for box in sorted(map(tuple, boxes)):
        # A margin ends where the picture does.
        clipped = np.concatenate([np.maximum(box[:2], limits[:2]), np.minimum(box[2:], limits[2:])])
        union = np.concatenate([np.minimum(cut[:, :2], clipped[:2]), np.maximum(cut[:, 2:], clipped[2:])], axis=1)
        fits = ((union[:, 2:] - union[:, :2]) <= size).all(axis=1)
        if fits.any():
            grown = np.where(fits, np.prod(union[:, 2:] - union[:, :2], axis=1), np.inf)
            index = int(np.argmin(grown - np.prod(cut[:, 2:] - cut[:, :2], axis=1)))
            cut[index] = union[index]
        else:
            cut = np.concatenate([cut, clipped[None]])
    regions = set()
    for top, left, bottom, right in cut.tolist():
        corner = [
            min(max((low + high - length) // 2, 0), extent - length)
            for low, high, length, extent in zip((top, left), (bottom, right), size, shape, strict=True)
        ]
        regions.add(Region(*corner, *size))
    return tuple(sorted(regions, key=lambda region: (region.top, region.left)))
