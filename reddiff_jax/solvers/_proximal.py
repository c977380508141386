"""The proximal step of a linear measurement, in closed form or by conjugate gradients."""

import jax
import jax.numpy as jnp

from reddiff_jax._conjugate_gradients import conjugate_gradients
from reddiff_jax._types import Image
from reddiff_jax.operators import LinearOperator, SpectralOperator
from reddiff_jax.problems import Problem


def proximal(problem: Problem, x: Image, rho: jax.Array | float, num_cg: int) -> Image:
    """``argmin_v |A v - y|^2 + rho |v - x|^2 = x + (A^T A + rho)^-1 A^T (y - A x)``; the projection for rho -> 0.

    It is exact for a SpectralOperator, by its singular vectors; other operators take ``num_cg`` steps of conjugate
    gradients from x.
    """
    operator, missing = problem.operator, -problem.residual(x)
    if isinstance(operator, SpectralOperator):
        s = operator.singulars
        # At rho = 0 this is the pseudo-inverse, which leaves out singular values that are zero but for rounding.
        used = (s > operator.rcond * jnp.max(s)) | (rho > 0)
        return x + operator.V(jnp.where(used, s / jnp.where(used, s**2 + rho, 1.0), 0.0) * operator.Ut(missing))
    assert isinstance(operator, LinearOperator)
    return x + conjugate_gradients(lambda v: operator.adjoint(operator(v)) + rho * v, operator.adjoint(missing), num_cg)


def check_linear(solver: str, problem: Problem, remedy: str) -> LinearOperator:
    """Returns the operator, or raises TypeError if it is not linear."""
    if not isinstance(problem.operator, LinearOperator):
        raise TypeError(f"{solver} needs a LinearOperator; {type(problem.operator).__name__} is not linear. {remedy}")
    return problem.operator
