"""Noise of rounding, uniform in a bin."""

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from reddiff_jax._checks import check_positive
from reddiff_jax._types import Key
from reddiff_jax.noise._base import Noise, continue_below, leaf

_FAR = 20.0


@struct.dataclass
class UniformQuantization(Noise):
    """Uniform noise as wide as a bin; build it with ``uniform_quantization``."""

    step: jax.Array  # scalar, in the units of y
    edge: jax.Array  # scalar, fraction of the step

    def sample(self, key: Key, y: Array) -> Array:
        """Adds noise uniform in ``[-step / 2, step / 2)``; to both parts of complex y."""
        if jnp.iscomplexobj(y):
            parts = jax.random.uniform(key, (2, *y.shape), y.real.dtype, -0.5, 0.5)
            return y + self.step * jax.lax.complex(parts[0], parts[1])
        return y + self.step * jax.random.uniform(key, y.shape, y.dtype, -0.5, 0.5)

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """Minus the logarithm of the bin's density with its edges softened by a Gaussian; next to zero in the bin."""
        difference = (y - y_hat) / self.step
        if jnp.iscomplexobj(difference):
            return self._nll(difference.real) + self._nll(difference.imag)
        return self._nll(difference)

    def variance(self, y: Array) -> Float[Array, ""]:
        """``step^2 / 12``."""
        return self.step**2 / 12

    def _nll(self, difference: Array) -> Float[Array, ""]:
        outside = (jnp.abs(difference) - 0.5) / self.edge  # in deviations of the soft edge
        # Further out log_ndtr's derivative cancels to garbage in float32; there it is a parabola to its last digits.
        near = jnp.minimum(outside, _FAR)
        upper, lower = log_ndtr(-near), log_ndtr(jnp.maximum(-near - 1 / self.edge, -2 * _FAR))
        # log(Phi(b) - Phi(a)) in the left tails, where it keeps its digits.
        inside = -(upper + jnp.log1p(-jnp.exp(lower - upper)))
        return jnp.sum(inside + continue_below(-outside, jnp.asarray(-_FAR), -(_FAR + 1 / _FAR), 1.0))


def uniform_quantization(step: jax.Array | float, *, edge: jax.Array | float = 0.1) -> UniformQuantization:
    """Noise of rounding to multiples of ``step``, taken as independent of y: uniform in ``[-step / 2, step / 2)``.

    Its likelihood is constant within half a step of y and zero beyond. Softened edges make its logarithm finite and
    give it a gradient, so that it pulls y_hat into the bin and leaves it alone there.

    Args:
        step: Width of a bin in the units of y, above 0; ``2 / (2**b - 1)`` for b bits and images in [-1, 1].
        edge: Standard deviation of the Gaussian that softens the likelihood's edges, as a fraction of the step; the
            noise that is drawn has sharp edges.

    Raises:
        ValueError: If ``step`` or ``edge`` is not above 0.

    Source:
        Bennett 1948, "Spectra of quantized signals", for rounding as uniform noise.
    """
    check_positive("uniform_quantization: step", step, "For b bits and images in [-1, 1] it is 2 / (2**b - 1).")
    check_positive("uniform_quantization: edge", edge)
    return UniformQuantization(leaf(step), leaf(edge))
