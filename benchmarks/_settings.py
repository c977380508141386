"""What the command line takes for a task at a noise level."""

from dataclasses import replace

import reddiff_jax as rd
from reddiff_jax import tasks
from reddiff_jax.settings import Kind, Settings, default_settings, kind_of


def posed(task: str, sigma: float = 0.05) -> rd.Problem:
    """A problem of the task, of which only shapes and a drawn mask's numbers are there."""
    return replace(tasks.example(task, draw=True), noise=rd.gaussian(sigma))


def built_in(task: str, sigma: float, solver: str | None = None) -> Settings:
    """Settings of a solver, the task's default if None."""
    return default_settings(posed(task, sigma), solver)


def kind(task: str) -> Kind | None:
    """What the task measures."""
    # The package that poses radial MRI need not be installed.
    return Kind.MRI if task == "mri_radial" else kind_of(posed(task).operator)
