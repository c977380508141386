"""What an MRI scanner chooses beside a mask: its trajectory through k-space, and its coils' sensitivities."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from reddiff_jax._checks import check_picture_shape, check_positive, check_whole

_GOLDEN_ANGLE = np.pi * (np.sqrt(5) - 1) / 2


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
    h, w = check_picture_shape("coil_maps", shape)
    check_whole("coil_maps: num_coils", num_coils)
    check_positive("coil_maps: radius", radius)
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
        num_spokes: Number of spokes; about ``pi / 2`` times the picture's side of them measure everything.
        num_readout: Samples of each; the picture's side, or twice that for oversampled readout.
        golden: Whether the increment is the golden angle, 111.25 degrees, or ``pi / num_spokes``.
        start: Angle of the first spoke in radians, 0 = along the columns' axis; may be traced.

    Returns:
        Points (spokes, readout, 2): frequency along rows (down) and along columns (to the right), in [-pi, pi].

    Raises:
        ValueError: If there is no spoke, or there are fewer than two samples.

    Source:
        Winkelmann et al. 2007, "An optimal radial profile order based on the golden ratio".
    """
    check_whole("radial_trajectory: num_spokes", num_spokes, None)
    check_whole("radial_trajectory: num_readout", num_readout, None)
    if num_spokes < 1 or num_readout < 2:
        raise ValueError(
            f"radial_trajectory: num_spokes={num_spokes} and num_readout={num_readout} but at least 1 spoke of 2 "
            "samples is needed."
        )
    angles = jnp.arange(num_spokes) * (_GOLDEN_ANGLE if golden else np.pi / num_spokes) + start
    radii = 2 * np.pi * (np.arange(num_readout) - num_readout // 2) / num_readout
    directions = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=1)  # (spokes, 2)
    return jnp.asarray(directions[:, None, :] * radii[None, :, None], dtype=float)
