"""The tasks by name: everyday ones, those of common benchmarks, and the published code's own names.

Names with a number are made for any number that makes sense: ``sr4``, ``jpeg20``, ``ct60``.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import kernels, masks
from reddiff_jax import operators as ops
from reddiff_jax._text import unknown_task
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import Operator
from reddiff_jax.problems import Problem
from reddiff_jax.tasks.kernels import FORMS
from reddiff_jax.tasks.task import Arrays, Shape, Task

MAX_KERNEL = 61
NONLINEAR_BLUR_WEIGHTS = "REDDIFF_JAX_NONLINEAR_BLUR"
"""Environment variable with the path of the weights of ``deblur_nl``."""

Draw = Callable[[jax.Array, Shape], Mapping[str, Any]]


# ---- inpainting


def _inpainting(shape: Shape, arrays: Arrays) -> Operator:
    return ops.inpainting(arrays["mask"], channels=shape[2])


def _mask_by(make: Callable[[jax.Array, Shape], jax.Array]) -> Draw:
    return lambda key, shape: {"mask": make(key, shape)}


def _box(key: jax.Array, shape: Shape) -> jax.Array:
    return masks.random_box(key, shape, (shape[0] // 2, shape[1] // 2), margin=min(shape[:2]) // 16)


def _extreme(key: jax.Array, shape: Shape) -> jax.Array:
    return masks.extreme(key, shape, (shape[0] // 2, shape[1] // 2), margin=min(shape[:2]) // 16)


def _inpaint(help: str, draw: Draw | None, *, drawn_from_key: bool = True) -> Task:
    return Task(help, _inpainting, needs="mask", draw=draw, drawn_from_key=drawn_from_key, local=True)


_FREEFORM = _inpaint("fill in free-form strokes (20-30 % missing)", _mask_by(masks.freeform))
_BOX = _inpaint("fill in a box of half the sides at a random place", _mask_by(_box))
_CENTER = _inpaint(
    "fill in the central box of half the sides",
    _mask_by(lambda key, shape: masks.center(shape)),
    drawn_from_key=False,
)
_PUBLISHED_MASKS = {
    "20ff": _FREEFORM,
    "box": _BOX,
    "center": _CENTER,
    "extreme": _inpaint("fill in all but a box of half the sides", _mask_by(_extreme)),
    "random": _inpaint("fill in 90 % random missing pixels", _mask_by(partial(masks.random, keep=0.1))),
}


# ---- enlarging


def _super_resolution(factor: int) -> Task:
    return Task(
        f"enlarge {factor} x what was made smaller by averaging {factor} x {factor} pixels",
        lambda shape, arrays: ops.super_resolution(shape, factor),
        factor=factor,
        local=True,
    )


def _bicubic(factor: int) -> Task:
    return Task(
        f"enlarge {factor} x what was made smaller by antialiased bicubic interpolation",
        lambda shape, arrays: ops.bicubic(shape, factor),
        factor=factor,
    )


# ---- blurs


def _motion(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
    # Smaller pictures get smaller shakes: 61 taps, as published, from about 120 pixels on.
    return {"kernel": kernels.motion(key, min(MAX_KERNEL, min(shape[:2]) // 4 * 2 + 1))}


def _deblur(help: str, build: Callable[[Shape], Operator], kernel: Callable[[], Any] | None = None) -> Task:
    """A blur that is the same for all pictures; ``kernel`` makes its kernel, if it has one."""
    own = None if kernel is None else lambda arrays: kernel()
    return Task(help, lambda shape, arrays: build(shape), kernel=own)


def _deblur_by_kernel(help: str, blur: Callable[..., Operator], *, finds: bool = False) -> Task:
    """A blur whose kernel belongs to the picture; stored, it sums to 1 but for rounding."""
    blur = partial(blur, normalize=True)
    return Task(
        help,
        lambda shape, arrays: blur(arrays["kernel"], shape),
        needs="kernel",
        draw=_motion,
        drawn_from_key=True,
        kernel=lambda arrays: arrays["kernel"],
        finds_kernel=finds,
        blur=blur,
    )


def _box_kernel() -> np.ndarray:
    return np.full((9, 9), 1 / 81, np.float32)


def _lens(shape: Shape) -> Operator:
    """Sharp in the middle, blurred towards the corners."""
    size = min(31, min(shape[:2]) // 4 * 2 + 1)
    taps = jnp.stack([kernels.gaussian(size, sigma) for sigma in (3.0, 2.0, 3.0, 2.0, 0.5, 2.0, 3.0, 2.0, 3.0)])
    return ops.varying_blur(taps, ops.grid_weights(shape, (3, 3)), shape)


def _nonlinear_blur(shape: Shape, arrays: Arrays) -> Operator:
    path = os.environ.get(NONLINEAR_BLUR_WEIGHTS)
    if not path:
        raise ValueError(
            "deblur_nl needs the weights of blur-kernel-space-exploring (GOPRO_wVAE.pth, published by Tran et al. "
            f"2021): set {NONLINEAR_BLUR_WEIGHTS} to the file's path. deblur_saturated is nonlinear and needs none."
        )
    operator = ops.nonlinear_blur(jax.random.key(0), shape, _read_weights(path))
    return operator.replace(code=jnp.asarray(arrays["code"]))  # type: ignore[attr-defined]


@cache
def _read_weights(path: str) -> Any:
    from reddiff_jax.converting import read_kernel_wizard

    return read_kernel_wizard(path)


def _code(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
    # Published: 1.2 times standard normal, one 512-vector for each 128 x 128 pixels.
    return {"code": 1.2 * jax.random.normal(key, (shape[0] // 128, shape[1] // 128, 512))}


# ---- one channel: of a colour picture, its luminance


def _of_luminance(help: str, build: Callable[[Shape, Arrays], Operator], draw: Draw | None = None) -> Task:
    def build_for(shape: Shape, arrays: Arrays) -> Operator:
        operator = build((*shape[:2], 1), arrays)
        return operator if shape[2] == 1 else operator @ ops.colorization(shape, weights=(1 / shape[2],) * shape[2])

    options: dict[str, Any] = {} if draw is None else {"draw": draw, "drawn_from_key": True}
    return Task(help, build_for, is_picture=False, luminance=True, **options)


def _mri(acceleration: int, num_coils: int = 0) -> Task:
    def draw(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
        drawn = {"sampling": masks.cartesian(key, shape, acceleration=acceleration)}
        return drawn | ({"coil_maps": ops.coil_maps(num_coils, shape[:2])} if num_coils else {})

    return _of_luminance(
        f"reconstruct MRI from one line in {acceleration} of k-space" + (f", {num_coils} coils" if num_coils else ""),
        lambda shape, arrays: ops.mri(arrays["sampling"], shape, coil_maps=arrays.get("coil_maps")),
        draw,
    )


def _radial_mri(shape: Shape, arrays: Arrays) -> Operator:
    side = max(shape[:2])
    return ops.radial_mri(ops.radial_trajectory(side // 4, 2 * side), shape)


def _parallel_ct(views: int, arc: float = np.pi) -> Task:
    degrees = round(np.rad2deg(arc))
    return _of_luminance(
        f"reconstruct CT from {views} parallel views over {degrees} degrees",
        lambda shape, arrays: ops.parallel_ct(shape, ops.view_angles(views, arc=arc)),
    )


def _fan_ct(shape: Shape, arrays: Arrays) -> Operator:
    angles = ops.view_angles(60, arc=2 * np.pi)
    return ops.fan_ct(shape, angles, source_distance=2.0 * max(shape[:2]))


# ---- the rest


def _compressed_sensing(ratio: int) -> Task:
    def build(shape: Shape, arrays: Arrays) -> Operator:
        return ops.CompressedSensing(
            in_shape=shape, signs=jnp.asarray(arrays["signs"]), rows=jnp.asarray(arrays["rows"])
        )

    def draw(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
        drawn = ops.compressed_sensing(key, shape, ratio=1 / ratio)
        return {"signs": drawn.signs, "rows": drawn.rows}

    return Task(
        f"restore from one random combination for every {ratio} pixels",
        build,
        draw=draw,
        drawn_from_key=True,
        is_picture=False,
    )


def _jpeg(quality: int) -> Task:
    return Task(
        f"undo JPEG compression at quality {quality}", lambda shape, arrays: ops.jpeg(shape, quality), rounds=True
    )


def _quantization(bits: int) -> Task:
    return Task(
        f"undo rounding to {2**bits} levels ({bits} bits)",
        lambda shape, arrays: ops.quantization(shape, bits),
        local=True,
        rounds=True,
    )


def _phase_retrieval(help: str, *, unit_range: bool) -> Task:
    return Task(
        help,
        lambda shape, arrays: ops.phase_retrieval(shape, unit_range=unit_range),
        is_picture=False,
    )


NUMBERED: dict[str, tuple[Callable[[int], Task], range]] = {
    "sr": (_super_resolution, range(2, 65)),
    "bicubic": (_bicubic, range(2, 65)),
    "cs": (_compressed_sensing, range(1, 257)),
    "jpeg": (_jpeg, range(1, 101)),
    "quant": (_quantization, range(1, 9)),
    "mri": (_mri, range(2, 33)),
    "ct": (_parallel_ct, range(1, 1025)),
}
"""What makes the task of a name and a number, and the numbers that there are."""

_DENOISE = Task("remove white noise", lambda shape, arrays: ops.denoising(shape), local=True)
_COLORIZE = Task("colour a gray picture", lambda shape, arrays: ops.colorization(shape), gray=True, local=True)

TASKS: dict[str, Task] = {
    "denoise": _DENOISE,
    "inpaint": _inpaint("fill in what your own mask hides, or what is transparent", None, drawn_from_key=False),
    "inpaint_random": _inpaint("fill in 70 % random missing pixels", _mask_by(masks.random)),
    "inpaint_freeform": _FREEFORM,
    "inpaint_box": _BOX,
    "inpaint_center": _CENTER,
    **{f"sr{factor}": _super_resolution(factor) for factor in (2, 4, 8)},
    **{f"bicubic{factor}": _bicubic(factor) for factor in (2, 4, 8)},
    "deblur": _deblur_by_kernel(
        f"undo a blur: a kernel's file, {FORMS}, or what the picture looks like", ops.blur, finds=True
    ),
    "deblur_gauss61": _deblur("undo a Gaussian blur of 3 pixels (61 taps)", ops.gaussian_blur, kernels.gaussian),
    "deblur_uniform": _deblur("undo a 9 x 9 box blur", ops.uniform_blur, _box_kernel),
    "deblur_motion": _deblur_by_kernel("undo a known camera shake (its kernel, drawn or your own)", ops.blur),
    "deblur_varying": _deblur("undo a lens that blurs more and more towards the corners", _lens),
    "deblur_saturated": _deblur_by_kernel("undo a camera shake in linear light, over-exposed", ops.saturated_blur),
    "colorize": _COLORIZE,
    "demosaic": Task(
        "restore colours from a camera's raw Bayer picture (RGGB)",
        lambda shape, arrays: ops.demosaicing(shape),
        gray=True,
        local=True,
        mosaic=True,
    ),
    "hdr": Task("undo over-exposure (twice too bright, clipped)", lambda shape, arrays: ops.hdr(shape), local=True),
    "jpeg20": _jpeg(20),
    "quant2": _quantization(2),
    "cs4": _compressed_sensing(4),
    "mri4": _mri(4),
    "mri4_coils": _mri(4, num_coils=8),
    "mri_radial": _of_luminance("reconstruct MRI from radial spokes, a quarter of k-space", _radial_mri),
    "ct60": _parallel_ct(60),
    "ct_limited": _parallel_ct(60, arc=2 * np.pi / 3),
    "ct_fan": _of_luminance("reconstruct CT from 60 fans of rays, a full turn", _fan_ct),
    "phase_retrieval": _phase_retrieval("restore from the size of the Fourier transform alone", unit_range=False),
    "phase_retrieval_daps": _phase_retrieval("the same of pixels in [0, 1], as DAPS has it", unit_range=True),
    # The published code's names. Two blurs of it do not compute what they describe: what they describe has their name,
    # and what they compute is called legacy.
    "deno": _DENOISE,
    **{f"{kind}_{name}": task for kind in ("inp", "in2") for name, task in _PUBLISHED_MASKS.items()},
    "color": _COLORIZE,
    "deblur_uni": _deblur(
        "undo a 9 x 9 box blur with zeros around",
        partial(ops.uniform_blur, boundary=ops.Boundary.ZERO),
        _box_kernel,
    ),
    "deblur_gauss": _deblur(
        "undo a blur of 5 x 5 nearly equal taps with zeros around",
        partial(ops.gaussian_blur, sigma=25.0, size=5, boundary=ops.Boundary.ZERO),
        partial(kernels.gaussian, 5, 25.0),
    ),
    "deblur_uni_legacy": _deblur("deblur_uni as the published code computes it", ops.legacy_uniform_blur),
    "bdeblur_uni": _deblur("the same, started from y", partial(ops.legacy_uniform_blur, identity_pinv=True)),
    "deblur_gauss_legacy": _deblur("deblur_gauss as the published code computes it", ops.legacy_gaussian_blur),
    "deblur_nl": Task(
        "undo a learned nonlinear blur (needs its published weights)",
        _nonlinear_blur,
        draw=_code,
        drawn_from_key=True,
    ),
}


def by_name(name: str) -> Task:
    """Looks up a task, or makes that of a name and a number.

    Raises:
        ValueError: For an unknown name.
    """
    if name in TASKS:
        return TASKS[name]
    match = re.fullmatch(r"([a-z]+)(\d{1,4})", name)
    if match and match[1] in NUMBERED:
        numbers = NUMBERED[match[1]][1]
        if int(match[2]) not in numbers:
            raise ValueError(f"unknown task {name!r}: {match[1]} takes a number from {numbers[0]} to {numbers[-1]}.")
        return _numbered(name, match[1], int(match[2]))
    raise ValueError(unknown_task(name, TASKS))


def example(name: str, channels: int = 3, *, draw: bool = False) -> Problem:
    """A problem of a task, of which nothing is computed: the type and the shapes of its operator.

    The noise is white, of 0.05.

    Args:
        name: Name of the task.
        channels: Of the picture.
        draw: Whether a mask that the task can draw is there with its numbers.

    Raises:
        ValueError: For an unknown name, or if the task needs something that is not there.
    """
    task = by_name(name)
    return _example(task, channels, draw and task.needs == "mask" and task.draw is not None)


@cache
def _example(task: Task, channels: int, draw: bool) -> Problem:
    side = 128 // task.factor * task.factor
    shape = side, side, channels

    def pose(operator: Operator) -> Problem:
        return Problem(operator(jnp.zeros(shape)), operator, gaussian(0.05))

    if draw:
        operator = task.operator(shape, task.simulate(jax.random.key(0), shape))
        return replace(jax.eval_shape(pose, operator), operator=operator)
    if task.draw is not None and not task.array_shapes(shape):
        return jax.eval_shape(pose, task.operator(shape, {}))
    arrays = task.draw or (lambda key, shape: {"mask": jnp.ones((*shape[:2], 1))})
    return jax.eval_shape(lambda: pose(task.operator(shape, dict(arrays(jax.random.key(0), shape)))))


@cache
def _numbered(name: str, kind: str, number: int) -> Task:
    return NUMBERED[kind][0](number)
