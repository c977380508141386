"""Settings of the samplers that RED-diff is compared with.

Runs of all of them cost 100 evaluations of the network, except where one costs more than its evaluation: MMPS
differentiates each ``num_cg + 1`` times, so that its 25 steps cost the 100 derivatives of DPS, PiGDM and MCG. All start
from the noised pseudo-inverse, whatever their own default is, so that starts make no difference between them.
"""

from dataclasses import dataclass
from types import MappingProxyType

from reddiff_jax.settings.base import EVALUATIONS, Range, Settings, default_of
from reddiff_jax.solvers import daps, ddnm, ddrm, diffpir, dps, mcg, mmps, pigdm

_FIRST = 999  # of timesteps from 0 to 999
_START = Range(200, _FIRST, whole=True)
_ETA = Range(0.0, 1.0)


@dataclass(frozen=True)
class DpsSettings(Settings):
    """Settings of DPS; see ``reddiff_jax.dps``."""

    scale: float = default_of(dps, "scale")
    eta: float = default_of(dps, "eta")
    num_steps: int = EVALUATIONS
    start_timestep: int = _FIRST
    init: str = "pinv"

    name = "dps"
    factory = staticmethod(dps)
    help = "guided by a gradient through the network; any differentiable operator"
    space = MappingProxyType({"scale": Range(0.05, 5.0, log=True), "eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class PigdmSettings(Settings):
    """Settings of PiGDM; see ``reddiff_jax.pigdm``. ``noisy`` needs an operator with an SVD."""

    scale: float = default_of(pigdm, "scale")
    eta: float = default_of(pigdm, "eta")
    noisy: bool = default_of(pigdm, "noisy")
    num_steps: int = EVALUATIONS
    start_timestep: int = _FIRST
    init: str = "pinv"

    name = "pigdm"
    factory = staticmethod(pigdm)
    help = "guided by the pseudo-inverse, through the network; any operator with one"
    space = MappingProxyType({"scale": Range(0.05, 5.0, log=True), "eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DdrmSettings(Settings):
    """Settings of DDRM; see ``reddiff_jax.ddrm``."""

    eta: float = default_of(ddrm, "eta")
    eta_b: float = default_of(ddrm, "eta_b")
    num_steps: int = EVALUATIONS
    start_timestep: int = _FIRST

    name = "ddrm"
    factory = staticmethod(ddrm)
    help = "samples in the singular vectors; needs an SVD and Gaussian noise"
    space = MappingProxyType({"eta": _ETA, "eta_b": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DdnmSettings(Settings):
    """Settings of DDNM+; see ``reddiff_jax.ddnm``. ``noisy`` needs an operator with an SVD."""

    eta: float = default_of(ddnm, "eta")
    noisy: bool = default_of(ddnm, "noisy")
    num_steps: int = EVALUATIONS
    start_timestep: int = _FIRST
    init: str = "pinv"

    name = "ddnm"
    factory = staticmethod(ddnm)
    help = "keeps the null space of the estimate; any operator with a pseudo-inverse"
    space = MappingProxyType({"eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class McgSettings(Settings):
    """Settings of MCG; see ``reddiff_jax.mcg``."""

    scale: float = default_of(mcg, "scale")
    eta: float = default_of(mcg, "eta")
    num_steps: int = EVALUATIONS
    start_timestep: int = _FIRST
    init: str = "pinv"

    name = "mcg"
    factory = staticmethod(mcg)
    help = "gradient through the network and projection; linear operators"
    space = MappingProxyType({"scale": Range(0.01, 5.0, log=True), "eta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DiffpirSettings(Settings):
    """Settings of DiffPIR; see ``reddiff_jax.diffpir``."""

    lam: float = default_of(diffpir, "lam")
    zeta: float = default_of(diffpir, "zeta")
    num_steps: int = EVALUATIONS
    start_timestep: int = _FIRST
    num_cg: int = default_of(diffpir, "num_cg")
    init: str = "pinv"

    name = "diffpir"
    factory = staticmethod(diffpir)
    help = "proximal steps; linear operators and Gaussian noise"
    space = MappingProxyType({"lam": Range(0.03, 30.0, log=True), "zeta": _ETA, "start_timestep": _START})


@dataclass(frozen=True)
class DapsSettings(Settings):
    """Settings of DAPS; see ``reddiff_jax.daps``. Each of its steps evaluates the network ``num_ode`` times."""

    step_size: float = default_of(daps, "step_size")
    num_steps: int = EVALUATIONS // 5
    num_ode: int = default_of(daps, "num_ode")
    num_langevin: int = default_of(daps, "num_langevin")
    start_timestep: int = _FIRST
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
class MmpsSettings(Settings):
    """Settings of MMPS; see ``reddiff_jax.mmps``. Each of its steps differentiates the network ``num_cg + 1`` times."""

    eta: float = default_of(mmps, "eta")
    num_steps: int = EVALUATIONS // 4
    num_cg: int = default_of(mmps, "num_cg")
    clip: bool = True  # a trained network's derivative is not exact: see the factory
    start_timestep: int = _FIRST
    init: str = "pinv"

    name = "mmps"
    factory = staticmethod(mmps)
    help = "knows the estimate's covariance, through the network; Gaussian noise"
    space = MappingProxyType({"eta": _ETA, "start_timestep": _START})


SAMPLERS: tuple[type[Settings], ...] = (
    DpsSettings,
    PigdmSettings,
    DdrmSettings,
    DdnmSettings,
    McgSettings,
    DiffpirSettings,
    DapsSettings,
    MmpsSettings,
)
"""All of this file, in the order in which they are listed."""
