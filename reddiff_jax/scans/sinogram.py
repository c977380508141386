"""Sinograms: what a CT scanner measures, in this library's geometry, from the conventions of other programs."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reddiff_jax.noise import gaussian
from reddiff_jax.operators import FanCT, ParallelCT, RampWindow, fan_ct, parallel_ct
from reddiff_jax.problems import Problem, pose
from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.rotation import check_angles, find_center

_WHITE = 99.9  # percentile of the filtered back-projection that becomes white


@dataclass(frozen=True)
class Sinogram:
    """Line integrals of the attenuation of one or several slices, with the geometry of the scan.

    Args (fields):
        values: (S, A, D) float32, line integrals: attenuation in 1 / pixel times length in pixels.
        angles: (A,) float64, radians, as ``rd.parallel_ct`` counts them.
        shape: (H, W) of the slices.
        center: Index of the detector element where the axis of rotation is seen.
        axis: Row and column of the axis of rotation in a slice.
        detector_spacing: Distance of neighbouring detector elements, in pixels of the slices.
        source_distance: From the source to the axis, in pixels; None for parallel rays.
        detector_distance: From the axis to the detector, in pixels.
        circle: Whether the object lies in the circle that the slices hold: what is outside is 0.
        pixel_size: Side of a pixel in ``unit``, if it is known.
        unit: Of lengths.
    """

    values: np.ndarray
    angles: np.ndarray
    shape: tuple[int, int]
    center: float
    axis: tuple[float, float]
    detector_spacing: float = 1.0
    source_distance: float | None = None
    detector_distance: float = 0.0
    circle: bool = False
    pixel_size: float | None = None
    unit: str = "mm"

    def operator(self, *, scale: float | None = 1.0, window: RampWindow = RampWindow.RAM_LAK) -> ParallelCT | FanCT:
        """The operator of one slice (H, W, 1); with ``scale`` 1 its measurement are line integrals."""
        shape, angles = (*self.shape, 1), np.mod(self.angles, 2 * math.pi)
        common = {
            "num_detectors": self.values.shape[2],
            "detector_spacing": self.detector_spacing,
            "center": self.center,
            "axis": self.axis,
            "scale": scale,
            "window": window,
        }
        if self.source_distance is None:
            return parallel_ct(shape, angles, **common)
        return fan_ct(
            shape,
            angles,
            source_distance=self.source_distance,
            detector_distance=self.detector_distance,
            **common,
        )

    def fbp(self, *, window: RampWindow = RampWindow.RAM_LAK) -> Float[np.ndarray, "S H W"]:
        """Filtered back-projections, attenuation in 1 / pixel; outside of the circle 0 if there is one."""
        slices = np.asarray(_back_project(self.operator(window=window), jnp.asarray(self.values)))
        return np.where(self._inside(), slices, 0.0) if self.circle else slices

    def white(self) -> float:
        """The attenuation in 1 / pixel that becomes the pixel 1: the 99.9th percentile of the back-projections."""
        white = float(np.percentile(self.fbp(), _WHITE))
        if not white > 0:
            raise ScanError(
                "the sinogram shows nothing that attenuates. Are these line integrals, not counts? Counts become them "
                "by rd.scans.line_integrals(counts, flat, dark)."
            )
        return white

    def noise_level(self) -> float:
        """Standard deviation of the noise of the line integrals: the median of details in views and detector."""
        details = self.values[:, :, 1:-1] - (self.values[:, :, :-2] + self.values[:, :, 2:]) / 2
        # Views differ by less than neighbours in a view where they are dense; where not, only air has no details.
        if details.size == 0:
            return 0.0
        of_each = np.median(np.abs(details), axis=1) / 0.6744898 / math.sqrt(1.5)  # (S, D - 2)
        return float(np.percentile(of_each, 25))

    def problem(self, index: int = 0, *, white: float | None = None, sigma: float | None = None) -> Problem:
        """The inverse problem of one slice, whose unknown x has the attenuation ``(x + 1) / 2 * white``.

        Args:
            index: Of the slice.
            white: Attenuation in 1 / pixel of the pixel 1; the default is ``white()``. One for all slices of a volume.
            sigma: Standard deviation of the noise of the line integrals; estimated if None.
        """
        white = self.white() if white is None else white
        sigma = self.noise_level() if sigma is None else sigma
        operator = self.operator(scale=None)
        factor = 2 * float(operator.scale) / white
        y = factor * jnp.asarray(self.values[index])[:, :, None] - operator(jnp.ones(operator.in_shape))
        return pose(y, operator, gaussian(factor * sigma))

    def to_attenuation(self, x: Array, white: float) -> np.ndarray:
        """Attenuation in 1 / pixel of a restored slice (H, W, 1) of ``problem``."""
        slice_ = (np.asarray(x)[:, :, 0] + 1) / 2 * white
        return np.where(self._inside(), slice_, 0.0) if self.circle else slice_

    def centered(self, center: float | None = None) -> "Sinogram":
        """The same with another center; if None that which ``rd.scans.find_center`` finds in the mean of the slices."""
        if center is None:
            fan = self.source_distance is not None
            center = find_center(self.values.mean(axis=0), self.angles, fan=fan)
        return dataclasses.replace(self, center=float(center))

    def _inside(self) -> np.ndarray:
        rows, columns = (np.arange(side) - middle for side, middle in zip(self.shape, self.axis, strict=True))
        return rows[:, None] ** 2 + columns[None, :] ** 2 <= (min(self.shape) // 2) ** 2


def from_scikit_image(
    sinogram: Float[np.ndarray, "D A"],
    degrees: Sequence[float] | np.ndarray | None = None,
    *,
    circle: bool = True,
    size: int | None = None,
) -> Sinogram:
    """A sinogram of ``skimage.transform.radon``, whose views are the columns.

    scikit-image turns the picture around the pixel (size // 2, size // 2), which is half a pixel beside the middle of
    an even one: with that ``fbp()`` equals ``iradon`` to 0.03 dB; without, it is 3 to 9 dB worse.

    Args:
        sinogram: (D, A) line integrals.
        degrees: ``theta`` of ``radon``; evenly spaced over half a turn by default, as there.
        circle: As for ``radon``: the object is in the circle that the picture holds, and D is the picture's side.
        size: Side of the picture; by default that of ``iradon``.

    Raises:
        ScanError: If it is no sinogram, or the numbers of views differ.
    """
    values = _checked("from_scikit_image", sinogram, "(D, A)", 2)
    detectors, views = values.shape
    angles = np.linspace(0, 180, views, endpoint=False) if degrees is None else np.asarray(degrees, float)
    side = int(size or (detectors if circle else math.floor(detectors / math.sqrt(2))))
    check_angles(np.deg2rad(angles), views)
    return Sinogram(
        values.T[None],
        np.deg2rad(angles),
        (side, side),
        center=detectors // 2,
        axis=(side // 2, side // 2),
        circle=circle,
    )


def from_astra(
    sinogram: Float[np.ndarray, "A D"],
    angles: Sequence[float] | np.ndarray,
    *,
    detector_spacing: float = 1.0,
    source_distance: float | None = None,
    detector_distance: float = 0.0,
    shape: tuple[int, int] | None = None,
) -> Sinogram:
    """A sinogram of ASTRA's geometries "parallel" and "fanflat", in a volume of pixels of size 1.

    Args:
        sinogram: (A, D) line integrals.
        angles: Radians.
        detector_spacing: ``det_spacing``, or ``det_width``.
        source_distance: ``source_origin`` of a fan; None for parallel rays.
        detector_distance: ``origin_det`` of a fan.
        shape: (rows, columns) of the volume; by default D x D, of a fan D x D at the axis.

    Raises:
        ScanError: If it is no sinogram, or the numbers of views differ.
    """
    values = _checked("from_astra", sinogram, "(A, D)", 2)
    views, detectors = values.shape
    angles = np.asarray(angles, float)
    check_angles(angles, views)
    magnification = 1.0 if source_distance is None else (source_distance + detector_distance) / source_distance
    side = max(1, round(detectors * detector_spacing / magnification))
    height, width = shape or (side, side)
    return Sinogram(
        values[None],
        angles,
        (height, width),
        center=(detectors - 1) / 2,
        axis=((height - 1) / 2, (width - 1) / 2),
        detector_spacing=detector_spacing,
        source_distance=source_distance,
        detector_distance=detector_distance,
    )


def from_tomopy(
    projections: Float[np.ndarray, "A S D"],
    angles: Sequence[float] | np.ndarray,
    *,
    center: float | None = None,
    sinogram_order: bool = False,
) -> Sinogram:
    """Line integrals as tomopy has them after ``minus_log``.

    Args:
        projections: (A, S, D), or (S, A, D) in ``sinogram_order``.
        angles: Radians, as of ``tomopy.angles``.
        center: Column of the axis of rotation, counted from the middle of the first one, as of ``tomopy.find_center``;
            None: the middle of the detector.
        sinogram_order: As for ``tomopy.recon``.

    Raises:
        ScanError: If these are no sinograms, or the numbers of views differ.
    """
    values = _checked("from_tomopy", projections, "(S, A, D)" if sinogram_order else "(A, S, D)", 3)
    values = values if sinogram_order else np.moveaxis(values, 0, 1)
    _, views, detectors = values.shape
    angles = np.asarray(angles, float)
    check_angles(angles, views)
    middle = (detectors - 1) / 2
    return Sinogram(
        np.ascontiguousarray(values),
        angles,
        (detectors, detectors),
        center=middle if center is None else float(center),
        axis=(middle, middle),
    )


@jax.jit
def _back_project(operator: ParallelCT | FanCT, values: Float[Array, "S A D"]) -> Float[Array, "S H W"]:
    return jax.lax.map(lambda y: operator.pinv(y[:, :, None])[:, :, 0], values)


def _checked(name: str, values: np.ndarray, axes: str, ndim: int) -> np.ndarray:
    """Line integrals as float32, or ScanError."""
    values = np.asarray(values)
    if values.ndim != ndim or values.size == 0 or values.dtype.kind not in "fiu":
        raise ScanError(f"{name}: an array {values.dtype}{list(values.shape)} came but real numbers {axes} are needed.")
    if not np.isfinite(values).all():
        raise ScanError(
            f"{name}: {np.sum(~np.isfinite(values))} of the line integrals are not finite. rd.scans.line_integrals "
            "makes finite ones of counts."
        )
    return values.astype(np.float32)
