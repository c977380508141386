"""How large a measurement is against a pixel: a = tr(A A^T) / m."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reddiff_jax._types import Image, Key
from reddiff_jax.operators import LinearOperator, Operator, SpectralOperator
from reddiff_jax.solvers._base import num_entries


def mean_squared_row_norm(key: Key, operator: Operator, x: Image) -> Float[Array, ""]:
    """Mean squared norm of the rows of A (or of its derivative at x) that are not zero; by one probe without an SVD."""
    if isinstance(operator, SpectralOperator):
        squares, count = operator.singulars**2, jnp.sum(operator.singulars > 0)
    else:
        # Signs would cancel in rows of few equal entries, and these count as zero.
        probe = jax.random.normal(key, x.shape, x.dtype)
        image = (
            operator(probe) if isinstance(operator, LinearOperator) else jax.jvp(operator.__call__, (x,), (probe,))[1]
        )
        squares, count = jnp.abs(image) ** 2, jnp.sum(image != 0) * (num_entries(image) // image.size)
    return jnp.sum(squares) / jnp.maximum(count, 1)
