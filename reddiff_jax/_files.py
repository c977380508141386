"""Files that appear only when complete, whatever happens meanwhile, and what tells that they are what was written."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
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


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write into, which becomes the folder at the end.

    After an error nothing is left; after a kill ``.RANDOM.partial``, which the next process that writes a folder there
    removes.

    Raises:
        FileExistsError: If the folder is there already.
    """
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists already; choose another folder or remove it.")
    partial, descriptor = _create_folder(folder.parent)
    for left in folder.parent.glob(".*.partial"):
        _remove_left_over_folder(left)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def append(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Adds lines at the end of a file: all of them, or none if there is no room.

    Args:
        path: The file, which is made if it is missing; links are not followed.
        content: The lines. A line of the file that a kill has cut short is ended first.
        sync: Whether they are to be safe from a loss of power when this returns.

    Raises:
        OSError: If they cannot be written, or the path is no regular file.
    """
    descriptor = open_log(path)
    try:
        size = os.fstat(descriptor).st_size
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                content = b"\n" + content
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            if sync:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def open_log(path: Path) -> int:
    """Opens a regular file to read it and to write at its end; it is made if it is missing.

    Raises:
        OSError: If it cannot be opened, or is a link, a pipe or a device.
    """
    # A pipe that nobody reads would be waited for without O_NONBLOCK.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.EINVAL, "it is a link, not a file", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def check_writable(folder: Path) -> None:
    """Raises OSError if no file can be written into a folder."""
    partial, descriptor = _create(folder)
    partial.unlink(missing_ok=True)
    if descriptor is not None:
        os.close(descriptor)


def kind_of(path: Path) -> str:
    """What a path is, if it is no file that can be read: "" for a file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if os.path.islink(path):
            return "a link to nothing"
        return "missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else error.strerror or str(error)
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def check_file(path: str | Path) -> None:
    """Raises OSError for a pipe, a socket, a device or a folder: to read them might never end, or be no file's content.

    What is missing is left to whoever opens it.
    """
    kind = kind_of(Path(path))
    if kind in _NO_FILES:
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


_NO_FILES = ("a folder", "a pipe", "a socket", "a device")


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
        if lock(descriptor, wait=True) is False or is_at(descriptor, partial):
            return partial, descriptor
        os.close(descriptor)  # removed as a left-over before it was locked


def _create_folder(parent: Path) -> tuple[Path, int | None]:
    """The same for a folder."""
    while True:
        partial = parent / f".{secrets.token_hex(8)}.partial"
        partial.mkdir(parents=True)
        if os.name != "posix":
            return partial, None
        descriptor = os.open(partial, os.O_RDONLY)
        if lock(descriptor, wait=True) is False or is_at(descriptor, partial):
            return partial, descriptor
        os.close(descriptor)


@contextmanager
def _left_over(partial: Path, flags: int) -> Iterator[bool]:
    """Whether nobody writes it any more: its lock is free, or it is old where there are no locks. Holds the lock."""
    descriptor = os.open(partial, flags)
    try:
        locked = lock(descriptor, wait=False)
        yield bool(locked) or (locked is False and time.time() - os.fstat(descriptor).st_mtime > _LEFT_OVER)
    finally:
        os.close(descriptor)


def _remove_left_over_folder(partial: Path) -> None:
    with suppress(OSError):
        if not partial.is_dir() or partial.is_symlink():
            return
        with _left_over(partial, os.O_RDONLY) as is_left_over:
            if is_left_over:
                shutil.rmtree(partial, ignore_errors=True)


@cache  # once a process: listing a folder of many files takes longer than writing one
def _remove_left_overs(folder: Path) -> None:
    for partial in folder.glob(".*.partial"):
        with suppress(OSError):  # another process may remove it at the same time
            if not partial.is_file() or partial.is_symlink():
                continue
            with _left_over(partial, os.O_RDWR) as is_left_over:
                if is_left_over:
                    partial.unlink()


def lock(descriptor: int, *, wait: bool) -> bool | None:
    """Locks a file until it is closed, be it by a kill.

    None if another process has it, False if the file system knows no locks.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
