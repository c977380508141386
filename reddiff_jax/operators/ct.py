"""Computed tomography: line integrals of the picture, along parallel rays or a fan of rays.

Coordinates are pixels with the origin on the axis of rotation, p_x to the right and p_y up: if it is in the middle of
the picture, as by default, pixel (i, j) lies at (j - (W - 1) / 2, (H - 1) / 2 - i). A ray is a line n . p = t.

Both geometries use Joseph's projector: step from row to row along the ray (from column to column if it is flatter than
45 degrees) and interpolate linearly between the two nearest pixels. Pixel p then has the weight
``max(0, 1 - |n . p - t| / M) / M`` in the ray (n, t), a triangle of the distance, with M = max(|n_x|, |n_y|) and a unit
vector n. So the matched adjoint scatters nothing: each pixel gathers from the few rays that pass within M.
"""

import math

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax.operators._tomography import (
    Angles,
    RampWindow,
    Tomography,
    check_axis,
    check_center,
    check_common,
    check_detectors,
    check_lengths,
    radius_of,
    reach_of,
)


@struct.dataclass
class ParallelCT(Tomography):
    """Line integrals along parallel rays; build it with ``parallel_ct``."""

    def _rays(self, angle: Array, u: Array) -> tuple[Array, Array, Array]:
        return jnp.cos(angle) * jnp.ones_like(u), jnp.sin(angle) * jnp.ones_like(u), u

    def _locate(self, angle: Array, p_x: Array, p_y: Array) -> tuple[Array, Array]:
        return jnp.cos(angle) * p_x + jnp.sin(angle) * p_y, jnp.ones_like(angle)

    def _fan_tangents(self) -> Float[Array, "D"]:
        return jnp.zeros(self.num_detectors)

    @property
    def _central_spacing(self) -> float:
        return self.detector_spacing

    @property
    def _reach(self) -> float:
        return 1 / self.detector_spacing


@struct.dataclass
class FanCT(Tomography):
    """Line integrals along a fan of rays to a flat detector; build it with ``fan_ct``."""

    source_distance: float = struct.field(pytree_node=False)
    detector_distance: float = struct.field(pytree_node=False)

    def _rays(self, angle: Array, u: Array) -> tuple[Array, Array, Array]:
        tangent = u / self._source_to_detector
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        return cosine + tangent * sine, sine - tangent * cosine, tangent * self.source_distance

    def _locate(self, angle: Array, p_x: Array, p_y: Array) -> tuple[Array, Array]:
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        depth = self.source_distance + cosine * p_y - sine * p_x
        return self._source_to_detector * (cosine * p_x + sine * p_y) / depth, self.source_distance / depth

    def _fan_tangents(self) -> Float[Array, "D"]:
        return self._detectors(jnp.arange(self.num_detectors)) / self._source_to_detector

    @property
    def _central_spacing(self) -> float:
        return self.detector_spacing * self.source_distance / self._source_to_detector

    @property
    def _reach(self) -> float:
        # The steepest ray that meets both the picture and the detector, wherever that has its center.
        radius = radius_of(self.in_shape, self.axis) + 1
        of_picture = math.tan(math.asin(radius / self.source_distance))
        of_detector = self.num_detectors * self.detector_spacing / self._source_to_detector
        slope = math.hypot(1, min(of_picture, of_detector))
        nearest = self.source_distance - radius + 1
        return slope * self._source_to_detector / (nearest * self.detector_spacing)

    @property
    def _source_to_detector(self) -> float:
        return self.source_distance + self.detector_distance


def parallel_ct(
    in_shape: tuple[int, int, int],
    angles: Angles,
    *,
    num_detectors: int | None = None,
    detector_spacing: float = 1.0,
    center: float | Float[Array, ""] | None = None,
    axis: tuple[float, float] | None = None,
    scale: float | Float[Array, ""] | None = None,
    window: RampWindow = RampWindow.RAM_LAK,
) -> ParallelCT:
    """Parallel-beam tomography: ``y[a, d] = scale * (integral of x along n_a . p = u_d)``, of shape (A, D, C).

    n_a = (cos angle, sin angle) in coordinates to the right and up of the axis of rotation, so the view at angle 0 sums
    the columns; u_d = (d - center) detector_spacing. Scans of other programs, whose conventions differ:
    ``rd.scans.from_scikit_image``, ``from_astra`` and ``from_tomopy``.

    Views over half a turn determine the picture. Few of them are sparse-view tomography, an arc is limited-angle
    tomography; ``rd.view_angles`` gives the angles. Angles for each image of a batch:
    ``jax.vmap(lambda a: rd.parallel_ct(in_shape, a))(angles)``.

    Pictures are in [-1, 1], attenuation is not negative. Line integrals P (in pixels) of an attenuation
    ``(x + 1) / 2 * top`` become a measurement of x by ``y = 2 * scale * P / top - operator(jnp.ones(in_shape))``.

    The pseudo-inverse is filtered back-projection, an approximation. It weighs the views by the gaps between their
    angles, takes a widest gap of more than twice the next for a missing wedge, and lets lines that are measured twice
    share their weight.

    Args:
        in_shape: ``(H, W, C)`` of one image; each channel is measured. What lies beyond the picture is 0.
        angles: ``(A,)`` in radians.
        num_detectors: D. Default: as many as see the whole picture.
        detector_spacing: Distance of neighbouring rays in pixels. Rays are thin: with more than 1 some pixels are
            hardly seen.
        center: Index d, which may be a fraction, at which the detector sees the axis of rotation. Default: its middle,
            (D - 1) / 2. A leaf, so it may be traced; ``rd.scans.find_center`` finds it.
        axis: Row and column, which may be fractions, of the axis of rotation in the picture. Default: its middle.
        scale: Factor of the line integrals in pixels, positive. Default 1 / max(H, W), so that y is of the order of the
            mean along the ray, and RED-diff's data term (n/m) A^T A has a norm near 1 as in denoising.
        window: Window of the ramp filter of the pseudo-inverse.

    Raises:
        ValueError: If an angle is beyond two turns of pi (degrees by mistake?), or a length or number is not positive.

    Source:
        Joseph 1982, "An improved algorithm for reprojecting rays through pixel images"; Kak and Slaney 1988,
        "Principles of computerized tomographic imaging", section 3.3.
    """
    in_shape, angles, scale, window = check_common("parallel_ct", in_shape, angles, scale, window)
    axis = check_axis("parallel_ct", axis, in_shape)
    check_lengths("parallel_ct", detector_spacing=detector_spacing)
    if num_detectors is None:
        num_detectors = math.ceil(2 * reach_of(in_shape, axis) / detector_spacing) + 1
    num_detectors = check_detectors("parallel_ct", num_detectors)
    return ParallelCT(
        in_shape=in_shape,
        angles=angles,
        scale=scale,
        center=check_center("parallel_ct", center, num_detectors),
        axis=axis,
        num_detectors=num_detectors,
        detector_spacing=float(detector_spacing),
        window=window,
    )


def fan_ct(
    in_shape: tuple[int, int, int],
    angles: Angles,
    *,
    source_distance: float,
    detector_distance: float = 0.0,
    num_detectors: int | None = None,
    detector_spacing: float | None = None,
    center: float | Float[Array, ""] | None = None,
    axis: tuple[float, float] | None = None,
    scale: float | Float[Array, ""] | None = None,
    window: RampWindow = RampWindow.RAM_LAK,
) -> FanCT:
    """Fan-beam tomography with a flat detector: ``y[a, d] = scale * (integral of x along a ray)``, shape (A, D, C).

    At an angle b the source is at source_distance (sin b, -cos b) (to the right and up of the axis of rotation), the
    detector's center opposite at -detector_distance (sin b, -cos b), and its elements at u_d = (d - center)
    detector_spacing along (cos b, sin b). From afar this is ``parallel_ct`` at the same angle. A full turn, or half a
    turn and the angle of the fan, determines the picture.

    The pseudo-inverse is filtered back-projection for flat detectors, an approximation. In less than a full turn, lines
    that are measured twice share their weight smoothly.

    Args:
        in_shape: ``(H, W, C)`` of one image; each channel is measured. What lies beyond the picture is 0.
        angles: ``(A,)`` in radians.
        source_distance: From the source to the axis of rotation in pixels; the source is outside of the picture.
        detector_distance: From the axis to the detector in pixels. Default 0: u is measured at the axis.
        num_detectors: D. Default: as many as see the whole picture.
        detector_spacing: Distance of neighbouring elements in pixels. Default: 1 pixel at the axis, magnified.
        center: Index d, which may be a fraction, where the ray through the axis of rotation meets the detector.
            Default: its middle, (D - 1) / 2.
        axis: Row and column of the axis of rotation in the picture. Default: its middle.
        scale: Factor of the line integrals in pixels, positive. Default 1 / max(H, W); see ``parallel_ct``.
        window: Window of the ramp filter of the pseudo-inverse.

    Raises:
        ValueError: If an angle is beyond two turns of pi (degrees by mistake?), a length or number is not positive, or
            the source is inside.

    Source:
        Joseph 1982; Kak and Slaney 1988, section 3.4.2; the weights of an incomplete turn after Noo et al. 2002, "Image
        reconstruction from fan-beam projections on less than a short scan".
    """
    in_shape, angles, scale, window = check_common("fan_ct", in_shape, angles, scale, window)
    axis = check_axis("fan_ct", axis, in_shape)
    radius = radius_of(in_shape, axis)
    if not (math.isfinite(source_distance) and source_distance > radius + 1):
        raise ValueError(
            f"fan_ct: source_distance is {source_distance} but must exceed {radius + 1:.1f} pixels: from the axis "
            f"to the farthest corner of {in_shape[:2]}, and one. Is it in another unit than pixels?"
        )
    if not (math.isfinite(detector_distance) and detector_distance >= 0):
        raise ValueError(f"fan_ct: detector_distance is {detector_distance} but must be finite and not negative.")
    to_detector = source_distance + detector_distance
    if detector_spacing is None:
        detector_spacing = to_detector / source_distance
    check_lengths("fan_ct", detector_spacing=detector_spacing)
    if num_detectors is None:
        half = to_detector * math.tan(math.asin(reach_of(in_shape, axis) / source_distance))
        num_detectors = math.ceil(2 * half / detector_spacing) + 1
    num_detectors = check_detectors("fan_ct", num_detectors)
    return FanCT(
        in_shape=in_shape,
        angles=angles,
        scale=scale,
        center=check_center("fan_ct", center, num_detectors),
        axis=axis,
        num_detectors=num_detectors,
        detector_spacing=float(detector_spacing),
        window=window,
        source_distance=float(source_distance),
        detector_distance=float(detector_distance),
    )
