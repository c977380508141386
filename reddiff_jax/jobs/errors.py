"""Errors that the user must put right, in one line each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


class JobError(ValueError):
    """Something that the user must put right before any work is done; the message is one line."""


def brief(error: BaseException) -> str:
    """First line of an error's message."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def with_path(path: Path, error: BaseException) -> str:
    """What is wrong with a file, in one line that names it."""
    reason = brief(error)
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.filename or 'a file'}: {error.strerror}"
    return reason if str(path) in reason else f"{path}: {reason}"


def attempt(fn: Callable[..., Any], *arguments: Any) -> Any:
    """The result, or what was wrong with the input."""
    try:
        return fn(*arguments)
    except Exception as error:
        # Readers raise nearly anything for a stranger's broken file, and one file must not end the others' work.
        return error
