"""Where a restoration may write: not into what it reads. Told before a prior is loaded."""

from collections.abc import Sequence
from pathlib import Path

from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.headers import form_of
from reddiff_jax.jobs.manifest import MANIFEST
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.results import output_names


def check_log(
    log: str | Path, inputs: Sequence[str | Path], items: Sequence[Item], others: Sequence[str | Path | None]
) -> None:
    """Raises JobError if the log is a folder, or a file that the job reads, to which lines would be added."""
    log = Path(log)
    if log.is_dir():
        raise JobError(f"log {log} is a folder but must be a file; add a name, such as {log / 'log.jsonl'}.")
    read = [*inputs, *(item.path for item in items), *others]
    if log.resolve() in {Path(path).resolve() for path in read if path is not None}:
        raise JobError(f"log {log} is one of the inputs, to which lines would be added; choose another file.")


def check_out(out: str | Path, items: Sequence[Item], options: Options) -> None:
    """Raises JobError if the result of every picture would take the place of an input.

    If it is so for some the others can be restored; where the folder has a manifest its names count, not these.
    """
    out = Path(out)
    if (out / MANIFEST).exists():
        return
    sources, taken = {item.path.resolve() for item in items}, []
    for item in items:
        names = {name for bits in (8, 32) for name in output_names(item.name, options.samples, bits)}
        if not any((out / name).resolve() in sources for name in names):
            return
        try:
            form = form_of(options, item)
        except (ValueError, OSError):
            return
        bits = options.bits or (8 if form is None else form.bits)
        found = [out / name for name in output_names(item.name, options.samples, bits)]
        found = [path for path in found if path.resolve() in sources]
        if not found:
            return
        taken += found
    if taken:
        raise JobError(f"{taken[0]} would be overwritten by a result; choose another --out.")
