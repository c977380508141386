"""Masks of missing pixels, (H, W, 1) float32 with 1 = observed."""

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_non_negative, is_concrete

_NUM_STROKES = 32
_SEGMENTS_PER_STROKE = 4
_POINTS_PER_SEGMENT = 12


def mask_key(name: str, seed: int = 0) -> PRNGKeyArray:
    """The PRNG key of one picture's mask: depends on the picture's name and the seed, not on its place in a list.

    Args:
        name: The picture's name, such as its file name.
        seed: One seed for a data set's masks.
    """
    key = jax.random.key(seed)
    for word in np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], ">u4"):
        key = jax.random.fold_in(key, int(word))
    return key


def box_mask(
    shape: Sequence[int], top: int | Array, left: int | Array, height: int | Array, width: int | Array
) -> Float[Array, "H W 1"]:
    """A hole of ``height x width`` pixels with its upper left corner at (top, left).

    Args:
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        top: First row of the hole; this and the others may be traced.
        left: First column.
        height: Rows of the hole.
        width: Columns of the hole.

    Raises:
        ValueError: If the hole, when concrete, is empty or leaves the picture.
    """
    h, w = check_mask_shape("box_mask", shape)
    if is_concrete(top, left, height, width) and not (0 <= top < top + height <= h and 0 <= left < left + width <= w):
        raise ValueError(
            f"box_mask: the box with top={top}, left={left}, height={height}, width={width} is empty or leaves the "
            f"picture of {h} x {w} pixels. Make it smaller or move it."
        )
    rows, columns = jnp.arange(h), jnp.arange(w)
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    return observed(~(in_rows[:, None] & in_columns[None, :]))


def random_box_mask(
    key: PRNGKeyArray, shape: Sequence[int], size: int | tuple[int, int], *, margin: int = 16
) -> Float[Array, "H W 1"]:
    """A hole of ``size`` pixels at a uniformly random place, at least ``margin`` pixels from the border.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        size: Side of the hole in pixels, or (height, width). Published: 128 of 256.
        margin: Smallest distance to the border; less where the hole does not fit otherwise. DPS: 16, DAPS: 32.

    Raises:
        ValueError: If the hole is empty or larger than the picture.

    Source:
        Chung et al. 2022 (arXiv 2209.14687).
    """
    sides = check_mask_shape("random_box_mask", shape)
    holes = (size, size) if isinstance(size, int) else tuple(size)
    if len(holes) != 2 or not all(1 <= hole <= side for hole, side in zip(holes, sides, strict=True)):
        raise ValueError(f"random_box_mask: size is {size} but must be from 1 to the picture's {sides} pixels.")
    check_non_negative("random_box_mask: margin", margin)
    free = [side - hole for hole, side in zip(holes, sides, strict=True)]
    fits = [min(margin, each // 2) for each in free]
    top, left = (
        jax.random.randint(key, (), least, most - least + 1)
        for key, least, most in zip(jax.random.split(key), fits, free, strict=True)
    )
    return box_mask(shape, top, left, *holes)


def extreme_mask(
    key: PRNGKeyArray, shape: Sequence[int], size: int | tuple[int, int], *, margin: int = 16
) -> Float[Array, "H W 1"]:
    """Only a box of ``size`` pixels at a random place is observed: the complement of ``random_box_mask``.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        size: Side of the observed box in pixels, or (height, width). Published: 128 of 256.
        margin: As in ``random_box_mask``.

    Raises:
        ValueError: If the box is empty or larger than the picture.
    """
    return 1 - random_box_mask(key, shape, size, margin=margin)


def center_mask(shape: Sequence[int]) -> Float[Array, "H W 1"]:
    """A hole in the centre, half of the picture's height and width (rows 64 to 191 of 256).

    Args:
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture; at least 2 x 2 pixels.
    """
    h, w = check_mask_shape("center_mask", shape)
    return box_mask(shape, (h - h // 2) // 2, (w - w // 2) // 2, h // 2, w // 2)


def half_mask(shape: Sequence[int], *, axis: int = 1, keep_first: bool = True) -> Float[Array, "H W 1"]:
    """One half of the picture is missing: by default the right one.

    Args:
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        axis: 0 = upper and lower half, 1 = left and right half.
        keep_first: Whether the upper or left half is the observed one.

    Raises:
        ValueError: If ``axis`` is not 0 or 1.
    """
    sides = check_mask_shape("half_mask", shape)
    if axis not in (0, 1):
        raise ValueError(f"half_mask: axis is {axis} but must be 0 (upper, lower) or 1 (left, right).")
    kept = (jnp.arange(sides[axis]) < sides[axis] // 2) == keep_first
    return observed(jnp.broadcast_to(kept[:, None] if axis == 0 else kept[None, :], sides))


def random_mask(key: PRNGKeyArray, shape: Sequence[int], keep: float | Float[Array, ""] = 0.3) -> Float[Array, "H W 1"]:
    """Exactly ``round(keep H W)`` random pixels are observed, in all channels.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        keep: Fraction of observed pixels, in [0, 1]; may be traced. Default as in DAPS (70 % missing).

    Raises:
        ValueError: If a concrete ``keep`` is outside [0, 1].
    """
    h, w = check_mask_shape("random_mask", shape)
    if is_concrete(keep) and not 0 <= float(keep) <= 1:
        raise ValueError(f"random_mask: keep is {keep} but must be the fraction of observed pixels, in [0, 1].")
    order = jax.random.permutation(key, h * w).reshape(h, w)
    return observed(order < jnp.round(keep * (h * w)))


def freeform_mask(
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
    h, w = check_mask_shape("freeform_mask", shape)
    if min(h, w) < 16:
        raise ValueError(
            f"freeform_mask: shape is {tuple(shape)} but strokes need a picture of at least 16 x 16 pixels."
        )
    least, most = int(np.ceil(fraction[0] * h * w - 1e-6)), int(np.floor(fraction[1] * h * w + 1e-6))
    if not (0 <= fraction[0] <= fraction[1] <= 1 and least <= most):
        raise ValueError(
            f"freeform_mask: fraction is {fraction} but must be (least, largest) in [0, 1], with a whole number of the "
            f"{h * w} pixels between them."
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


def observed(mask: Array) -> Float[Array, "H W C"]:
    """A mask (H, W) or (H, W, C) of True = observed as floats (H, W, C)."""
    mask = mask.astype(jnp.float32)
    return mask[:, :, None] if mask.ndim == 2 else mask


def check_mask_shape(name: str, shape: Sequence[int]) -> tuple[int, int]:
    """Returns (H, W) of ``shape``, or raises ValueError."""
    sizes = [int(size) for size in shape]
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"{name}: shape is {tuple(shape)} but must be (H, W) or (H, W, C) of one picture.")
    return sizes[0], sizes[1]
