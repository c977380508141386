"""A function of pictures applied in overlapping tiles, which smooth windows blend."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def blend_tiles(
    fn: Callable[[jax.Array], jax.Array],
    x: Float[Array, "H W C"],
    size: tuple[int, int],
    overlap: int,
    *,
    into: int = 1,
    out: int = 1,
) -> Float[Array, "H2 W2 C2"]:
    """Applies ``fn`` to one tile after the other, so that memory is that of one.

    Args:
        fn: Maps a tile of ``into`` pixels a unit to one of ``out`` pixels a unit.
        x: A picture whose sides ``into`` divides.
        size: Height and width of a tile, in units.
        overlap: Units that neighbouring tiles share, blended linearly.
        into: Pixels of x a unit.
        out: Pixels of the result a unit.
    """
    h, w = x.shape[0] // into, x.shape[1] // into
    size_h, size_w = min(h, size[0]), min(w, size[1])
    tops, lefts = starts(h, size_h, overlap), starts(w, size_w, overlap)
    corners = jnp.asarray([(top, left) for top in tops for left in lefts], jnp.int32)  # (N, 2)
    window = (_taper(size_h, overlap)[:, None] * _taper(size_w, overlap)[None, :])[..., None]
    window = jnp.repeat(jnp.repeat(window, out, axis=0), out, axis=1)
    tile_shape = (size_h * into, size_w * into, x.shape[2])
    channels = jax.eval_shape(fn, jax.ShapeDtypeStruct(tile_shape, x.dtype)).shape[2]

    # The backward pass keeps no tile's activations.
    @jax.checkpoint
    def weighted(tile):
        return jnp.concatenate([window * fn(tile), window], axis=-1)

    def add(sums, corner):
        tile = jax.lax.dynamic_slice(x, (corner[0] * into, corner[1] * into, 0), tile_shape)
        start, new = (corner[0] * out, corner[1] * out, 0), weighted(tile)
        old = jax.lax.dynamic_slice(sums, start, new.shape)
        return jax.lax.dynamic_update_slice(sums, old + new, start), None

    sums, _ = jax.lax.scan(add, jnp.zeros((h * out, w * out, channels + 1), x.dtype), corners)
    return sums[..., :channels] / sums[..., channels:]


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles of a size begin that cover a length."""
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def _taper(size: int, overlap: int) -> jax.Array:
    distance = jnp.minimum(jnp.arange(size), jnp.arange(size)[::-1]) + 1.0
    return jnp.minimum(distance / (overlap + 1), 1.0)
