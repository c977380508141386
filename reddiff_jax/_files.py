"""Files that appear only when complete, whatever happens meanwhile, and what tells that they are what was written."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_LEFT_OVER = 3600  # seconds after which a partial file is a killed process', as no file takes so long to write


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields where to write; at the end the file takes its place, and is safe from a loss of power.

    After an error nothing is left; after a kill ``.RANDOM.partial``, which a later process removes. Two that write the
    same file do not meet: the last one that is complete stays.
    """
    # Not the name itself: of 255 bytes, which a file system allows, a longer name could not be written.
    _remove_left_overs(path.parent)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    # Made here, and only here: a file or a link that somebody put in its place is not written to.
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere folders cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache  # once a process: listing a folder of many files takes longer than writing one
def _remove_left_overs(folder: Path) -> None:
    for partial in folder.glob(".*.partial"):
        with suppress(OSError):  # another process may remove it at the same time
            if partial.is_file() and time.time() - partial.stat().st_mtime > _LEFT_OVER:
                partial.unlink()
