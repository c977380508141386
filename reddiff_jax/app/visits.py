"""The restorations under way and the files of those that were, by visitor."""

import threading
import time

from reddiff_jax.app.restoration import Restoration


class Visits:
    """One restoration of each visitor: a second one begins when the first is over or was stopped."""

    def __init__(self) -> None:
        self._of: dict[str, Restoration] = {}
        self._lock = threading.Lock()

    def begin(self, visitor: str, restoration: Restoration) -> bool:
        """A visitor's new restoration, for which that before it is forgotten; False while that is under way."""
        with self._lock:
            before = self._of.get(visitor)
            if before is not None and not (before.over or before.stopped):
                return False
            self._of[visitor] = restoration
        if before is not None:
            before.remove()
        return True

    def has(self, visitor: str, restoration: Restoration) -> bool:
        """Whether it is still that visitor's."""
        with self._lock:
            return self._of.get(visitor) is restoration

    def stop(self, visitor: str) -> bool:
        """Stops a visitor's restoration; False if none is under way."""
        with self._lock:
            restoration = self._of.get(visitor)
        if restoration is None or restoration.over:
            return False
        restoration.stop()
        return True

    def end(self, visitor: str) -> None:
        """Stops it and removes its files."""
        with self._lock:
            restoration = self._of.pop(visitor, None)
        if restoration is not None:
            restoration.remove()

    def end_all(self, patience: float) -> None:
        """Stops all, waits so many seconds for their ends, and removes their files."""
        with self._lock:
            every = list(self._of.values())
            self._of.clear()
        for restoration in every:
            restoration.stop()
        until = time.monotonic() + patience
        for restoration in every:
            restoration.remove(max(0.0, until - time.monotonic()))
