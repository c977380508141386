"""The kernel of a blurred picture: the user's, or where none was given the words of the one that the picture shows."""

from functools import lru_cache
from pathlib import Path

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.blurs import LEAST_SIDE, estimate_blur
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.options import Options


def kernel_of(options: Options, item: Item) -> str | Path | None:
    """What ``--kernel`` says, or would have to say of this picture; None for tasks and files that take none.

    Raises:
        JobError: If the task needs one, and it can neither be found nor was it given.
    """
    if options.kernel is not None or options.task is None or item.path.suffix == measurements.SUFFIX:
        return options.kernel
    task = tasks.by_name(options.task)
    if task.needs != "kernel":
        return None
    needed = f"{options.task} needs the blur's kernel: --kernel FILE (a picture or .npy) or {tasks.FORMS}."
    if not task.finds_kernel:
        raise JobError(needed)
    found = _found(item.path, item.path.stat().st_mtime_ns, options.white, options.page)
    if found is None:
        small = f"{item.path} is too small to find its blur: that takes {LEAST_SIDE} x {LEAST_SIDE} pixels."
        raise JobError(f"{small} {needed}")
    return found


def said_of_kernel(options: Options, item: Item) -> str:
    """What was found, for the user."""
    if options.kernel is not None or (found := kernel_of(options, item)) is None:
        return ""
    return f"{item.path}: the blur looks like {found}; give another by --kernel"


# A plan asks several times, and a job plans twice: the file's time tells whether it is still the same.
@lru_cache(maxsize=4096)
def _found(path: Path, changed: int, white: float | None, page: int | None) -> str | None:
    form = pictures.look(path, page=page)
    if min(form.height, form.width) < LEAST_SIDE:
        return None
    return str(estimate_blur(pictures.read(path, channels=1 if form.gray else 3, white=white, page=page).pixels))
