"""Events that a job reports while it works, and its outcome."""

from collections.abc import Callable
from dataclasses import dataclass, field

from reddiff_jax.settings import Settings


@dataclass(frozen=True)
class Failure:
    """An input that could not be worked on, and why, in one line."""

    name: str
    reason: str


@dataclass(frozen=True)
class Event:
    """Progress.

    Args (fields):
        kind: "look" (at an input, before anything is restored; ``detail`` says what for), "decided" (about an input, in
            ``detail``), "noise" (a picture's level was estimated, or the given one is
            doubted), "settings" (a group of pictures begins; ``settings`` is set), "compile", "compiled", "step",
            "retry" (a batch is done in smaller ones), "restored", "measured", "skipped", "changed" (a finished picture
            is done again, because an input has changed), "failed", "note" (of the whole job; ``name`` is the line).
        name: Name of the picture, or what the group is.
        done: Fraction of the whole work that is done.
        detail: More, in words.
        settings: Those of the group.
        left: Seconds that the rest will take, of "compile" the compilation, where that is known.
    """

    kind: str
    name: str
    done: float
    detail: str = ""
    settings: Settings | None = None
    left: float | None = None


Report = Callable[[Event], None]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job: names of the pictures that it did, those found done before, those that failed.

    And those that were left because it was asked to stop.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
