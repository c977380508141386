"""Settings of classic RED."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from reddiff_jax.operators import LinearOperator, Operator
from reddiff_jax.settings.base import EVALUATIONS, Range, Settings, default_of
from reddiff_jax.solvers import red


@dataclass(frozen=True)
class RedSettings(Settings):
    """Settings of classic RED; see ``reddiff_jax.red``. Only ``form`` "descent" serves what is not linear."""

    lam: float = default_of(red, "lam")
    sigma_f: float = default_of(red, "sigma_f")
    form: str = "fixed_point"
    step_size: float = default_of(red, "step_size")
    beta: float = default_of(red, "beta")
    num_steps: int = EVALUATIONS
    num_cg: int = default_of(red, "num_cg")
    init: str = "pinv"

    name = "red"
    factory = staticmethod(red)
    help = "classic regularisation by one denoiser; any operator"
    space = MappingProxyType({"lam": Range(0.002, 5.0, log=True), "sigma_f": Range(0.01, 0.5, log=True)})

    def fitted(self, operator: Operator) -> Self:
        """By descent where the operator is not linear."""
        form = self.form if isinstance(operator, LinearOperator) else "descent"
        return super(RedSettings, replace(self, form=form)).fitted(operator)
