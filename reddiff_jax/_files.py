"""Files that appear only when complete, whatever happens meanwhile, and what tells that they are what was written."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LEFT_OVER = 3600  # seconds after which a partial file is a killed process', where no lock tells


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields where to write; at the end the file takes its place, and is safe from a loss of power.

    After an error nothing is left; after a kill ``.RANDOM.partial``, which the next process that writes into the folder
    removes. Two that write the same file do not meet: the last one that is complete stays.
    """
    _remove_left_overs(path.parent)
    partial, descriptor = _create(path.parent)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)
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


def _create(folder: Path) -> tuple[Path, int | None]:
    """Makes a file that nobody else writes to, and locks it for as long as the descriptor is open, if there is one."""
    while True:
        # Not the file's own name: of 255 bytes, which a file system allows, a longer name could not be written.
        partial = folder / f".{secrets.token_hex(8)}.partial"
        # Made here, and only here: a file or a link that somebody put in its place is not written to.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(partial, flags, 0o666)
        if fcntl is None:
            os.close(descriptor)  # Windows moves no file that is open
            return partial, None
        if _lock(descriptor, wait=True) is False or _is_at(descriptor, partial):
            return partial, descriptor
        os.close(descriptor)  # removed as a left-over before it was locked


@cache  # once a process: listing a folder of many files takes longer than writing one
def _remove_left_overs(folder: Path) -> None:
    for partial in folder.glob(".*.partial"):
        with suppress(OSError):  # another process may remove it at the same time
            if not partial.is_file() or partial.is_symlink():
                continue
            descriptor = os.open(partial, os.O_RDWR)
            try:
                locked = _lock(descriptor, wait=False)
                if locked or (locked is False and time.time() - os.fstat(descriptor).st_mtime > _LEFT_OVER):
                    partial.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool | None:
    """Locks a file; None if another process has it, False if the file system knows no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
