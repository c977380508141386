"""Settings of RED-diff for each family of tasks at each noise level."""

import functools
import math
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import optax

from reddiff_jax import schedules, weightings
from reddiff_jax.priors import Prior
from reddiff_jax.solvers import RedDiff, init_noise, init_noised_pinv, init_pinv, init_zeros, reddiff

INITS = {"pinv": init_pinv, "zeros": init_zeros, "noise": init_noise, "noised_pinv": init_noised_pinv}


@dataclass(frozen=True)
class Preset:
    """Settings of RED-diff for a task at a noise level.

    Args (fields):
        lam: Weight of the prior term.
        learning_rate: Adam's (first) learning rate, in pixel units.
        lr_schedule: "constant", or "cosine": falls to zero at the last step, which averages out the updates' noise.
        num_steps: Number of updates, one network evaluation each.
        start_timestep: Noisiest timestep, of 0 to 999; the last one is 0.
        weighting: Name of the weighting of the prior term.
        init: Where the restoration starts: "pinv", "zeros", "noise" or "noised_pinv".
    """

    lam: float = 0.25
    learning_rate: float = 0.1
    lr_schedule: Literal["constant", "cosine"] = "constant"
    num_steps: int = 50
    start_timestep: int = 999
    weighting: str = "linear"
    init: str = "pinv"

    def __post_init__(self):
        if isinstance(self.num_steps, bool) or int(self.num_steps) != self.num_steps or not 1 <= self.num_steps <= 1000:
            raise ValueError(f"steps is {self.num_steps} but must be a whole number from 1 to 1000.")
        if not (math.isfinite(self.lam) and self.lam >= 0):
            raise ValueError(f"lam is {self.lam} but must be finite and not negative.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"lr is {self.learning_rate} but must be finite and above 0.")
        if self.lr_schedule not in ("constant", "cosine"):
            raise ValueError(f"lr_schedule is {self.lr_schedule!r} but must be 'constant' or 'cosine'.")
        if not 0 <= self.start_timestep <= 999:
            raise ValueError(f"start_timestep is {self.start_timestep} but must be from 0 to 999.")
        if self.init not in INITS:
            raise ValueError(f"init is {self.init!r} but must be one of {', '.join(INITS)}.")
        weightings.by_name(self.weighting)

    def solver(self, prior: Prior) -> RedDiff:
        """RED-diff with these settings.

        A run of more steps than there are timesteps up to ``start_timestep`` starts as much higher as it must.
        """
        total = prior.schedule.num_timesteps
        if self.num_steps > total:
            raise ValueError(f"steps is {self.num_steps} but the prior's schedule has {total} timesteps.")
        start = max(round(self.start_timestep / 999 * (total - 1)), self.num_steps - 1, 1)
        return reddiff(
            prior,
            _optimizer(self.learning_rate, self.lr_schedule, self.num_steps),
            lam=self.lam,
            num_steps=self.num_steps,
            weighting=self.weighting,
            spacing=schedules.between(start),
            init=INITS[self.init],
        )

    def describe(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))


@functools.cache
def _optimizer(learning_rate: float, lr_schedule: str, num_steps: int) -> optax.GradientTransformation:
    # Cached, because another optimizer object is another compilation.
    rate = optax.cosine_decay_schedule(learning_rate, num_steps) if lr_schedule == "cosine" else learning_rate
    return optax.adam(rate, b1=0.9, b2=0.99)


# Presets of each family: rows (sigma_y, Preset) with ascending sigma_y. Between two rows lam and the learning rate are
# interpolated and the rest is the nearer row's; beyond the ends the end row holds. README says how they
# were found; benchmarks/results/tune.json has the last search. The bundled prior is weak at high noise: hence low
# starting timesteps. Published settings are those of `reddiff_jax.reddiff`.
PRESETS: dict[str, tuple[tuple[float, Preset], ...]] = {
    "denoise": (
        (0.05, Preset(lam=0.15, lr_schedule="cosine", start_timestep=300, weighting="sqrt")),
        (0.2, Preset(lam=1.5, learning_rate=0.2, lr_schedule="cosine", start_timestep=300, weighting="trunc_linear")),
    ),
    "inpaint_pixels": (
        (0.0, Preset(lam=0.05, start_timestep=300, weighting="trunc_linear")),
        (0.05, Preset(lam=0.05, start_timestep=300, weighting="trunc_linear")),
        (0.2, Preset(lam=0.5, learning_rate=0.05, start_timestep=300)),
    ),
    "inpaint_holes": (
        (0.0, Preset(lam=0.05, start_timestep=500)),
        (0.05, Preset(lam=0.05, start_timestep=500, weighting="sqrt")),
        (0.2, Preset(lam=1.5, start_timestep=500)),
    ),
    "super_resolution": (
        (0.0, Preset(lam=0.15, start_timestep=500, weighting="trunc_linear")),
        (0.05, Preset(lam=0.5, start_timestep=800)),
        (0.2, Preset(lam=1.5, learning_rate=0.05, start_timestep=800, weighting="sqrt")),
    ),
    "deblur": (
        (0.0, Preset(lam=0.05, learning_rate=0.2, start_timestep=300)),
        (0.05, Preset(lam=0.05, start_timestep=300)),
        (0.2, Preset(lam=0.5, learning_rate=0.2, start_timestep=300)),
    ),
    "colorize": ((0.0, Preset(lam=0.05, learning_rate=0.05, lr_schedule="cosine", start_timestep=500)),),
    "deblur_saturated": (
        (0.0, Preset(lam=0.05, start_timestep=300)),
        (0.05, Preset(lam=0.15, learning_rate=0.2, start_timestep=300)),
    ),
    "demosaic": (
        (0.0, Preset(lam=0.05, learning_rate=0.05, start_timestep=300)),
        (0.05, Preset(lam=0.05, learning_rate=0.05, start_timestep=300)),
    ),
    "hdr": ((0.0, Preset(lam=0.15, start_timestep=500)),),
    "jpeg": ((0.0, Preset(lam=0.25, learning_rate=0.05, start_timestep=500)),),
    "quantization": ((0.0, Preset(lam=1.5, learning_rate=0.2, start_timestep=300)),),
    "compressed_sensing": (
        (0.0, Preset(lam=0.5, learning_rate=0.2, start_timestep=300)),
        (0.05, Preset(lam=0.5, learning_rate=0.2, start_timestep=300)),
    ),
    "mri": (
        (0.0, Preset(lam=0.05, start_timestep=300)),
        (0.05, Preset(lam=0.15, learning_rate=0.05, start_timestep=300)),
    ),
    "ct": ((0.0, Preset(lam=0.05, start_timestep=300)), (0.05, Preset(lam=0.15, start_timestep=300))),
    "phase_retrieval": ((0.0, Preset(learning_rate=0.2, num_steps=100, start_timestep=500, init="noised_pinv")),),
}


def family_preset(family: str, sigma: float) -> Preset:
    """The settings of a family of tasks at a noise level."""
    rows = PRESETS[family]
    sigmas = [row[0] for row in rows]
    nearest = rows[int(np.argmin([abs(sigma - each) for each in sigmas]))][1]
    lam = float(np.interp(sigma, sigmas, [preset.lam for _, preset in rows]))
    learning_rate = float(np.interp(sigma, sigmas, [preset.learning_rate for _, preset in rows]))
    return replace(nearest, lam=round(lam, 6), learning_rate=round(learning_rate, 6))
