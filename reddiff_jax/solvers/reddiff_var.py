"""RED-diff with a learned variance: a Gaussian q(x_0) = N(mu, diag(s^2)) is fitted to the posterior, mean and spread.

Variational inference minimises ``E_q |A(x_0) - y|^2 / (2 sigma_y^2) + KL(q || p)``. As in RED-diff the last term is
replaced by KL(q_t || p_t) between q and the prior p, both noised to level t; this is exact for t -> 0, where the
descending order ends. Times sigma_y^2 the objective at level t is

    F_t(mu, s) = E_q |A(x_0) - y|^2 / 2 + (sigma_y^2 + lam r_t^2) KL(q_t || p_t),   x_t = alpha_t x_0 + sigma_t z

where x_0 = mu + s z_0. There q_t = N(alpha_t mu, v_t^2) with

    v_t^2 = alpha_t^2 s^2 + sigma_t^2,   x_t = alpha_t mu + v_t eps,   eps = (alpha_t s z_0 + sigma_t z) / v_t

so that the score of q_t is -eps / v_t, of the *combined* noise eps, where the prior's is -eps_hat / sigma_t. The
expectation of a score is 0, so that only the path counts, d x_t / d mu = alpha_t and d x_t / d s = alpha_t^2 s eps /
v_t; with r_t = sigma_t / alpha_t

    grad_mu KL = E[eps_hat - (sigma_t / v_t) eps] / r_t
    grad_s  KL = (alpha_t s / v_t) E[eps (eps_hat - (sigma_t / v_t) eps)] / r_t

Where q is right eps_hat is (sigma_t / v_t) eps, and both estimates are free of noise. For s -> 0 and sigma_y -> 0 the
first line is RED-diff's term, lam r_t (eps_hat - eps). For a Gaussian prior N(m, C) and linear A the fixed point at
level r is

    s_i^2 + r^2 = 1 / ([(C + r^2)^-1]_ii + (A^T A)_ii / (sigma_y^2 + lam r^2))

For r -> 0 it is s_i^2 = 1 / Lambda_ii with Lambda = C^-1 + A^T A / sigma_y^2, and s^2 = n / tr(Lambda) for one scalar
s: the exact posterior variance where Lambda is diagonal, and less than it elsewhere, as for every reverse KL. So s is
a lower error bar, not a calibrated one.

Without lam no such s exists at levels above sigma_y: q would collapse there, and not widen again in the few steps
that are left below. With lam = 1 and A^T A = 1 it is sigma_y to first order in r^2 once r^2 is below sigma_y C^(1/2).
Above, s is kept at r_t / 2, which hardly widens q_t and lets it return. Levels fall by a constant factor, and
the last fifth of the steps stays at the lowest.
"""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax import schedules, weightings
from reddiff_jax._checks import check_callable, check_non_negative, check_positive, check_whole
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem, check_single
from reddiff_jax.solvers._base import LIKELIHOOD, Solver, known_sigma_y, scalar
from reddiff_jax.solvers._initial_images import Init, first_image, init_noise, init_pinv
from reddiff_jax.solvers._levels import check_falling, falling
from reddiff_jax.solvers._steps import as_optimizer, decayed_adam
from reddiff_jax.weightings import WEIGHTING, Weighting

_LEAST_SIGMA = 0.01


@struct.dataclass
class RedDiffVarInfo(Repr):
    """Scalars to watch during a run."""

    t: jax.Array  # timestep of the step
    residual: jax.Array  # root mean square of A(mu) - y, before the step
    std: jax.Array  # root mean square of s, before the step


@struct.dataclass
class RedDiffVarState(Repr):
    """All that the next step needs."""

    mu: jax.Array  # (H, W, C)
    spread: jax.Array  # (H, W, C) or (1, 1, 1): log s; in the published form s, up to its sign
    opt_state: optax.OptState
    step: jax.Array  # int32, number of steps done


def reddiff_var_gradient(
    z: Float[Array, "2 H W C"],
    prior: Prior,
    problem: Problem,
    mu: Image,
    s: Float[Array, "#H #W #C"],
    t: Int[Array, ""] | int,
    *,
    weight: jax.Array | float,
) -> tuple[Image, Float[Array, "#H #W #C"]]:
    """Stochastic gradient of ``E_q |A(x_0) - y|^2 / 2 + weight * KL(q_t || p_t)`` in mu and s.

    The data term is taken at mu + s z_0 and mu - s z_0: for linear A its gradient in mu is then free of noise.

    Args:
        z: Standard normal noise: z_0 of x_0, and z of the diffusion.
        prior: Diffusion prior.
        problem: Measurement, operator and condition.
        mu: Mean of q, (H, W, C).
        s: Standard deviation of q, (H, W, C) or (1, 1, 1).
        t: Timestep.
        weight: Weight of the KL; sigma_y^2 for the posterior.

    Returns:
        The gradients in mu and in s, of their shapes.
    """
    alpha_t, sigma_t = prior.schedule(t)
    v_t = jnp.sqrt((alpha_t * s) ** 2 + sigma_t**2)
    eps = (alpha_t * s * z[0] + sigma_t * z[1]) / v_t
    x_t = jax.lax.stop_gradient(alpha_t * mu + v_t * eps)
    pull = weight * alpha_t / sigma_t * (prior.eps(x_t, t, problem.cond) - sigma_t / v_t * eps)
    above, below = problem.misfit_gradient(mu + s * z[0]), problem.misfit_gradient(mu - s * z[0])
    grad_s = z[0] * (above - below) / 2 + alpha_t * s / v_t * eps * pull
    return (above + below) / 2 + pull, _sum_to(s.shape, grad_s)


def sds_var_gradient(
    z: Float[Array, "2 H W C"],
    prior: Prior,
    problem: Problem,
    mu: Image,
    s: Float[Array, "1 1 1"],
    t: Int[Array, ""] | int,
    *,
    lam: jax.Array | float = 1.0,
    weighting: Weighting = weightings.linear,
) -> tuple[Image, Float[Array, "1 1 1"]]:
    """The published gradient with a learned variance, prior only: means over pixels for mu, a sum for s.

    With rho = w(alpha_t, sigma_t) and eta = sqrt(1 + s^2 / rho^2), ``d = eps_hat - z / eta``, ``g_mu = d / n`` and
    ``g_s = 2 lam s / eta * sum(z d)``. It is no gradient of a KL: the score of q needs the combined noise and here has
    that of the diffusion alone, lam weighs s only, and rho is the weight where the ratio r_t belongs.
    """
    alpha_t, sigma_t = prior.schedule(t)
    eta = jnp.sqrt(1 + (s / weighting(alpha_t, sigma_t)) ** 2)
    x_t = jax.lax.stop_gradient(alpha_t * (mu + s * z[0]) + sigma_t * z[1])
    difference = prior.eps(x_t, t, problem.cond) - z[1] / eta
    return difference / mu.size, 2 * lam * s / eta * _sum_to(s.shape, z[1] * difference)


def _sum_to(shape: tuple[int, ...], x: Array) -> Array:
    return x if x.shape == shape else jnp.sum(x, keepdims=True)


@struct.dataclass
class RedDiffVar(Solver[RedDiffVarState]):
    """RED-diff with a learned variance; build it with ``reddiff_var`` or ``sds_var``."""

    prior: Prior
    timesteps: jax.Array  # (num_steps,) int32, descending; low ones repeat
    lam: jax.Array
    first_std: jax.Array
    optimizer: optax.GradientTransformation = struct.field(pytree_node=False)
    weighting: Weighting = struct.field(pytree_node=False)  # of the published form
    initial_image: Init = struct.field(pytree_node=False)
    diagonal: bool = struct.field(pytree_node=False)
    published: bool = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.timesteps.shape[-1]

    def init(self, key: Key, problem: Problem) -> RedDiffVarState:
        """Returns the state before the first step."""
        check_single(problem)
        if not self.published:
            self._sigma_y(problem)
        key_mu, key_s = jax.random.split(key)
        mu = first_image(self.initial_image, key_mu, problem, *self.prior.schedule(self.timesteps[0]))
        first = jnp.full(mu.shape if self.diagonal else (1, 1, 1), self.first_std.astype(mu.dtype))
        spread = first * jnp.abs(jax.random.normal(key_s, first.shape, mu.dtype)) if self.published else jnp.log(first)
        return RedDiffVarState(mu, spread, self.optimizer.init((mu, spread)), jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: RedDiffVarState, problem: Problem) -> tuple[RedDiffVarState, RedDiffVarInfo]:
        """Draws the noise of one step, and updates mu and s."""
        return self.update(jax.random.normal(key, (2, *state.mu.shape), state.mu.dtype), state, problem)

    def update(
        self, z: Float[Array, "2 H W C"], state: RedDiffVarState, problem: Problem
    ) -> tuple[RedDiffVarState, RedDiffVarInfo]:
        """Does the step with given noise, of the gradients' shape."""
        t, mu = self.timesteps[state.step], state.mu
        alpha_t, sigma_t = self.prior.schedule(t)
        s, pull = jax.vjp(self._std, state.spread)
        if self.published:
            grads = sds_var_gradient(z, self.prior, problem, mu, s, t, lam=self.lam, weighting=self.weighting)
        else:
            weight = self._sigma_y(problem) ** 2 + self.lam * (sigma_t / alpha_t) ** 2
            grads = reddiff_var_gradient(z, self.prior, problem, mu, s, t, weight=weight)
        grads = (grads[0].astype(mu.dtype), pull(grads[1].astype(s.dtype))[0])
        updates, opt_state = self.optimizer.update(grads, state.opt_state, (mu, state.spread))
        new_mu, spread = jax.tree.map(jnp.add, (mu, state.spread), updates)
        if not self.published:
            spread = jnp.maximum(spread, jnp.log(jnp.minimum(self.first_std, sigma_t / alpha_t / 2)))
        info = RedDiffVarInfo(t=t, residual=problem.rms_residual(mu), std=jnp.sqrt(jnp.mean(s**2)))
        return RedDiffVarState(new_mu, spread, opt_state, state.step + 1), info

    def estimate(self, state: RedDiffVarState) -> Image:
        """Returns mu."""
        return state.mu

    def std(self, state: RedDiffVarState) -> Image:
        """Returns s, the standard deviation of each pixel, (H, W, C)."""
        return jnp.broadcast_to(self._std(state.spread), state.mu.shape)

    def _std(self, spread: jax.Array) -> jax.Array:
        return jnp.abs(spread) if self.published else jnp.exp(spread)

    def _sigma_y(self, problem: Problem) -> Float[Array, ""]:
        sigma_y = known_sigma_y("reddiff_var", problem, f"Use {LIKELIHOOD}.")
        return jnp.maximum(sigma_y, _LEAST_SIGMA)


def reddiff_var(
    prior: Prior,
    optimizer: optax.GradientTransformation | None = None,
    *,
    diagonal: bool = True,
    lam: jax.Array | float = 1.0,
    num_steps: int = 1000,
    init: Init = init_pinv,
    first_std: jax.Array | float = 0.1,
    sigma_max: jax.Array | float = 3.0,
    sigma_min: jax.Array | float = 0.01,
) -> RedDiffVar:
    """RED-diff with a learned variance: restores an image, and says how sure it is of each pixel.

    ``solver.std(rd.run(key, solver, problem).state)`` is the standard deviation of each pixel.

    Args:
        prior: Diffusion prior.
        optimizer: Any Optax transformation of (mu, log s); if None Adam (b2 = 0.99) at the paper's 0.1, decayed to
            0.002 by a cosine, since steps of constant length would show in s.
        diagonal: One s for each pixel; False is one for all.
        lam: RED-diff's lambda (for ``weighting="linear"``), which here fades with the level and leaves the posterior;
            1 leaves the smallest bias in s.
        num_steps: Number of updates, one network evaluation each. On Gaussians s is right within 1 % after 1000, within
            10 % after 300 and not after 100; for sigma_y = 0.01, the lowest level itself, it stays twice too large.
        init: Initial image: ``init_pinv`` or another, see ``reddiff``.
        first_std: Initial s; s does not fall below the smaller of this and r_t / 2.
        sigma_max: First noise level sigma_t / alpha_t in pixel units; raise it to 10 or 30 where the initial
            image says little.
        sigma_min: Last noise level, to be well below the posterior's standard deviation; the first of the usual
            schedule.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), section 4 and appendix, where q has a variance before it is taken to 0.
        Departures: the module's derivation; ``problem.noise.sigma_y`` (at least 0.01) sets the weight of the prior.
    """
    check_prior("reddiff_var", prior)
    check_non_negative("lam", lam)
    for name, value in (("first_std", first_std), ("sigma_max", sigma_max), ("sigma_min", sigma_min)):
        check_positive(name, value)
    check_falling(sigma_max, sigma_min)
    check_whole("num_steps", num_steps)
    fallen = jnp.minimum(jnp.arange(num_steps) / (0.8 * num_steps), 1.0)
    return RedDiffVar(
        prior=prior,
        timesteps=jax.vmap(prior.schedule.nearest)(falling(jnp.asarray(sigma_max), sigma_min, fallen)),
        lam=scalar(lam),
        first_std=scalar(first_std),
        optimizer=as_optimizer(optimizer, decayed_adam(num_steps)),
        weighting=weightings.linear,
        initial_image=init,
        diagonal=diagonal,
        published=False,
    )


def sds_var(
    prior: Prior,
    optimizer: optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float = 1.0,
    num_steps: int = 1000,
    weighting: Weighting = weightings.linear,
    init: Init = init_noise,
    first_std: jax.Array | float = 0.1,
) -> RedDiffVar:
    """Score distillation with a learned variance as published: prior only, one s, its own gradient and grid.

    For comparison with published results; ``rd.run(key, rd.reddiff_var(prior), rd.unconditional(shape))`` fits q by the
    gradient of the KL.

    Args:
        prior: Diffusion prior.
        optimizer: Any Optax transformation of (mu, s); Adam (0.1, b2 = 0.99) if None.
        lam: Weight of the gradient in s.
        num_steps: Number of updates asked for; the published grid has more where it does not divide T.
        weighting: As for ``reddiff``; here it stands for the ratio r_t in the spread of q_t.
        init: Initial image; white noise as published.
        first_std: The initial s is this times the magnitude of a normal number.

    Raises:
        ValueError: For values that make no sense.

    Source:
        The code published with Mardani et al. 2023 (arXiv 2305.04391), from its description; see ``sds_var_gradient``.
        Departure: one image, whose s it does not share with a batch.
    """
    check_prior("sds_var", prior)
    check_non_negative("lam", lam)
    check_positive("first_std", first_std)
    check_callable("weighting", weighting, WEIGHTING)
    return RedDiffVar(
        prior=prior,
        timesteps=prior.schedule.timesteps(num_steps, spacing=schedules.published),
        lam=scalar(lam),
        first_std=scalar(first_std),
        optimizer=as_optimizer(optimizer),
        weighting=weighting,
        initial_image=init,
        diagonal=False,
        published=True,
    )
