"""The one driver of batches: problems and the runs of each, divided among devices, which map over chunks of them.

Progress is shown between calls of a few steps: compiled programs do not call back. Programs are compiled ahead of time,
so that a batch that does not fit into memory is known before it is begun.
"""

from reddiff_jax.batching.batch import BatchSolver as BatchSolver
from reddiff_jax.batching.batch import OnStep as OnStep
from reddiff_jax.batching.batch import Scalars as Scalars
from reddiff_jax.batching.batch import num_runs_of as num_runs_of
from reddiff_jax.batching.compiled import CompiledRun as CompiledRun
from reddiff_jax.batching.compiled import OnCall as OnCall
from reddiff_jax.batching.compiled import steps_per_call as steps_per_call
from reddiff_jax.batching.many import run_many as run_many
from reddiff_jax.batching.many import run_with_progress as run_with_progress
from reddiff_jax.batching.memory import OutOfMemoryError as OutOfMemoryError
from reddiff_jax.batching.memory import device_memory as device_memory
from reddiff_jax.batching.memory import memory_of as memory_of
from reddiff_jax.batching.slots import Slots as Slots
from reddiff_jax.batching.slots import local_mesh as local_mesh
