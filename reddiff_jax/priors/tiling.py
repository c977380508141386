"""A prior applied in overlapping tiles."""

from collections.abc import Mapping

from flax import struct

from reddiff_jax._checks import check_whole
from reddiff_jax._overlapping import blend_tiles
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors._base import Prior, check_prior


@struct.dataclass
class TiledPrior(Prior):
    """A prior applied to a large picture in overlapping tiles, which smooth windows blend."""

    prior: Prior
    size: tuple[int, int] = struct.field(pytree_node=False)  # height and width
    overlap: int = struct.field(pytree_node=False)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, one tile after the other."""
        h, w, _ = x_t.shape
        size_h, size_w = min(h, self.size[0]), min(w, self.size[1])
        if (size_h, size_w) != (h, w) and isinstance(cond, Mapping) and "low_res" in cond:
            raise ValueError(
                f"cond has low_res, which belongs to the whole picture, but {w} x {h} pixels make several tiles of "
                f"{size_w} x {size_h}; use the prior without tiled(), or with tiles as large as the picture."
            )
        return blend_tiles(lambda tile: self.prior.eps(tile, t, cond), x_t, self.size, self.overlap)


def tiled(prior: Prior, size: int | tuple[int, int] = 256, overlap: int = 64) -> Prior:
    """Lets a prior serve pictures of any size in bounded memory.

    Args:
        prior: The prior that sees the tiles.
        size: Side of a tile in pixels, or its height and width; smaller pictures go through whole.
        overlap: Pixels that neighbouring tiles share, blended linearly.

    Raises:
        ValueError: If ``overlap`` is not below ``size``.
    """
    check_prior("tiled", prior)
    sides = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    for side in sides:
        check_whole("tiled: size", side, None)
    check_whole("tiled: overlap", overlap, None)
    if not 0 <= overlap < min(sides):
        raise ValueError(f"overlap is {overlap} but must be at least 0 and below size={size}.")
    return TiledPrior(schedule=prior.schedule, prior=prior, size=sides, overlap=overlap)
