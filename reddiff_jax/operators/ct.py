"""Computed tomography: line integrals of the picture, along parallel rays or a fan of rays.

Coordinates are pixels with the origin on the axis of rotation, p_x to the right and p_y up: if it is in the middle of
the picture, as by default, pixel (i, j) lies at (j - (W - 1) / 2, (H - 1) / 2 - i). A ray is a line n . p = t.

Both geometries use Joseph's projector: step from row to row along the ray (from column to column if it is flatter than
45 degrees) and interpolate linearly between the two nearest pixels. Pixel p then has the weight
``max(0, 1 - |n . p - t| / M) / M`` in the ray (n, t), a triangle of the distance, with M = max(|n_x|, |n_y|) and a unit
vector n. So the matched adjoint scatters nothing: each pixel gathers from the few rays that pass within M.
"""

import abc
import enum
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_image_shape, check_numbers, check_positive, check_whole, numbers
from reddiff_jax.operators._base import LinearOperator

_TURN = 2 * math.pi
_TAPER = math.radians(10)

Angles = Float[Array, "A"] | np.ndarray | Sequence[float]


class RampWindow(enum.StrEnum):
    """The window that multiplies the ramp filter of the back-projection; f goes from 0 to 1/2 cycles per detector."""

    RAM_LAK = "ram_lak"  # 1: sharp, for clean measurements
    SHEPP_LOGAN = "shepp_logan"  # sin(pi f) / (pi f)
    COSINE = "cosine"  # cos(pi f)
    HANN = "hann"  # (1 + cos(2 pi f)) / 2: smooth, for noisy ones


@struct.dataclass
class _Tomography(LinearOperator):
    """What both geometries share; a geometry says where its rays run."""

    angles: jax.Array  # (A,), radians
    scale: jax.Array  # scalar, from line integrals in pixels to y
    center: jax.Array  # scalar, index of the detector element where the axis of rotation is seen
    axis: tuple[float, float] = struct.field(pytree_node=False)  # row and column of the axis of rotation
    num_detectors: int = struct.field(pytree_node=False)
    detector_spacing: float = struct.field(pytree_node=False)
    window: RampWindow = struct.field(pytree_node=False)

    @abc.abstractmethod
    def _rays(self, angle: Array, u: Array) -> tuple[Array, Array, Array]:
        """n_x, n_y and t of the rays that hit the detector at ``u``; n need not be a unit vector."""

    @abc.abstractmethod
    def _locate(self, angle: Array, p_x: Array, p_y: Array) -> tuple[Array, Array]:
        """Places u where the detector sees points, and the distances source-centre over source-point (in depth)."""

    @abc.abstractmethod
    def _fan_tangents(self) -> Float[Array, "D"]:
        """Tangent of each ray's angle to the central one."""

    @property
    @abc.abstractmethod
    def _central_spacing(self) -> float:
        """Distance of neighbouring rays at the centre of the picture."""

    @property
    @abc.abstractmethod
    def _reach(self) -> float:
        """The largest number of detectors by which a pixel's weight reaches beyond the place where it is seen."""

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "A D C"]:
        """Measures one image."""
        height, width, channels = x.shape
        side = max(height, width)
        # Rows, and columns beside them, with zeros on both sides of what is interpolated.
        lines = jnp.zeros((side, 2, side + 3, channels), x.dtype)
        lines = lines.at[:height, 0, 1 : width + 1].set(x).at[:width, 1, 1 : height + 1].set(jnp.swapaxes(x, 0, 1))
        n_x, n_y, t = self._rays(self.angles[:, None], self._detectors(jnp.arange(self.num_detectors))[None, :])
        by_rows = jnp.abs(n_x) >= jnp.abs(n_y)  # (A, D)
        across, along = jnp.where(by_rows, n_x, -n_y), jnp.where(by_rows, -n_y, n_x)
        middle_y, middle_x = self.axis
        middle, origin = jnp.where(by_rows, middle_x, middle_y), jnp.where(by_rows, middle_y, middle_x)

        # All rays together: a scan over rays instead is several times slower, as they reach all over the picture.
        def advance(sums: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
            k, line = step
            position = jnp.clip(middle + (t - along * (k - origin)) / across, -1, side)
            before = jnp.floor(position)
            index = before.astype(int) + jnp.where(by_rows, 1, side + 4)
            fraction = (position - before)[:, :, None]
            pixels = line.reshape(-1, channels)  # (2 (side + 3), C)
            first, second = (pixels.at[index + offset].get(mode="promise_in_bounds") for offset in (0, 1))
            return sums + (1 - fraction) * first + fraction * second, None

        start = jnp.zeros((*by_rows.shape, channels), jnp.result_type(x, self.angles))
        sums, _ = jax.lax.scan(advance, start, (jnp.arange(side), lines))
        return self.scale * (jnp.hypot(n_x, n_y) / jnp.abs(across))[:, :, None] * sums

    def adjoint(self, y: Float[Array, "A D C"]) -> Float[Array, "H W C"]:
        """Smears each measurement along its ray, with the weights of the projection."""
        p_x, p_y = self._points()

        def back(x: Array, view: tuple[Array, Array]) -> tuple[Array, None]:
            angle, row = view
            n_x, n_y, _ = self._rays(angle, self._detectors(jnp.arange(self.num_detectors)))
            row = row * (jnp.hypot(n_x, n_y) / jnp.maximum(jnp.abs(n_x), jnp.abs(n_y)))[:, None]
            u, _ = self._locate(angle, p_x, p_y)
            first = jnp.floor(self._indices(u) - self._reach).astype(int) + 1
            for k in range(math.ceil(2 * self._reach)):
                index = first + k  # (H, W)
                n_x, n_y, t = self._rays(angle, self._detectors(index))
                width = jnp.maximum(jnp.abs(n_x), jnp.abs(n_y))
                weight = jnp.maximum(0.0, 1 - jnp.abs(n_x * p_x + n_y * p_y - t) / width)
                x = x + self._take(row, index, weight)
            return x, None

        x, _ = jax.lax.scan(back, jnp.zeros(self.in_shape, jnp.result_type(y, self.angles)), (self.angles, y))
        return self.scale * x

    def pinv(self, y: Float[Array, "A D C"]) -> Float[Array, "H W C"]:
        """Filtered back-projection: an approximation, which is good for many views."""
        p_x, p_y = self._points()
        filtered = self._filter(y / self.scale)

        def back(x: Array, view: tuple[Array, Array]) -> tuple[Array, None]:
            angle, row = view
            u, nearness = self._locate(angle, p_x, p_y)
            position = self._indices(u)
            before = jnp.floor(position)
            fraction = position - before
            for k, weight in ((0, 1 - fraction), (1, fraction)):
                x = x + self._take(row, before.astype(int) + k, nearness**2 * weight)
            return x, None

        x, _ = jax.lax.scan(back, jnp.zeros(self.in_shape, jnp.result_type(y, self.angles)), (self.angles, filtered))
        return x

    def _filter(self, y: Float[Array, "A D C"]) -> Float[Array, "A D C"]:
        """The weighted, ramp-filtered views."""
        tangents = self._fan_tangents()
        weights = _ray_weights(self.angles, jnp.arctan(tangents)) / jnp.sqrt(1 + tangents**2)[None, :]  # (A, D)
        length = 2 ** math.ceil(math.log2(2 * self.num_detectors))
        # The ramp sampled in space; sampled in frequency it would be zero at zero and lose the mean.
        offset = np.minimum(np.arange(length), length - np.arange(length))
        ramp = np.where(offset % 2 == 1, -1 / (np.pi * np.maximum(offset, 1)) ** 2, 0.0)
        ramp[0] = 1 / 4
        response = np.fft.rfft(ramp).real * _window_response(self.window, np.fft.rfftfreq(length))
        spectrum = jnp.fft.rfft(weights[:, :, None] * y, n=length, axis=1)
        spectrum = spectrum * jnp.asarray(response, dtype=y.dtype)[None, :, None]
        return jnp.fft.irfft(spectrum, n=length, axis=1)[:, : self.num_detectors] / self._central_spacing

    def _take(self, row: Float[Array, "D C"], index: Array, weight: Array) -> Float[Array, "H W C"]:
        """Weighted values of detectors, zero for those that do not exist."""
        exists = (index >= 0) & (index < self.num_detectors)
        values = row.at[jnp.clip(index, 0, self.num_detectors - 1)].get(mode="promise_in_bounds")
        return jnp.where(exists, weight, 0.0)[:, :, None] * values

    def _points(self) -> tuple[Float[Array, "1 W"], Float[Array, "H 1"]]:
        """p_x and p_y of the pixels."""
        height, width, _ = self.in_shape
        return (jnp.arange(width) - self.axis[1])[None, :], (self.axis[0] - jnp.arange(height))[:, None]

    def _detectors(self, index: Array) -> Array:
        """Index to position on the detector."""
        return (index - self.center) * self.detector_spacing

    def _indices(self, u: Array) -> Array:
        """Position on the detector to index."""
        return u / self.detector_spacing + self.center


@struct.dataclass
class ParallelCT(_Tomography):
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
class FanCT(_Tomography):
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
        radius = _radius(self.in_shape, self.axis) + 1
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
    in_shape, angles, scale, window = _check_common("parallel_ct", in_shape, angles, scale, window)
    axis = _check_axis("parallel_ct", axis, in_shape)
    _check_positive("parallel_ct", detector_spacing=detector_spacing)
    if num_detectors is None:
        num_detectors = math.ceil(2 * _reach_of(in_shape, axis) / detector_spacing) + 1
    num_detectors = _check_number("parallel_ct", num_detectors)
    return ParallelCT(
        in_shape=in_shape,
        angles=angles,
        scale=scale,
        center=_check_center("parallel_ct", center, num_detectors),
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
    in_shape, angles, scale, window = _check_common("fan_ct", in_shape, angles, scale, window)
    axis = _check_axis("fan_ct", axis, in_shape)
    radius = _radius(in_shape, axis)
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
    _check_positive("fan_ct", detector_spacing=detector_spacing)
    if num_detectors is None:
        half = to_detector * math.tan(math.asin(_reach_of(in_shape, axis) / source_distance))
        num_detectors = math.ceil(2 * half / detector_spacing) + 1
    num_detectors = _check_number("fan_ct", num_detectors)
    return FanCT(
        in_shape=in_shape,
        angles=angles,
        scale=scale,
        center=_check_center("fan_ct", center, num_detectors),
        axis=axis,
        num_detectors=num_detectors,
        detector_spacing=float(detector_spacing),
        window=window,
        source_distance=float(source_distance),
        detector_distance=float(detector_distance),
    )


def view_angles(num: int, *, arc: float = math.pi, start: float = 0.0) -> Float[Array, "A"]:
    """Equally spaced angles for tomography: ``start + arc * k / num`` for k = 0 ... num - 1.

    Few of them are sparse-view tomography; an arc of less than pi is limited-angle tomography.

    Args:
        num: Number of views.
        arc: Radians, above 0 and at most 2 pi. Default: half a turn, all that parallel rays need; a fan takes 2 pi.
        start: First angle in radians.

    Raises:
        ValueError: If ``num`` is not a positive whole number or ``arc`` not in (0, 2 pi].
    """
    check_whole("view_angles: num", num)
    if not 0 < arc <= _TURN * (1 + 1e-6):
        raise ValueError(f"view_angles: arc is {arc} but must be in (0, 2 pi] radians. Degrees? Use np.deg2rad.")
    return jnp.asarray(start + arc * np.arange(int(num)) / num, dtype=float)


def _ray_weights(angles: Float[Array, "A"], gammas: Float[Array, "D"]) -> Float[Array, "A D"]:
    """Each ray's share of the integral over views, so that every line counts once.

    A ray at fan angle gamma of the view b is also in the view b + pi - 2 gamma, if there is one.
    """
    steps, start, arc = _view_steps(angles)

    def presence(angle: Array) -> Array:
        """1 where there are views, falling smoothly to 0 at the ends of the arc."""
        into = jnp.mod(angle - start, _TURN)
        edge = jnp.clip(jnp.minimum(into, arc - into) / _TAPER, 0.0, 1.0)
        return jnp.where(arc < _TURN * (1 - 1e-5), jnp.sin(jnp.pi / 2 * edge) ** 2, 1.0)

    own, other = presence(angles[:, None]), presence(angles[:, None] + jnp.pi - 2 * gammas[None, :])
    return steps[:, None] * own / jnp.maximum(own + other, jnp.finfo(own.dtype).tiny)


def _view_steps(angles: Float[Array, "A"]) -> tuple[Float[Array, "A"], Array, Array]:
    """The share of the turn that each view stands for, and the start and length of the arc of views."""
    if angles.shape[0] == 1:
        return jnp.full(1, jnp.pi), angles[0] - jnp.pi / 2, jnp.asarray(jnp.pi)
    wrapped = jnp.mod(angles, _TURN)
    order = jnp.argsort(wrapped)
    ascending = wrapped[order]
    gaps = jnp.diff(ascending, append=ascending[:1] + _TURN)
    widest, next_widest = jnp.argmax(gaps), jnp.sort(gaps)[-2]
    step = jnp.where(gaps[widest] > 2 * next_widest, next_widest, gaps[widest])
    gaps = gaps.at[widest].set(step)
    steps = jnp.zeros_like(angles).at[order].set((gaps + jnp.roll(gaps, 1)) / 2)
    return steps, ascending[(widest + 1) % angles.shape[0]] - step / 2, gaps.sum()


def _window_response(window: RampWindow, frequency: np.ndarray) -> np.ndarray:
    match window:
        case RampWindow.RAM_LAK:
            return np.ones_like(frequency)
        case RampWindow.SHEPP_LOGAN:
            return np.sinc(frequency)
        case RampWindow.COSINE:
            return np.cos(np.pi * frequency)
        case RampWindow.HANN:
            return (1 + np.cos(2 * np.pi * frequency)) / 2


def _reach_of(in_shape: tuple[int, int, int], axis: tuple[float, float]) -> float:
    """Distance from the axis of rotation to the centre of the farthest pixel."""
    return math.hypot(*(max(middle, side - 1 - middle) for side, middle in zip(in_shape, axis, strict=False)))


def _radius(in_shape: tuple[int, int, int], axis: tuple[float, float]) -> float:
    """Distance from the axis of rotation to the farthest corner."""
    return math.hypot(*(max(middle, side - 1 - middle) + 0.5 for side, middle in zip(in_shape, axis, strict=False)))


def _check_common(
    name: str, in_shape: tuple[int, int, int], angles: Angles, scale: float | Array | None, window: RampWindow
) -> tuple[tuple[int, int, int], Array, Array, RampWindow]:
    in_shape = check_image_shape(f"{name}: in_shape", in_shape)
    angles = list(angles) if isinstance(angles, tuple) else angles
    check_array(
        f"{name}: angles", angles, "an array (A,) of radians, as of rd.view_angles(60); in_shape comes before it"
    )
    angles = jnp.asarray(angles, dtype=float)
    if angles.ndim != 1 or angles.size == 0:
        raise ValueError(
            f"{name}: angles have shape {angles.shape} but must be one row of at least one angle: rd.view_angles(60). "
            f"For a batch use jax.vmap(lambda a: rd.{name}(in_shape, a))(angles)."
        )
    values = numbers(angles)
    if values is not None and not (np.abs(values) <= _TURN * (1 + 1e-6)).all():
        raise ValueError(
            f"{name}: angles go from {values.min()} to {values.max()} but must be radians within 2 pi of 0. "
            "Degrees by mistake? Use np.deg2rad(angles)."
        )
    if scale is None:
        scale = 1 / max(in_shape[:2])
    check_positive(f"{name}: scale", scale)
    if np.shape(scale) != ():
        raise ValueError(f"{name}: scale is {scale} but must be one positive number.")
    try:
        window = RampWindow(window)
    except ValueError:
        known = ", ".join(f"RampWindow.{each.name}" for each in RampWindow)
        raise ValueError(f"{name}: window is {window!r} but must be one of {known}, of rd.operators.") from None
    return in_shape, angles, jnp.asarray(scale, dtype=float), window


def _check_positive(name: str, **lengths: float) -> None:
    for argument, length in lengths.items():
        check_positive(f"{name}: {argument}", length, "It is in pixels.")


def _check_number(name: str, num_detectors: int) -> int:
    return check_whole(f"{name}: num_detectors", num_detectors)


def _check_axis(name: str, axis: tuple[float, float] | None, in_shape: tuple[int, int, int]) -> tuple[float, float]:
    """Returns row and column of the axis of rotation, or raises ValueError."""
    height, width, _ = in_shape
    if axis is None:
        return (height - 1) / 2, (width - 1) / 2
    sizes = np.shape(axis)
    if sizes != (2,) or not (np.isfinite(axis).all() and 0 <= axis[0] <= height and 0 <= axis[1] <= width):
        raise ValueError(
            f"{name}: axis is {axis} but must be the row and the column, in the picture {in_shape[:2]}, of the axis of "
            "rotation. Where the detector sees it is center."
        )
    return float(axis[0]), float(axis[1])


def _check_center(name: str, center: float | Array | None, num_detectors: int) -> Array:
    """Returns the index of the detector element where the axis is seen, or raises ValueError."""
    if center is None:
        return jnp.asarray((num_detectors - 1) / 2, dtype=float)
    needed = f"an index of the {num_detectors} detector elements, 0 to {num_detectors - 1}, where the axis is seen"
    check_numbers(f"{name}: center", center, lambda x: (x >= 0) & (x <= num_detectors - 1), needed)
    if np.shape(center) != ():
        raise ValueError(f"{name}: center has shape {np.shape(center)} but must be one number.")
    return jnp.asarray(center, dtype=float)
