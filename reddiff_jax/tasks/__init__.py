"""Restoration tasks by name, with their presets: the only place where strings choose operators and solvers.

A task says how an operator is built for pictures of a shape, what belongs to each picture (a mask, a kernel), and which
settings of RED-diff suit it at a noise level. Library code needs none of this: it has ``rd.inpainting(mask)``.
"""

from reddiff_jax.priors import Prior
from reddiff_jax.solvers import RedDiff
from reddiff_jax.tasks.catalogue import TASKS as TASKS
from reddiff_jax.tasks.catalogue import by_name as by_name
from reddiff_jax.tasks.presets import PRESETS as PRESETS
from reddiff_jax.tasks.presets import Preset as Preset
from reddiff_jax.tasks.presets import family_preset as family_preset
from reddiff_jax.tasks.task import Arrays as Arrays
from reddiff_jax.tasks.task import Shape as Shape
from reddiff_jax.tasks.task import Task as Task
from reddiff_jax.tasks.task import check_sigma as check_sigma
from reddiff_jax.tasks.task import stored as stored

SOLVERS = ("reddiff",)


def solver_by_name(name: str, preset: Preset, prior: Prior) -> RedDiff:
    """Builds a solver.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}; choose one of {', '.join(SOLVERS)}.")
    return preset.solver(prior)
