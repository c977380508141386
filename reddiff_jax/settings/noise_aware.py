"""Settings of noise-aware RED-diff."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

from reddiff_jax.operators import LinearOperator, Operator, ProximalOperator, SaturatingOperator
from reddiff_jax.priors import Prior
from reddiff_jax.settings.base import Range, Settings, default_of
from reddiff_jax.solvers import POINT, SAMPLE, Solver, averaged, noise_aware


@dataclass(frozen=True)
class NoiseAwareSettings(Settings):
    """Settings of noise-aware RED-diff; see ``reddiff_jax.noise_aware``. The same at all noise levels.

    The restoration is the mean of ``num_runs`` short runs: with a trained network long ones become worse. So does a
    mode with all of the prior's weight where little is measured: there ``lam`` is below the posterior's 1. From the
    smoothest image that explains the measurement no high level is needed (benchmarks/net_error.py). ``drawing`` a
    sample, it is one run of as many evaluations with all of the prior's weight, from the level 0.5: from there samples
    are as calibrated as from higher ones, and look better (benchmarks/calibration.py).
    """

    lam: float = POINT.lam
    sigma_max: float = POINT.sigma_max
    sigma_min: float = default_of(noise_aware, "sigma_min")
    sample: bool = False
    num_steps: int = POINT.num_steps
    num_runs: int = 4
    num_cg: int = default_of(noise_aware, "num_cg")
    init: str = "smooth"

    name = "noise_aware"
    help = "RED-diff that knows the noise, not tuned for each task; or a sample; Gaussian noise"
    plain = True
    space = MappingProxyType({"lam": Range(0.05, 20.0, log=True), "sigma_max": Range(0.3, 30.0, log=True)})

    @staticmethod
    def factory(prior: Prior, *, num_runs: int, **values: Any) -> Solver:
        """The mean of runs, or the one run itself."""
        solver = noise_aware(prior, **values)
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
        """The same with other values of some fields; what else a sample needs follows, if nothing is said of it."""
        if changes.get("sample") and not self.sample:
            exact = {"lam": SAMPLE.lam, "sigma_max": SAMPLE.sigma_max, "init": "smooth"}
            least = {"sigma_min": default_of(noise_aware, "sigma_min")}
            changes = {"num_steps": self.num_evaluations, "num_runs": 1, **exact, **least, **changes}
        return super().changed(changes)

    def drawing(self) -> Self:
        """The settings of one run that ends in a sample of the posterior."""
        return self.changed({"sample": True})

    def for_regions(self) -> Self:
        """Half the runs: on scratches of 6 pixels in photos that costs 0.1 dB, and saves half of the time."""
        return replace(self, num_runs=max(1, self.num_runs // 2))

    def fitted(self, operator: Operator) -> Self:
        """From where an operator that is not linear can start.

        What was rounded or cut off is near the image; the pseudo-inverse of your own operators need not be.
        """
        if self.init != "smooth" or isinstance(operator, LinearOperator):
            return self
        if isinstance(operator, SaturatingOperator):
            return replace(self, init="middle")
        near = isinstance(operator, ProximalOperator)
        fitted = replace(self, init="pinv", sigma_max=self.sigma_max if near else 3.0)
        return super(NoiseAwareSettings, fitted).fitted(operator)
