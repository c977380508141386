"""Options of a job that is spread over processes, batches and processor cores."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff_jax.cli._errors import UserError

if TYPE_CHECKING:
    from reddiff_jax.jobs import Share

ProcessesOption = Annotated[
    int | None,
    typer.Option(help="Processes that share the inputs, where no cluster says so itself.", show_default="detected"),
]
ProcessOption = Annotated[int | None, typer.Option(help="Which of them this is, from 0.", show_default="detected")]


_MOST_CORES = 8  # each a device: batches must be multiples


def use_cores() -> None:
    """Makes a device of each processor core, among which batches are divided.

    That is faster than to divide each operation (benchmarks/speed.py). The number is a power of two, as most batches'
    is. Nothing happens where the user has chosen a number, or JAX has begun to compute.
    """
    import jax

    if "device_count" in os.environ.get("XLA_FLAGS", "") or jax.config.jax_num_cpu_devices != -1:  # type: ignore[attr-defined]
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", 1 << (min(cores, _MOST_CORES).bit_length() - 1))


def choose_share(processes: int | None, process: int | None) -> "Share":
    """This process's share of the inputs: as told, or as the cluster tells."""
    from reddiff_jax import jobs

    if (processes is None) != (process is None):
        raise UserError("--processes and --process go together: --processes 2 --process 0 and --process 1.")
    return jobs.detect_share() if processes is None or process is None else jobs.Share(process, processes)


def parse_batch_size(text: str) -> int | None:
    """A number of pictures; None for `auto`."""
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--batch-size is {text!r} but must be a whole number or auto.") from None
