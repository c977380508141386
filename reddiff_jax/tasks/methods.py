"""Settings of the methods that RED-diff is compared with, and the choice of a method's settings for a task.

Runs of all of them cost 100 evaluations of the network, except where one costs more than its evaluation: MMPS
differentiates each ``num_cg + 1`` times, so that its 25 steps cost the 100 derivatives of DPS, PiGDM and MCG.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Self

import jax
import jax.numpy as jnp

from reddiff_jax import schedules
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import LinearOperator, SpectralOperator
from reddiff_jax.priors import Prior, gaussian_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers import (
    Solver,
    averaged,
    daps,
    ddnm,
    ddrm,
    diffpir,
    dps,
    mcg,
    mmps,
    noise_aware,
    pigdm,
    red,
    reddiff_var,
)
from reddiff_jax.tasks.catalogue import by_name
from reddiff_jax.tasks.method import AnyMethod, Method, Range, Rows, interpolate
from reddiff_jax.tasks.presets import PRESETS, Preset
from reddiff_jax.tasks.task import Shape, check_sigma

_START = Range(200, 999, whole=True)
_ETA = Range(0.0, 1.0)


@dataclass(frozen=True)
class RedDiffVarPreset(Method):
    """Settings of RED-diff with a learned variance; see ``reddiff_jax.reddiff_var``."""

    lam: float = 1.0
    sigma_max: float = 3.0
    first_std: float = 0.1
    num_steps: int = 100
    init: str = "pinv"

    name = "reddiff_var"
    factory = staticmethod(reddiff_var)
    help = "RED-diff with a learned variance; Gaussian noise"
    space = MappingProxyType({"lam": Range(0.05, 20.0, log=True), "sigma_max": Range(0.3, 30.0, log=True)})


@dataclass(frozen=True)
class NoiseAwarePreset(Method):
    """Settings of noise-aware RED-diff; see ``reddiff_jax.noise_aware``. The same at all noise levels.

    The restoration is the mean of ``num_runs`` short runs: with a trained network long ones become worse. So does a
    mode with all of the prior's weight where little is measured: there ``lam`` is below the posterior's 1. From the
    smoothest image that explains the measurement no high level is needed (benchmarks/net_error.py). ``changed`` to a
    sample, it is one run of as many evaluations with all of the prior's weight, from the level 0.5: from there samples
    are as calibrated as from higher ones, and look better (benchmarks/calibration.py).
    """

    lam: float = 0.35
    sigma_max: float = 1.0
    sigma_min: float = 0.02
    sample: bool = False
    num_steps: int = 25
    num_runs: int = 4
    num_cg: int = 10
    init: str = "smooth"

    name = "noise_aware"
    help = "RED-diff that knows the noise, not tuned for each task; or a sample; Gaussian noise"
    space = MappingProxyType({"lam": Range(0.05, 20.0, log=True), "sigma_max": Range(0.3, 30.0, log=True)})

    @staticmethod
    def factory(prior: Prior, *, num_runs: int, **settings: Any) -> Solver:
        """The mean of runs, or the one run itself."""
        solver = noise_aware(prior, **settings)
        return solver if num_runs == 1 else averaged(solver, num_runs)

    @property
    def num_evaluations(self) -> int:
        """Evaluations of the network in all runs."""
        return self.num_steps * self.num_runs

    def spending(self, evaluations: int) -> Self:
        """The same in as many runs of at least ``num_steps`` as that number of evaluations allows."""
        num_runs = 1 if self.sample else max(1, evaluations // self.num_steps)
        return replace(self, num_steps=evaluations // num_runs, num_runs=num_runs)

    def in_one_run(self) -> Self:
        """The same number of evaluations in one run."""
        return replace(self, num_steps=self.num_evaluations, num_runs=1)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same with other values of some fields; what a sample needs else follows, if nothing is said of it."""
        if changes.get("sample") and not self.sample:
            exact = {"lam": 1.0, "sigma_max": 0.5, "sigma_min": 0.02, "init": "smooth"}
            changes = {"num_steps": self.num_evaluations, "num_runs": 1, **exact, **changes}
        return super().changed(changes)


@dataclass(frozen=True)
class DpsPreset(Method):
    """Settings of DPS; see ``reddiff_jax.dps``."""

    scale: float = 0.5
    eta: float = 0.5
    num_steps: int = 100
    start_timestep: int = 999
    init: str = "pinv"

    name = "dps"
    factory = staticmethod(dps)
    help = "guided by a gradient through the network; any differentiable operator"
    space = MappingProxyType({"scale": Range(0.05, 5.0, log=True), "eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class PigdmPreset(Method):
    """Settings of PiGDM; see ``reddiff_jax.pigdm``. ``noisy`` needs an operator with an SVD."""

    scale: float = 1.0
    eta: float = 1.0
    noisy: bool = True
    num_steps: int = 100
    start_timestep: int = 999
    init: str = "pinv"

    name = "pigdm"
    factory = staticmethod(pigdm)
    help = "guided by the pseudo-inverse, through the network; any operator with one"
    space = MappingProxyType({"scale": Range(0.05, 5.0, log=True), "eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DdrmPreset(Method):
    """Settings of DDRM; see ``reddiff_jax.ddrm``."""

    eta: float = 0.85
    eta_b: float = 1.0
    num_steps: int = 100
    start_timestep: int = 999

    name = "ddrm"
    factory = staticmethod(ddrm)
    help = "samples in the singular vectors; needs an SVD and Gaussian noise"
    space = MappingProxyType({"eta": _ETA, "eta_b": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DdnmPreset(Method):
    """Settings of DDNM+; see ``reddiff_jax.ddnm``. ``noisy`` needs an operator with an SVD."""

    eta: float = 1.0
    noisy: bool = True
    num_steps: int = 100
    start_timestep: int = 999
    init: str = "pinv"

    name = "ddnm"
    factory = staticmethod(ddnm)
    help = "keeps the null space of the estimate; any operator with a pseudo-inverse"
    space = MappingProxyType({"eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class McgPreset(Method):
    """Settings of MCG; see ``reddiff_jax.mcg``."""

    scale: float = 0.1
    eta: float = 1.0
    num_steps: int = 100
    start_timestep: int = 999
    init: str = "pinv"

    name = "mcg"
    factory = staticmethod(mcg)
    help = "gradient through the network and projection; linear operators"
    space = MappingProxyType({"scale": Range(0.01, 5.0, log=True), "eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DiffpirPreset(Method):
    """Settings of DiffPIR; see ``reddiff_jax.diffpir``."""

    lam: float = 1.0
    zeta: float = 1.0
    num_steps: int = 100
    start_timestep: int = 999
    num_cg: int = 10
    init: str = "pinv"

    name = "diffpir"
    factory = staticmethod(diffpir)
    help = "proximal steps; linear operators and Gaussian noise"
    space = MappingProxyType({"lam": Range(0.03, 30.0, log=True), "zeta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DapsPreset(Method):
    """Settings of DAPS; see ``reddiff_jax.daps``. Each of its steps evaluates the network ``num_ode`` times."""

    step_size: float = 0.1
    num_steps: int = 20
    num_ode: int = 5
    num_langevin: int = 100
    start_timestep: int = 999
    init: str = "pinv"

    name = "daps"
    factory = staticmethod(daps)
    help = "decoupled annealing by Langevin steps; any differentiable operator"
    space = MappingProxyType({"step_size": Range(0.003, 1.0, log=True), "start_timestep": _START})

    @property
    def num_evaluations(self) -> int:
        """Evaluations of the network in a run."""
        return self.num_steps * self.num_ode


@dataclass(frozen=True)
class MmpsPreset(Method):
    """Settings of MMPS; see ``reddiff_jax.mmps``. Each of its steps differentiates the network ``num_cg + 1`` times."""

    eta: float = 1.0
    num_steps: int = 25
    num_cg: int = 3
    clip: bool = True
    start_timestep: int = 999
    init: str = "pinv"

    name = "mmps"
    factory = staticmethod(mmps)
    help = "knows the estimate's covariance, through the network; Gaussian noise"
    space = MappingProxyType({"eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class RedPreset(Method):
    """Settings of classic RED; see ``reddiff_jax.red``. Only ``form`` "descent" serves what is not linear."""

    lam: float = 0.04
    sigma_f: float = 0.03
    form: str = "fixed_point"
    step_size: float = 1.0
    beta: float = 0.01
    num_steps: int = 100
    num_cg: int = 10
    init: str = "pinv"

    name = "red"
    factory = staticmethod(red)
    help = "classic regularisation by one denoiser; any operator"
    space = MappingProxyType({"lam": Range(0.002, 5.0, log=True), "sigma_f": Range(0.01, 0.5, log=True)})


METHODS: dict[str, type[Method]] = {
    each.name: each
    for each in (
        Preset,
        RedDiffVarPreset,
        NoiseAwarePreset,
        DpsPreset,
        PigdmPreset,
        DdrmPreset,
        DdnmPreset,
        McgPreset,
        DiffpirPreset,
        DapsPreset,
        MmpsPreset,
        RedPreset,
    )
}

TUNED: dict[str, Mapping[str, Rows]] = {
    "reddiff": PRESETS,
    # lam: where more of the picture is measured than a third. sigma_max: lower still where the first image is near.
    # sigma_min: lower where all of a picture, or a mix of all, is measured; 0.1 to 0.4 dB at sigma up to 0.02.
    # num_steps: what mixes all pixels takes longer to agree with the prior; 0.8 dB without noise.
    "noise_aware": {
        "deblur": ((0.0, NoiseAwarePreset(lam=0.5)),),
        "inpaint_pixels": ((0.0, NoiseAwarePreset(sigma_max=0.5)),),
        "inpaint_holes": ((0.0, NoiseAwarePreset(lam=0.7)),),
        "compressed_sensing": ((0.0, NoiseAwarePreset(sigma_max=0.5, sigma_min=0.01, num_steps=50, num_runs=2)),),
        "ct": ((0.0, NoiseAwarePreset(lam=1.0)),),
        "denoise": ((0.0, NoiseAwarePreset(lam=1.0, sigma_max=3.0, sigma_min=0.01, init="pinv")),),
    },
}
"""Rows of each family, for each method that has been tuned; the others have their defaults."""


PUBLISHED_IS_BETTER = frozenset({"deblur_saturated", "jpeg", "phase_retrieval", "quantization"})
"""Families whose default is RED-diff with its preset (benchmarks/defaults.py): what they measure is not linear.

Noise-aware RED-diff is the default of all else.
"""


def method_by_name(name: str) -> type[Method]:
    """Looks up a method.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in METHODS:
        raise ValueError(f"unknown solver {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def default_solver(task_name: str | None = None) -> str:
    """Name of the method that does a task best, or most tasks.

    Raises:
        ValueError: For an unknown task.
    """
    family = "" if task_name is None else by_name(task_name).family
    return "reddiff" if family in PUBLISHED_IS_BETTER else "noise_aware"


def preset(task_name: str, sigma: float, solver: str | None = None) -> Method:
    """Settings of a method for a task at a noise level, a standard deviation for pixels in [-1, 1].

    Raises:
        ValueError: For an unknown task or solver, or a noise level that is none.
    """
    check_sigma(sigma)
    task, name = by_name(task_name), solver or default_solver(task_name)
    method, rows = method_by_name(name), TUNED.get(name, {}).get(task.family)
    return fitted(interpolate(rows, sigma) if rows else method(), task_name)


def drawing(settings: Method, task_name: str) -> Method:
    """The settings with which restorations of one measurement differ as its posterior does; the same if none do."""
    if not isinstance(settings, NoiseAwarePreset):
        return settings
    draws = settings.changed({"sample": True})
    return settings if _obstacle(task_name, draws) else draws


# ---- what a method needs of a task

_SHAPE: Shape = (128, 128, 3)


def check_serves(task_name: str, preset: Method) -> None:
    """Sees whether a method can do a task at all, without computing anything.

    Raises:
        ValueError: If it lacks what the method needs; names the methods that can.
    """
    if preset.name == "reddiff":
        return  # it serves every task
    reason = _obstacle(task_name, preset)
    if reason is not None:
        able = [name for name, method in METHODS.items() if not _obstacle(task_name, fitted(method(), task_name))]
        raise ValueError(f"{preset.name} cannot do {task_name} ({reason}); choose one of {', '.join(able)}.")


@cache
def _obstacle(task_name: str, preset: Method) -> str | None:
    """What is missing, in a few words; None if nothing is."""
    prior = gaussian_prior(jnp.zeros((1, 1, 1)), 1.0, schedules.linear())
    solver = replace(preset, num_steps=1).solver(prior)
    try:
        jax.eval_shape(solver.init, jax.random.key(0), _example(task_name))
    except TypeError as error:
        return str(error).split(". ")[0].rstrip(".")
    return None


def fitted(settings: AnyMethod, task_name: str) -> AnyMethod:
    """The settings in the form of the method that serves a task, where there is one.

    PiGDM and DDNM have a noiseless form for operators without an SVD, RED descent for those that are not linear.
    Noise-aware RED-diff is one long run for those, from the solver's own start, as Adam takes many steps.
    """
    names = {field.name for field in fields(settings)}
    if isinstance(settings, NoiseAwarePreset) and not isinstance(_example(task_name).operator, LinearOperator):
        start = {"sigma_max": 3.0, "init": "pinv"} if settings.init == "smooth" else {}
        return replace(settings.in_one_run(), **start)
    if "noisy" in names and not isinstance(_example(task_name).operator, SpectralOperator):
        return replace(settings, noisy=False)
    if "form" in names and _obstacle(task_name, settings):
        return replace(settings, form="descent")
    return settings


@cache
def _example(task_name: str) -> Problem:
    """The shapes of a problem of a task, and the type of its operator."""
    task = by_name(task_name)

    def pose(operator) -> Problem:
        return Problem(operator(jnp.zeros(_SHAPE)), operator, gaussian(0.05))

    if task.draw is not None and not task.array_shapes(_SHAPE):
        return jax.eval_shape(pose, task.operator(_SHAPE, {}))
    draw = task.draw or (lambda key, shape: {"mask": jnp.ones((*shape[:2], 1))})
    return jax.eval_shape(lambda key: pose(task.operator(_SHAPE, dict(draw(key, _SHAPE)))), jax.random.key(0))
