"""Where a detector sees the axis of rotation, found from the scan itself."""

import numpy as np
from jaxtyping import Float

from reddiff_jax.scans.errors import ScanError

_TURN = 2 * np.pi
_FINE = 32  # parts of a detector element to which opposite views are registered
_LEAST_ARC = np.pi / 2  # of views without opposite ones, whose centres of mass tell the axis


def find_center(values: Float[np.ndarray, "A D"], angles: Float[np.ndarray, "A"], *, fan: bool = False) -> float:
    """Finds the index of the detector element, a fraction, where the axis of rotation is seen.

    Views from opposite sides are mirror images: ``p(angle + pi, center + s) = p(angle, center - s)``. Their correlation
    is largest at the center, found to 1/32 of an element. Where no views are opposite, as in half a turn, the centre of
    mass of each view is used, which runs on ``center + a cos(angle) + b sin(angle)``. In a fan the mean of all views of
    a whole turn is symmetric around the center.

    The object must be seen whole in each view.

    Args:
        values: Line integrals of one slice.
        angles: Of the views, radians.
        fan: Whether rays come from a point.

    Raises:
        ScanError: If the numbers of views differ, or the views do not tell: a fan without a whole turn, less than a
            quarter of a turn.
    """
    values, angles = np.asarray(values, np.float64), np.asarray(angles, np.float64)
    check_angles(angles, values.shape[0])
    values = values - np.median(values[:, [0, -1]])  # what is beside the object
    if fan:
        gaps = np.diff(np.sort(np.mod(angles, _TURN)), append=np.mod(angles, _TURN).min() + _TURN)
        if gaps.max() > 2.5 * np.median(gaps):
            raise ScanError("the center of a fan is found from a whole turn of views only; give it as a number.")
        mean = values.mean(axis=0, keepdims=True)
        return _center_of_mirrored(mean, mean)
    first, second = _opposite(angles)
    if first.size:
        return _center_of_mirrored(values[first], values[second])
    if _arc(angles) < _LEAST_ARC:
        raise ScanError(
            f"views over {np.rad2deg(_arc(angles)):.0f} degrees do not tell the center of rotation; give its number."
        )
    mass = values.sum(axis=1)
    if not (mass > 0).all():
        raise ScanError("some views see no attenuation, so the center cannot be found; give it as a number.")
    middles = (values * np.arange(values.shape[1])).sum(axis=1) / mass
    design = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)  # (A, 3)
    return float(np.linalg.lstsq(design, middles, rcond=None)[0][0])


def check_angles(angles: np.ndarray, views: int) -> None:
    """Raises ScanError unless there is one angle, in radians, for each view."""
    if angles.shape != (views,):
        raise ScanError(
            f"{angles.size} angles came for {views} views; one angle a view is needed. Are views and detector elements "
            "exchanged? Transpose the sinogram."
        )
    if not (np.isfinite(angles).all() and np.abs(angles).max() <= 2 * _TURN):
        raise ScanError(
            f"angles go from {angles.min():.4g} to {angles.max():.4g} but must be radians. Degrees by mistake? Use "
            "np.deg2rad(angles)."
        )


def _opposite(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of views and of those from the opposite side, to a tenth of the step."""
    if angles.size < 2:
        return np.zeros(0, int), np.zeros(0, int)
    ascending = np.sort(np.mod(angles, _TURN))
    step = max(np.median(np.diff(ascending)), 1e-6)
    apart = np.abs(np.mod(angles[None, :] - angles[:, None], _TURN) - np.pi)  # (A, A)
    nearest = apart.argmin(axis=1)
    found = (apart[np.arange(angles.size), nearest] < 0.1 * step) & (np.arange(angles.size) < nearest)
    return np.flatnonzero(found), nearest[found]


def _center_of_mirrored(first: np.ndarray, second: np.ndarray) -> float:
    """The c with ``second(c + s) = first(c - s)``: half of where their convolution is largest."""
    size = first.shape[1]
    length = 2 * size
    spectrum = (np.fft.rfft(first, length, axis=1) * np.fft.rfft(second, length, axis=1)).sum(axis=0)
    # Zeros behind the spectrum interpolate the convolution.
    fine = np.fft.irfft(spectrum, length * _FINE)
    return float(fine.argmax()) / _FINE / 2


def _arc(angles: np.ndarray) -> float:
    """Of all directions of rays, those of opposite views being the same."""
    ascending = np.sort(np.mod(angles, np.pi))
    return np.pi - np.diff(ascending, append=ascending[0] + np.pi).max()
