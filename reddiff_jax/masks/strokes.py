"""Brush strokes that are missing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_picture_shape
from reddiff_jax._keys import as_key
from reddiff_jax.masks._observed import observed

_NUM_STROKES = 32
_SEGMENTS_PER_STROKE = 4
_POINTS_PER_SEGMENT = 12


def freeform(
    key: PRNGKeyArray, shape: Sequence[int], fraction: tuple[float, float] = (0.2, 0.3)
) -> Float[Array, "H W 1"]:
    """Free-form brush strokes; the fraction of missing pixels is uniform in ``fraction``.

    Strokes are painted one after the other, with random places, widths and turns, until the wanted number of pixels is
    covered; the last stroke stops where that number is reached. Works under ``jax.jit`` and ``jax.vmap``.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture, at least 16 x 16 pixels.
        fraction: Least and largest fraction of missing pixels, within [0, 1]. Palette's are (0.1, 0.2) to (0.5, 0.6).

    Raises:
        ValueError: If the picture is too small or ``fraction`` is not an ascending pair in [0, 1].

    Source:
        The protocol (10-20 %, 20-30 %, ... of the pixels missing) of Saharia et al. 2021, Palette (arXiv 2111.05826);
        the brush is our own.
    """
    key, (h, w) = as_key("masks.freeform: key", key), check_picture_shape("masks.freeform", shape)
    if min(h, w) < 16:
        raise ValueError(
            f"masks.freeform: shape is {tuple(shape)} but strokes need a picture of at least 16 x 16 pixels."
        )
    least, most = int(np.ceil(fraction[0] * h * w - 1e-6)), int(np.floor(fraction[1] * h * w + 1e-6))
    if not (0 <= fraction[0] <= fraction[1] <= 1 and least <= most):
        raise ValueError(
            f"masks.freeform: fraction is {fraction} but must be (least, largest) in [0, 1], with a whole number of "
            f"the {h * w} pixels between them."
        )
    key_count, key_strokes = jax.random.split(key)
    count = jax.random.randint(key_count, (), least, most + 1)
    points, radii = _strokes(key_strokes, h, w)
    rows, columns = jnp.arange(h, dtype=jnp.float32)[:, None], jnp.arange(w, dtype=jnp.float32)[None, :]

    def paint(carry: tuple[Array, Array], point: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        painted, nearest = carry
        i, center, radius = point
        distance = jnp.hypot(rows - center[0], columns - center[1]) / radius
        # Within a dab the middle comes first, so that a stroke that is cut short still ends round.
        painted = jnp.minimum(painted, jnp.where(distance <= 1, i + 0.5 * distance, jnp.inf))
        return (painted, jnp.minimum(nearest, distance)), None

    never = jnp.full((h, w), jnp.inf)
    order = jnp.arange(len(points), dtype=jnp.float32)
    (painted, nearest), _ = jax.lax.scan(paint, (never, never), (order, points, radii))
    # When all strokes together cover too little, they grow.
    time = jnp.where(jnp.isfinite(painted), painted, len(points) + nearest)
    rank = jnp.argsort(jnp.argsort(time.ravel())).reshape(h, w)
    return observed(rank >= count)


def _strokes(key: PRNGKeyArray, h: int, w: int) -> tuple[Float[Array, "N 2"], Float[Array, "N"]]:
    """Points and brush radii, in pixels, of random polylines, stroke by stroke."""
    key_start, key_heading, key_turn, key_radius = jax.random.split(key, 4)
    side = min(h, w)
    start = jax.random.uniform(key_start, (_NUM_STROKES, 1, 2))
    heading = jax.random.uniform(key_heading, (_NUM_STROKES, 1), maxval=2 * jnp.pi)
    limit = 2 * jnp.pi / 3
    turns = jax.random.uniform(key_turn, (_NUM_STROKES, _SEGMENTS_PER_STROKE), minval=-limit, maxval=limit)
    angles = jnp.repeat(heading + jnp.cumsum(turns, axis=1), _POINTS_PER_SEGMENT, axis=1)  # (strokes, points)
    steps = 0.02 * side * jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=2)
    size = jnp.array([h - 1, w - 1], dtype=jnp.float32)[None, None, :]
    points = start * size + jnp.cumsum(steps, axis=1)  # (strokes, points, 2)
    points = size - jnp.abs(size - jnp.mod(points, 2 * size))  # folded back into the picture
    radii = side * jax.random.uniform(key_radius, (_NUM_STROKES, 1), minval=0.03, maxval=0.07)
    radii = jnp.broadcast_to(jnp.maximum(radii, 1.0), points.shape[:2])
    return points.reshape(-1, 2), radii.reshape(-1)
