"""Settings of RED-diff in its published form."""

import functools
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct

from reddiff_jax import weightings
from reddiff_jax._types import Image, Key
from reddiff_jax.priors import Prior
from reddiff_jax.problems import DataTerm, Problem, least_squares
from reddiff_jax.settings.base import INITS, Choice, Range, Settings, default_of
from reddiff_jax.solvers import RedDiff, RedDiffInfo, RedDiffState, Solver, optax_step, reddiff


@dataclass(frozen=True)
class ReddiffSettings(Settings):
    """Settings of RED-diff; see ``reddiff_jax.reddiff``.

    Args (fields):
        lam: Weight of the prior term.
        learning_rate: Adam's (first) learning rate, in pixel units.
        lr_schedule: "constant", or "cosine": falls to zero at the last step, which averages out the updates' noise.
        num_steps: Number of updates, one network evaluation each.
        start_timestep: Noisiest timestep, of 0 to 999; the last one is 0.
        weighting: Name of the weighting of the prior term.
        init: Where the restoration starts: one of ``INITS``.

    The tuned rows are for 50 steps, half the evaluations of the other solvers.
    """

    lam: float = default_of(reddiff, "lam")
    learning_rate: float = 0.1
    lr_schedule: Literal["constant", "cosine"] = "constant"
    num_steps: int = 50
    start_timestep: int = 999
    weighting: str = "linear"
    init: str = "pinv"

    name = "reddiff"
    help = "variational, a mode; any operator and noise"
    remedy = "lower the learning rate with --lr."
    plain = True
    space = MappingProxyType(
        {
            "lam": Range(0.02, 5.0, log=True),
            "learning_rate": Range(0.02, 0.5, log=True),
            "start_timestep": Range(200, 999, whole=True),
            "lr_schedule": Choice(("constant", "cosine")),
            "weighting": Choice(("linear", "sqrt", "trunc_linear")),
        }
    )

    def solver(self, prior: Prior, *, data_term: DataTerm = least_squares) -> RedDiff:
        """RED-diff with these settings.

        A run of more steps than there are timesteps up to ``start_timestep`` starts as much higher as it must.

        Args:
            prior: Diffusion prior.
            data_term: ``likelihood`` for noise that is not Gaussian.
        """
        return self._solver(prior, _optimizer(self.learning_rate, self.lr_schedule, self.num_steps), data_term)

    def sweepable(self, prior: Prior) -> Solver:
        """The same, with the learning rate as a leaf, too."""
        solver = self._solver(prior, _injected(self.lr_schedule, self.num_steps), least_squares)
        return RatedRedDiff(solver, jnp.asarray(self.learning_rate, dtype=float))

    def _solver(self, prior: Prior, optimizer: optax.GradientTransformation, data_term: DataTerm) -> RedDiff:
        return reddiff(
            prior,
            optax_step(optimizer, data_term=data_term),
            lam=self.lam,
            num_steps=self.num_steps,
            weighting=weightings.WEIGHTINGS[self.weighting],
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
