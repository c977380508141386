"""What can be told of a restoration without JAX, which takes half a second to load.

The same is checked where the work begins, for other callers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reddiff_jax.cli._errors import UserError
from reddiff_jax.cli._names import BORDERS, CENTERED, MASKED, NOT_PICTURES


def check_border(text: str) -> None:
    """Raises UserError for what is no border."""
    if text not in BORDERS:
        raise UserError(f"border is {text!r} but must be one of {', '.join(BORDERS)}.")


def check_asked(
    inputs: Sequence[Path],
    *,
    task: str | None,
    mask: Path | None,
    sigma: float | None,
    page: int | None,
    **numbers: Any,
) -> None:
    """Checks a restoration of pictures: its noise level, its numbers, its mask, and its picture if there is one only.

    Args:
        inputs: Files and folders.
        task: Name of a task that there is.
        mask: Mask file, or folder of masks.
        sigma: Noise level; None if it is estimated.
        page: Which page of files with several.
        **numbers: The other arguments of ``jobs.checks.check_numbers``.

    Raises:
        ValueError: For what makes no sense, in one line.
    """
    from reddiff_jax.jobs import checks

    checks.check_numbers(page=page, **numbers)
    if sigma is not None:
        check_level(sigma, task)
    if task is not None:
        checks.check_mask(task, "mask" if task in MASKED + CENTERED else None, mask)
    _check_picture(inputs, task=task, mask=mask, page=page)


def check_level(sigma: float, task: str | None) -> None:
    """Raises ValueError for a noise level that is none, or not one of a task's pictures."""
    from reddiff_jax._noise_levels import check_sigma

    check_sigma(sigma, of_picture=task is not None and not task.startswith(NOT_PICTURES))


def _check_picture(inputs: Sequence[Path], *, task: str | None, mask: Path | None, page: int | None) -> None:
    """Looks at an input that is the only one, and a picture.

    Raises:
        ValueError: If it cannot be read, or its task needs a mask and none came.
    """
    from reddiff_jax import pictures
    from reddiff_jax.jobs.checks import no_mask
    from reddiff_jax.jobs.errors import with_path

    path = inputs[0]
    if len(inputs) > 1 or not path.is_file() or path.suffix.lower() not in pictures.SUFFIXES:
        return  # of many files each has its own line
    try:
        form = pictures.look(path, page=page)
        if task in MASKED and mask is None and not form.alpha:
            raise no_mask(task)
    except Exception as error:  # readers raise nearly anything for a stranger's broken file
        raise UserError(with_path(path, error)) from error
