"""Restoration tasks by name, with their presets: the only place where strings choose operators and solvers.

A task says how an operator is built for pictures of a shape, and what belongs to each picture (a mask, a kernel); a
method, which settings of a solver suit a task at a noise level. Library code needs none of this: it has
``rd.inpainting(mask)``.
"""

from reddiff_jax.tasks.catalogue import TASKS as TASKS
from reddiff_jax.tasks.catalogue import by_name as by_name
from reddiff_jax.tasks.method import INITS as INITS
from reddiff_jax.tasks.method import WORDS as WORDS
from reddiff_jax.tasks.method import Choice as Choice
from reddiff_jax.tasks.method import Method as Method
from reddiff_jax.tasks.method import Range as Range
from reddiff_jax.tasks.method import Rows as Rows
from reddiff_jax.tasks.method import field_name as field_name
from reddiff_jax.tasks.method import interpolate as interpolate
from reddiff_jax.tasks.method import rounded as rounded
from reddiff_jax.tasks.method import word as word
from reddiff_jax.tasks.methods import METHODS as METHODS
from reddiff_jax.tasks.methods import PUBLISHED_IS_BETTER as PUBLISHED_IS_BETTER
from reddiff_jax.tasks.methods import TUNED as TUNED
from reddiff_jax.tasks.methods import check_serves as check_serves
from reddiff_jax.tasks.methods import default_solver as default_solver
from reddiff_jax.tasks.methods import drawing as drawing
from reddiff_jax.tasks.methods import fitted as fitted
from reddiff_jax.tasks.methods import method_by_name as method_by_name
from reddiff_jax.tasks.methods import preset as preset
from reddiff_jax.tasks.presets import PRESETS as PRESETS
from reddiff_jax.tasks.presets import Preset as Preset
from reddiff_jax.tasks.presets import family_preset as family_preset
from reddiff_jax.tasks.task import Arrays as Arrays
from reddiff_jax.tasks.task import Shape as Shape
from reddiff_jax.tasks.task import Task as Task
from reddiff_jax.tasks.task import check_sigma as check_sigma
from reddiff_jax.tasks.task import stored as stored
