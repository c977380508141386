"""SIGTERM, by which clusters take a machine back: what is under way is finished and noted, then the command ends."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from reddiff_jax.cli._errors import TERMINATED, Stopped


class Stopping:
    """A context in which a first SIGTERM asks to stop and a second one ends the process at once.

    A thread of its own hears them: handlers of Python's run between two of its instructions only, and a batch is a
    single one.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._pipe: tuple[int, int] | None = None
        self._before: tuple[Any, int] = (None, -1)

    def asked(self) -> bool:
        """Whether to stop when what is under way is done."""
        return self._asked.is_set()

    def check(self) -> None:
        """Raises Stopped if so."""
        if self.asked():
            raise Stopped

    def __enter__(self) -> "Stopping":
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return self  # whoever started us has other plans
        with suppress(ValueError):  # only the main thread may
            handler = signal.signal(signal.SIGTERM, lambda *_: None)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._before = handler, signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._listen, args=(self._pipe[0],), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is not None:
            signal.set_wakeup_fd(self._before[1])
            signal.signal(signal.SIGTERM, self._before[0])
            os.close(self._pipe[1])  # the thread hears what has come, and ends
            self._thread.join()
            self._pipe = None

    def _listen(self, source: int) -> None:
        for byte in iter(lambda: os.read(source, 1), b""):  # the number of each signal
            if byte[0] != signal.SIGTERM:
                continue
            if self.asked():
                os._exit(TERMINATED)
            self._asked.set()
            print("stopping when what is under way is done; a second SIGTERM ends it now.", file=sys.stderr, flush=True)
        os.close(source)
