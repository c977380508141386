"""Settings of RED-diff with a learned variance."""

from dataclasses import dataclass
from types import MappingProxyType

from reddiff_jax.settings.base import EVALUATIONS, Range, Settings, default_of
from reddiff_jax.solvers import reddiff_var


@dataclass(frozen=True)
class ReddiffVarSettings(Settings):
    """Settings of RED-diff with a learned variance; see ``reddiff_jax.reddiff_var``."""

    lam: float = default_of(reddiff_var, "lam")
    sigma_max: float = default_of(reddiff_var, "sigma_max")
    first_std: float = default_of(reddiff_var, "first_std")
    num_steps: int = EVALUATIONS
    init: str = "pinv"

    name = "reddiff_var"
    factory = staticmethod(reddiff_var)
    help = "RED-diff with a learned variance; Gaussian noise"
    space = MappingProxyType({"lam": Range(0.05, 20.0, log=True), "sigma_max": Range(0.3, 30.0, log=True)})
