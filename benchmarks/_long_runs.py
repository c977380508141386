"""Settings of one long noise-aware run from A+ y, as several benchmarks have them: what suits exact priors."""

from typing import Any

import reddiff_jax as rd


def noise_aware(prior: rd.Prior, num_steps: int = 100, **options: Any) -> rd.solvers.RedDiff:
    """Noise-aware RED-diff from the level 3 and A+ y with all of the prior's weight."""
    return rd.noise_aware(
        prior, **{"num_steps": num_steps, "lam": 1.0, "sigma_max": 3.0, "init": rd.solvers.init_pinv} | options
    )
