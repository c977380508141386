"""Restoration tasks by name, with their presets: the only place where strings choose operators and solvers.

A task says how an operator is built for pictures of a shape, what belongs to each picture (a mask, a kernel), and which
settings of RED-diff suit it at a noise level. Library code needs none of this: it has ``rd.inpainting(mask)``.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import jax
import numpy as np
import optax

from reddiff_jax import operators as ops
from reddiff_jax import schedules, weightings
from reddiff_jax.operators import Operator
from reddiff_jax.priors import Prior
from reddiff_jax.solvers import RedDiff, init_noise, init_noised_pinv, init_pinv, init_zeros, reddiff

Shape = tuple[int, int, int]
Arrays = dict[str, np.ndarray]
"""What belongs to one picture's operator: ``{}``, ``{"mask": (H, W, 1 or C)}`` or ``{"kernel": (kh, kw)}``."""

INITS = {"pinv": init_pinv, "zeros": init_zeros, "noise": init_noise, "noised_pinv": init_noised_pinv}
SOLVERS = ("reddiff",)
MAX_KERNEL = 61


# ---- presets


@dataclass(frozen=True)
class Preset:
    """Settings of RED-diff for a task at a noise level.

    Args (fields):
        lam: Weight of the prior term.
        learning_rate: Adam's (first) learning rate, in pixel units.
        lr_schedule: "constant", or "cosine": falls to zero at the last step, which averages out the updates' noise.
        num_steps: Number of updates, one network evaluation each.
        start_timestep: Noisiest timestep, of 0 to 999; the last one is 0.
        weighting: Name of the weighting of the prior term.
        init: Where the restoration starts: "pinv", "zeros", "noise" or "noised_pinv".
    """

    lam: float = 0.25
    learning_rate: float = 0.1
    lr_schedule: Literal["constant", "cosine"] = "constant"
    num_steps: int = 50
    start_timestep: int = 999
    weighting: str = "linear"
    init: str = "pinv"

    def __post_init__(self):
        if isinstance(self.num_steps, bool) or int(self.num_steps) != self.num_steps or not 1 <= self.num_steps <= 1000:
            raise ValueError(f"steps is {self.num_steps} but must be a whole number from 1 to 1000.")
        if not (math.isfinite(self.lam) and self.lam >= 0):
            raise ValueError(f"lam is {self.lam} but must be finite and not negative.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"lr is {self.learning_rate} but must be finite and above 0.")
        if self.lr_schedule not in ("constant", "cosine"):
            raise ValueError(f"lr_schedule is {self.lr_schedule!r} but must be 'constant' or 'cosine'.")
        if not 0 <= self.start_timestep <= 999:
            raise ValueError(f"start_timestep is {self.start_timestep} but must be from 0 to 999.")
        if self.init not in INITS:
            raise ValueError(f"init is {self.init!r} but must be one of {', '.join(INITS)}.")
        weightings.by_name(self.weighting)

    def solver(self, prior: Prior) -> RedDiff:
        """RED-diff with these settings.

        A run of more steps than there are timesteps up to ``start_timestep`` starts as much higher as it must.
        """
        total = prior.schedule.num_timesteps
        if self.num_steps > total:
            raise ValueError(f"steps is {self.num_steps} but the prior's schedule has {total} timesteps.")
        start = max(round(self.start_timestep / 999 * (total - 1)), self.num_steps - 1, 1)
        return reddiff(
            prior,
            _optimizer(self.learning_rate, self.lr_schedule, self.num_steps),
            lam=self.lam,
            num_steps=self.num_steps,
            weighting=self.weighting,
            spacing=schedules.between(start),
            init=INITS[self.init],
        )

    def describe(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))


@functools.cache
def _optimizer(learning_rate: float, lr_schedule: str, num_steps: int) -> optax.GradientTransformation:
    # Cached, because another optimizer object is another compilation.
    rate = optax.cosine_decay_schedule(learning_rate, num_steps) if lr_schedule == "cosine" else learning_rate
    return optax.adam(rate, b1=0.9, b2=0.99)


# Presets of each family: rows (sigma_y, Preset) with ascending sigma_y. Between two rows lam and the learning rate are
# interpolated and the rest is the nearer row's; beyond the ends the end row holds. README says how they
# were found; benchmarks/results/tune.json has the last search. The bundled prior is weak at high noise: hence low
# starting timesteps. Published settings are those of `reddiff_jax.reddiff`.
PRESETS: dict[str, tuple[tuple[float, Preset], ...]] = {
    "denoise": (
        (0.05, Preset(lam=0.15, lr_schedule="cosine", start_timestep=300, weighting="sqrt")),
        (0.2, Preset(lam=1.5, learning_rate=0.2, lr_schedule="cosine", start_timestep=300, weighting="trunc_linear")),
    ),
    "inpaint_pixels": (
        (0.0, Preset(lam=0.05, start_timestep=300, weighting="trunc_linear")),
        (0.05, Preset(lam=0.05, start_timestep=300, weighting="trunc_linear")),
        (0.2, Preset(lam=0.5, learning_rate=0.05, start_timestep=300)),
    ),
    "inpaint_holes": (
        (0.0, Preset(lam=0.05, start_timestep=500)),
        (0.05, Preset(lam=0.05, start_timestep=500, weighting="sqrt")),
        (0.2, Preset(lam=1.5, start_timestep=500)),
    ),
    "super_resolution": (
        (0.0, Preset(lam=0.15, start_timestep=500, weighting="trunc_linear")),
        (0.05, Preset(lam=0.5, start_timestep=800)),
        (0.2, Preset(lam=1.5, learning_rate=0.05, start_timestep=800, weighting="sqrt")),
    ),
    "deblur": (
        (0.0, Preset(lam=0.05, learning_rate=0.2, start_timestep=300)),
        (0.05, Preset(lam=0.05, start_timestep=300)),
        (0.2, Preset(lam=0.5, learning_rate=0.2, start_timestep=300)),
    ),
    "colorize": ((0.0, Preset(lam=0.05, learning_rate=0.05, lr_schedule="cosine", start_timestep=500)),),
}


def family_preset(family: str, sigma: float) -> Preset:
    """The settings of a family of tasks at a noise level."""
    rows = PRESETS[family]
    sigmas = [row[0] for row in rows]
    nearest = rows[int(np.argmin([abs(sigma - each) for each in sigmas]))][1]
    lam = float(np.interp(sigma, sigmas, [preset.lam for _, preset in rows]))
    learning_rate = float(np.interp(sigma, sigmas, [preset.learning_rate for _, preset in rows]))
    return replace(nearest, lam=round(lam, 6), learning_rate=round(learning_rate, 6))


# ---- tasks


def _no_arrays(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
    return {}


def _mask_by(make: Callable[[jax.Array, Shape], jax.Array]) -> Callable[[jax.Array, Shape], Mapping[str, Any]]:
    return lambda key, shape: {"mask": make(key, shape)}


def _box(key: jax.Array, shape: Shape) -> jax.Array:
    return ops.random_box_mask(key, shape, (shape[0] // 2, shape[1] // 2), margin=min(shape[:2]) // 16)


def _motion(key: jax.Array, shape: Shape) -> Mapping[str, Any]:
    # Smaller pictures get smaller shakes: 61 taps, as published, from about 120 pixels on.
    return {"kernel": ops.motion_kernel(key, min(MAX_KERNEL, min(shape[:2]) // 4 * 2 + 1))}


@dataclass(frozen=True)
class Task:
    """A kind of restoration.

    Args (fields):
        help: What is undone, in a few words.
        family: Key of ``PRESETS``.
        build: (shape of the picture, its arrays) -> operator.
        needs: What belongs to each picture: "mask", "kernel" or None.
        draw: (key, shape) -> arrays, how they are simulated; None where only the user knows them.
        drawn_from_key: Whether ``draw`` uses the key; otherwise they are known when restoring, too.
        factor: How many times smaller the measurement is than the picture.
        gray: Whether the measurement has one channel.
    """

    help: str
    family: str
    build: Callable[[Shape, Arrays], Operator]
    needs: Literal["mask", "kernel"] | None = None
    draw: Callable[[jax.Array, Shape], Mapping[str, Any]] | None = _no_arrays
    drawn_from_key: bool = False
    factor: int = 1
    gray: bool = False

    def operator(self, in_shape: Shape, arrays: Arrays) -> Operator:
        """The operator for pictures of a shape.

        Raises:
            ValueError: If an array is missing or does not fit.
        """
        if self.needs is not None and self.needs not in arrays:
            raise ValueError(f"this task needs a {self.needs}; give it with --{self.needs}.")
        return self.build(in_shape, arrays)

    def simulate(self, key: jax.Array, in_shape: Shape) -> Arrays:
        """Draws the mask or kernel of one picture.

        Raises:
            ValueError: If there is no way to draw one.
        """
        if self.draw is None:
            raise ValueError(f"this task needs a {self.needs} of your own; give it with --{self.needs}.")
        return {name: np.asarray(array, np.float32) for name, array in self.draw(key, in_shape).items()}

    def in_shape(self, y_shape: Shape, channels: int = 3) -> Shape:
        """Shape of the picture that a measurement of this shape is of."""
        return y_shape[0] * self.factor, y_shape[1] * self.factor, channels if self.gray else y_shape[2]

    def preset(self, sigma: float) -> Preset:
        """Settings of RED-diff for a noise level, a standard deviation for pixels in [-1, 1]."""
        check_sigma(sigma)
        return family_preset(self.family, sigma)


def check_sigma(sigma: float) -> float:
    """Returns a noise level, or raises ValueError if it is none."""
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma is {sigma} but must be a finite number of at least 0 (pixels are in [-1, 1]).")
    return float(sigma)


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


def solver_by_name(name: str, preset: Preset, prior: Prior) -> RedDiff:
    """Builds a solver.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}; choose one of {', '.join(SOLVERS)}.")
    return preset.solver(prior)
