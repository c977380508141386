"""What is printed of a restoration, as lines, beside the bar."""

from typing import TYPE_CHECKING, Any

from reddiff_jax._bars import duration
from reddiff_jax.cli._cache import compiled
from reddiff_jax.cli._common import printable, show_settings

if TYPE_CHECKING:
    from reddiff_jax.jobs import Event

_LONG_SECONDS = 5.0  # what takes less is not announced


class Told:
    """What is printed of a restoration, as lines, beside the bar."""

    def __init__(self, update: Any):
        self.update, self.estimated = update, False

    def __call__(self, event: "Event") -> None:
        line = self._line(event)
        if line:
            self.update.console.print(printable(line), soft_wrap=True, markup=False)
        if event.kind == "note":
            return
        text = f"{event.name}, {event.detail if event.kind in ('step', 'look') else event.kind}"
        self.update(event.done, text, event.left if event.kind == "step" else None)

    def _line(self, event: "Event") -> str:
        if event.kind == "note":
            return event.name
        if event.kind == "settings":
            return f"{event.name} ({event.detail}): {show_settings(event.settings)}"
        if event.kind == "compile" and (event.left is None or event.left >= _LONG_SECONDS):
            took = "" if event.left is None else f", about {duration(event.left)}"
            return f"{event.name}: compiling {event.detail}{took}"
        if event.kind == "compiled":
            return f"{event.name}: {compiled(event.detail)}"
        if event.kind == "retry":
            return f"{event.name}: {event.detail}"
        if event.kind == "decided":
            return event.detail
        if event.kind == "noise":
            return f"{event.name}: {event.detail}"
        if event.kind == "changed":
            return f"{event.name}: done again, because {event.detail}"
        if event.kind == "step" and not self.estimated and event.left is not None:
            self.estimated = True
            return f"about {duration(event.left)}" if event.left >= _LONG_SECONDS else ""
        return ""
