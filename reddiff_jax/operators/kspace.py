"""What an MRI scanner chooses: which points of k-space are measured, and its coils' sensitivities.

K-space has its zero frequency (DC) in the middle, at index ``side // 2`` of each axis, as ``numpy.fft.fftshift`` does.
"""

import enum
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from reddiff_jax.operators.masks import check_mask_shape, observed

_GOLDEN_ANGLE = np.pi * (np.sqrt(5) - 1) / 2
_REFERENCE_FRACTION = 0.32  # of the lines, divided by the acceleration: 8 % at 4x, 4 % at 8x


class Undersampling(enum.StrEnum):
    """How lines outside the calibration region are chosen."""

    UNIFORM = "uniform"  # all with the same probability
    VARIABLE_DENSITY = "variable_density"  # more of them near the middle
    EQUISPACED = "equispaced"  # at equal distances from a random first one


def cartesian_mask(
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

    A mask for each image: ``jax.vmap(lambda key: rd.cartesian_mask(key, shape))(keys)``.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        acceleration: Lines there are, divided by lines that are measured; at least 1.
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
    sides = check_mask_shape("cartesian_mask", shape)
    if axis not in (0, 1):
        raise ValueError(f"cartesian_mask: axis is {axis} but must be 0 (rows are chosen) or 1 (columns).")
    kind = _check_kind(kind)
    side = sides[axis]
    count = _check_acceleration("cartesian_mask", acceleration, side)
    if center_fraction is not None and num_acs is not None:
        raise ValueError(
            f"cartesian_mask: center_fraction={center_fraction} and num_acs={num_acs} are given; give one of them."
        )
    if num_acs is None:
        num_acs = round(side * (_REFERENCE_FRACTION / acceleration if center_fraction is None else center_fraction))
    if not 0 <= num_acs <= count:
        raise ValueError(
            f"cartesian_mask: num_acs is {num_acs} but {count} of {side} lines are measured at acceleration "
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


def variable_density_mask(
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
        acceleration: Points there are, divided by points that are measured; at least 1.
        center_fraction: Sides of the block around DC that is always measured, as a fraction of the picture's.
        power: Points at a fraction r of the way to the corner are drawn in proportion to ``(1 - r)^power``.

    Returns:
        Mask (H, W, 1), 1 = measured.

    Raises:
        ValueError: If numbers make no sense or the block alone has more points than are to be measured.

    Source:
        Lustig, Donoho and Pauly 2007, "Sparse MRI", section on variable-density random undersampling.
    """
    sides = check_mask_shape("variable_density_mask", shape)
    count = _check_acceleration("variable_density_mask", acceleration, sides[0] * sides[1])
    rows, columns = (_central(side, round(center_fraction * side)) for side in sides)
    block = rows[:, None] & columns[None, :]
    if not 0 <= center_fraction <= 1 or block.sum() > count:
        raise ValueError(
            f"variable_density_mask: center_fraction is {center_fraction}, a block of {block.sum()} points, but "
            f"{count} points are measured at acceleration {acceleration}. Make one of them smaller."
        )
    rows, columns = map(_distance, sides)
    density = (1 - np.hypot(rows[:, None], columns[None, :]) / np.sqrt(2)) ** power
    return observed(_draw_points(key, density.ravel(), block.ravel(), count).reshape(sides))


def coil_maps(num_coils: int, shape: Sequence[int], *, radius: float = 1.5) -> Complex[Array, "H W coils"]:
    """Simulated sensitivities of a birdcage coil: ``num_coils`` wires on a circle around the picture.

    ``S_c(z) = exp(i theta_c) / (z_c - z)``, the magnetic field of a straight wire at z_c = radius exp(i theta_c), then
    normalised so that the squares of the absolute values sum to 1 in each pixel. All coils are in phase in the middle.

    Args:
        num_coils: Number of coils.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        radius: Of the circle, in halves of the picture's sides; above sqrt(2), outside its corners.

    Raises:
        ValueError: If there is no coil, or the circle cuts the picture.

    Source:
        The law of Biot and Savart; the normalisation is that of SENSE, Pruessmann et al. 1999.
    """
    h, w = check_mask_shape("coil_maps", shape)
    if num_coils != int(num_coils) or num_coils < 1:
        raise ValueError(f"coil_maps: num_coils is {num_coils} but must be a whole number from 1.")
    if not radius > np.sqrt(2):
        raise ValueError(
            f"coil_maps: radius is {radius} but must be above sqrt(2) = 1.414, in halves of the picture's sides, so "
            "that the coils are outside the picture. The default is 1.5."
        )
    rows, columns = ((2 * np.arange(side) - (side - 1)) / side for side in (h, w))
    z = columns[None, :] + 1j * rows[:, None]
    phase = np.exp(2j * np.pi * np.arange(num_coils) / num_coils)
    fields = phase / (radius * phase - z[:, :, None])  # (H, W, coils)
    return jnp.asarray(fields / np.linalg.norm(fields, axis=2, keepdims=True), dtype=complex)


def radial_trajectory(
    num_spokes: int, num_readout: int, *, golden: bool = True, start: float | Array = 0.0
) -> Float[Array, "spokes readout 2"]:
    """Straight lines (spokes) through DC from border to border of k-space, in radians per pixel.

    Spoke j has the angle ``start + j increment`` and its sample i the radius ``2 pi (i - num_readout // 2) /
    num_readout``: from -pi, through exactly 0, to below pi. A trajectory for each image, for instance interleaves of
    one scan: ``jax.vmap(lambda start: rd.radial_trajectory(20, 64, start=start))(starts)``.

    Args:
        num_spokes: Number of spokes; about ``pi / 2`` times the picture's side measure everything.
        num_readout: Samples of each; the picture's side, or twice that for oversampled readout.
        golden: Whether the increment is the golden angle, 111.25 degrees, or ``pi / num_spokes``.
        start: Angle of the first spoke in radians, 0 = along the columns' axis; may be traced.

    Returns:
        Points (spokes, readout, 2): frequency along rows (down) and along columns (to the right), in [-pi, pi].

    Raises:
        ValueError: If there are less than one spoke or two samples.

    Source:
        Winkelmann et al. 2007, "An optimal radial profile order based on the golden ratio".
    """
    if num_spokes < 1 or num_readout < 2:
        raise ValueError(
            f"radial_trajectory: num_spokes={num_spokes} and num_readout={num_readout} but at least 1 spoke of 2 "
            "samples is needed."
        )
    angles = jnp.arange(num_spokes) * (_GOLDEN_ANGLE if golden else np.pi / num_spokes) + start
    radii = 2 * np.pi * (np.arange(num_readout) - num_readout // 2) / num_readout
    directions = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=1)  # (spokes, 2)
    return jnp.asarray(directions[:, None, :] * radii[None, :, None], dtype=float)


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
        raise ValueError(f"cartesian_mask: kind is {kind!r} but must be one of {known}.") from None


def _check_acceleration(name: str, acceleration: float, total: int) -> int:
    """Returns how many of ``total`` are measured."""
    if not 1 <= acceleration <= total:
        raise ValueError(
            f"{name}: acceleration is {acceleration} but must be from 1 (everything is measured) to {total}."
        )
    return round(total / acceleration)
