"""The batch size that is fastest and fits into memory: measured once, then remembered."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from reddiff_jax._files import replacing
from reddiff_jax._rules import JsonError, read_json
from reddiff_jax.batching import BatchSolver, OutOfMemoryError, device_memory

_GAIN = 1.05  # least gain in speed per picture for which the batch is doubled
_SHARE_OF_MEMORY = 0.8  # the rest is for reading ahead and for what the compiler does not count
_FILE = "batch_sizes.json"


def find_batch_size(make: Callable[[int], BatchSolver], problem: Any, at_most: int) -> BatchSolver:
    """Doubles the batch while it fits and each picture gets faster by 5 % or more.

    Args:
        make: Compiles for a batch size.
        problem: Any problem of the shape.
        at_most: Number of problems that there are.

    Returns:
        The best one, compiled.

    Raises:
        OutOfMemoryError: If not even the smallest fits.
    """
    size = min(jax.local_device_count(), at_most)
    best = make(size)
    seconds = best.seconds_per_call(problem) / size
    while size < at_most:
        size *= 2
        if 2 * best.memory > _SHARE_OF_MEMORY * device_memory():
            break
        try:
            tried = make(size)
            took = tried.seconds_per_call(problem) / size
        except (OutOfMemoryError, jax.errors.JaxRuntimeError):
            break
        if took * _GAIN > seconds:
            break
        best, seconds = tried, took
    return best


class RememberedSizes:
    """Batch sizes that were found before, and how long they took to compile, in a file of a cache folder.

    Remembers nothing without a folder.
    """

    def __init__(self, folder: Path | None):
        self.path = None if folder is None else folder / _FILE

    def get(self, *what: Any) -> int | None:
        """The number for a device, shape, prior and solver."""
        size = self._read().get(_key(what))
        return size if type(size) is int and size > 0 else None

    def put(self, size: int, *what: Any) -> None:
        """Remembers a number; if it cannot be written, it is measured again next time."""
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as partial:
                partial.write_text(json.dumps({**self._read(), _key(what): size}, indent=1))
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        try:
            read = read_json(self.path.read_bytes()) if self.path is not None and self.path.is_file() else {}
        except (OSError, JsonError):
            return {}
        return read if isinstance(read, dict) else {}


def _key(what: tuple[Any, ...]) -> str:
    device = jax.local_devices()[0]
    known = (device.platform, device.device_kind, jax.local_device_count(), jax.__version__, *what)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]
