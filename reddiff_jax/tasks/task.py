"""What a task is: how its operator is built, and what belongs to each picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from reddiff_jax import _noise_levels
from reddiff_jax import operators as ops
from reddiff_jax.operators import Boundary, Operator

Shape = tuple[int, int, int]
Arrays = dict[str, np.ndarray]
"""What belongs to one picture's operator, e.g. ``{}``, ``{"mask": (H, W, 1 or C)}`` or ``{"kernel": (kh, kw)}``."""

_STORED = {"f": np.float32, "c": np.complex64, "i": np.int32, "u": np.int32, "b": np.float32}


def no_arrays(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
    """The arrays of an operator that is the same for all pictures: none."""
    return {}


@dataclass(frozen=True)
class Task:
    """A kind of restoration.

    Args (fields):
        help: What is undone, in a few words.
        build: (shape of the picture, its arrays) -> operator.
        needs: What the user can bring for each picture: "mask", "kernel" or None.
        draw: (key, shape) -> arrays, how they are simulated; None where only the user knows them.
        drawn_from_key: Whether ``draw`` uses the key; otherwise they are known when restoring, too.
        factor: How many times smaller the measurement is than the picture.
        gray: Whether the measurement has one channel where the picture has more.
        is_picture: Whether the measurement is itself a picture, which can be given as a picture file.
        luminance: Whether one channel is measured: of a colour picture its luminance, which is then the result, too.
        kernel: Arrays -> the kernel (kh, kw) of a blur that is the same everywhere; None for other tasks.
        finds_kernel: Whether a kernel that was not given is found from the picture.
        blur: (kernel, shape of the picture, boundary=...) -> operator, for tasks with a kernel.
        local: Whether entry (i, j) of the measurement depends on the ``factor x factor`` pixels of that place alone, so
            that the measurement is one of a larger picture's part, too.
        mosaic: Whether the four places of each 2 x 2 pixels measure different things.
        rounds: Whether what is measured is itself rounded, which hides smaller noise.
    """

    help: str
    build: Callable[[Shape, Arrays], Operator]
    needs: Literal["mask", "kernel"] | None = None
    draw: Callable[[jax.Array, Shape], Mapping[str, Any]] | None = no_arrays
    drawn_from_key: bool = False
    factor: int = 1
    gray: bool = False
    is_picture: bool = True
    luminance: bool = False
    kernel: Callable[[Arrays], Any] | None = None
    finds_kernel: bool = False
    blur: Callable[..., Operator] = ops.blur
    local: bool = False
    mosaic: bool = False
    rounds: bool = False

    def operator(self, in_shape: Shape, arrays: Arrays) -> Operator:
        """The operator for pictures of a shape.

        Raises:
            ValueError: If an array is missing or does not fit, or the task needs a package that is not installed.
        """
        if self.needs is not None and self.needs not in arrays:
            raise ValueError(f"this task needs a {self.needs} of each picture but none came; give one.")
        try:
            return self.build(in_shape, arrays)
        except ImportError as error:
            raise ValueError(str(error)) from error

    def blurred(self, in_shape: Shape, arrays: Arrays, boundary: Boundary) -> Operator:
        """The operator of a task with a kernel for pictures that go on beyond their border in another way.

        Raises:
            ValueError: If an array is missing or does not fit.
        """
        assert self.kernel is not None
        return self.blur(self.kernel(arrays), in_shape, boundary=boundary)

    def simulate(self, key: jax.Array, in_shape: Shape) -> Arrays:
        """Draws what belongs to one picture's operator.

        Raises:
            ValueError: If there is no way to draw it.
        """
        if self.draw is None:
            raise ValueError(f"the {self.needs} of this task is the user's and cannot be drawn; give one.")
        return {name: stored(array) for name, array in self.draw(key, in_shape).items()}

    def array_shapes(self, in_shape: Shape) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what ``simulate`` draws."""
        if self.draw is None:
            return {}
        # A key made outside would be computed, which starts the backend.
        drawn = jax.eval_shape(lambda: dict(self.draw(jax.random.key(0), in_shape)))  # type: ignore[misc]
        return {name: array.shape for name, array in drawn.items()}

    def in_shape(self, y_shape: Shape, channels: int = 3) -> Shape:
        """Shape of the picture that a measurement of this shape is of, where it is a picture itself."""
        return y_shape[0] * self.factor, y_shape[1] * self.factor, channels if self.gray else y_shape[2]

    def result(self, x: Any) -> Any:
        """What is known of restored images (..., H, W, C): all of them, or their luminance (..., H, W, 1)."""
        return x.mean(axis=-1, keepdims=True) if self.luminance else x


def stored(array: Any) -> np.ndarray:
    """An array as measurement files keep it: float32, complex64 or int32."""
    array = np.asarray(array)
    return np.asarray(array, _STORED[array.dtype.kind])


def check_sigma(sigma: float, task: Task | None = None) -> float:
    """Returns a noise level, or raises ValueError if it is none.

    Args:
        sigma: The standard deviation.
        task: What is measured; if that is a picture, more than the range of its pixels is a mistake.
    """
    return _noise_levels.check_sigma(sigma, of_picture=task is not None and task.is_picture)
