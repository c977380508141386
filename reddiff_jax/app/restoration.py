"""One restoration of the page: the command line's job in a thread, its events as they come, and an end on request."""

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reddiff_jax import jobs
from reddiff_jax.app.forms import Form
from reddiff_jax.app.wording import GONE, on_page
from reddiff_jax.jobs import Event
from reddiff_jax.priors import Prior

PREFIX = "reddiff-jax-app-"
"""Of the folders that the page makes."""


@dataclass(frozen=True)
class Loaded:
    """A prior, with what jobs want to know of it."""

    prior: Prior
    channels: int = 3
    name: str = ""
    cache: Path | None = None


class _Ended(BaseException):
    """Ends the job from within: nothing that belongs to a picture alone catches it."""


class Restoration:
    """A restoration that was asked for; ``events`` does it.

    Attributes:
        folder: Where its files are until ``remove``.
        files: What it wrote, in the order of their names, once ``events`` is exhausted.
        said: What was decided, in lines, for who shows it with the files.
        error: Why there is nothing, in one line; "" else.
    """

    def __init__(self, form: Form, loaded: Loaded, *, seconds: float, within: Path | None = None):
        self.form, self.loaded, self.seconds = form, loaded, seconds
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
        self.files: list[Path] = []
        self.said: list[str] = []
        self.error = ""
        self._stopped = threading.Event()
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="restoration", daemon=True)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stopped.is_set()

    @property
    def over(self) -> bool:
        """Whether it computes nothing any more, and will not."""
        began = self._thread.ident is not None
        return not self._thread.is_alive() if began else self.stopped

    def stop(self) -> None:
        """Ends it at its next step."""
        self._stopped.set()

    def events(self) -> Iterator[Event]:
        """Does the job and yields what it reports."""
        self._until = time.monotonic() + self.seconds
        self._thread.start()
        try:
            while (event := self._queue.get()) is not None:
                yield event
        finally:
            self.stop()  # whoever does not listen any more wants no more

    def remove(self, patience: float = 0.0) -> None:
        """Removes its files.

        Args:
            patience: Seconds to wait for its end, so that it writes none after that.
        """
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(patience)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        try:
            self._restore()
        except _Ended as ended:
            self.error = str(ended)
        except MemoryError:
            self.error = "not enough memory; choose a smaller picture."
        except FileNotFoundError:
            self.error = GONE
        except Exception as error:
            self.error = self._worded((str(error) or type(error).__name__).splitlines()[0])
        finally:
            self._queue.put(None)

    def _restore(self) -> None:
        out, loaded = self.folder / "restored", self.loaded
        outcome = jobs.restore(
            [self.form.picture],
            loaded.prior,
            out=out,
            options=self.form.options(),
            prior_name=loaded.name,
            channels=loaded.channels,
            cache=loaded.cache,
            report=self._tell,
            stop=self._stopped.is_set,
        )
        if outcome.failures:
            self.error = self._worded(outcome.failures[0].reason)
        elif outcome.left:
            self.error = "stopped."
        else:
            stem = self.form.picture.stem
            self.files = sorted(file for file in out.iterdir() if file.stem.startswith(stem) and file.is_file())

    def _tell(self, event: Event) -> None:
        if self._stopped.is_set():
            raise _Ended("stopped.")
        if time.monotonic() > self._until:
            raise _Ended(f"it took longer than {self.seconds:g} s and was stopped; the command line has no such limit.")
        self._queue.put(replace(event, name=self._worded(event.name), detail=self._worded(event.detail)))

    def _worded(self, text: str) -> str:
        given = [file for file in (self.form.picture, self.form.mask) if file is not None]
        return on_page(text, self.folder, *(file.parent for file in given))
