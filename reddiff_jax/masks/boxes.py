"""Boxes and halves that are missing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_non_negative, check_picture_shape, is_visible, numbers, show
from reddiff_jax._keys import as_key
from reddiff_jax.masks._observed import observed


def box(
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
    h, w = check_picture_shape("masks.box", shape)
    for name, value in (("top", top), ("left", left), ("height", height), ("width", width)):
        check_non_negative(f"masks.box: {name}", value)
    # Compared under vmap, which knows the axes of each.
    fits = (height > 0) & (width > 0) & (top + height <= h) & (left + width <= w)
    if is_visible(fits) and not numbers(fits).all():  # type: ignore[union-attr]
        raise ValueError(
            f"masks.box: the box with top={show(top)}, left={show(left)}, height={show(height)}, "
            f"width={show(width)} is empty or leaves the picture of {w} x {h} pixels. Make it smaller or move it."
        )
    rows, columns = jnp.arange(h), jnp.arange(w)
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    return observed(~(in_rows[:, None] & in_columns[None, :]))


def random_box(
    key: PRNGKeyArray, shape: Sequence[int], size: int | tuple[int, int], *, margin: int = 16
) -> Float[Array, "H W 1"]:
    """A hole of ``size`` pixels at a uniformly random place, at least ``margin`` pixels from the border.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        size: Side of the hole in pixels, or (height, width). Published: 128 of 256.
        margin: Smallest distance to the border; smaller where the hole would not fit. DPS: 16, DAPS: 32.

    Raises:
        ValueError: If the hole is empty or larger than the picture.

    Source:
        Chung et al. 2022 (arXiv 2209.14687).
    """
    key, sides = as_key("masks.random_box: key", key), check_picture_shape("masks.random_box", shape)
    holes = (size, size) if isinstance(size, int) else tuple(size)
    if len(holes) != 2 or not all(1 <= hole <= side for hole, side in zip(holes, sides, strict=True)):
        raise ValueError(f"masks.random_box: size is {size} but must be from 1 to the picture's {sides} pixels.")
    check_non_negative("masks.random_box: margin", margin)
    free = [side - hole for hole, side in zip(holes, sides, strict=True)]
    fits = [min(margin, each // 2) for each in free]
    top, left = (
        jax.random.randint(key, (), least, most - least + 1)
        for key, least, most in zip(jax.random.split(key), fits, free, strict=True)
    )
    return box(shape, top, left, *holes)


def extreme(
    key: PRNGKeyArray, shape: Sequence[int], size: int | tuple[int, int], *, margin: int = 16
) -> Float[Array, "H W 1"]:
    """Only a box of ``size`` pixels at a random place is observed: the complement of ``random_box``.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        size: Side of the observed box in pixels, or (height, width). Published: 128 of 256.
        margin: As in ``random_box``.

    Raises:
        ValueError: If the box is empty or larger than the picture.
    """
    return 1 - random_box(key, shape, size, margin=margin)


def center(shape: Sequence[int]) -> Float[Array, "H W 1"]:
    """A hole in the centre, half of the picture's height and width (rows 64 to 191 of 256).

    Args:
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture; at least 2 x 2 pixels.
    """
    h, w = check_picture_shape("masks.center", shape)
    return box(shape, (h - h // 2) // 2, (w - w // 2) // 2, h // 2, w // 2)


def half(shape: Sequence[int], *, axis: int = 1, keep_first: bool = True) -> Float[Array, "H W 1"]:
    """One half of the picture is missing: by default the right one.

    Args:
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        axis: 0 = upper and lower half, 1 = left and right half.
        keep_first: Whether the upper or left half is the observed one.

    Raises:
        ValueError: If ``axis`` is not 0 or 1.
    """
    sides = check_picture_shape("masks.half", shape)
    if axis not in (0, 1):
        raise ValueError(f"masks.half: axis is {axis} but must be 0 (upper, lower) or 1 (left, right).")
    kept = (jnp.arange(sides[axis]) < sides[axis] // 2) == keep_first
    return observed(jnp.broadcast_to(kept[:, None] if axis == 0 else kept[None, :], sides))
