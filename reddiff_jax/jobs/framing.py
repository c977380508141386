"""Frames: padded canvases of few sizes for pictures of many, so that not every picture needs a compilation.

Where each entry of y depends on the pixels of one place alone (masks, averaged blocks, channels mixed or clipped), a
picture is the upper left part of a larger unknown whose rest is not measured: the data term is exactly the picture's,
the prior fills the rest, which is cropped at the end. In the initial image the measurement is mirrored into the rest.

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
from reddiff_jax.operators import LinearOperator, Operator
from reddiff_jax.problems import Problem


class _Framed:
    """Base of the linear and the nonlinear operator: ``y = operator(x)`` where it was measured, zero elsewhere.

    Entry (i, j) of the frame's measurement is entry (rows[i], columns[j]) of the picture's, mirrored beyond its sides.
    """

    operator: Operator
    rows: jax.Array
    columns: jax.Array

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


def frame_header(header: Header) -> Header:
    """The header of the frame of a picture's measurement; the picture's own header if it needs no frame."""
    task = tasks.by_name(header.task)
    if not task.local:
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
    rows, columns = (
        _mirrored(size, side) for size, side in zip(measurement.y.shape[:2], frame.y_shape[:2], strict=True)
    )
    if isinstance(shared, Framed | LinearFramed):
        shared = shared.operator
    margins = [(0, side - size) for size, side in zip(measurement.y.shape[:2], frame.y_shape[:2], strict=True)]
    y = np.pad(measurement.y, (*margins, (0, 0)))
    arrays = {name: _extended(array, frame.in_shape) for name, array in measurement.arrays.items()}
    inner = Measurement(frame, y, arrays).problem(shared)
    kind = LinearFramed if isinstance(inner.operator, LinearOperator) else Framed
    operator = kind(
        in_shape=frame.in_shape,
        operator=inner.operator,  # type: ignore[arg-type]
        rows=jnp.asarray(rows),
        columns=jnp.asarray(columns),
    )
    return Problem(inner.y, operator, inner.noise)


def _round_up(side: int) -> int:
    """The next of four sizes for each doubling: 64, 80, 96, 112, 128, 160, ..."""
    unit = max(2, (1 << side.bit_length()) // 8)
    return -(-side // unit) * unit


def _mirrored(size: int, side: int) -> np.ndarray:
    """Indices that go back and forth without repeating the ends, which keeps the colours of a mosaic apart."""
    there_and_back = np.r_[0:size, size - 2 : 0 : -1] if size > 1 else np.zeros(1, int)
    return np.resize(there_and_back, side).astype(np.int32)


def _extended(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    h, w = array.shape[:2]
    return array[_mirrored(h, shape[0])][:, _mirrored(w, shape[1])]
