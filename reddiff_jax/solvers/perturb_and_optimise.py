"""Perturb and optimise: draws from the posterior as minimisers of randomly perturbed problems.

If a draw x' of the prior replaces its mean and noise is added to y, the minimiser is a draw from the posterior; for
Gaussian priors this is exact. Here eps_hat(alpha_t x' + sigma_t eps) of the same noise eps replaces c eps: for a
Gaussian prior the pull that is left, r^2 (C + r^2)^-1 (mu - x'), has no noise.

Source:
    Papandreou & Yuille 2010, "Gaussian sampling by local perturbations" (NeurIPS).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_finite, check_type
from reddiff_jax._repr import Repr
from reddiff_jax._types import Condition, Image, Key, Timestep
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import Solver
from reddiff_jax.solvers._control_variates import variate_none
from reddiff_jax.solvers._steps import LangevinStep
from reddiff_jax.solvers._variational import RedDiff


@struct.dataclass
class Anchored(Prior):
    """A prior less its prediction at a draw: ``eps_hat(x_t) - eps_hat(x_t + alpha_t (anchor - mu))``."""

    prior: Prior
    mu: jax.Array  # (H, W, C)
    anchor: jax.Array  # (H, W, C)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, less the prediction for the same noise around the anchor."""
        alpha_t, _ = self.schedule(t)
        beside = jax.lax.stop_gradient(x_t + alpha_t * (self.anchor - self.mu))
        return self.prior.eps(x_t, t, cond) - self.prior.eps(beside, t, cond)


@struct.dataclass
class PerturbedState(Repr):
    """All that the next step needs."""

    run: Any  # the solver's State
    anchor: jax.Array  # (H, W, C), the prior's draw
    y: jax.Array  # the perturbed measurement

    @property
    def step(self) -> jax.Array:
        """Number of steps done, int32."""
        return self.run.step


@struct.dataclass
class PerturbAndOptimise(Solver[PerturbedState]):
    """Runs on perturbed problems; build it with ``perturb_and_optimise``."""

    solver: Solver
    prior_samples: jax.Array  # (K, H, W, C)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> PerturbedState:
        """Returns the state before the first step, with a draw of the prior and the perturbed measurement."""
        if self.prior_samples.shape[1:] != problem.operator.in_shape:
            raise ValueError(
                f"prior_samples has images of shape {self.prior_samples.shape[1:]} but the problem's image has shape "
                f"{problem.operator.in_shape}; give samples of that shape."
            )
        key_run, key_anchor, key_y = jax.random.split(key, 3)
        run = self.solver.init(key_run, problem)
        anchor = jax.random.choice(key_anchor, self.prior_samples).astype(run.mu.dtype)
        return PerturbedState(run, anchor, problem.noise.sample(key_y, problem.y))

    def step(self, key: Key, state: PerturbedState, problem: Problem) -> tuple[PerturbedState, Any]:
        """Does one step towards the minimiser of the perturbed problem."""
        prior: Prior = self.solver.prior  # type: ignore[attr-defined]
        anchored = Anchored(prior.schedule, prior, state.run.mu, state.anchor)
        solver = self.solver.replace(prior=anchored, control_variate=variate_none)  # type: ignore[attr-defined]
        run, info = solver.step(key, state.run, dataclasses.replace(problem, y=state.y))
        return dataclasses.replace(state, run=run), info

    def estimate(self, state: PerturbedState) -> Image:
        """Returns the solver's estimate."""
        return self.solver.estimate(state.run)


def perturb_and_optimise(solver: Solver, prior_samples: Float[Array, "K H W C"]) -> PerturbAndOptimise:
    """Draws from the posterior by RED-diff on perturbed problems.

    Each run takes one of the images, and adds noise to y. It is exact for Gaussian priors; for others the weights of
    the posterior's modes are not right. A step costs two network evaluations.

    Args:
        solver: ``rd.noise_aware(prior)`` or another RED-diff for point estimates.
        prior_samples: K images drawn from the prior.

    Raises:
        TypeError: If the solver is no RED-diff, or ``prior_samples`` is no array.
        ValueError: If the solver draws samples itself, or ``prior_samples`` are not images, or not finite.
    """
    check_type("perturb_and_optimise: solver", solver, Solver, "a Solver, such as rd.noise_aware(prior)")
    if not isinstance(solver, RedDiff):
        raise TypeError(
            f"perturb_and_optimise needs a RED-diff; {type(solver).__name__} is not one. Use rd.noise_aware."
        )
    if isinstance(solver.step_rule, LangevinStep):
        raise ValueError(
            "perturb_and_optimise: solver draws samples itself, so that perturbations would count twice; "
            "use rd.noise_aware(prior), without sample=True."
        )
    check_array("prior_samples", prior_samples, "images (K, H, W, C)")
    shape = jnp.shape(prior_samples)
    if len(shape) != 4 or not shape[0]:
        raise ValueError(f"prior_samples has shape {shape} but must be images (K, H, W, C), one at least.")
    check_finite("prior_samples", prior_samples)
    return PerturbAndOptimise(solver=solver, prior_samples=jnp.asarray(prior_samples, dtype=float))
