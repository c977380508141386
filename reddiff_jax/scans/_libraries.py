"""Libraries that read instruments' files and clips, which the extras `science` and `video` install."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from reddiff_jax.scans.errors import ScanError


def library(name: str, files: str, *, extra: str = "science") -> ModuleType:
    """Imports a library, or raises ScanError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ScanError(f"{files} need {name.partition('.')[0]}: pip install 'reddiff-jax[{extra}]'.") from None


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns what a library raises of a broken file into a ScanError of one line."""
    try:
        yield
    except ScanError as error:
        raise ScanError(f"{path}: {error}") from error
    except Exception as error:  # libraries raise errors of all kinds for files that are broken
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ScanError(f"{path} cannot be read as {what} ({reason}).") from error
