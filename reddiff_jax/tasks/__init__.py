"""Restoration tasks by name: the only place where strings choose operators.

A task says how an operator is built for pictures of a shape, and what belongs to each picture (a mask, a kernel).
Library code needs none of this: it has ``rd.inpainting(mask)``.
"""

from reddiff_jax.tasks.catalogue import TASKS as TASKS
from reddiff_jax.tasks.catalogue import by_name as by_name
from reddiff_jax.tasks.catalogue import example as example
from reddiff_jax.tasks.kernels import FORMS as FORMS
from reddiff_jax.tasks.kernels import is_in_words as is_in_words
from reddiff_jax.tasks.kernels import kernel_in_words as kernel_in_words
from reddiff_jax.tasks.task import Arrays as Arrays
from reddiff_jax.tasks.task import Shape as Shape
from reddiff_jax.tasks.task import Task as Task
from reddiff_jax.tasks.task import check_sigma as check_sigma
from reddiff_jax.tasks.task import stored as stored
