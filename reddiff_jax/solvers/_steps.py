"""Steps: how RED-diff's mu moves, given what the prior and the measurement say."""

import abc
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import optax
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_callable, check_type, check_whole
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image
from reddiff_jax.problems import DataTerm, Problem, Robust, least_squares
from reddiff_jax.solvers._control_variates import ControlVariate, variate_twice
from reddiff_jax.solvers._coupling import Coupling
from reddiff_jax.solvers._proximal import proximal


class Terms(NamedTuple):
    """The prior term, and the scales of both terms, from which a step moves mu."""

    x_0: Image  # where the terms are taken: mu, or a perturbed copy
    pull: Image  # r (eps_hat - c eps), in pixel units
    kappa: Float[Array, ""]  # its weight, relative to A^T A
    prior_gradient: Image  # kappa pull, in the units of the prior term
    data_scale: jax.Array | float
    prior_scale: jax.Array | float


@struct.dataclass
class Step(Repr, abc.ABC):
    """How mu moves."""

    gamma: ClassVar[float]  # least noise-aware weight that suits the step, in units of a
    heat: ClassVar[int] = 1  # factor of lam

    def variate(self, chosen: ControlVariate) -> ControlVariate:
        """The control variate."""
        return chosen

    def init(self, mu: Image) -> Any:
        """The optimizer's state; None without one."""
        return None

    @abc.abstractmethod
    def __call__(self, terms: Terms, mu: Image, opt_state: Any, problem: Problem) -> tuple[Image, Any]:
        """The new mu and the optimizer's new state."""

    def estimate(self, mu: Image, opt_state: Any) -> Image:
        """The restored image."""
        return mu


@struct.dataclass
class OptaxStep(Step):
    """A step of an Optax optimizer along the gradient; build it with ``optax_step``."""

    optimizer: optax.GradientTransformation = struct.field(pytree_node=False)
    data_term: DataTerm = struct.field(pytree_node=False)

    gamma = 0.03

    def init(self, mu: Image) -> Any:
        return self.optimizer.init(mu)

    def __call__(self, terms: Terms, mu: Image, opt_state: Any, problem: Problem) -> tuple[Image, Any]:
        grad = gradient(terms, problem, self.data_term)
        # The scanned state keeps its type even where an operator works in another (x64, complex measurements).
        updates, opt_state = self.optimizer.update(grad.astype(mu.dtype), opt_state, mu)
        return optax.apply_updates(mu, updates), opt_state  # type: ignore[return-value]

    def estimate(self, mu: Image, opt_state: Any) -> Image:
        """Returns mu, or the average that a schedule-free optimizer keeps of it."""
        if isinstance(opt_state, optax.contrib.ScheduleFreeState):
            return optax.contrib.schedule_free_eval_params(opt_state, mu)  # type: ignore[return-value]
        return mu


def gradient(terms: Terms, problem: Problem, data_term: DataTerm) -> Image:
    """The gradient of both terms."""
    return terms.data_scale * data_term(problem, terms.x_0) + terms.prior_scale * terms.prior_gradient


@struct.dataclass
class ProximalStep(Step):
    """The step that solves for the measurement; build it with ``proximal_step``."""

    num_cg: int = struct.field(pytree_node=False)
    num_newton: int = struct.field(pytree_node=False)
    coupling: Coupling | None = None
    outliers: Robust | None = None

    gamma = 1e-3

    def __call__(self, terms: Terms, mu: Image, opt_state: Any, problem: Problem) -> tuple[Image, Any]:
        """``(A^T A + kappa)^-1 (A^T y + kappa (mu - pull))``."""
        pulled, options = mu - terms.pull, (self.num_cg, self.num_newton, self.coupling, self.outliers)
        return proximal(problem, pulled, terms.kappa, *options), opt_state


@struct.dataclass
class LangevinStep(Step):
    """The noisy half step, which draws from the posterior; build it with ``langevin_step``."""

    num_cg: int = struct.field(pytree_node=False)
    num_newton: int = struct.field(pytree_node=False)
    coupling: Coupling | None = None

    gamma = 1e-6
    heat = 2

    def variate(self, chosen: ControlVariate) -> ControlVariate:
        """Returns c = 2: the half step leaves half of the noise."""
        return variate_twice

    def __call__(self, terms: Terms, mu: Image, opt_state: Any, problem: Problem) -> tuple[Image, Any]:
        """``(A^T A + kappa)^-1 (A^T y + kappa (mu + r eps - (r / 2) eps_hat))``."""
        pulled = mu - 0.5 * terms.pull
        return proximal(problem, pulled, terms.kappa, self.num_cg, self.num_newton, self.coupling), opt_state


@functools.cache
def decayed_adam(num_steps: int) -> optax.GradientTransformation:
    """Adam (b2 = 0.99) at the paper's 0.1, decayed to 0.002 by a cosine; one object for each number of steps."""
    # Another object would be another compilation.
    return optax.adam(optax.cosine_decay_schedule(0.1, num_steps, alpha=0.02), b1=0.9, b2=0.99)


# One object, so that solvers built apart share a compilation.
ADAM = optax.adam(0.1, b1=0.9, b2=0.99)

_OPTIMIZER = (optax.GradientTransformation, type(None))
_COUPLING = "None or what rd.solvers.coupling(lam) gives"
_NEEDED = "an Optax transformation, such as optax.adam(0.1)"


def optax_step(optimizer: optax.GradientTransformation | None = None, *, data_term: DataTerm = least_squares) -> Step:
    """A step of an optimizer along ``g = J_A^T (A(mu) - y) + kappa r (eps_hat - c eps)``.

    Args:
        optimizer: Any Optax transformation, learning-rate schedules and ``optax.contrib.schedule_free`` (not inside a
            chain) included; the paper's ``optax.adam(0.1, b1=0.9, b2=0.99)`` if None. Build it once: another object is
            another compilation.
        data_term: ``least_squares``, as published; ``likelihood`` of the problem's noise, e.g. for photon counts, at a
            scale that leaves ``lam`` its meaning; or a function (problem, mu) -> gradient.

    Raises:
        TypeError: If an argument is of another type.
    """
    check_callable("data_term", data_term, "a function (problem, mu) -> gradient, such as rd.likelihood")
    return OptaxStep(as_optimizer(optimizer), data_term)


def proximal_step(
    *, num_cg: int = 10, num_newton: int = 1, coupling: Coupling | None = None, data_term: Robust | None = None
) -> Step:
    """The step that solves for the measurement, which has no rate to choose.

    ``mu <- argmin_x |A(x) - y|^2 + kappa |x - (mu - r (eps_hat - c eps))|^2``: in closed form in the singular vectors
    of a SpectralOperator and for a ProximalOperator, which moves what was rounded into its bin; by conjugate gradients
    for other linear operators; by Gauss-Newton steps for all others, in which what was cut off counts only while it is
    on the wrong side (censored least squares).

    Args:
        num_cg: Steps of conjugate gradients where there is no closed form.
        num_newton: Gauss-Newton steps for operators that are not linear, and for all with a ``data_term``.
        coupling: Smoothness of a volume across its slices, ``rd.solvers.coupling(lam)``, for linear operators; it takes
            conjugate gradients.
        data_term: ``rd.robust()`` where y has outliers; the squared residual if None.

    Raises:
        TypeError: If ``coupling`` is of another type, or ``data_term`` another data term.
        ValueError: If ``num_cg`` or ``num_newton`` is below 1, or for a coupling with a data term.
    """
    check_type("data_term", data_term, (Robust, type(None)), "rd.robust() or None; optax_step takes any data term")
    check_whole("num_cg", num_cg)
    check_whole("num_newton", num_newton)
    check_type("coupling", coupling, (Coupling, type(None)), _COUPLING)
    if coupling is not None and data_term is not None:
        raise ValueError("coupling and data_term cannot be combined: a coupling's step has squared residuals only.")
    return ProximalStep(num_cg, num_newton, coupling, data_term)


def langevin_step(*, num_cg: int = 10, num_newton: int = 1, coupling: Coupling | None = None) -> Step:
    """The noisy half step, whose iterates are draws from the posterior; see ``noise_aware``.

    Args:
        num_cg: As for ``proximal_step``.
        num_newton: As for ``proximal_step``.
        coupling: As for ``proximal_step``.

    Raises:
        TypeError: If ``coupling`` is of another type.
        ValueError: If ``num_cg`` or ``num_newton`` is below 1.
    """
    check_whole("num_cg", num_cg)
    check_whole("num_newton", num_newton)
    check_type("coupling", coupling, (Coupling, type(None)), _COUPLING)
    return LangevinStep(num_cg, num_newton, coupling)


def as_step(step: Step | optax.GradientTransformation | None) -> Step:
    """Returns a step as it is, and ``optax_step`` of an optimizer (the paper's if None)."""
    if isinstance(step, Step):
        return step
    check_type("step", step, _OPTIMIZER, f"{_NEEDED}, or a step, such as rd.proximal_step()")
    return optax_step(step)


def as_optimizer(
    optimizer: optax.GradientTransformation | None, default: optax.GradientTransformation = ADAM
) -> optax.GradientTransformation:
    """Returns an optimizer as it is, and the default for None; TypeError for anything else."""
    check_type("optimizer", optimizer, _OPTIMIZER, _NEEDED)
    return default if optimizer is None else optimizer
