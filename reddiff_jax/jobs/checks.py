"""Checks of what a user asks for that need nothing heavy: the command line makes them before it loads JAX."""

import math
from pathlib import Path

from reddiff_jax.jobs.errors import JobError

MIN_TILE = 64


def check_numbers(
    *,
    samples: int = 1,
    batch_size: int | None = None,
    tile: int = MIN_TILE,
    seed: int = 0,
    grow: int | None = None,
    white: float | None = None,
    page: int | None = None,
) -> None:
    """Raises JobError for numbers of ``Options`` that make no sense."""
    for name, count in (("samples", samples), ("batch-size", batch_size)):
        if count is not None and count < 1:
            raise JobError(f"{name} is {count} but must be at least 1.")
    if tile < MIN_TILE:
        raise JobError(f"tile is {tile} but must be at least {MIN_TILE} pixels.")
    check_seed(seed)
    if grow is not None and grow < 0:
        raise JobError(f"grow is {grow} but must be at least 0 pixels.")
    if white is not None and not (math.isfinite(white) and white > 0):
        raise JobError(f"white is {white} but must be a finite number above 0.")
    if page is not None and page < 1:
        raise JobError(f"page is {page} but pages are counted from 1.")


def check_seed(seed: int) -> None:
    """Raises JobError for a seed that is none."""
    if not 0 <= seed < 2**31:
        raise JobError(f"seed is {seed} but must be from 0 to {2**31 - 1}.")


def check_taken(task: str, needs: str | None, name: str, value: str | Path | None) -> None:
    """Raises JobError for a mask or kernel that the task does not take."""
    if value is not None and needs != name:
        raise JobError(f"{task} takes no {name}; leave --{name} out or choose another task.")


def check_mask(task: str, needs: str | None, mask: str | Path | None) -> None:
    """Raises JobError for a mask that the task does not take, or that does not exist."""
    check_taken(task, needs, "mask", mask)
    if mask is not None and not Path(mask).exists():
        raise JobError(f"mask {mask} does not exist; check the name.")


def no_mask(task: str) -> JobError:
    """What to say of a picture whose mask nobody gave."""
    return JobError(
        f"{task} needs to know which pixels are missing: --mask FILE, or a picture that is transparent there."
    )
