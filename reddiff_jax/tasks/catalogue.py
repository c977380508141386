"""The tasks by name."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from reddiff_jax import operators as ops
from reddiff_jax.operators import Operator
from reddiff_jax.tasks.task import Arrays, Shape, Task

MAX_KERNEL = 61


def _mask_by(make: Callable[[jax.Array, Shape], jax.Array]) -> Callable[[jax.Array, Shape], Mapping[str, Any]]:
    return lambda key, shape: {"mask": make(key, shape)}


def _box(key: jax.Array, shape: Shape) -> jax.Array:
    return ops.random_box_mask(key, shape, (shape[0] // 2, shape[1] // 2), margin=min(shape[:2]) // 16)


def _motion(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
    # Smaller pictures get smaller shakes: 61 taps, as published, from about 120 pixels on.
    return {"kernel": ops.motion_kernel(key, min(MAX_KERNEL, min(shape[:2]) // 4 * 2 + 1))}


def _inpainting(shape: Shape, arrays: Arrays) -> Operator:
    return ops.inpainting(arrays["mask"], channels=shape[2])


def _super_resolution(factor: int) -> Task:
    return Task(
        f"enlarge {factor} x what was made smaller by averaging {factor} x {factor} pixels",
        "super_resolution",
        lambda shape, arrays: ops.super_resolution(shape, factor),
        factor=factor,
    )


def _bicubic(factor: int) -> Task:
    return Task(
        f"enlarge {factor} x what was made smaller by antialiased bicubic interpolation",
        "super_resolution",
        lambda shape, arrays: ops.bicubic(shape, factor),
        factor=factor,
    )


def _inpaint(help: str, draw: Callable | None, *, family: str = "inpaint_holes", drawn_from_key: bool = True) -> Task:
    return Task(help, family, _inpainting, needs="mask", draw=draw, drawn_from_key=drawn_from_key)


TASKS: dict[str, Task] = {
    "denoise": Task("remove white noise", "denoise", lambda shape, arrays: ops.denoising(shape)),
    "inpaint": _inpaint("fill in what your own mask hides (black = missing)", None, drawn_from_key=False),
    "inpaint_random": _inpaint(
        "fill in 70 % random missing pixels", _mask_by(ops.random_mask), family="inpaint_pixels"
    ),
    "inpaint_freeform": _inpaint("fill in free-form strokes (20-30 % missing)", _mask_by(ops.freeform_mask)),
    "inpaint_box": _inpaint("fill in a box of half the sides at a random place", _mask_by(_box)),
    "inpaint_center": _inpaint(
        "fill in the central box of half the sides",
        _mask_by(lambda key, shape: ops.center_mask(shape)),
        drawn_from_key=False,
    ),
    "sr2": _super_resolution(2),
    "sr4": _super_resolution(4),
    "sr8": _super_resolution(8),
    "bicubic2": _bicubic(2),
    "bicubic4": _bicubic(4),
    "bicubic8": _bicubic(8),
    "deblur_gauss": Task(
        "undo a Gaussian blur of 3 pixels (61 taps)", "deblur", lambda shape, arrays: ops.gaussian_blur(shape)
    ),
    "deblur_uniform": Task("undo a 9 x 9 box blur", "deblur", lambda shape, arrays: ops.uniform_blur(shape)),
    "deblur_motion": Task(
        "undo a known camera shake (its kernel, drawn or your own)",
        "deblur",
        lambda shape, arrays: ops.blur(arrays["kernel"], shape),
        needs="kernel",
        draw=_motion,
        drawn_from_key=True,
    ),
    "colorize": Task("colour a gray picture", "colorize", lambda shape, arrays: ops.colorization(shape), gray=True),
}


def by_name(name: str) -> Task:
    """Looks up a task.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[name]
