"""Several processes, each of which works on its share and knows nothing of the others."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax

from reddiff_jax.jobs.errors import JobError

Item = TypeVar("Item")

_CLUSTERS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "TPU_WORKER_ID", "JOB_COMPLETION_INDEX")


@dataclass(frozen=True)
class Share:
    """Which inputs are this process's: every ``count``-th, from ``index`` on."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise JobError(f"process is {self.index} of {self.count} but must be from 0 to {self.count - 1}.")

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of the whole."""
        return items[self.index :: self.count]

    def file(self, name: str) -> str:
        """File of this process: ``name`` for a single process, else with the process's number before the suffix."""
        stem, dot, suffix = name.rpartition(".")
        return name if self.count == 1 else f"{stem}-{self.index:05}{dot}{suffix}"


def detect_share() -> Share:
    """The share of a process that SLURM, Open MPI, a TPU pod or GKE has started, as JAX detects it; else the whole.

    Unlike ``jax.distributed.initialize`` it connects to nothing: shares need not communicate, and connected
    processes die with the first one that dies. Where the cluster starts one process for each GPU, it takes that GPU.
    """
    try:
        from jax._src.clusters import ClusterEnv  # nothing public detects without connecting

        # Told an address, it does not ask the network for one.
        detected = ClusterEnv.auto_detect_unset_distributed_params("unused:0", None, None, None, None, None)
        _, count, index, devices = detected
    except (ImportError, AttributeError, TypeError) as error:
        if any(name in os.environ for name in _CLUSTERS):
            raise JobError("this version of jax does not tell the share; give --processes and --process.") from error
        return Share()
    if count is None or index is None or count == 1:
        return Share()
    if devices:
        visible = ",".join(map(str, devices))
        jax.config.update("jax_cuda_visible_devices", visible)
        jax.config.update("jax_rocm_visible_devices", visible)
    return Share(index, count)
