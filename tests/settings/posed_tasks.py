"""Problems of the tasks, of which only the shapes and a drawn mask's numbers are there."""

from dataclasses import replace

import reddiff_jax as rd
from reddiff_jax import tasks


def posed(task, sigma=0.05):
    return replace(tasks.example(task, draw=True), noise=rd.gaussian(sigma))
