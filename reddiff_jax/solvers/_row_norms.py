"""Scale of an operator: the mean squared norm of its rows, a = tr(A A^T) / m."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reddiff_jax._types import Image, Key
from reddiff_jax.operators import LinearOperator, Operator, SpectralOperator
from reddiff_jax.problems import num_entries


def mean_squared_row_norm(key: Key, operator: Operator, x: Image) -> Float[Array, ""]:
    """Mean squared norm of the nonzero rows of A, or of its derivative at x; without an SVD one probe estimates it."""
    if isinstance(operator, SpectralOperator):
        squares, count = operator.singulars**2, jnp.sum(operator.singulars > 0)
    else:
        # A probe of random signs would cancel in rows of few equal entries, which would then count as zero.
        probe = jax.random.normal(key, x.shape, x.dtype)
        image = (
            operator(probe) if isinstance(operator, LinearOperator) else jax.jvp(operator.__call__, (x,), (probe,))[1]
        )
        squares, count = jnp.abs(image) ** 2, jnp.sum(image != 0) * (num_entries(image) // image.size)
    return jnp.sum(squares) / jnp.maximum(count, 1)
