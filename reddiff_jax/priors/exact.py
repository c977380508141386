"""Distributions whose noise prediction is exact: oracles for tests."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, numbers
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors._base import Prior, check_schedule
from reddiff_jax.schedules import Schedule


@struct.dataclass
class GaussianPrior(Prior):
    """The Gaussian N(mean, covariance), whose noise prediction is exact.

    ``eps_hat = sigma_t (alpha_t^2 C + sigma_t^2 I)^-1 (x_t - alpha_t mean)``, affine in ``x_t``: an oracle for tests.
    """

    mean: jax.Array  # (H, W, C)
    variances: jax.Array  # scalar, (H, W, C), or the (n,) eigenvalues where there is a basis
    basis: jax.Array | None = None  # (n, n), orthonormal columns

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, exactly."""
        alpha_t, sigma_t = self.schedule(t)
        deviation = self._to_basis(x_t - alpha_t * self.mean)
        return self._from_basis(sigma_t / (alpha_t**2 * self.variances + sigma_t**2) * deviation)

    def log_density(self, x_t: Image, t: Timestep) -> Float[Array, ""]:
        """Log density of ``x_t`` at timestep ``t``, exactly."""
        alpha_t, sigma_t = self.schedule(t)
        deviation = self._to_basis(x_t - alpha_t * self.mean)
        variances = jnp.broadcast_to(alpha_t**2 * self.variances + sigma_t**2, deviation.shape)
        return -0.5 * jnp.sum(deviation**2 / variances + jnp.log(2 * jnp.pi * variances))

    def _to_basis(self, x: jax.Array) -> jax.Array:
        if self.basis is None:
            return x
        return jnp.matmul(x.reshape(-1), self.basis, precision=jax.lax.Precision.HIGHEST)  # (n,)

    def _from_basis(self, coefficients: jax.Array) -> jax.Array:
        if self.basis is None:
            return coefficients
        x = jnp.matmul(self.basis, coefficients, precision=jax.lax.Precision.HIGHEST)  # (n,)
        return x.reshape(self.mean.shape)


@struct.dataclass
class MixturePrior(Prior):
    """A mixture of Gaussians, with an exact noise prediction: that of its components, weighted by responsibility."""

    log_weights: jax.Array  # (K,)
    components: GaussianPrior  # each leaf with a leading (K,)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, exactly."""
        log_densities = jax.vmap(lambda component: component.log_density(x_t, t))(self.components)  # (K,)
        responsibilities = jax.nn.softmax(self.log_weights + log_densities)
        eps = jax.vmap(lambda component: component.eps(x_t, t))(self.components)  # (K, H, W, C)
        return jnp.einsum("k,khwc->hwc", responsibilities, eps, precision=jax.lax.Precision.HIGHEST)


def gaussian_prior(mean: Image, covariance: jax.Array | float, schedule: Schedule) -> GaussianPrior:
    """The Gaussian N(mean, covariance) as a prior.

    Args:
        mean: Mean image, shape (H, W, C).
        covariance: A scalar (isotropic), (H, W, C) (diagonal) or (n, n) with n = H * W * C (full, for small n).
        schedule: Noise schedule.

    Raises:
        ValueError: If a shape does not fit, or the covariance is not symmetric or not positive semi-definite.
    """
    check_array("gaussian_prior: mean", mean, "an image (H, W, C)")
    check_schedule("gaussian_prior", schedule)
    mean, covariance = jnp.asarray(mean, dtype=float), jnp.asarray(covariance, dtype=float)
    if mean.ndim != 3:
        raise ValueError(f"mean has shape {mean.shape} but one image has shape (H, W, C).")
    basis = None
    if covariance.shape == (mean.size, mean.size):
        # eigh reads a symmetric part only: without this a mistaken matrix would go unnoticed.
        seen = numbers(covariance)
        if seen is not None and not np.allclose(seen, np.swapaxes(seen, -1, -2), atol=1e-5 * np.abs(seen).max()):
            raise ValueError("covariance must be symmetric.")
        covariance, basis = jnp.linalg.eigh(covariance)
        covariance = jnp.where(jnp.abs(covariance) < 1e-6 * jnp.max(covariance), jnp.abs(covariance), covariance)
    elif covariance.shape not in ((), mean.shape):
        raise ValueError(
            f"covariance has shape {covariance.shape} but must be a scalar, {mean.shape} (diagonal) or "
            f"{(mean.size, mean.size)} (full)."
        )
    variances = numbers(covariance)
    if variances is not None and not (variances >= 0).all():
        raise ValueError("covariance must be positive semi-definite; it has a negative variance or eigenvalue.")
    return GaussianPrior(schedule=schedule, mean=mean, variances=covariance, basis=basis)


def mixture_prior(
    weights: Float[Array, "K"], means: Float[Array, "K H W C"], covariances: jax.Array | float, schedule: Schedule
) -> MixturePrior:
    """A mixture of Gaussians as a prior.

    Args:
        weights: Positive weights, shape (K,); normalised to sum 1.
        means: Means, shape (K, H, W, C).
        covariances: One scalar for all, or with a leading K what ``gaussian_prior`` takes.
        schedule: Noise schedule.

    Raises:
        ValueError: If shapes do not fit, a weight is not positive or a covariance not positive semi-definite.
    """
    check_schedule("mixture_prior", schedule)
    weights, means = jnp.asarray(weights, dtype=float), jnp.asarray(means, dtype=float)
    covariances = jnp.asarray(covariances, dtype=float)
    if weights.ndim != 1 or means.ndim != 4 or means.shape[0] != weights.size:
        raise ValueError(
            f"weights have shape {weights.shape} and means {means.shape} but (K,) and (K, H, W, C) are needed."
        )
    seen = numbers(weights)
    if seen is not None and not (seen > 0).all():
        raise ValueError(f"weights must be positive, got {seen}.")
    if covariances.ndim == 0:
        covariances = jnp.broadcast_to(covariances, weights.shape)
    if covariances.shape[0] != weights.size:
        raise ValueError(f"covariances have shape {covariances.shape} but need a leading K = {weights.size}.")
    components = jax.vmap(lambda mean, covariance: gaussian_prior(mean, covariance, schedule))(means, covariances)
    return MixturePrior(schedule=schedule, log_weights=jnp.log(weights / weights.sum()), components=components)
