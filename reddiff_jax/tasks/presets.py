"""Settings of RED-diff for each family of tasks at each noise level."""

import functools
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct

from reddiff_jax._types import Image, Key
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers import RedDiff, RedDiffInfo, RedDiffState, Solver, reddiff
from reddiff_jax.tasks.method import INITS, Choice, Method, Range, interpolate
from reddiff_jax.weightings import WEIGHTINGS


@dataclass(frozen=True)
class Preset(Method):
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

    name = "reddiff"
    help = "variational, a mode; any operator and noise"
    remedy = "lower the learning rate with --lr."
    space = MappingProxyType(
        {
            "lam": Range(0.02, 5.0, log=True),
            "learning_rate": Range(0.02, 0.5, log=True),
            "start_timestep": Range(200, 999, whole=True),
            "lr_schedule": Choice(("constant", "cosine")),
            "weighting": Choice(("linear", "sqrt", "trunc_linear")),
        }
    )

    def solver(self, prior: Prior) -> RedDiff:
        """RED-diff with these settings.

        A run of more steps than there are timesteps up to ``start_timestep`` starts as much higher as it must.
        """
        return self._solver(prior, _optimizer(self.learning_rate, self.lr_schedule, self.num_steps))

    def sweepable(self, prior: Prior) -> Solver:
        """The same, with the learning rate as a leaf, too."""
        solver = self._solver(prior, _injected(self.lr_schedule, self.num_steps))
        return RatedRedDiff(solver, jnp.asarray(self.learning_rate, dtype=float))

    def _solver(self, prior: Prior, optimizer: optax.GradientTransformation) -> RedDiff:
        return reddiff(
            prior,
            optimizer,
            lam=self.lam,
            num_steps=self.num_steps,
            weighting=WEIGHTINGS[self.weighting],
            spacing=self._spacing(prior),
            init=INITS[self.init],
        )


@struct.dataclass
class RatedRedDiff(Solver[RedDiffState]):
    """RED-diff whose learning rate is a leaf: trials with other rates share a compilation."""

    base: RedDiff  # its optimizer ends in an injected scale
    learning_rate: jax.Array

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.base.num_steps

    def init(self, key: Key, problem: Problem) -> RedDiffState:
        """Returns the state before the first step, with the learning rate in the optimizer's."""
        state = self.base.init(key, problem)
        return state.replace(opt_state=optax.tree.set(state.opt_state, step_size=self.learning_rate))  # type: ignore[attr-defined]

    def step(self, key: Key, state: RedDiffState, problem: Problem) -> tuple[RedDiffState, RedDiffInfo]:
        """Draws a timestep and noise, and updates mu."""
        return self.base.step(key, state, problem)

    def estimate(self, state: RedDiffState) -> Image:
        """Returns mu."""
        return self.base.estimate(state)


@functools.cache
def _optimizer(learning_rate: float, lr_schedule: str, num_steps: int) -> optax.GradientTransformation:
    # Cached, because another optimizer object is another compilation.
    rate = optax.cosine_decay_schedule(learning_rate, num_steps) if lr_schedule == "cosine" else learning_rate
    return optax.adam(rate, b1=0.9, b2=0.99)


@functools.cache
def _injected(lr_schedule: str, num_steps: int) -> optax.GradientTransformation:
    # Adam is linear in its learning rate.
    unit = _optimizer(1.0, lr_schedule, num_steps)
    return optax.chain(unit, optax.inject_hyperparams(optax.scale)(step_size=1.0))


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
    "deblur_saturated": (
        (0.0, Preset(lam=0.05, start_timestep=300)),
        (0.05, Preset(lam=0.15, learning_rate=0.2, start_timestep=300)),
    ),
    "demosaic": (
        (0.0, Preset(lam=0.05, learning_rate=0.05, start_timestep=300)),
        (0.05, Preset(lam=0.05, learning_rate=0.05, start_timestep=300)),
    ),
    "hdr": ((0.0, Preset(lam=0.15, start_timestep=500)),),
    "jpeg": ((0.0, Preset(lam=0.25, learning_rate=0.05, start_timestep=500)),),
    "quantization": ((0.0, Preset(lam=1.5, learning_rate=0.2, start_timestep=300)),),
    "compressed_sensing": (
        (0.0, Preset(lam=0.5, learning_rate=0.2, start_timestep=300)),
        (0.05, Preset(lam=0.5, learning_rate=0.2, start_timestep=300)),
    ),
    "mri": (
        (0.0, Preset(lam=0.05, start_timestep=300)),
        (0.05, Preset(lam=0.15, learning_rate=0.05, start_timestep=300)),
    ),
    "ct": ((0.0, Preset(lam=0.05, start_timestep=300)), (0.05, Preset(lam=0.15, start_timestep=300))),
    "phase_retrieval": ((0.0, Preset(learning_rate=0.2, num_steps=100, start_timestep=500, init="noised_pinv")),),
}


def family_preset(family: str, sigma: float) -> Preset:
    """The settings of RED-diff for a family of tasks at a noise level."""
    return interpolate(PRESETS[family], sigma)
