"""What tomography along parallel rays and along a fan has in common: Joseph's projector; see ``ct``."""

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

TURN = 2 * math.pi
TAPER = math.radians(10)

Angles = Float[Array, "A"] | np.ndarray | Sequence[float]


class RampWindow(enum.StrEnum):
    """The window that multiplies the ramp filter of the back-projection; f goes from 0 to 1/2 cycles per detector."""

    RAM_LAK = "ram_lak"  # 1: sharp, for clean measurements
    SHEPP_LOGAN = "shepp_logan"  # sin(pi f) / (pi f)
    COSINE = "cosine"  # cos(pi f)
    HANN = "hann"  # (1 + cos(2 pi f)) / 2: smooth, for noisy ones


@struct.dataclass
class Tomography(LinearOperator):
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
        weights = ray_weights(self.angles, jnp.arctan(tangents)) / jnp.sqrt(1 + tangents**2)[None, :]  # (A, D)
        length = 2 ** math.ceil(math.log2(2 * self.num_detectors))
        # The ramp sampled in space; sampled in frequency it would be zero at zero and lose the mean.
        offset = np.minimum(np.arange(length), length - np.arange(length))
        ramp = np.where(offset % 2 == 1, -1 / (np.pi * np.maximum(offset, 1)) ** 2, 0.0)
        ramp[0] = 1 / 4
        response = np.fft.rfft(ramp).real * window_response(self.window, np.fft.rfftfreq(length))
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
    if not 0 < arc <= TURN * (1 + 1e-6):
        raise ValueError(f"view_angles: arc is {arc} but must be in (0, 2 pi] radians. Degrees? Use np.deg2rad.")
    return jnp.asarray(start + arc * np.arange(int(num)) / num, dtype=float)


def view_steps(angles: Float[Array, "A"]) -> tuple[Float[Array, "A"], Array, Array]:
    """The share of the turn that each view stands for, and the start and length of the arc of views."""
    if angles.shape[0] == 1:
        return jnp.full(1, jnp.pi), angles[0] - jnp.pi / 2, jnp.asarray(jnp.pi)
    wrapped = jnp.mod(angles, TURN)
    order = jnp.argsort(wrapped)
    ascending = wrapped[order]
    gaps = jnp.diff(ascending, append=ascending[:1] + TURN)
    widest, next_widest = jnp.argmax(gaps), jnp.sort(gaps)[-2]
    step = jnp.where(gaps[widest] > 2 * next_widest, next_widest, gaps[widest])
    gaps = gaps.at[widest].set(step)
    steps = jnp.zeros_like(angles).at[order].set((gaps + jnp.roll(gaps, 1)) / 2)
    return steps, ascending[(widest + 1) % angles.shape[0]] - step / 2, gaps.sum()


def window_response(window: RampWindow, frequency: np.ndarray) -> np.ndarray:
    match window:
        case RampWindow.RAM_LAK:
            return np.ones_like(frequency)
        case RampWindow.SHEPP_LOGAN:
            return np.sinc(frequency)
        case RampWindow.COSINE:
            return np.cos(np.pi * frequency)
        case RampWindow.HANN:
            return (1 + np.cos(2 * np.pi * frequency)) / 2


def reach_of(in_shape: tuple[int, int, int], axis: tuple[float, float]) -> float:
    """Distance from the axis of rotation to the centre of the farthest pixel."""
    return math.hypot(*(max(middle, side - 1 - middle) for side, middle in zip(in_shape, axis, strict=False)))


def radius_of(in_shape: tuple[int, int, int], axis: tuple[float, float]) -> float:
    """Distance from the axis of rotation to the farthest corner."""
    return math.hypot(*(max(middle, side - 1 - middle) + 0.5 for side, middle in zip(in_shape, axis, strict=False)))


def check_common(
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
    if values is not None and not (np.abs(values) <= TURN * (1 + 1e-6)).all():
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


def check_lengths(name: str, **lengths: float) -> None:
    for argument, length in lengths.items():
        check_positive(f"{name}: {argument}", length, "It is in pixels.")


def check_detectors(name: str, num_detectors: int) -> int:
    return check_whole(f"{name}: num_detectors", num_detectors)


def check_axis(name: str, axis: tuple[float, float] | None, in_shape: tuple[int, int, int]) -> tuple[float, float]:
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


def check_center(name: str, center: float | Array | None, num_detectors: int) -> Array:
    """Returns the index of the detector element where the axis is seen, or raises ValueError."""
    if center is None:
        return jnp.asarray((num_detectors - 1) / 2, dtype=float)
    needed = f"an index of the {num_detectors} detector elements, 0 to {num_detectors - 1}, where the axis is seen"
    check_numbers(f"{name}: center", center, lambda x: (x >= 0) & (x <= num_detectors - 1), needed)
    if np.shape(center) != ():
        raise ValueError(f"{name}: center has shape {np.shape(center)} but must be one number.")
    return jnp.asarray(center, dtype=float)


def ray_weights(angles: Float[Array, "A"], gammas: Float[Array, "D"]) -> Float[Array, "A D"]:
    """Each ray's share of the integral over views, so that every line counts once.

    A ray at fan angle gamma of the view b is also in the view b + pi - 2 gamma, if there is one.
    """
    steps, start, arc = view_steps(angles)

    def presence(angle: Array) -> Array:
        """1 where there are views, falling smoothly to 0 at the ends of the arc."""
        into = jnp.mod(angle - start, TURN)
        edge = jnp.clip(jnp.minimum(into, arc - into) / TAPER, 0.0, 1.0)
        return jnp.where(arc < TURN * (1 - 1e-5), jnp.sin(jnp.pi / 2 * edge) ** 2, 1.0)

    own, other = presence(angles[:, None]), presence(angles[:, None] + jnp.pi - 2 * gammas[None, :])
    return steps[:, None] * own / jnp.maximum(own + other, jnp.finfo(own.dtype).tiny)
