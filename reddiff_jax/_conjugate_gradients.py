"""Conjugate gradients with a fixed number of steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Shaped

_ROUNDINGS = 10  # of float32, that a gradient adds up to
_MOST = 126  # exponent of float32's largest and smallest powers of two that are no subnormal numbers


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
        alpha = _quotient(norm2, curvature, active)
        x = x + alpha * direction
        residual = residual - alpha * image
        new_norm2 = _dot(residual, residual)
        beta = _quotient(new_norm2, norm2, active)
        return (x, residual, residual + beta * direction, new_norm2), None

    (x, *_), _ = lax.scan(step, (jnp.zeros_like(b), b, b, b_norm2), None, length=num_steps)
    return x


def least_squares(
    matvec: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    y: Shaped[Array, "..."],
    num_steps: int,
) -> Shaped[Array, "..."]:
    """Approaches the x of smallest norm that minimises ``|matvec(x) - y|``, from 0.

    These are the conjugate gradients of the normal equations, but the residual is that of y: what the range of the
    adjoint lacks comes in by the rounding of one adjoint alone. The recursion of the normal equations' own residual
    keeps such rounding, and where all other eigenvalues are equal (orthonormal rows) it magnifies that by 1e9.

    Args:
        matvec: A linear map.
        adjoint: Its adjoint under the real inner product.
        y: Right-hand side, any shape.
        num_steps: Number of steps, one ``matvec`` and one ``adjoint`` each.

    Source:
        Bjorck 1996, "Numerical methods for least squares problems", algorithm 7.4.1 (CGLS).
    """
    gradient = adjoint(y)
    norm2 = _dot(gradient, gradient)
    eps = jnp.finfo(norm2.dtype).eps
    floor = (_ROUNDINGS * eps) ** 2 * norm2

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        x, residual, direction, norm2, largest = carry
        image = matvec(direction)
        curvature, length2 = _dot(image, image), _dot(direction, direction)
        eigenvalue = _quotient(curvature, length2, length2 > 0)
        largest = jnp.maximum(largest, eigenvalue)
        # float32 does not tell an eigenvalue of the normal equations so far below the largest from 0.
        active = (norm2 > floor) & (eigenvalue > eps * largest)
        alpha = _quotient(norm2, curvature, active)
        x = x + alpha * direction
        residual = residual - alpha * image
        gradient = adjoint(residual)
        new_norm2 = _dot(gradient, gradient)
        beta = _quotient(new_norm2, norm2, active)
        return (x, residual, gradient + beta * direction, new_norm2, largest), None

    start = (jnp.zeros_like(gradient), y, gradient, norm2, jnp.zeros_like(norm2))
    (x, *_), _ = lax.scan(step, start, length=num_steps)
    return x


def _quotient(a: Array, b: Array, where: Array) -> Array:
    """``a / b``, 0 elsewhere, with a derivative for any b that is no subnormal number."""
    # The derivative divides by b^2, which is 0 in float32 for b < 1e-19: NaN. Powers of two change no bits of a / b.
    _, exponent = jnp.frexp(lax.stop_gradient(jnp.where(where, b, 1)))
    scale = jnp.ldexp(jnp.ones_like(b), -exponent.clip(-_MOST, _MOST))
    return jnp.where(where, a * scale / jnp.where(where, b * scale, 1), 0)


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(jnp.real(jnp.conj(a) * b))
