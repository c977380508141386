"""The proximal step of a measurement: exact where that is known, by conjugate gradients, or by Gauss-Newton steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reddiff_jax._conjugate_gradients import conjugate_gradients
from reddiff_jax._types import Image
from reddiff_jax.noise import Gaussian
from reddiff_jax.operators import EachSlice, LinearOperator, ProximalOperator, SaturatingOperator, SpectralOperator
from reddiff_jax.problems import Problem, Robust
from reddiff_jax.solvers._coupling import Coupling

_LENGTHS = (1.0, 0.5, 0.25, 0.0)  # of Gauss-Newton's step: the best is taken


def proximal(
    problem: Problem,
    x: Image,
    rho: jax.Array | float,
    num_cg: int,
    num_newton: int = 1,
    coupling: Coupling | None = None,
    outliers: Robust | None = None,
) -> Image:
    """``argmin_v |A(v) - y|^2 + rho |v - x|^2``; the projection for rho -> 0.

    It is exact for a SpectralOperator, by its singular vectors, and for a ProximalOperator. Other linear operators take
    ``num_cg`` steps of conjugate gradients from x, all else ``num_newton`` Gauss-Newton steps, each of as many. With
    ``outliers`` the squares are theirs, and each Gauss-Newton step has the weights of its start. Slices of a volume
    have steps of their own, unless a coupling connects them.
    """
    operator = problem.operator
    coupled = None if coupling is None else coupling.at(x)
    if coupled is not None:
        linear = check_linear("a coupling", problem, "Leave the coupling out.")
        right = linear.adjoint(-problem.residual(x)) - coupled.gradient(x)
        return x + conjugate_gradients(
            lambda v: linear.adjoint(linear(v)) + rho * v + coupled.gradient(v), right, num_cg
        )
    if isinstance(operator, EachSlice):
        return operator.map(
            lambda own, y, each: proximal(
                Problem(y, own, problem.noise), each, rho, num_cg, num_newton, outliers=outliers
            ),
            problem.y,
            x,
        )
    if outliers is None and isinstance(operator, SpectralOperator):
        s = operator.singulars
        # At rho = 0 this is the pseudo-inverse, which leaves out singular values that are zero but for rounding.
        used = (s > operator.rcond * jnp.max(s)) | (rho > 0)
        missing = operator.Ut(-problem.residual(x))
        return x + operator.V(jnp.where(used, s / jnp.where(used, s**2 + rho, 1.0), 0.0) * missing)
    if outliers is None and isinstance(operator, ProximalOperator):
        return operator.proximal(x, problem.y, rho).astype(x.dtype)
    if outliers is None and isinstance(operator, LinearOperator):
        missing = operator.adjoint(-problem.residual(x))
        return x + conjugate_gradients(lambda v: operator.adjoint(operator(v)) + rho * v, missing, num_cg)
    v = x
    for _ in range(num_newton):
        v = _gauss_newton(problem, v, x, rho, num_cg, outliers)
    return v


def check_linear(solver: str, problem: Problem, remedy: str) -> LinearOperator:
    """Returns the operator, or raises TypeError if it is not linear."""
    if not isinstance(problem.operator, LinearOperator):
        raise TypeError(f"{solver} needs a LinearOperator; {type(problem.operator).__name__} is not linear. {remedy}")
    return problem.operator


def saturation_margin(problem: Problem) -> Float[Array, ""] | float:
    """How far within [-1, 1] an entry of y may be that was cut off."""
    # With 2 standard deviations 2 % of a white area are taken for gray specks, to which the prior pulls the rest.
    return 3 * problem.noise.sigma_y if isinstance(problem.noise, Gaussian) else 0.0


def _gauss_newton(
    problem: Problem, v: Image, x: Image, rho: jax.Array | float, num_cg: int, outliers: Robust | None = None
) -> Image:
    """One Gauss-Newton step from v: A is replaced by its tangent at v."""
    measure, y, used = _smooth(problem)
    y_hat, tangent = jax.linearize(measure, v)
    weight = used(y_hat)
    if outliers is not None:
        weight = weight * outliers.weight(problem, y_hat - y)

    def adjoint(y: Array) -> Image:
        # Of complex measurements linear_transpose gives the plain transpose; the adjoint conjugates twice.
        return jnp.conj(jax.linear_transpose(tangent, v)(jnp.conj(y))[0])

    downhill = -adjoint(weight * (y_hat - y)) - rho * (v - x)
    step = conjugate_gradients(lambda d: adjoint(weight * tangent(d)) + rho * d, downhill, num_cg)

    def cost(length: float) -> Float[Array, ""]:
        moved = v + length * step
        if outliers is not None:
            return outliers.loss(problem, problem.residual(moved)) + rho * jnp.sum((moved - x) ** 2)
        return 2 * problem.misfit(moved) + rho * jnp.sum((moved - x) ** 2)

    # A tangent that holds only nearby may point too far.
    best = jnp.argmin(jnp.stack([cost(length) for length in _LENGTHS]))
    return v + (jnp.asarray(_LENGTHS)[best] * step).astype(v.dtype)


def _smooth(problem: Problem) -> tuple[Callable[[Image], Array], Array, Callable[[Array], Array]]:
    """The measurement with a derivative everywhere, what it should be, and the entries that count there.

    Of an entry that was cut off only a side is known: it counts as long as it is on the other one.
    """
    operator, y = problem.operator, problem.y
    if not isinstance(operator, SaturatingOperator):
        return operator, y, jnp.ones_like
    margin = saturation_margin(problem)

    def used(y_hat: Array) -> Array:
        explained = ((y >= 1 - margin) & (y_hat >= 1)) | ((y <= margin - 1) & (y_hat <= -1))
        return jnp.where(explained, 0.0, 1.0)

    return operator.unsaturated, jnp.clip(y, -1, 1), used
