"""Bars that tell how far something is: on a terminal, in a notebook, and as plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Update = Callable[..., None]
"""``update(fraction, text, left=None)``: what is done, what is being done, and the seconds that are left, if known."""

SECONDS_BETWEEN_LINES = 5.0  # where there is no terminal
_SECONDS_BETWEEN_REDRAWINGS = 1.0  # drawing takes milliseconds of a core that the work could use
_WIDTH = 30


def duration(seconds: float) -> str:
    """A time in one number that is easily read: "40 s", "3 min", "2 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds, -1 if seconds > 20 else None)):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


class _Progress:
    """How far something is, how long it has taken, and how long it will take."""

    def __init__(self, title: str):
        self.title, self.text, self.fraction = title, "", 0.0
        self.began = time.monotonic()
        self._first: tuple[float, float] | None = None  # when something was first done, and how much
        self._end: float | None = None  # when all will be done, as the work itself says

    def update(self, fraction: float, text: str, left: float | None = None) -> None:
        now = time.monotonic()
        if fraction > 0 and self._first is None:
            self._first = now, fraction
        if left is not None:
            self._end = now + left
        self.fraction, self.text = min(1.0, fraction), text

    def left(self) -> float | None:
        """Seconds that are left: as the work says, or by the pace since the first that was done; None if unknown."""
        now = time.monotonic()
        if self._end is not None:
            return max(0.0, self._end - now)
        if self._first is None or self.fraction <= self._first[1]:
            return None
        began, before = self._first
        return (now - began) * (1 - self.fraction) / (self.fraction - before)

    def line(self) -> str:
        left = self.left()
        minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
        said = f"{self.title}: {100 * self.fraction:.0f} %, {minutes}:{seconds:02}"
        if left is not None and self.fraction < 1:
            said += f", about {duration(left)} left"
        return f"{said}: {self.text}" if self.text else said

    def bar(self) -> str:
        full = round(self.fraction * _WIDTH)
        return f"[{'#' * full}{'.' * (_WIDTH - full)}] {self.line()}"


@contextmanager
def progress(title: str, console: "Console", *, stays: bool = False) -> Iterator[Update]:
    """A bar on a console, for as long as the context lasts; yields what moves it.

    On a terminal a bar; in a notebook a line of text that is written over; elsewhere, as where the output goes to a
    file, a plain line every five seconds.

    Args:
        title: What is being done, "restoring".
        console: Where.
        stays: Whether the bar, or a last line, is still there at the end.
    """
    if console.is_terminal and not console.is_jupyter:
        with _terminal_bar(title, console, stays) as update:
            yield update
        return
    state, stop = _Progress(title), threading.Event()
    notebook = console.is_jupyter
    stream: TextIO = sys.stdout if notebook else console.file  # type: ignore[assignment]
    wait = _SECONDS_BETWEEN_REDRAWINGS if notebook else SECONDS_BETWEEN_LINES

    def draw() -> None:
        # A notebook writes over a line that begins with a carriage return.
        text = f"\r{state.bar()[:110]:<110}" if notebook else f"{state.line()}\n"
        stream.write(text.encode(errors="replace").decode())
        stream.flush()

    def watch() -> None:
        while not stop.wait(wait):
            draw()

    # A thread, because a compilation is silent for long.
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield state.update
    finally:
        stop.set()
        thread.join()
        if notebook or stays:
            draw()
        if notebook:
            stream.write("\n")


@contextmanager
def _terminal_bar(title: str, console: "Console", stays: bool) -> Iterator[Update]:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns = (
        TextColumn(title),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # Names of files may have brackets, and are long: they must not take the bar's room.
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    options: dict[str, Any] = {"refresh_per_second": 1 / _SECONDS_BETWEEN_REDRAWINGS, "transient": not stays}
    with Progress(*columns, console=console, **options) as bar:
        task = bar.add_task("", total=1.0)

        def update(fraction: float, text: str, left: float | None = None) -> None:
            bar.update(task, completed=fraction, description=text)

        yield update
