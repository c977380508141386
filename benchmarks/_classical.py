"""Trivial and classical methods for the tasks of the quality table, each at its best known use.

What a method leaves open (a weight, a number of iterations) is chosen among a few values by the mean PSNR on photos
that are not reported on, for each task and noise level. Borders are mirrored, as the blurs of the tasks are.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from reddiff_jax import metrics

Method = tuple[Sequence[Any], Callable[[Any, rd.Problem], np.ndarray]]
"""The values among which one is chosen, and ``(value, problem) -> image``."""

TV = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)  # weights of total variation, 0: left out
FILTERS = ("BICUBIC", "LANCZOS")
BALANCES = tuple(10.0**power for power in np.arange(-6, 1.5, 0.5))
ITERATIONS = (0, 2, 5, 10, 20, 50, 100, 200)  # 0: the measurement, which long blurs leave better
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)


def methods(task: str, problem: rd.Problem, prior: rd.Prior) -> Mapping[str, Method]:
    """Those that can do a task; problems are of numbers, not traced."""
    operator = problem.operator
    found: dict[str, Method] = {"one evaluation": (LEVELS, _one_evaluation(prior))}
    if isinstance(operator, rd.operators.Inpainting):
        found["biharmonic"] = (TV, _biharmonic)
    elif operator.out_shape == operator.in_shape and not jnp.iscomplexobj(problem.y):
        found["y"] = ((None,), lambda _, problem: np.asarray(problem.y))
    if task.startswith(("sr", "bicubic")):
        found["interpolation"] = (list(itertools.product(FILTERS, TV)), _interpolated)
    if task.startswith("deblur"):
        found |= {
            "wiener": (BALANCES, _wiener),
            "richardson_lucy": (list(itertools.product(ITERATIONS, TV)), _richardson_lucy),
        }
    return found


def chosen(method: Method, problems: Sequence[rd.Problem], truths: np.ndarray) -> Any:
    """The value with the best mean PSNR on problems whose answers are known."""
    values, restore = method
    if len(values) == 1:
        return values[0]

    def quality(value: Any) -> float:
        restored = [np.clip(restore(value, problem), -1, 1) for problem in problems]
        scores = [metrics.psnr(jnp.asarray(x), jnp.asarray(t)) for x, t in zip(restored, truths, strict=True)]
        return float(np.mean(scores))

    return max(values, key=quality)


def _one_evaluation(prior: rd.Prior) -> Callable[[float, rd.Problem], np.ndarray]:
    @jax.jit
    def denoised(x: jax.Array, level: jax.Array) -> jax.Array:
        t = prior.schedule.fractional(level)
        return prior.denoise(prior.schedule(t)[0] * x, t)

    return lambda level, problem: np.asarray(denoised(problem.operator.pinv(problem.y), jnp.asarray(level)))


def _without_noise(x: np.ndarray, weight: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(x, weight=weight, channel_axis=-1) if weight > 0 else x


def _biharmonic(weight: float, problem: rd.Problem) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    missing = np.asarray(problem.operator.mask)[..., 0] == 0  # type: ignore[attr-defined]
    return _without_noise(inpaint_biharmonic(np.asarray(problem.y), missing, channel_axis=-1), weight)


def _interpolated(choice: tuple[str, float], problem: rd.Problem) -> np.ndarray:
    from PIL import Image

    (name, weight), (height, width, _) = choice, problem.operator.in_shape
    y, how = np.asarray(problem.y), Image.Resampling[name]
    planes = [np.asarray(Image.fromarray(y[..., c]).resize((width, height), how)) for c in range(y.shape[-1])]
    return _without_noise(np.stack(planes, axis=-1), weight)


def _wiener(balance: float, problem: rd.Problem) -> np.ndarray:
    from skimage.restoration import wiener

    return _by_plane(problem, lambda plane, kernel: np.asarray(wiener(plane, kernel, balance, clip=False)))


def _richardson_lucy(choice: tuple[int, float], problem: rd.Problem) -> np.ndarray:
    from skimage.restoration import richardson_lucy

    num_iter, weight = choice

    def restore(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        counts = np.clip((plane + 1) / 2, 1e-3, None)  # it is made for what is not negative
        return 2 * richardson_lucy(counts, kernel, num_iter=num_iter, clip=False, filter_epsilon=1e-6) - 1

    return _without_noise(np.asarray(problem.y) if num_iter == 0 else _by_plane(problem, restore), weight)


def _by_plane(problem: rd.Problem, restore: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Restores each channel within mirrored margins as wide as the kernel reaches."""
    y, kernel = np.asarray(problem.y), _kernel(problem.operator)
    margin = kernel.shape[0] // 2
    padded = np.pad(y, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    planes = [np.asarray(restore(padded[..., c], kernel)) for c in range(y.shape[-1])]
    return np.stack(planes, axis=-1)[margin:-margin, margin:-margin]


def _kernel(operator: rd.Operator) -> np.ndarray:
    """Point spread function of a blur: its response to one bright pixel in the middle of a large picture."""
    h, w, c = operator.in_shape
    impulse = jnp.zeros((h, w, c)).at[h // 2, w // 2].set(1.0)
    half = min(30, min(h, w) // 2 - 1)
    response = np.asarray(operator(impulse))[..., 0]
    return response[h // 2 - half : h // 2 + half + 1, w // 2 - half : w // 2 + half + 1]
