"""An image that is a function of other unknowns: a scene, a coordinate network, a generator's code.

The unknown is theta and the image x = render(theta). RED-diff's gradient g at x, of the measurement and of the prior,
goes to theta by the renderer's derivative,

    g_theta = J_render^T g(render(theta)),

and an optimizer moves theta. Without a measurement this is score distillation through a renderer (Poole et al. 2022,
arXiv 2209.14988, eq. 3); without a prior, fitting a network to a measurement (Ulyanov et al. 2018, arXiv 1711.10925).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from reddiff_jax._checks import check_callable, check_type, describe
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.problems import DataTerm, Problem
from reddiff_jax.solvers import Solver
from reddiff_jax.solvers._initial_images import init_given
from reddiff_jax.solvers._steps import OptaxStep, Step, Terms, gradient
from reddiff_jax.solvers._variational import RedDiff, RedDiffInfo, RedDiffState


@struct.dataclass
class _GradientStep(Step):
    """No step: the gradient is handed out as the optimizer's state."""

    data_term: DataTerm = struct.field(pytree_node=False)

    gamma = OptaxStep.gamma

    def init(self, mu: Image) -> Any:
        return jnp.zeros_like(mu)

    def __call__(self, terms: Terms, mu: Image, opt_state: Any, problem: Problem) -> tuple[Image, Any]:
        return mu, gradient(terms, problem, self.data_term).astype(mu.dtype)


@struct.dataclass
class ParametrisedState(Repr):
    """All that the next step needs."""

    theta: Any  # the unknowns
    opt_state: Any
    inner: RedDiffState  # of the image that theta was rendered to before the last step
    step: jax.Array  # int32, number of steps done


@struct.dataclass
class Parametrised(Solver[ParametrisedState]):
    """RED-diff of a rendered image; build it with ``parametrised``."""

    solver: RedDiff
    render: Any  # a jax.tree_util.Partial
    theta: Any  # the first unknowns
    optimizer: optax.GradientTransformation = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> ParametrisedState:
        """Returns the state before the first step."""
        x = self.render(self.theta)
        if jnp.shape(x) != tuple(problem.operator.in_shape):
            raise ValueError(
                f"parametrised: render returned {describe(x)} but the operator takes {problem.operator.in_shape}; "
                "render must return one image (H, W, C)."
            )
        inner = self.solver.init(key, problem.replace(init=x))  # type: ignore[attr-defined]
        return ParametrisedState(self.theta, self.optimizer.init(self.theta), inner, jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: ParametrisedState, problem: Problem) -> tuple[ParametrisedState, RedDiffInfo]:
        """Renders, and moves theta along RED-diff's gradient of the image."""
        x, pull = jax.vjp(self.render, state.theta)
        inner, info = self.solver.step(key, state.inner.replace(mu=x), problem)  # type: ignore[attr-defined]
        (grad,) = pull(inner.opt_state)
        updates, opt_state = self.optimizer.update(grad, state.opt_state, state.theta)
        theta = optax.apply_updates(state.theta, updates)
        return ParametrisedState(theta, opt_state, inner, state.step + 1), info

    def estimate(self, state: ParametrisedState) -> Image:
        """Returns the rendered image."""
        return self.render(state.theta)


def parametrised(solver: Solver, render: Callable[..., Image], theta: Any) -> Parametrised:
    """RED-diff for an image that is rendered from other unknowns.

    ``solution = rd.run(key, rd.parametrised(solver, render, theta), problem)`` has the image as ``solution.x`` and the
    unknowns as ``solution.state.theta``.

    Args:
        solver: ``rd.reddiff`` or ``rd.sds`` with a step of an optimizer (``rd.optax_step``), which moves theta instead
            of the image: choose its rate for theta.
        render: Function theta -> image (H, W, C), differentiable. With fixed arrays of its own:
            ``jax.tree_util.Partial(fn, arrays)``, called as ``fn(arrays, theta)``. Define it once: another function
            object is another compilation.
        theta: Where to begin: a pytree of floating-point arrays, e.g. a network's parameters. All zeros are a poor
            start where the image does not depend on them to first order.

    Raises:
        TypeError: If an argument is of another type, or the solver's step has no optimizer. When run: ValueError, if
            ``render`` returns another shape than the operator takes.

    Source:
        Poole et al. 2022 (arXiv 2209.14988), eq. 3, with the data term of Mardani et al. 2023 (arXiv 2305.04391).
    """
    check_type("parametrised: solver", solver, RedDiff, "RED-diff, such as rd.reddiff(prior, optax.adam(0.01))")
    step = solver.step_rule  # type: ignore[attr-defined]
    check_type("parametrised: solver's step", step, OptaxStep, "rd.optax_step: other steps know pixels only")
    if not isinstance(render, jax.tree_util.Partial):
        check_callable("parametrised: render", render, "a function theta -> image (H, W, C)")
        render = jax.tree_util.Partial(render)
    kinds = {str(jnp.asarray(leaf).dtype) for leaf in jax.tree.leaves(theta)}
    if not kinds or not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise TypeError(
            f"parametrised: theta has arrays of {', '.join(sorted(kinds)) or 'no kind'} but must be a pytree of "
            "floating-point arrays; give fixed arrays to render by jax.tree_util.Partial."
        )
    inner = solver.replace(step_rule=_GradientStep(step.data_term), initial_image=init_given)  # type: ignore[attr-defined]
    return Parametrised(solver=inner, render=render, theta=jax.tree.map(jnp.asarray, theta), optimizer=step.optimizer)
