"""The proximal step of a linear measurement, in closed form or by conjugate gradients."""

import jax
import jax.numpy as jnp

from reddiff_jax._conjugate_gradients import conjugate_gradients
from reddiff_jax._types import Image
from reddiff_jax.operators import EachSlice, LinearOperator, SpectralOperator
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._coupling import Coupling


def proximal(
    problem: Problem, x: Image, rho: jax.Array | float, num_cg: int, coupling: Coupling | None = None
) -> Image:
    """``argmin_v |A v - y|^2 + rho |v - x|^2 = x + (A^T A + rho)^-1 A^T (y - A x)``; the projection for rho -> 0.

    It is exact for a SpectralOperator, by its singular vectors; other operators take ``num_cg`` steps of conjugate
    gradients from x. Slices of a volume have steps of their own, unless a coupling connects them.
    """
    operator = problem.operator
    coupled = None if coupling is None else coupling.at(x)
    if coupled is not None:
        assert isinstance(operator, LinearOperator)
        right = operator.adjoint(-problem.residual(x)) - coupled.gradient(x)
        return x + conjugate_gradients(
            lambda v: operator.adjoint(operator(v)) + rho * v + coupled.gradient(v), right, num_cg
        )
    if isinstance(operator, EachSlice):
        return operator.map(
            lambda own, y, each: proximal(Problem(y, own, problem.noise), each, rho, num_cg), problem.y, x
        )
    missing = -problem.residual(x)
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
