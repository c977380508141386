"""The names of tasks and solvers, known without JAX, so that a typo is told at once.

A test compares them with ``tasks.TASKS``, ``NUMBERED`` and ``SETTINGS``, which say what is behind the names.
"""

import re
from pathlib import Path

from reddiff_jax._text import meant, unknown_task
from reddiff_jax.cli._errors import UserError

TASKS = [
    "denoise",
    "inpaint",
    "inpaint_random",
    "inpaint_freeform",
    "inpaint_box",
    "inpaint_center",
    "sr2",
    "sr4",
    "sr8",
    "bicubic2",
    "bicubic4",
    "bicubic8",
    "deblur",
    "deblur_gauss61",
    "deblur_uniform",
    "deblur_motion",
    "deblur_varying",
    "deblur_saturated",
    "colorize",
    "demosaic",
    "hdr",
    "jpeg20",
    "quant2",
    "cs4",
    "mri4",
    "mri4_coils",
    "mri_radial",
    "ct60",
    "ct_limited",
    "ct_fan",
    "phase_retrieval",
    "phase_retrieval_daps",
    "deno",
    "inp_20ff",
    "inp_box",
    "inp_center",
    "inp_extreme",
    "inp_random",
    "in2_20ff",
    "in2_box",
    "in2_center",
    "in2_extreme",
    "in2_random",
    "color",
    "deblur_uni",
    "deblur_gauss",
    "deblur_uni_legacy",
    "bdeblur_uni",
    "deblur_gauss_legacy",
    "deblur_nl",
]
MASKED = [
    "inpaint",
    "inpaint_random",
    "inpaint_freeform",
    "inpaint_box",
    "inp_20ff",
    "inp_box",
    "inp_extreme",
    "inp_random",
    "in2_20ff",
    "in2_box",
    "in2_extreme",
    "in2_random",
]
"""Those of which only the user knows what is missing."""
CENTERED = ["inpaint_center", "inp_center", "in2_center"]
"""Those that take a mask and know one, too."""
NOT_PICTURES = ("cs", "mri", "ct", "phase_retrieval")
"""How the names of those begin whose measurement is no picture."""
HOLES = ["auto", "black", "white", "transparent", "paint"]
BORDERS = ["unknown", "reflect", "symmetric", "edge", "zero", "circular"]
NUMBERED = ["sr", "bicubic", "cs", "jpeg", "quant", "mri", "ct"]


def solver_names() -> list[str]:
    """The names that classes of settings have, read from their files: importing them would load JAX."""
    files = sorted((Path(__file__).parents[1] / "settings").glob("*.py"))
    return [name for file in files for name in re.findall(r'^    name = "(\w+)"$', file.read_text(), re.MULTILINE)]


def check_names(task: str | None = None, solver: str | None = None) -> None:
    """Raises UserError for an unknown task or solver."""
    if solver is not None and solver not in (known := solver_names()):
        raise UserError(f"unknown solver {solver!r}; {meant(solver, known)}choose one of {', '.join(known)}.")
    numbered = task is not None and (match := re.fullmatch(r"([a-z]+)\d{1,4}", task)) and match[1] in NUMBERED
    if task is not None and task not in TASKS and not numbered:
        raise UserError(unknown_task(task, TASKS))
