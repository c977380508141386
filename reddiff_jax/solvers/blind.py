"""Blind problems: the image and a few parameters of its operator, estimated together.

The likeliest parameters theta of the operator A_theta have (Fisher's identity)

    0 = d/dtheta log p(y | theta) = E_{x ~ p(x | y, theta)} [d/dtheta log p(y | x, theta)]

so each step of a solver, whose state is x, is followed by a step of theta towards smaller ``|A_theta(x) - y|^2``. x
must be a SAMPLE of the posterior: the residual of a point that explains y is zero for any theta, and what is left pulls
a blur towards no blur. Samples at high levels are too smooth for that, too; theta stays where it began until a share of
the steps is done.

At low noise x explains y so well that such steps are short. Where all theta keep as much of a picture, as a geometry
does, more is had from the likelihood of a smooth random picture, ``min_x |A_theta(x) - y|^2 + rho |grad x|^2``, before
the first step: its Gauss-Newton steps have the derivatives of what that x leaves over (variable projection). A blur's
width is not such: there the minimum is no blur.

Near theta_k the residual is ``J_k (theta - theta_k) + A(x_k) - y``. Its normal equations are summed over the steps, of
which older ones count less, so that theta is a mean over many samples.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from reddiff_jax import _tree
from reddiff_jax._checks import check_callable, check_numbers, check_type, check_whole
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import Solver, scalar
from reddiff_jax.solvers._initial_images import init_smooth
from reddiff_jax.solvers._proximal import check_linear

_MOST = 4096  # parameters of a Gauss-Newton step, whose matrix has their square
_PROJECTED_STEPS = 100  # of the gradient, where a projection constrains the parameters
_DAMPING = 1e-4  # of the mean curvature
_LEAST = 1e-20  # curvature: where nothing depends on theta it stays


@struct.dataclass
class Normal(Repr):
    """Normal equations ``hessian theta = right``, summed over the steps."""

    hessian: jax.Array  # (P, P)
    right: jax.Array  # (P,)


@struct.dataclass
class BlindState(Repr):
    """All that the next step needs."""

    inner: Any  # the solver's State
    parameters: Any  # as ``over`` gives them
    fit: Any  # Normal, or the optimizer's state
    step: jax.Array  # int32, number of steps done


@struct.dataclass
class Blind(Solver[BlindState]):
    """A solver whose operator is estimated, too; build it with ``blind``."""

    solver: Solver
    rate: jax.Array  # scalar, of the Gauss-Newton step
    memory: jax.Array  # scalar, what is kept of the sums from one step to the next
    begin: jax.Array  # scalar, share of the steps before theta moves
    profile_steps: int = struct.field(pytree_node=False)
    over: Callable[[Problem], Any] = struct.field(pytree_node=False)
    project: Callable[[Any], Any] | None = struct.field(pytree_node=False)
    optimizer: optax.GradientTransformation | None = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> BlindState:
        """Returns the state before the first step."""
        parameters = jax.tree.map(jnp.asarray, _tree.chosen("blind", problem, self.over))
        kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(parameters)}
        if not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
            raise TypeError(
                f"blind: over picks arrays of {', '.join(sorted(kinds))} but must pick real floating-point ones; write "
                "complex numbers as two."
            )
        if self.optimizer is not None:
            fit = self.optimizer.init(parameters)
        else:
            size = ravel_pytree(parameters)[0].size
            if size > _MOST:
                raise ValueError(
                    f"blind: over picks {size} numbers but a Gauss-Newton step takes at most {_MOST}; give an "
                    "optimizer, such as optimizer=optax.adam(0.01)."
                )
            fit = Normal(jnp.zeros((size, size)), jnp.zeros(size))
        if self.profile_steps:
            parameters = self._profiled(jax.random.fold_in(key, 1), parameters, problem)
        inner = self.solver.init(key, self._posed(parameters, problem))
        return BlindState(inner, parameters, fit, jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: BlindState, problem: Problem) -> tuple[BlindState, Any]:
        """A step of the solver with the operator as it is known, and one of the operator's parameters."""
        inner, info = self.solver.step(key, state.inner, self._posed(state.parameters, problem))
        x = jax.lax.stop_gradient(self.solver.estimate(inner))
        parameters, fit = self.update(x, state.parameters, state.fit, problem)
        moves = state.step >= self.begin * self.num_steps
        parameters, fit = jax.tree.map(
            lambda new, old: jnp.where(moves, new, old), (parameters, fit), (state.parameters, state.fit)
        )
        return BlindState(inner, parameters, fit, state.step + 1), info

    def update(self, x: Image, parameters: Any, fit: Any, problem: Problem) -> tuple[Any, Any]:
        """The step of the parameters for an image x; returns them and the fit's new state."""

        def residual(parameters: Any) -> jax.Array:
            return _flat(self._posed(parameters, problem).residual(x))

        if self.optimizer is not None:
            grad = jax.grad(lambda parameters: 0.5 * jnp.mean(residual(parameters) ** 2))(parameters)
            updates, fit = self.optimizer.update(grad, fit, parameters)
            moved = optax.apply_updates(parameters, updates)
            return moved if self.project is None else self.project(moved), fit
        theta, unravel = ravel_pytree(parameters)
        r, push = jax.linearize(lambda theta: residual(unravel(theta)), theta)
        jacobian = jax.vmap(push)(jnp.eye(theta.size, dtype=theta.dtype))  # (P, M)
        product = jnp.matmul(jacobian, jacobian.T, precision=jax.lax.Precision.HIGHEST)  # (P, P)
        downhill = jnp.matmul(jacobian, -r, precision=jax.lax.Precision.HIGHEST)
        fit = Normal(
            self.memory * fit.hessian + product,
            self.memory * fit.right + product @ theta + downhill,
        )
        moved = theta + self.rate * (self._solved(fit, theta, unravel) - theta)
        return unravel(moved) if self.project is None else self.project(unravel(moved)), fit

    def estimate(self, state: BlindState) -> Image:
        """Returns the solver's image."""
        return self.solver.estimate(state.inner)

    def found(self, state: BlindState, problem: Problem) -> Problem:
        """The problem with the operator that was found: ``solver.found(solution.state, problem).operator``."""
        return self._posed(state.parameters, problem)

    def _posed(self, parameters: Any, problem: Problem) -> Problem:
        return _tree.replaced(problem, self.over, parameters)

    def _profiled(self, key: Key, parameters: Any, problem: Problem) -> Any:
        """The parameters with which the smoothest picture explains y best."""
        check_linear("blind with profile_steps", problem, "Leave profile_steps out.")
        theta, unravel = ravel_pytree(parameters)

        def smoothest(problem: Problem) -> Image:
            return init_smooth(key, problem, jnp.ones(()), jnp.zeros(()))

        def step(_: Any, theta: jax.Array) -> jax.Array:
            posed = self._posed(unravel(theta), problem)
            x = smoothest(posed)
            r, push = jax.linearize(lambda theta: self._posed(unravel(theta), problem).residual(x), theta)
            columns = jax.vmap(push)(jnp.eye(theta.size, dtype=theta.dtype))
            # x follows theta: what it cannot follow is left over.
            left = jax.lax.map(lambda y: y - posed.operator(smoothest(posed.replace(y=y))), columns)  # type: ignore[attr-defined]
            jacobian, left = jax.vmap(_flat)(columns), jax.vmap(_flat)(left)  # (P, M)
            hessian = jnp.matmul(jacobian, left.T, precision=jax.lax.Precision.HIGHEST)
            downhill = jnp.matmul(jacobian, -_flat(r), precision=jax.lax.Precision.HIGHEST)
            damping = _DAMPING * jnp.maximum(jnp.trace(hessian) / theta.size, _LEAST)
            moved = theta + jnp.linalg.solve(hessian + damping * jnp.eye(theta.size, dtype=theta.dtype), downhill)
            return moved if self.project is None else ravel_pytree(self.project(unravel(moved)))[0]

        return unravel(jax.lax.fori_loop(0, self.profile_steps, step, theta))

    def _solved(self, fit: Normal, theta: jax.Array, unravel: Callable[[jax.Array], Any]) -> jax.Array:
        """The parameters that solve the normal equations, within the constraint if there is one."""
        size = theta.size
        damping = _DAMPING * jnp.maximum(jnp.trace(fit.hessian) / size, _LEAST)
        damped = fit.hessian + damping * jnp.eye(size, dtype=theta.dtype)
        right = fit.right + damping * theta
        project = self.project
        if project is None or size == 1:
            return jnp.linalg.solve(damped, right)
        # Steps are as long as the largest curvature allows: a bound, by rows.
        length = 1 / jnp.max(jnp.sum(jnp.abs(damped), axis=1))

        def accelerated(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            here, ahead = carry
            new = ravel_pytree(project(unravel(ahead - length * (damped @ ahead - right))))[0]
            return new, new + k / (k + 3.0) * (new - here)

        return jax.lax.fori_loop(0, _PROJECTED_STEPS, accelerated, (theta, theta))[0]


def _flat(y: jax.Array) -> jax.Array:
    """A measurement as real numbers in a row."""
    return jnp.stack([y.real, y.imag]).ravel() if jnp.iscomplexobj(y) else y.ravel()


def blind(
    solver: Solver,
    over: Callable[[Problem], Any],
    *,
    project: Callable[[Any], Any] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    rate: jax.Array | float = 1.0,
    memory: jax.Array | float = 0.8,
    begin: jax.Array | float = 0.3,
    profile_steps: int = 0,
) -> Blind:
    """A solver for problems of which some numbers of the operator are not known either.

    The operator of the problem holds where they begin. ``solution.state.parameters`` are those that were found, and
    ``blind_solver.found(solution.state, problem)`` is the problem with them, for another solver to restore::

        operator = rd.parallel_ct((64, 64, 1), angles, center=31.5)
        solver = rd.blind(rd.noise_aware(prior), lambda problem: problem.operator.center, profile_steps=8)

    An operator of your own holds its numbers in ``params`` (``rd.operator``, ``rd.linear_operator``).

    Args:
        solver: The method for a known operator. Where the prior must tell the parameters it should draw samples
            (``sample=True``): a point estimate takes every blur for none. Widths of blurs are found more exactly by
            ``rd.estimate_blur``.
        over: Function problem -> the arrays of its operator that are not known, e.g.
            ``lambda problem: problem.operator.params``. Define it once: another function object is another compilation.
        project: Function of what ``over`` gives -> the nearest that makes sense, e.g. ``rd.kernels.simplex``.
        optimizer: Optax transformation along the gradient of half the mean squared residual; Gauss-Newton steps if
            None, which have no rate to choose and suit few parameters (4096 at most).
        rate: Length of a Gauss-Newton step, from 0 to 1.
        memory: What is kept of the sums over the samples from one step to the next, from 0 to below 1.
        begin: Share of the steps before the parameters move, from 0 to below 1.
        profile_steps: Steps before the first one, with the smoothest picture that explains y, for linear operators of
            few parameters that all keep as much of a picture: 8 find a center of rotation.

    Raises:
        TypeError: If an argument is of another type. When run, if ``over`` picks other arrays than real ones.
        ValueError: For values that make no sense. When run, if ``over`` picks no arrays of the problem.

    Source:
        Fisher's identity; expectation maximisation with samples (Wei & Tanner 1990). Blind deconvolution with diffusion
        priors: GibbsDDRM (Murata et al. 2023, arXiv 2301.12686), BlindDPS (Chung et al. 2022, arXiv 2211.10656).
    """
    check_type("blind: solver", solver, Solver, "a Solver, such as rd.noise_aware(prior, sample=True)")
    check_callable("blind: over", over, "a function problem -> arrays, such as lambda problem: problem.operator.params")
    if project is not None:
        check_callable("blind: project", project, "a function of parameters, such as rd.kernels.simplex")
    check_type("blind: optimizer", optimizer, (optax.GradientTransformation, type(None)), "an Optax transformation")
    check_numbers("blind: rate", rate, lambda x: (x > 0) & (x <= 1), "above 0 and at most 1")
    check_whole("blind: profile_steps", profile_steps, 0)
    for name, value in (("memory", memory), ("begin", begin)):
        check_numbers(f"blind: {name}", value, lambda x: (x >= 0) & (x < 1), "from 0 to below 1")
    return Blind(solver, scalar(rate), scalar(memory), scalar(begin), profile_steps, over, project, optimizer)
