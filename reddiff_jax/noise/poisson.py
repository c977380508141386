"""Photon noise of images, of magnitudes, of attenuated beams, and together with Gaussian noise of the read-out.

All of them count: ``k ~ Poisson(rate(y_hat))``, and y is the value whose rate would be k. Their nll is
``sum rate - k + k log(k / rate)``, which is zero where the rate is k.

Counts of rates above 2^16 are drawn from the Gaussian of the same mean and variance, rounded. It differs from Poisson's
distribution by a skewness below 0.004. There ``jax.random.poisson`` computes with too few digits, and its counts end at
2^31.
"""

import abc

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_non_negative, check_positive
from reddiff_jax._types import Key
from reddiff_jax.noise._base import Noise, check_range, check_real, continue_below, leaf

_MOST_LOG_RATIO = 10.0
_LARGEST_RATE = 2.0**16  # for which counts are drawn one by one


@struct.dataclass
class _Counting(Noise):
    """Noise of a count: a base for the structs below."""

    @abc.abstractmethod
    def rate(self, y: Array) -> Array:
        """Expected counts for the clean ``y``."""

    @abc.abstractmethod
    def value(self, counts: Array) -> Array:
        """The y that so many counts are read as."""

    def sample(self, key: Key, y: Array) -> Array:
        """Draws counts, and reads them in the units of y."""
        check_real(self, y)
        return self.value(_draw_counts(key, jnp.maximum(self.rate(y), 0.0)).astype(y.dtype))


@struct.dataclass
class Poisson(_Counting):
    """Counts proportional to ``y - low``; build it with ``poisson``."""

    photons: jax.Array  # scalar, counts at y = high
    low: jax.Array  # scalar or y's shape
    high: jax.Array  # scalar or y's shape
    background: jax.Array  # scalar, counts
    floor: float = struct.field(pytree_node=False)

    def rate(self, y: Array) -> Array:
        """Expected counts for the clean ``y``; negative below the range."""
        return self.photons * (y - self.low) / (self.high - self.low) + self.background

    def value(self, counts: Array) -> Array:
        """The y that so many counts are read as."""
        return self.low + (self.high - self.low) * (counts - self.background) / self.photons

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """``sum rate - k + k log(k / rate)``, continued by a parabola where the rate is below ``floor max(k, 1)``."""
        check_real(self, y, y_hat)
        return _poisson_nll(self.rate(y), self.rate(y_hat), self.floor)

    def variance(self, y: Array) -> Float[Array, ""]:
        """Mean variance, with the counts for their rates."""
        # One count more, lest a measurement without a single one have no weight.
        counts = jnp.maximum(self.rate(y), 0.0) + 1 / y.size
        return jnp.mean(counts * ((self.high - self.low) / self.photons) ** 2)


@struct.dataclass
class PoissonGaussian(Noise):
    """Counts proportional to ``y - low``, read with Gaussian noise; build it with ``poisson_gaussian``."""

    photons: jax.Array  # scalar, counts at y = high
    sigma_y: jax.Array  # scalar, in the units of y
    low: jax.Array  # scalar or y's shape
    high: jax.Array  # scalar or y's shape
    floor: float = struct.field(pytree_node=False)

    def sample(self, key: Key, y: Array) -> Array:
        """Draws counts, reads them in the units of y, and adds white noise."""
        key_counts, key_read = jax.random.split(key)
        y = self._poisson(0.0).sample(key_counts, y)
        return y + self.sigma_y * jax.random.normal(key_read, y.shape, y.dtype)

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """The nll of a Poisson variable whose rate and count are higher by the Gaussian's variance, in photons^2."""
        return self._shifted().nll(y, y_hat)

    def variance(self, y: Array) -> Float[Array, ""]:
        """Mean variance of both, with the counts for their rates."""
        return self._shifted().variance(y)

    def _shifted(self) -> Poisson:
        return self._poisson(jnp.mean((self.sigma_y * self.photons / (self.high - self.low)) ** 2))

    def _poisson(self, background: jax.Array | float) -> Poisson:
        return Poisson(self.photons, self.low, self.high, leaf(background), self.floor)


@struct.dataclass
class PoissonMagnitude(_Counting):
    """Counts proportional to y squared; build it with ``poisson_magnitude``."""

    photons: jax.Array  # scalar, counts at y = 1
    background: jax.Array  # scalar, counts
    floor: float = struct.field(pytree_node=False)

    def rate(self, y: Array) -> Array:
        """Expected counts for the clean magnitude ``y``."""
        return self.photons * y**2 + self.background

    def value(self, counts: Array) -> Array:
        """The magnitude that so many counts are read as."""
        return jnp.sqrt(jnp.maximum(counts - self.background, 0.0) / self.photons)

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """``sum rate - k + k log(k / rate)``, continued by a parabola where the rate is below ``floor max(k, 1)``."""
        check_real(self, y, y_hat)
        return _poisson_nll(self.rate(y), self.rate(y_hat), self.floor)

    def variance(self, y: Array) -> Float[Array, ""]:
        """``1 / (4 photons)``: the square root makes the variance the same for all but the lowest counts."""
        return 0.25 / self.photons


@struct.dataclass
class PoissonAttenuation(_Counting):
    """Counts that fall exponentially with y; build it with ``poisson_attenuation``."""

    photons: jax.Array  # scalar, counts of the beam that nothing attenuates
    low: jax.Array  # scalar or y's shape
    scale: jax.Array  # scalar, attenuation in nepers for each unit of y
    background: jax.Array  # scalar, counts

    def rate(self, y: Array) -> Array:
        """Expected counts for the clean line integral ``y``."""
        return jnp.exp(self._log_rate(y))

    def value(self, counts: Array) -> Array:
        """The line integral that so many counts are read as; half a photon where there is none."""
        seen = jnp.maximum(counts - self.background, 0.5)
        return self.low + (jnp.log(self.photons) - jnp.log(seen)) / self.scale

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """``sum rate - k - k log(rate / k)``, continued linearly where the rate is above ``exp(10) k``."""
        check_real(self, y, y_hat)
        log_k = self._log_rate(y)
        # In the logarithm of the rate neither a rate of zero nor the difference of two large counts is a problem.
        log_ratio = self._log_rate(y_hat) - log_k
        bounded = jnp.minimum(log_ratio, _MOST_LOG_RATIO)
        ratio_minus_1 = jnp.expm1(bounded) + jnp.exp(bounded) * (log_ratio - bounded)
        return jnp.sum(jnp.exp(log_k) * (ratio_minus_1 - log_ratio))

    def variance(self, y: Array) -> Float[Array, ""]:
        """Mean variance to first order, ``rate / (d rate / d y)^2``, with the counts for their rates."""
        seen = jnp.exp(jnp.log(self.photons) - self.scale * (y - self.low))
        return jnp.mean((seen + self.background) / (self.scale * seen) ** 2)

    def _log_rate(self, y: Array) -> Array:
        return jnp.logaddexp(jnp.log(self.photons) - self.scale * (y - self.low), jnp.log(self.background))


def poisson(
    photons: jax.Array | float,
    *,
    low: jax.Array | float = -1.0,
    high: jax.Array | float = 1.0,
    background: jax.Array | float = 0.0,
    floor: float = 0.1,
) -> Poisson:
    """Photon noise of an image: ``k ~ Poisson(photons (y - low) / (high - low) + background)``.

    The measurement is k in the units of y, ``low + (high - low) (k - background) / photons``; its mean is the clean y
    and its variance ``(y - low) (high - low) / photons``. For y that are counts themselves: ``rd.poisson(1.0, low=0.0,
    high=1.0)``. For phase retrieval see ``poisson_magnitude``, for CT ``poisson_attenuation``.

    Args:
        photons: Expected counts at ``y = high``, above 0; 255 is the level of Chung et al. for 8-bit pictures.
        low: Value of y without light; default for images in [-1, 1]. A number, or an array of y's shape.
        high: Value of y with ``photons`` counts.
        background: Expected counts without light (dark current), not negative.
        floor: Rates below ``floor * max(k, 1)`` count as next to impossible, and the nll goes on below by a parabola,
            so that it is finite, and pushes upwards, for y_hat at and below ``low``. Lower it for images with less
            than one photon per pixel.

    Raises:
        ValueError: If a parameter is out of its range.
        TypeError: When applied to complex measurements.

    Source:
        Chung et al. 2022 (arXiv 2209.14687), section 4, use it with a Gaussian approximation of the likelihood; ours is
        exact above the floor.
    """
    check_positive("poisson: photons", photons, "It is the expected count at y = high.")
    check_range("poisson", low, high)
    check_non_negative("poisson: background", background)
    check_positive("poisson: floor", floor)
    return Poisson(leaf(photons), leaf(low), leaf(high), leaf(background), float(floor))


def poisson_gaussian(
    photons: jax.Array | float,
    sigma_y: jax.Array | float,
    *,
    low: jax.Array | float = -1.0,
    high: jax.Array | float = 1.0,
    floor: float = 0.1,
) -> PoissonGaussian:
    """Photon noise and read-out noise: ``poisson(photons)`` plus ``gaussian(sigma_y)``.

    Its exact likelihood is an infinite sum. We take the usual shifted Poisson likelihood, which has the right mean and
    variance, ``k + s ~ Poisson(rate + s)`` with s the variance of the read-out in squared photons, and is exact for
    ``sigma_y = 0``.

    Args:
        photons: Expected counts at ``y = high``, above 0.
        sigma_y: Standard deviation of the read-out noise in the units of y, not negative.
        low: Value of y without light; default for images in [-1, 1].
        high: Value of y with ``photons`` counts.
        floor: As in ``poisson``.

    Raises:
        ValueError: If a parameter is out of its range.
        TypeError: When applied to complex measurements.

    Source:
        Snyder, Hammoud and White 1993, "Image recovery from data acquired with a charge-coupled-device camera".
    """
    check_positive("poisson_gaussian: photons", photons, "It is the expected count at y = high.")
    check_non_negative("poisson_gaussian: sigma_y", sigma_y)
    check_range("poisson_gaussian", low, high)
    check_positive("poisson_gaussian: floor", floor)
    return PoissonGaussian(leaf(photons), leaf(sigma_y), leaf(low), leaf(high), float(floor))


def poisson_magnitude(
    photons: jax.Array | float, *, background: jax.Array | float = 0.0, floor: float = 0.1
) -> PoissonMagnitude:
    """Photon noise of a magnitude, as in phase retrieval: ``k ~ Poisson(photons y^2 + background)``.

    The detector counts intensities; the measurement is the magnitude ``sqrt((k - background) / photons)``, zero where
    fewer than the background are counted. Its variance is about ``1 / (4 photons)``.

    Args:
        photons: Expected counts at magnitude 1, above 0.
        background: Expected counts without light, not negative.
        floor: As in ``poisson``.

    Raises:
        ValueError: If a parameter is out of its range.
        TypeError: When applied to complex measurements.

    Source:
        Chen and Candès 2015 (arXiv 1505.05114), the Poisson likelihood of phase retrieval; like our floor, their
        truncation bounds the gradient where the predicted intensity is far below the counted one.
    """
    check_positive("poisson_magnitude: photons", photons, "It is the expected count at magnitude 1.")
    check_non_negative("poisson_magnitude: background", background)
    check_positive("poisson_magnitude: floor", floor)
    return PoissonMagnitude(leaf(photons), leaf(background), float(floor))


def poisson_attenuation(
    photons: jax.Array | float,
    *,
    low: jax.Array | float = 0.0,
    scale: jax.Array | float = 1.0,
    background: jax.Array | float = 0.0,
) -> PoissonAttenuation:
    """Photon noise of line integrals, as in CT: ``k ~ Poisson(photons exp(-scale (y - low)) + background)``.

    The measurement is the line integral ``low - log((k - background) / photons) / scale``; rays without a photon are
    read as if they had half a one.

    Args:
        photons: Expected counts of a ray that nothing attenuates, above 0; 1e4 (low dose) to 1e6.
        low: The y of such a ray. For images in [-1, 1] where -1 is air: ``operator(-jnp.ones(operator.in_shape))``.
        scale: Attenuation in nepers for each unit of y, above 0.
        background: Expected scattered counts, not negative.

    Raises:
        ValueError: If a parameter is out of its range.
        TypeError: When applied to complex measurements.

    Source:
        Beer-Lambert's law; Sauer and Bouman 1993, "A local update strategy for iterative reconstruction from
        projections", for its likelihood.
    """
    check_positive("poisson_attenuation: photons", photons, "It is the expected count of an unattenuated ray.")
    check_positive("poisson_attenuation: scale", scale)
    check_non_negative("poisson_attenuation: background", background)
    return PoissonAttenuation(leaf(photons), leaf(low), leaf(scale), leaf(background))


def _draw_counts(key: Key, rate: Array) -> Array:
    """Counts of the given rates, as floats."""
    few = jax.random.poisson(key, jnp.minimum(rate, _LARGEST_RATE)).astype(rate.dtype)
    many = jnp.round(rate + jnp.sqrt(rate) * jax.random.normal(jax.random.fold_in(key, 1), rate.shape, rate.dtype))
    return jnp.where(rate < _LARGEST_RATE, few, many)


def _poisson_nll(k: Array, rate: Array, floor: float) -> Float[Array, ""]:
    """``sum rate - k + k log(k / rate)`` for counts k, which need not be whole; see ``poisson`` for the floor."""
    k = jnp.maximum(k, 0.0)
    least = floor * jnp.maximum(k, 1.0)
    safe = jnp.maximum(rate, least)
    # k log(k / rate) at k = 0; and by log1p, because float32 would lose the difference of two large counts.
    some = k > 0
    excess = jnp.where(some, safe - k, 0.0) / jnp.where(some, k, 1.0)
    exact = jnp.where(some, k * (excess - jnp.log1p(excess)), safe)
    slope = 1 - k / least
    return jnp.sum(exact + continue_below(rate, least, slope, (1 + jnp.abs(slope)) / least))
