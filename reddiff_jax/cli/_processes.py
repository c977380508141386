"""Options of a job that is spread over processes and batches."""

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
