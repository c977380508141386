"""What the settings of every solver have in common: checks, words, and the space in which they are tuned."""

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import schedules, weightings
from reddiff_jax._keys import key_from
from reddiff_jax.operators import LinearOperator, Operator, SpectralOperator
from reddiff_jax.priors import Prior, gaussian_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers import (
    Solver,
    init_middle,
    init_noise,
    init_noised_pinv,
    init_pinv,
    init_smooth,
    init_zeros,
    red_admm,
    red_descent,
    red_fixed_point,
)

INITS = {
    "pinv": init_pinv,
    "smooth": init_smooth,
    "middle": init_middle,
    "zeros": init_zeros,
    "noise": init_noise,
    "noised_pinv": init_noised_pinv,
}
FORMS = {"fixed_point": red_fixed_point, "admm": red_admm, "descent": red_descent}
_FUNCTIONS = {"init": INITS, "form": FORMS}

EVALUATIONS = 100
"""Evaluations of the network in a run: published numbers of steps, up to 1000, take minutes a picture on a CPU."""

# The command line's words for two fields.
WORDS = {"num_steps": "steps", "learning_rate": "lr"}


def word(name: str) -> str:
    """What the command line calls a field."""
    return WORDS.get(name, name)


def field_name(given: str) -> str:
    """The field that the command line calls so."""
    return next((name for name, word in WORDS.items() if word == given), given)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included: a traced leaf of the solver, so that trials share a compilation.

    Args (fields):
        low: Lower end.
        high: Upper end.
        log: Whether ratios count, not differences.
        whole: Whether only whole numbers make sense.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, fraction: float) -> float | int:
        """The number at a fraction of the way from the lower to the upper end, to four digits."""
        if self.log:
            value = self.low * (self.high / self.low) ** fraction
        else:
            value = self.low + (self.high - self.low) * fraction
        return round(value) if self.whole else rounded(value)


def rounded(value: float) -> float:
    """A setting to four digits, more than which none deserves."""
    return float(f"{value:.4g}")


@dataclass(frozen=True)
class Choice:
    """One of a few settings, each of which is a compilation of its own."""

    options: tuple[Any, ...]


def default_of(factory: Callable[..., Solver], name: str) -> Any:
    """The default of a factory's parameter, which stands in its signature alone."""
    return inspect.signature(factory).parameters[name].default


@dataclass(frozen=True)
class Settings:
    """Settings of a solver: what a table of tuned settings holds, and what a user may change.

    A field's name means the same in every class. ``space`` says where fields are searched when they are tuned: a
    ``Range`` is a leaf of the solver, a ``Choice`` is static.
    """

    name: ClassVar[str]  # of the solver
    factory: ClassVar[Callable[..., Solver]]  # takes the fields by name, ``start_timestep`` as a spacing
    help: ClassVar[str]
    remedy: ClassVar[str] = "change its settings with --set."  # of a run that diverged
    plain: ClassVar[bool] = False  # whether the solver asks operators for their adjoint and pseudo-inverse alone
    space: ClassVar[Mapping[str, Range | Choice]]

    def __post_init__(self):
        for field in fields(self):
            _check(field.name, field.type, getattr(self, field.name))

    def solver(self, prior: Prior) -> Solver:
        """The solver with these settings.

        A run of more steps than there are timesteps up to ``start_timestep`` starts as much higher as it must.

        Raises:
            ValueError: If the prior's schedule has fewer timesteps than there are steps.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, functions in _FUNCTIONS.items():
            if name in values:
                values[name] = functions[values[name]]
        if values.pop("start_timestep", None) is not None:
            values["spacing"] = self._spacing(prior)
        return self.factory(prior, **values)

    def sweepable(self, prior: Prior) -> Solver:
        """The same, with every field that has a ``Range`` as a leaf."""
        return self.solver(prior)

    @property
    def num_evaluations(self) -> int:
        """Evaluations of the network in a run."""
        return self.num_steps  # type: ignore[attr-defined]

    def spending(self, evaluations: int) -> Self:
        """The same with as many steps as that number of evaluations of the network allows.

        Raises:
            ValueError: If it allows none.
        """
        return replace(self, num_steps=evaluations * self.num_steps // self.num_evaluations)  # type: ignore[attr-defined, call-arg]

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same with other values of some fields.

        Raises:
            ValueError: For a field that there is not, or an impossible value.
        """
        for name in changes:
            if name not in {field.name for field in fields(self)}:
                raise self._lacks(word(name))
        return replace(self, **changes)

    def drawing(self) -> "Settings":
        """The settings with which restorations of one measurement differ as its posterior does; these if none do."""
        return self

    def for_regions(self) -> Self:
        """The settings for the many small windows that are restored around holes; these if they suit."""
        return self

    def for_shape(self, in_shape: tuple[int, int, int]) -> Self:
        """The settings for images (H, W, C); these if they suit all."""
        return self

    def fitted(self, operator: Operator) -> Self:
        """The settings in the form of the solver that serves an operator, where there is one.

        A run starts from the gray image where the operator has no pseudo-inverse, and leaves the noise out of account
        (``noisy=False``) where it has no SVD.
        """
        changes: dict[str, Any] = {}
        if getattr(self, "init", "") in ("pinv", "noised_pinv") and not _has_pinv(operator):
            changes["init"] = "zeros"
        if getattr(self, "noisy", False) and not isinstance(operator, SpectralOperator):
            changes["noisy"] = False
        return replace(self, **changes)

    def obstacle(self, problem: Problem) -> str | None:
        """What a problem lacks for the solver, in a few words; None if it lacks nothing. Nothing is computed."""
        shapes = jax.eval_shape(lambda problem: problem, problem)
        leaves, structure = jax.tree.flatten(shapes)
        return _obstacle(self, structure, tuple(leaves))

    @classmethod
    def read(cls, text: str) -> tuple[str, Any]:
        """A field and its value from the words ``name=value`` of the command line.

        Raises:
            ValueError: For a field that there is not, or a value of another type.
        """
        given, equals, value = text.partition("=")
        if not equals:
            first = fields(cls)[0]
            example = f"{word(first.name)}={first.default}"
            raise ValueError(f"{text!r} is no setting; give its name and value, such as {example}.")
        name = field_name(given)
        kinds = {field.name: field.type for field in fields(cls)}
        if name not in kinds:
            raise cls._lacks(given)
        try:
            if kinds[name] is bool:
                return name, {"true": True, "false": False}[value.lower()]
            return name, kinds[name](value) if kinds[name] in (int, float) else value  # type: ignore[operator]
        except (ValueError, KeyError):
            raise ValueError(f"{given} is {value!r} but must be {_TYPES[kinds[name]][1]}.") from None

    @classmethod
    def _lacks(cls, given: str) -> ValueError:
        own = ", ".join(word(field.name) for field in fields(cls))
        return ValueError(f"{cls.name} has no setting {given}; its settings are {own}. Other solvers have others.")

    def describe(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))

    def _spacing(self, prior: Prior) -> schedules.Spacing:
        total, steps = prior.schedule.num_timesteps, self.num_steps  # type: ignore[attr-defined]
        if steps > total:
            raise ValueError(f"steps is {steps} but the prior's schedule has {total} timesteps; take fewer steps.")
        first = round(self.start_timestep / 999 * (total - 1))  # type: ignore[attr-defined]
        return schedules.between(max(first, steps - 1, 1))


AnySettings = TypeVar("AnySettings", bound=Settings)
Rows = Sequence[tuple[float, AnySettings]]
"""Settings of a solver at ascending noise levels."""


def interpolate(rows: Rows[AnySettings], sigma: float) -> AnySettings:
    """Settings at a noise level between those of a table.

    Numbers with a ``Range`` are interpolated, whole ones left out; the rest is the nearer row's. Beyond the ends the
    end row holds.
    """
    sigmas = [row[0] for row in rows]
    nearest = rows[int(np.argmin([abs(sigma - each) for each in sigmas]))][1]
    between = {
        name: round(float(np.interp(sigma, sigmas, [getattr(row, name) for _, row in rows])), 6)
        for name, searched in nearest.space.items()
        if isinstance(searched, Range) and not searched.whole
    }
    return replace(nearest, **between)


def _has_pinv(operator: Operator) -> bool:
    if isinstance(operator, LinearOperator):
        return True  # where no other is known, by conjugate gradients
    x = jax.ShapeDtypeStruct(operator.in_shape, jnp.float32)
    try:
        jax.eval_shape(lambda operator, x: operator.pinv(operator(x)), operator, x)
    except TypeError:
        return False
    return True


@cache
def _obstacle(settings: Settings, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> str | None:
    problem = jax.tree.unflatten(structure, leaves)
    prior = gaussian_prior(jnp.zeros((1, 1, 1)), 1.0, schedules.linear())
    solver = replace(settings, num_steps=1).solver(prior)  # type: ignore[call-arg]
    try:
        jax.eval_shape(solver.init, key_from(0), problem)
    except TypeError as error:
        return str(error).split(". ")[0].rstrip(".")
    return None


_AT_LEAST_ZERO = ("lam", "scale")
_ABOVE_ZERO = ("learning_rate", "step_size", "sigma_f", "beta", "sigma_max", "sigma_min", "first_std")
_FRACTIONS = ("eta", "eta_b", "zeta")
_COUNTS = {"num_steps": 1000, "num_runs": 1000, "num_ode": 100, "num_langevin": 10_000, "num_cg": 1000}
_NAMES: dict[str, Collection[str]] = {
    **_FUNCTIONS,
    "weighting": weightings.WEIGHTINGS,
    "lr_schedule": ("constant", "cosine"),
}


_TYPES: dict[Any, tuple[type | tuple[type, ...], str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
}


def _check(name: str, kind: Any, value: Any) -> None:
    """Raises ValueError for an impossible value of a field of this type."""
    said = f"{word(name)} is {value!r} but must be"
    of_kind, needed = _TYPES.get(kind, (str, "a name"))
    if not isinstance(value, of_kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{said} {needed}.")
    if name in _COUNTS and not 1 <= value <= _COUNTS[name]:
        raise ValueError(f"{said} a whole number from 1 to {_COUNTS[name]}.")
    if name in _AT_LEAST_ZERO and not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{said} finite and not negative.")
    if name in _ABOVE_ZERO and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{said} finite and above 0.")
    if name in _FRACTIONS and not 0 <= value <= 1:
        raise ValueError(f"{said} from 0 to 1.")
    if name == "start_timestep" and not 0 <= value <= 999:
        raise ValueError(f"{said} from 0 to 999.")
    if name in _NAMES and value not in _NAMES[name]:
        raise ValueError(f"{said} one of {', '.join(_NAMES[name])}.")
