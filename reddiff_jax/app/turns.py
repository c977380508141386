"""Who restores now and who waits: one restoration after another, in the order in which they were asked for."""

import threading
from typing import Protocol


class Waiting(Protocol):
    """What stands in line."""

    @property
    def over(self) -> bool:
        """Whether it wants no turn any more, or has had it."""
        ...


class Turns:
    """A line; whose ``before`` is 0 has the turn until it leaves or is over."""

    def __init__(self) -> None:
        self._line: list[Waiting] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        with self._changed:
            return sum(not each.over for each in self._line)

    def join(self, who: Waiting) -> None:
        """Puts it at the end of the line."""
        with self._changed:
            self._line.append(who)

    def leave(self, who: Waiting) -> None:
        """Takes it out."""
        with self._changed:
            self._line = [each for each in self._line if each is not who]
            self._changed.notify_all()

    def before(self, who: Waiting) -> int:
        """How many are before it; whoever is over does not count, though nobody may have taken it out."""
        with self._changed:
            self._line = [each for each in self._line if each is who or not each.over]
            return self._line.index(who)

    def wait(self, seconds: float) -> None:
        """Waits until somebody leaves, or for so long."""
        with self._changed:
            self._changed.wait(seconds)
