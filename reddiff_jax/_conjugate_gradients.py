"""Conjugate gradients with a fixed number of steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


def conjugate_gradients(
    matvec: Callable[[Array], Array], b: Shaped[Array, "..."], num_steps: int, *, smallest: jax.Array | float = 0.0
) -> Shaped[Array, "..."]:
    """Approaches the solution x of ``matvec(x) = b`` of smallest norm, from 0.

    The inner product is real: a complex array is a vector of twice its length.

    Args:
        matvec: A symmetric positive semi-definite linear map; what it does off the range of b plays no part.
        b: Right-hand side, any shape.
        num_steps: Number of steps, one ``matvec`` each; as many as there are distinct eigenvalues are exact.
        smallest: What no eigenvalue is below. Along a direction that shows another ``matvec`` no step is taken.

    Source:
        Hestenes & Stiefel 1952, "Methods of conjugate gradients for solving linear systems"; the test of the curvature:
        Steihaug 1983, "The conjugate gradient method and trust regions in large scale optimization".
    """
    b_norm2 = _dot(b, b)
    # Past rounding, CG on a singular system amplifies what rounding left in the null space: stand still there.
    floor = jnp.finfo(b.dtype).eps ** 2 * b_norm2

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        x, residual, direction, norm2 = carry
        image = matvec(direction)
        curvature = _dot(direction, image)
        active = (norm2 > floor) & (curvature > 0) & (curvature > smallest * _dot(direction, direction))
        alpha = jnp.where(active, norm2 / jnp.where(active, curvature, 1), 0)
        x = x + alpha * direction
        residual = residual - alpha * image
        new_norm2 = _dot(residual, residual)
        beta = jnp.where(active, new_norm2 / jnp.where(active, norm2, 1), 0)
        return (x, residual, residual + beta * direction, new_norm2), None

    (x, *_), _ = jax.lax.scan(step, (jnp.zeros_like(b), b, b, b_norm2), None, length=num_steps)
    return x


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(jnp.real(jnp.conj(a) * b))
