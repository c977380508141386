"""One process at a time works on a folder, or on its share of one: it holds a lock, which names it.

The lock is the operating system's, so it ends with the process, however that ends: none is ever stale. Where a file
system knows no locks nothing is held; files appear only when complete all the same.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reddiff_jax import _rules as rules
from reddiff_jax._files import is_at, lock, open_log
from reddiff_jax._rules import JsonError, check, read_json
from reddiff_jax._text import shown
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.outputs import writing

LOCK = ".process.json"
_TRIES, _PAUSE = 20, 0.05  # seconds; whoever looks whether a lock is held, holds it meanwhile
_MAX_BYTES = 10_000


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock.

    Args (fields):
        process: Its number.
        host: The machine that it is on.
        count: How many processes share the work, each with a lock of its own.
        began: When it began, in words.
    """

    process: int
    host: str
    count: int
    began: str

    def __str__(self) -> str:
        return f"process {self.process} on {shown(self.host, 100)}, since {shown(self.began, 100)}"


_HOLDER = rules.record(
    {
        "process": rules.whole(0, 2**32),
        "host": rules.text(300),
        "count": rules.whole(1, 2**31),
        "began": rules.text(100),
    }
)


@contextmanager
def holding(path: Path, *, count: int = 1) -> Iterator[None]:
    """Holds a lock, and with it what lies beside it.

    Processes that share the work hold ``NAME-00000.json``, ``NAME-00001.json``, ..., and do not meet; but they exclude
    one that does all of it, ``NAME.json``, and those that share it among another number.

    Args:
        path: The lock's file, which is there only while the lock is held, or after a kill.
        count: How many processes share the work.

    Raises:
        JobError: If another process, here or on another machine, works there.
    """
    descriptor = _take(path)
    try:
        holder = Holder(os.getpid(), socket.gethostname(), count, time.strftime("%Y-%m-%d %H:%M:%S"))
        with writing(path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(asdict(holder)).encode())
        _check_others(path, count)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: whoever waits for it looks whether it is still there
        os.close(descriptor)


def _take(path: Path) -> int:
    """Opens and locks the file."""
    for _ in range(_TRIES):
        with writing(path):
            descriptor = open_log(path)
        if lock(descriptor, wait=False) is not None and is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
        time.sleep(_PAUSE)
    raise _held(path)


def _check_others(path: Path, count: int) -> None:
    """Raises JobError if another lock is held by a process that does not share this work."""
    stem = path.stem if count == 1 else path.stem.rpartition("-")[0]
    for other in sorted({path.with_name(stem + path.suffix), *path.parent.glob(f"{stem}-*{path.suffix}")} - {path}):
        for _ in range(_TRIES):
            holder = _holder(other)
            if (holder is not None and holder.count == count > 1) or not _is_held(other):
                break
            time.sleep(_PAUSE)  # it may be one of ours that has not said so yet
        else:
            raise _held(other)


def _is_held(path: Path) -> bool:
    with suppress(OSError):
        if path.is_file():
            descriptor = open_log(path)
            try:
                return lock(descriptor, wait=False) is None
            finally:
                os.close(descriptor)
    return False


def _held(path: Path) -> JobError:
    who = _holder(path) or "another process"
    return JobError(f"{path.parent} is in use by {who}; wait for it, stop it, or choose another --out.")


def _holder(path: Path) -> Holder | None:
    """Whom a lock's file names."""
    try:
        with path.open("rb") as file:
            read = read_json(file.read(_MAX_BYTES))
        check(read, _HOLDER)
    except (OSError, JsonError):
        return None
    return Holder(**{each.name: read[each.name] for each in fields(Holder)})
