"""What the command line takes for a task at a noise level."""

from dataclasses import replace

import reddiff_jax as rd
from reddiff_jax import tasks
from reddiff_jax.settings import Kind, Settings, default_name, default_settings, kind_of


def posed(task: str, sigma: float = 0.05) -> rd.Problem:
    """A problem of the task, of which only shapes and a drawn mask's numbers are there."""
    return replace(tasks.example(task, draw=True), noise=rd.gaussian(sigma))


def built_in(task: str, sigma: float, solver: str | None = None) -> Settings:
    """Settings of a solver, the task's default if None."""
    return default_settings(posed(task, sigma), solver)


def default_of(task: str) -> str:
    """Name of the solver that a task has by default."""
    try:
        return default_name(posed(task))
    except ValueError:
        return "noise_aware"  # radial MRI, whose package is not installed: it is linear


def kind(task: str) -> Kind | None:
    """What the task measures."""
    return kind_of(posed(task).operator)
