"""Points of k-space that an MRI scanner measures.

K-space has its zero frequency (DC) in the middle, at index ``side // 2`` of each axis, as ``numpy.fft.fftshift`` does.
"""

import enum
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_picture_shape, check_positive
from reddiff_jax._keys import as_key
from reddiff_jax.masks._observed import observed

_REFERENCE_FRACTION = 0.32  # of the lines, divided by the acceleration: 8 % at 4x, 4 % at 8x


class Undersampling(enum.StrEnum):
    """How lines outside the calibration region are chosen."""

    UNIFORM = "uniform"  # all with the same probability
    VARIABLE_DENSITY = "variable_density"  # more of them near the middle
    EQUISPACED = "equispaced"  # at equal distances from a random first one


def cartesian(
    key: PRNGKeyArray,
    shape: Sequence[int],
    *,
    acceleration: float = 4.0,
    center_fraction: float | None = None,
    num_acs: int | None = None,
    kind: Undersampling = Undersampling.UNIFORM,
    power: float = 3.0,
    axis: int = 1,
) -> Float[Array, "H W 1"]:
    """Full lines of k-space: exactly ``round(side / acceleration)`` of them, the middle ones always.

    A mask for each image: ``jax.vmap(lambda key: rd.masks.cartesian(key, shape))(keys)``.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        acceleration: Number of lines, divided by the number of measured lines; at least 1.
        center_fraction: Fraction of all lines that are the autocalibration signal (ACS), contiguous around DC;
            fastMRI's 0.32 / acceleration (8 % at 4x, 4 % at 8x) if ``num_acs`` is not given either.
        num_acs: Number of ACS lines, instead of ``center_fraction``.
        kind: How the other lines are chosen; fastMRI: ``UNIFORM`` for knees, ``EQUISPACED`` for brains.
        power: With ``VARIABLE_DENSITY``: lines at a fraction r of the way to the border are drawn in proportion to
            ``(1 - r)^power``.
        axis: The phase-encoding axis, along which lines are chosen: 1 = columns are measured or not (as in fastMRI),
            0 = rows.

    Returns:
        Mask (H, W, 1), 1 = measured, the same along the other axis.

    Raises:
        ValueError: If numbers make no sense or the ACS alone has more lines than are to be measured.

    Source:
        Zbontar et al. 2018, fastMRI (arXiv 1811.08839). There the number of random lines is random and equispaced ones
        may fall into the ACS; here the number is exact. Variable density: Lustig et al. 2007, "Sparse MRI".
    """
    key, sides = as_key("masks.cartesian: key", key), check_picture_shape("masks.cartesian", shape)
    if axis not in (0, 1):
        raise ValueError(f"masks.cartesian: axis is {axis} but must be 0 (rows are chosen) or 1 (columns).")
    kind = _check_kind(kind)
    side = sides[axis]
    count = _check_acceleration("masks.cartesian", acceleration, side)
    if center_fraction is not None and num_acs is not None:
        raise ValueError(
            f"masks.cartesian: center_fraction={center_fraction} and num_acs={num_acs} are given; give one of them."
        )
    if num_acs is None:
        num_acs = round(side * (_REFERENCE_FRACTION / acceleration if center_fraction is None else center_fraction))
    if not 0 <= num_acs <= count:
        raise ValueError(
            f"masks.cartesian: num_acs is {num_acs} but {count} of {side} lines are measured at acceleration "
            f"{acceleration}. Take fewer ACS lines (num_acs or center_fraction) or less acceleration."
        )
    acs = _central(side, num_acs)
    if kind is Undersampling.EQUISPACED:
        others = np.flatnonzero(~acs)
        offset = jax.random.randint(key, (), 0, max(1, others.size))
        steps = jnp.arange(count - num_acs) * others.size + offset
        kept = jnp.asarray(acs).at[jnp.asarray(others)[steps // max(1, count - num_acs)]].set(True)
    else:
        density = (1 - _distance(side)) ** (power if kind is Undersampling.VARIABLE_DENSITY else 0.0)
        kept = _draw_points(key, density, acs, count)
    return observed(jnp.broadcast_to(kept[:, None] if axis == 0 else kept[None, :], sides))


def variable_density(
    key: PRNGKeyArray,
    shape: Sequence[int],
    *,
    acceleration: float = 4.0,
    center_fraction: float = 0.08,
    power: float = 3.0,
) -> Float[Array, "H W 1"]:
    """Random points of k-space, denser near the middle: exactly ``round(H W / acceleration)`` of them.

    A slice of a three-dimensional scan, whose two axes both are phase encodings.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        acceleration: Number of points, divided by the number of measured points; at least 1.
        center_fraction: Sides of the block around DC that is always measured, as a fraction of the picture's.
        power: Points at a fraction r of the way to the corner are drawn in proportion to ``(1 - r)^power``.

    Returns:
        Mask (H, W, 1), 1 = measured.

    Raises:
        ValueError: If numbers make no sense or the block alone has more points than are to be measured.

    Source:
        Lustig, Donoho and Pauly 2007, "Sparse MRI", section on variable-density random undersampling.
    """
    key, sides = as_key("masks.variable_density: key", key), check_picture_shape("masks.variable_density", shape)
    count = _check_acceleration("masks.variable_density", acceleration, sides[0] * sides[1])
    rows, columns = (_central(side, round(center_fraction * side)) for side in sides)
    block = rows[:, None] & columns[None, :]
    if not 0 <= center_fraction <= 1 or block.sum() > count:
        raise ValueError(
            f"masks.variable_density: center_fraction is {center_fraction}, a block of {block.sum()} points, but "
            f"{count} points are measured at acceleration {acceleration}. Make one of them smaller."
        )
    rows, columns = map(_distance, sides)
    density = (1 - np.hypot(rows[:, None], columns[None, :]) / np.sqrt(2)) ** power
    return observed(_draw_points(key, density.ravel(), block.ravel(), count).reshape(sides))


def _central(side: int, count: int) -> np.ndarray:
    """Which ``count`` of ``side`` frequencies are the lowest; contiguous, with DC."""
    start = (side - count + 1) // 2
    return (np.arange(side) >= start) & (np.arange(side) < start + count)


def _distance(side: int) -> np.ndarray:
    """Distance to DC in fractions of the way to just beyond the border, in [0, 1)."""
    return np.abs(np.arange(side) - side // 2) / (side // 2 + 1)


def _draw_points(key: PRNGKeyArray, density: np.ndarray, always: np.ndarray, count: int) -> Array:
    """``count`` different points: all of ``always``, and others drawn one after the other in proportion to density."""
    # Gumbel noise on log densities, ranked, is drawing without replacement.
    score = jnp.log(jnp.asarray(density, dtype=float)) + jax.random.gumbel(key, density.shape, dtype=float)
    order = jnp.argsort(jnp.where(always, jnp.inf, score), descending=True)
    return jnp.zeros(density.shape, bool).at[order[:count]].set(True)


def _check_kind(kind: Undersampling) -> Undersampling:
    try:
        return Undersampling(kind)
    except ValueError:
        known = ", ".join(f"Undersampling.{each.name}" for each in Undersampling)
        raise ValueError(f"masks.cartesian: kind is {kind!r} but must be one of {known}, of rd.masks.") from None


def _check_acceleration(name: str, acceleration: float, total: int) -> int:
    """Returns how many of ``total`` are measured."""
    check_positive(f"{name}: acceleration", acceleration)
    if not 1 <= acceleration <= total:
        raise ValueError(
            f"{name}: acceleration is {acceleration} but must be from 1 (everything is measured) to {total}."
        )
    return round(total / acceleration)
