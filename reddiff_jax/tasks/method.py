"""What the settings of every method have in common: checks, words, and the space in which they are tuned."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from reddiff_jax import schedules, weightings
from reddiff_jax.priors import Prior
from reddiff_jax.solvers import (
    Solver,
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
    "zeros": init_zeros,
    "noise": init_noise,
    "noised_pinv": init_noised_pinv,
}
FORMS = {"fixed_point": red_fixed_point, "admm": red_admm, "descent": red_descent}
_FUNCTIONS = {"init": INITS, "form": FORMS}

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


@dataclass(frozen=True)
class Method:
    """Settings of a method: what its preset for a task at a noise level is, and what a user may change.

    A field's name means the same in every method. ``space`` says where fields are searched when they are tuned: a
    ``Range`` is a leaf of the solver, a ``Choice`` is static.
    """

    name: ClassVar[str]
    factory: ClassVar[Callable[..., Solver]]  # takes the fields by name, ``start_timestep`` as a spacing
    help: ClassVar[str]
    remedy: ClassVar[str] = "change its settings with --set."  # of a run that diverged
    space: ClassVar[Mapping[str, Range | Choice]]

    def __post_init__(self):
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    def solver(self, prior: Prior) -> Solver:
        """The method with these settings.

        A run of more steps than there are timesteps up to ``start_timestep`` starts as much higher as it must.

        Raises:
            ValueError: If the prior's schedule has fewer timesteps than there are steps.
        """
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, functions in _FUNCTIONS.items():
            if name in settings:
                settings[name] = functions[settings[name]]
        if settings.pop("start_timestep", None) is not None:
            settings["spacing"] = self._spacing(prior)
        return self.factory(prior, **settings)

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
            ValueError: For a field that the method has not, or an impossible value.
        """
        for name in changes:
            if name not in {field.name for field in fields(self)}:
                raise self._lacks(word(name))
        return replace(self, **changes)

    @classmethod
    def read(cls, text: str) -> tuple[str, Any]:
        """A field and its value from the words ``name=value`` of the command line.

        Raises:
            ValueError: For a field that the method has not, or a value of another type.
        """
        given, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is no setting; give its name and value: {next(iter(cls.space))}=0.5, say.")
        name = field_name(given)
        kinds = {field.name: field.type for field in fields(cls)}
        if name not in kinds:
            raise cls._lacks(given)
        try:
            if kinds[name] is bool:
                return name, {"true": True, "false": False}[value.lower()]
            return name, kinds[name](value) if kinds[name] in (int, float) else value  # type: ignore[operator]
        except (ValueError, KeyError):
            wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kinds[name]]  # type: ignore[index]
            raise ValueError(f"{given} is {value!r} but must be {wanted}.") from None

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
            raise ValueError(f"steps is {steps} but the prior's schedule has {total} timesteps.")
        first = round(self.start_timestep / 999 * (total - 1))  # type: ignore[attr-defined]
        return schedules.between(max(first, steps - 1, 1))


AnyMethod = TypeVar("AnyMethod", bound=Method)
Rows = Sequence[tuple[float, AnyMethod]]
"""Settings of a method at ascending noise levels."""


def interpolate(rows: Rows[AnyMethod], sigma: float) -> AnyMethod:
    """Settings at a noise level between those of a table.

    Numbers with a ``Range`` are interpolated, whole ones left out; the rest is the nearer row's. Beyond the ends the
    end row holds.
    """
    sigmas = [row[0] for row in rows]
    nearest = rows[int(np.argmin([abs(sigma - each) for each in sigmas]))][1]
    between = {
        name: round(float(np.interp(sigma, sigmas, [getattr(settings, name) for _, settings in rows])), 6)
        for name, searched in nearest.space.items()
        if isinstance(searched, Range) and not searched.whole
    }
    return replace(nearest, **between)


_AT_LEAST_ZERO = ("lam", "scale")
_ABOVE_ZERO = ("learning_rate", "step_size", "sigma_f", "beta", "sigma_max", "sigma_min", "first_std")
_FRACTIONS = ("eta", "eta_b", "zeta")
_COUNTS = {"num_steps": 1000, "num_runs": 1000, "num_ode": 100, "num_langevin": 10_000, "num_cg": 1000}
_NAMES: dict[str, Collection[str]] = {
    **_FUNCTIONS,
    "weighting": weightings.WEIGHTINGS,
    "lr_schedule": ("constant", "cosine"),
}


def _check(name: str, value: Any) -> None:
    """Raises ValueError for an impossible value of a field."""
    said = f"{word(name)} is {value!r} but must be"
    if name in _COUNTS and (isinstance(value, bool) or value != int(value) or not 1 <= value <= _COUNTS[name]):
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
