"""Noise-aware RED-diff: the prior's weight follows the measurement noise and the noise level; nothing is tuned.

RED-diff's expected prior term at level r = sigma_t / alpha_t is the gradient of KL(N(mu, r^2 I) || p_r), p_r the prior
blurred by r (score matching, with eps_hat the network's output at x_t = alpha_t (mu + r z))

    E_z[eps_hat - z] = r grad_mu KL,    for a prior N(m, C)   = r (C + r^2)^-1 (mu - m)

As r falls the mode of the posterior needs ``sigma_y^2 grad_mu KL`` beside ``A^T (A mu - y)``. Every published weight
falls below that, so that the end of a run fits the noise. Here

    g = A^T (A mu - y) + kappa_t r (eps_hat - c z),    kappa_t = gamma a + lam sigma_y^2 / r^2,    a = tr(A A^T) / m

with lam = 1 for the posterior, and a little gamma for what is measured without noise. All c are unbiased as E z = 0;
c = <eps_hat, z> / <z, z> takes out most of the gradient's noise, which c = 1 (published) leaves at about 1 where r is
small and the weight is large. Levels are even in log r, from r_max to sigma_y / 4: further down there is nothing left
to decide. For linear A the step is exact and has no length to be chosen:

    mu <- mu - (A^T A + kappa)^-1 g = argmin_x |A x - y|^2 + kappa |x - (mu - r (eps_hat - c z))|^2

**Samples.** For a Gaussian prior the iteration with c = 1 ends with variance C / 2 where nothing is measured: too
little, whatever the optimizer. With half the step and c = 2, i.e. from u = mu + r z to ``v = u - (r / 2) eps_hat`` and
then ``(A^T A + k)^-1 (A^T y + k v)``, ``k = 2 sigma_y^2 / r^2``, it is an annealed Langevin step of size r^2 / 2 whose
data term is implicit: variance C + r^2 / 4 + O(r^4 / C) there, and sigma_y^2 / (1 + r^2 / (4 sigma_y^2)) where only the
measurement speaks.

**Trained networks.** For exact priors more steps come nearer to the mode. With trained ones the mode has not the least
squared error, and the network errs more on pictures as smooth as one: there short runs, averaged
(``rd.averaged(rd.noise_aware(prior, num_steps=25), 4)``), are better than a long one, more evaluations belong into more
runs, and where little of the picture is measured ``lam`` is better well below 1 (benchmarks/net_error.py).

**Perturb and optimise.** With a draw x' of the prior in place of the mean, eps_hat(x'_t) of the same z subtracted in
place of c z, and noise added to y, the minimiser is a draw of the posterior, exactly for Gaussian priors.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax import weightings
from reddiff_jax._checks import check_non_negative, check_positive
from reddiff_jax._types import Image, Key, Timestep
from reddiff_jax.operators import LinearOperator
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem
from reddiff_jax.schedules import Schedule
from reddiff_jax.solvers._base import Solver, check_count, check_in_shape, known_sigma_y, scalar
from reddiff_jax.solvers._control_variates import ControlVariate, variate_projected, variate_twice
from reddiff_jax.solvers._optimizers import decayed_adam
from reddiff_jax.solvers._proximal import check_linear, proximal
from reddiff_jax.solvers._row_norms import mean_squared_row_norm
from reddiff_jax.solvers._starts import Init, init_pinv

_REMEDY = "Use rd.reddiff with data_term=rd.likelihood."


# ---- the update


@struct.dataclass
class NoiseAwareInfo:
    """What a human watches."""

    t: jax.Array  # timestep of the step
    residual: jax.Array  # root mean square of A(mu) - y, before the step
    pull: jax.Array  # root mean square of the prior's pull, in pixel units
    kappa: jax.Array  # weight of the prior


@struct.dataclass
class NoiseAwareState:
    """What the next step needs."""

    mu: jax.Array  # (H, W, C)
    opt_state: Any  # None where the step is proximal
    scale: jax.Array  # a = tr(A A^T) / m
    step: jax.Array  # int32, number of steps done
    anchor: jax.Array | None = None  # (H, W, C), the prior's draw of perturb-and-optimise
    y: jax.Array | None = None  # its perturbed measurement


def noise_aware_pull(
    z: Image,
    prior: Prior,
    problem: Problem,
    mu: Image,
    t: Timestep,
    *,
    control_variate: ControlVariate = variate_projected,
    anchor: Image | None = None,
) -> Image:
    """Where the prior pulls mu from, its noise given: ``r (eps_hat(alpha_t (mu + r z)) - c z)``, in pixel units.

    Args:
        z: Standard normal noise, (H, W, C).
        prior: Diffusion prior.
        problem: Condition of the prior.
        mu: Where the pull is taken, (H, W, C).
        t: Timestep.
        control_variate: Function (eps_hat, z) -> c.
        anchor: A draw x' of the prior, whose eps_hat(alpha_t (x' + r z)) is then subtracted in place of c z. For a
            Gaussian prior what is left, r^2 (C + r^2)^-1 (mu - x'), has no noise.
    """
    alpha_t, sigma_t = prior.schedule(t)

    def eps(x: Image) -> Image:
        # Before the network, so that a caller's own derivative stores none of its activations.
        return prior.eps(jax.lax.stop_gradient(alpha_t * x + sigma_t * z), t, problem.cond)

    eps_hat = eps(mu)
    known = control_variate(eps_hat, z) * z if anchor is None else eps(anchor)
    return sigma_t / alpha_t * (eps_hat - known)


@struct.dataclass
class NoiseAware(Solver[NoiseAwareState]):
    """Noise-aware RED-diff; build it with ``noise_aware``."""

    prior: Prior
    lam: jax.Array
    gamma: jax.Array | None  # None: by the kind of step
    r_max: jax.Array
    r_min: jax.Array
    prior_samples: jax.Array | None  # (K, H, W, C)
    optimizer: optax.GradientTransformation | None = struct.field(pytree_node=False)
    control_variate: ControlVariate = struct.field(pytree_node=False)
    to_timestep: Callable[[Schedule, jax.Array], jax.Array] = struct.field(pytree_node=False)
    start: Init = struct.field(pytree_node=False)
    sample: bool = struct.field(pytree_node=False)
    total_steps: int = struct.field(pytree_node=False)
    num_cg: int = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.total_steps

    def init(self, key: Key, problem: Problem) -> NoiseAwareState:
        """Returns the state before the first step."""
        check_in_shape("noise_aware", problem)
        known_sigma_y("noise_aware", problem, _REMEDY)
        if self.sample:
            check_linear("noise_aware with sample=True", problem, "Use rd.daps or rd.dps.")
        key_mu, key_scale, key_anchor, key_y = jax.random.split(key, 4)
        mu = self.start(key_mu, problem, *self.prior.schedule(self.timestep(0, 1.0, problem))).astype(float)
        if mu.shape != problem.operator.in_shape:
            raise ValueError(f"init returned shape {mu.shape} but the image has {problem.operator.in_shape}.")
        optimizer, anchor, y = self._optimizer(problem), None, None
        if self.prior_samples is not None:
            if self.prior_samples.shape[1:] != mu.shape:
                raise ValueError(f"prior_samples has images {self.prior_samples.shape[1:]} but mu has {mu.shape}.")
            anchor = jax.random.choice(key_anchor, self.prior_samples).astype(mu.dtype)
            y = problem.noise.sample(key_y, problem.y)
        return NoiseAwareState(
            mu=mu,
            opt_state=None if optimizer is None else optimizer.init(mu),
            scale=mean_squared_row_norm(key_scale, problem.operator, mu).astype(mu.dtype),
            step=jnp.zeros((), jnp.int32),
            anchor=anchor,
            y=y,
        )

    def step(self, key: Key, state: NoiseAwareState, problem: Problem) -> tuple[NoiseAwareState, NoiseAwareInfo]:
        """Draws the noise of one step, and updates mu."""
        return self.update(jax.random.normal(key, state.mu.shape, state.mu.dtype), state, problem)

    def update(self, z: Image, state: NoiseAwareState, problem: Problem) -> tuple[NoiseAwareState, NoiseAwareInfo]:
        """The step with its noise given: a trajectory can be replayed against another implementation."""
        mu, t = state.mu, self.timestep(state.step, state.scale, problem)
        if state.y is not None:
            problem = dataclasses.replace(problem, y=state.y)
        length = 0.5 if self.sample else 1.0
        kappa = self.weight(t, state.scale, problem)
        pull = length * noise_aware_pull(
            z, self.prior, problem, mu, t, control_variate=self.control_variate, anchor=state.anchor
        )
        optimizer, opt_state = self._optimizer(problem), state.opt_state
        if optimizer is None:
            new_mu = proximal(problem, mu - pull, kappa, self.num_cg)
        else:
            grad = problem.misfit_gradient(mu) + kappa * pull
            updates, opt_state = optimizer.update(grad.astype(mu.dtype), opt_state, mu)
            new_mu: jax.Array = optax.apply_updates(mu, updates)  # type: ignore[assignment]
        info = NoiseAwareInfo(
            t=jnp.asarray(t),
            residual=problem.rms_residual(mu),
            pull=jnp.sqrt(jnp.mean(pull**2)),
            kappa=kappa,
        )
        # The scanned state keeps its type even where an operator works in another (x64, complex measurements).
        new_mu = new_mu.astype(mu.dtype)
        return dataclasses.replace(state, mu=new_mu, opt_state=opt_state, step=state.step + 1), info

    def estimate(self, state: NoiseAwareState) -> Image:
        """Returns mu."""
        return state.mu

    def timestep(self, step: Int[Array, ""] | int, scale: Float[Array, ""] | float, problem: Problem) -> Timestep:
        """Returns the timestep of a step: levels fall by one factor, from r_max to sigma_y / 4 but not below r_min."""
        # An operator that adds up many pixels has a large sigma_y, which is none for a pixel.
        sigma_x = known_sigma_y("noise_aware", problem, _REMEDY) / jnp.sqrt(jnp.maximum(scale, 1.0))
        last = jnp.clip(sigma_x / 4, self.r_min, self.r_max)
        fallen = step / max(self.total_steps - 1, 1)
        return self.to_timestep(self.prior.schedule, self.r_max * (last / self.r_max) ** fallen)

    def weight(self, t: Timestep, scale: Float[Array, ""] | float, problem: Problem) -> Float[Array, ""]:
        """Returns ``kappa = gamma a + lam sigma_y^2 / r^2``; with twice the last term for samples."""
        alpha_t, sigma_t = self.prior.schedule(t)
        sigma_y = known_sigma_y("noise_aware", problem, _REMEDY)
        gamma = self.gamma
        if gamma is None:
            gamma = weightings.default_gamma(proximal=self._optimizer(problem) is None, sample=self.sample)
        return gamma * scale + (2 if self.sample else 1) * self.lam * (sigma_y * alpha_t / sigma_t) ** 2

    def _optimizer(self, problem: Problem) -> optax.GradientTransformation | None:
        """None for the proximal step."""
        if self.optimizer is None and not isinstance(problem.operator, LinearOperator):
            return decayed_adam(self.total_steps)
        return self.optimizer


def noise_aware(
    prior: Prior,
    optimizer: optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float = 1.0,
    gamma: jax.Array | float | None = None,
    num_steps: int = 100,
    r_max: jax.Array | float = 3.0,
    r_min: jax.Array | float = 0.02,
    control_variate: ControlVariate = variate_projected,
    sample: bool = False,
    prior_samples: Float[Array, "K H W C"] | None = None,
    to_timestep: Callable[[Schedule, jax.Array], jax.Array] = Schedule.nearest,
    num_cg: int = 10,
    init: Init = init_pinv,
) -> NoiseAware:
    """RED-diff that respects the measurement noise, with one setting for all noise levels.

    A run is a point estimate, near a mode of the posterior; ``rd.averaged`` averages several, which has the higher
    PSNR; ``sample=True`` draws from the posterior instead.

    ``problem.noise.sigma_y`` is taken at its word. Rounding is noise, too: what comes from pictures of 8 bits has at
    least 0.0023 (``pictures.ROUNDING_SIGMA``). Without it the inverse of a wide blur is dominated by the rounding.

    Args:
        prior: Diffusion prior.
        optimizer: Any Optax transformation for the data step. If None the exact proximal step where the operator is
            linear, and else Adam (b2 = 0.99) at 0.1, decayed to 0.002 by a cosine.
        lam: Weight of the prior in units of the posterior's, sigma_y^2 / r^2; 1 is right where sigma_y is, for samples
            and for exact priors; with trained networks 0.35 is better where little is measured.
        gamma: Weight of the prior that stays where sigma_y is small, in units of a = tr(A A^T) / m. If None 0.001 for
            proximal steps, 0.03 for an optimizer, 1e-6 for samples.
        num_steps: Number of updates, one network evaluation each (two with ``prior_samples``). For points of a trained
            network 20 to 50; 300 suit an optimizer. For samples of exact priors the more the better; of a trained
            network 100, as longer runs invent more (benchmarks/noise_aware.py).
        r_max: First noise level sigma_t / alpha_t in pixel units. From ``init_smooth`` 0.5 to 1 is better for points of
            a trained network, and fewer steps do, and 0.5 for samples; raise it to 10 or 30 where the first image says
            little.
        r_min: Least noise level; the last one is sigma_y / 4, or sigma_y / (4 sqrt(a)) for a > 1, if that is larger.
        control_variate: ``variate_projected``, ``variate_published``, ``variate_none`` or a function (eps_hat, z) -> c.
        sample: Draw from the posterior by the noisy half step; linear operators only.
        prior_samples: K images drawn from the prior, for draws by perturb-and-optimise: each run takes one of them and
            adds noise to y. Exact for Gaussian priors; for others the balance of the modes is not.
        to_timestep: Function (schedule, noise level) -> timestep: ``rd.Schedule.nearest``, integers, or
            ``rd.Schedule.fractional`` for priors that take any t.
        num_cg: Steps of conjugate gradients where a linear operator is no SpectralOperator.
        init: First image: ``init_pinv``, ``init_smooth`` with a lower ``r_max``, or another, see ``reddiff``.

    Raises:
        ValueError: For values that make no sense or do not fit together.

    Source:
        RED-diff: Mardani et al. 2023 (arXiv 2305.04391). Departures: the module's derivation; sums over entries and
        pixels, where the published objective has means. Control variates of score identities: arXiv 2512.20003. The
        half step is a relative of the split Gibbs sampler PnP-DM (Wu et al. 2024, arXiv 2405.18782).
    """
    check_non_negative("lam", lam)
    if gamma is not None:
        check_non_negative("gamma", gamma)
    check_positive("r_max", r_max)
    check_positive("r_min", r_min)
    check_count("num_steps", num_steps)
    check_count("num_cg", num_cg)
    if sample and (optimizer is not None or prior_samples is not None or control_variate is not variate_projected):
        raise ValueError("sample=True has its own step; leave out optimizer, control_variate and prior_samples.")
    if prior_samples is not None and jnp.ndim(prior_samples) != 4:
        raise ValueError(f"prior_samples has shape {jnp.shape(prior_samples)} but must be images (K, H, W, C).")
    return NoiseAware(
        prior=prior,
        lam=scalar(lam),
        gamma=None if gamma is None else scalar(gamma),
        r_max=scalar(r_max),
        r_min=scalar(r_min),
        prior_samples=None if prior_samples is None else jnp.asarray(prior_samples, dtype=float),
        optimizer=optimizer,
        control_variate=variate_twice if sample else control_variate,
        to_timestep=to_timestep,
        start=init,
        sample=sample,
        total_steps=num_steps,
        num_cg=num_cg,
    )
