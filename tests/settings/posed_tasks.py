"""Problems of the tasks, of which only the shapes and a drawn mask's numbers are there."""

import importlib.util
from dataclasses import replace

import reddiff_jax as rd
from reddiff_jax import tasks

# Two need weights and a package.
_ABSENT = {"deblur_nl"} | ({"mri_radial"} if importlib.util.find_spec("jax_finufft") is None else set())
BUILDABLE = [name for name in tasks.TASKS if name not in _ABSENT]


def posed(task, sigma=0.05):
    return replace(tasks.example(task, draw=True), noise=rd.gaussian(sigma))
