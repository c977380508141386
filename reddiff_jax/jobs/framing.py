"""Frames: padded canvases of few sizes for pictures of many, so that not every picture needs a compilation.

Where each entry of y depends on the pixels of one place alone (masks, averaged blocks, channels mixed or clipped), a
picture is the upper left part of a larger unknown whose rest is not measured: the data term is exactly the picture's,
the prior fills the rest, which is cropped at the end. In the initial image the measurement is mirrored into the rest.

A blurred picture from outside is a part of a larger one: near its border it shows what lies beyond, as far as the
kernel reaches. That belongs to the unknown, too, and the frame begins that much before the picture.

The frame depends on the picture's own size only, not on its neighbours. Its sides are at most a quarter longer.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax import tasks
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import Boundary, LinearOperator, Operator
from reddiff_jax.problems import Problem, problem

_NEGLIGIBLE = 1e-4  # part of a kernel


class _Framed:
    """Base of the linear and the nonlinear operator: ``y = operator(x)`` where it was measured, zero elsewhere.

    Where entry (i, j) was not measured, (rows[i], columns[j]) is its mirror image in the picture's sides.
    """

    operator: Operator
    rows: jax.Array
    columns: jax.Array

    @property
    def is_denoising(self) -> bool:
        """Whether the operator is: the frame shows the noisy picture, mirrored."""
        return self.operator.is_denoising

    @property
    def observed(self) -> Float[Array, "h w 1"]:
        """Mask that is 1 where something was measured."""
        rows, columns = (index == jnp.arange(index.size) for index in (self.rows, self.columns))
        return (rows[:, None, None] & columns[None, :, None]).astype(float)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """Measures one image."""
        return self.observed * self.operator(x)

    def pinv(self, y: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """Applies the operator's pinv to the measurement, mirrored into the frame."""
        return self.operator.pinv(y[self.rows][:, self.columns])


@struct.dataclass
class Framed(_Framed, Operator):
    """A nonlinear operator on a part of the picture."""

    operator: Operator
    rows: jax.Array  # (h,) int32
    columns: jax.Array  # (w,) int32


@struct.dataclass
class LinearFramed(_Framed, LinearOperator):
    """A linear operator on a part of the picture."""

    operator: LinearOperator
    rows: jax.Array  # (h,) int32
    columns: jax.Array  # (w,) int32

    def adjoint(self, y: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """Applies the operator's adjoint to what was measured."""
        return self.operator.adjoint(self.observed * y)


def frame_header(header: Header, kernel: np.ndarray | None = None, *, exact: bool = False) -> Header:
    """The header of the frame of a picture's measurement; the picture's own header if it needs no frame.

    Args:
        header: The picture's.
        kernel: Of the blur of a picture that goes on in an unknown way beyond its border.
        exact: No frame of few sizes; what a blur needs beyond the border is there all the same.
    """
    task = tasks.by_name(header.task)
    if kernel is not None:
        from scipy.fft import next_fast_len  # which is slow to import

        sides = [size + sum(pair) for size, pair in zip(header.y_shape[:2], reach(kernel), strict=True)]
        sides = [next_fast_len(side, real=True) if exact else _round_up(side) for side in sides]
        in_shape = (sides[0], sides[1], header.y_shape[2])
        return replace(header, y_shape=in_shape, in_shape=in_shape, array_shapes=())
    if exact or not task.local:
        return header
    h, w, c = header.y_shape
    y_shape = (_round_up(h), _round_up(w), c)
    in_shape = task.in_shape(y_shape, header.in_shape[2])
    shapes = tuple((name, (*in_shape[:2], *shape[2:])) for name, shape in header.array_shapes)
    return replace(header, y_shape=y_shape, in_shape=in_shape, array_shapes=shapes)


def framed(measurement: Measurement, frame: Header, shared: Operator | None = None) -> Problem:
    """The inverse problem of a picture in its frame.

    Args:
        measurement: The picture's.
        frame: Header of its frame.
        shared: The operator of another picture of this frame, if pictures share one.
    """
    if measurement.header == frame:
        return measurement.problem(shared)
    task, arrays, (height, width) = measurement.task, measurement.arrays, frame.y_shape[:2]
    h, w = measurement.y.shape[:2]
    top, left = corner(measurement, frame)
    y = jnp.asarray(np.pad(measurement.y, ((top, height - top - h), (left, width - left - w), (0, 0))))
    if task.local:
        arrays = {name: _extended(array, frame.in_shape) for name, array in arrays.items()}
        inner = shared.operator if isinstance(shared, Framed | LinearFramed) else task.operator(frame.in_shape, arrays)
    else:
        # Where it was measured nothing of the other side comes in, and transforms need no margins of their own.
        inner = task.blurred(frame.in_shape, arrays, Boundary.CIRCULAR)
    kind = LinearFramed if isinstance(inner, LinearOperator) else Framed
    operator = kind(
        in_shape=frame.in_shape,
        operator=inner,  # type: ignore[arg-type]
        rows=jnp.asarray(_mirrored(h, height, top)),
        columns=jnp.asarray(_mirrored(w, width, left)),
    )
    return problem(y, operator, gaussian(measurement.header.sigma))


def corner(measurement: Measurement, frame: Header) -> tuple[int, int]:
    """Row and column of its frame at which a picture begins."""
    task = measurement.task
    if measurement.header == frame or task.kernel is None:
        return 0, 0
    (top, _), (left, _) = reach(np.asarray(task.kernel(measurement.arrays)))
    return top, left


def reach(kernel: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels ((above, below), (to the left, to the right)) of a pixel that a blur adds to it.

    All but 1e-4 of the kernel counts on each side: of a Gaussian what is within 3.7 standard deviations.
    """
    margins = []
    for axis in (0, 1):
        sums = kernel.sum(axis=1 - axis) / kernel.sum()
        taps = np.flatnonzero((np.cumsum(sums) > _NEGLIGIBLE) & (np.cumsum(sums[::-1])[::-1] > _NEGLIGIBLE))
        centre = kernel.shape[axis] // 2
        # A convolution: taps beyond the centre add what lies before the pixel.
        margins.append((max(0, int(taps[-1]) - centre), max(0, centre - int(taps[0]))))
    return margins[0], margins[1]


def _round_up(side: int) -> int:
    """The next of four sizes for each doubling: 64, 80, 96, 112, 128, 160, ..."""
    unit = max(2, (1 << side.bit_length()) // 8)
    return -(-side // unit) * unit


def _mirrored(size: int, side: int, before: int = 0) -> np.ndarray:
    """Indices from ``before`` on that go back and forth without repeating the ends, on both sides of the picture.

    Not to repeat them keeps the colours of a mosaic apart.
    """
    there_and_back = np.r_[0:size, size - 2 : 0 : -1] if size > 1 else np.zeros(1, int)
    return (before + there_and_back[(np.arange(side) - before) % there_and_back.size]).astype(np.int32)


def _extended(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    h, w = array.shape[:2]
    return array[_mirrored(h, shape[0])][:, _mirrored(w, shape[1])]
