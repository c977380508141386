"""RED: regularisation by denoising, with the prior at one noise level as the denoiser.

Classic RED (Romano, Elad & Milanfar 2017, arXiv 1611.02862) takes one denoiser f and minimises

    1/2 |A x - y|^2 + lam/2 x^T (x - f(x))

a sum over entries, whose gradient is ``A^T (A x - y) + lam (x - f(x))`` where f is homogeneous and its Jacobian
symmetric (few are; the iterations below seek a zero of that expression for any f). Here f is the prior's estimate at
the timestep t where ``sigma_t / alpha_t`` is the denoiser's strength sigma_f, given the image without noise:

    f(x) = E[x_0 | x_t = alpha_t x]

For a Gaussian prior N(m, C), ``x - f(x) = sigma_f^2 (C + sigma_f^2)^-1 (x - m)``. RED-diff replaces the one f by all
noise levels. Classic RED is deterministic, and leaves as it was what its one level does not see.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int

from reddiff_jax._checks import check_callable, check_non_negative, check_positive, check_whole
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem, check_single
from reddiff_jax.solvers._base import Solver, scalar
from reddiff_jax.solvers._initial_images import Init, first_image, init_pinv
from reddiff_jax.solvers._proximal import check_linear, proximal


@struct.dataclass
class REDState(Repr):
    """All that the next step needs."""

    x: jax.Array  # (H, W, C)
    v: jax.Array  # (H, W, C), the copy of x that ADMM denoises
    u: jax.Array  # (H, W, C), ADMM's scaled multiplier
    step: jax.Array  # int32, number of steps done


@struct.dataclass
class REDInfo(Repr):
    """Scalars to watch during a run."""

    residual: jax.Array  # root mean square of A(x) - y, after the step
    change: jax.Array  # root mean square of what the step changed in x


# ---- forms: (solver, state, problem) -> x, v, u

Form = Callable[["RED", REDState, Problem], tuple[Image, Image, Image]]


def red_descent(solver: "RED", state: REDState, problem: Problem) -> tuple[Image, Image, Image]:
    """RED by steepest descent: ``x - h (J_A^T (A(x) - y) + lam (x - f(x)))`` with ``h = step_size / (1 + lam)``."""
    x = state.x
    gradient = problem.misfit_gradient(x) + solver.lam * (x - solver.denoise(x, problem))
    return x - solver.step_size / (1 + solver.lam) * gradient, state.v, state.u


def red_fixed_point(solver: "RED", state: REDState, problem: Problem) -> tuple[Image, Image, Image]:
    """RED by fixed-point iteration: ``argmin_x |A x - y|^2 + lam |x - f(x_old)|^2``."""
    return proximal(problem, solver.denoise(state.x, problem), solver.lam, solver.num_cg), state.v, state.u


def red_admm(solver: "RED", state: REDState, problem: Problem) -> tuple[Image, Image, Image]:
    """RED by ADMM.

    ``x = argmin |A x - y|^2 + beta |x - (v - u)|^2``, ``v = (lam f(v) + beta (x + u)) / (lam + beta)``, ``u += x - v``.
    """
    lam, beta, u = solver.lam, solver.beta, state.u
    x = proximal(problem, state.v - u, beta, solver.num_cg)
    v = (lam * solver.denoise(state.v, problem) + beta * (x + u)) / (lam + beta)
    return x, v, u + x - v


@struct.dataclass
class RED(Solver[REDState]):
    """Classic RED; build it with ``red``."""

    prior: Prior
    t: Int[Array, ""]  # timestep of the denoiser
    lam: jax.Array
    beta: jax.Array
    step_size: jax.Array
    form: Form = struct.field(pytree_node=False)
    total_steps: int = struct.field(pytree_node=False)
    num_cg: int = struct.field(pytree_node=False)
    initial_image: Init = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.total_steps

    def init(self, key: Key, problem: Problem) -> REDState:
        """Returns the state before the first step."""
        check_single(problem)
        if self.form is not red_descent:
            check_linear("red", problem, "Use form=rd.solvers.red_descent.")
        x = first_image(self.initial_image, key, problem, *self.prior.schedule(self.t))
        return REDState(x, x, jnp.zeros_like(x), jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: REDState, problem: Problem) -> tuple[REDState, REDInfo]:
        """Does one iteration, without any draw."""
        x, v, u = (image.astype(state.x.dtype) for image in self.form(self, state, problem))
        info = REDInfo(residual=problem.rms_residual(x), change=jnp.sqrt(jnp.mean((x - state.x) ** 2)))
        return REDState(x, v, u, state.step + 1), info

    def estimate(self, state: REDState) -> Image:
        """Returns x."""
        return state.x

    def denoise(self, x: Image, problem: Problem) -> Image:
        """The denoiser f of the module's formula."""
        alpha_t, _ = self.prior.schedule(self.t)
        return self.prior.denoise(alpha_t * x, self.t, problem.cond)


def red(
    prior: Prior,
    *,
    lam: jax.Array | float = 0.04,
    sigma_f: jax.Array | float = 0.03,
    num_steps: int = 200,
    form: Form = red_fixed_point,
    beta: jax.Array | float = 0.01,
    step_size: jax.Array | float = 1.0,
    num_cg: int = 10,
    init: Init = init_pinv,
) -> RED:
    """Classic RED with a single denoiser.

    Args:
        prior: Diffusion prior.
        lam: Weight of the denoiser against the squared residual; the paper's lambda times its sigma^2, so that it has
            no unit: 0.04 for uniform deblurring, 0.02 for Gaussian deblurring, 0.2 for super-resolution x3.
        sigma_f: Strength of the denoiser in pixel units ([-1, 1]), which chooses the timestep; 0.03 is about the 3 to 4
            of 255 in the paper.
        num_steps: Number of iterations, one network evaluation each (200 in the paper, 1500 for descent).
        form: ``red_fixed_point``, the paper's fastest, ``red_admm`` or ``red_descent``, which alone serves operators
            that are not linear.
        beta: Penalty of ADMM; only its speed depends on it.
        step_size: Length of descent steps in units of 1 / (1 + lam), for operators of norm 1. The paper's 2 is at the
            edge of what converges.
        num_cg: Steps of conjugate gradients where the operator is no SpectralOperator.
        init: Initial image: ``init_pinv`` or another, see ``reddiff``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Romano, Elad & Milanfar 2017 (arXiv 1611.02862), algorithms 1 to 3 (one inner denoising in ADMM). Departures:
        the denoiser is the prior's, and sigma_y is in lam.
    """
    check_prior("red", prior)
    check_non_negative("lam", lam)
    for name, value in (("sigma_f", sigma_f), ("beta", beta), ("step_size", step_size)):
        check_positive(name, value)
    check_whole("num_steps", num_steps)
    check_whole("num_cg", num_cg)
    check_callable("form", form, "a form of RED, such as rd.solvers.red_fixed_point")
    return RED(
        prior=prior,
        t=prior.schedule.nearest(sigma_f),
        lam=scalar(lam),
        beta=scalar(beta),
        step_size=scalar(step_size),
        form=form,
        total_steps=num_steps,
        num_cg=num_cg,
        initial_image=init,
    )
