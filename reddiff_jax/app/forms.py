"""What a visitor chose, as a job's options and as the command that does the same."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reddiff_jax import jobs, tasks
from reddiff_jax._text import shown
from reddiff_jax.jobs import Options
from reddiff_jax.masks import Hole

TASKS: Mapping[str, str] = {
    "Fill in what is missing: scratches, text, holes": "inpaint",
    "Remove noise": "denoise",
    "Sharpen: undo a blur of known shape": "deblur",
    "Enlarge 2 times": "bicubic2",
    "Enlarge 4 times": "bicubic4",
    "Colour a gray picture": "colorize",
}
"""What to do, in words -> the task of the command line."""

MASKS = "masks"
"""The folder, in the command, of a mask that is named as its picture."""


def painted_name(picture: Path) -> str:
    """The file that strokes over a picture become, in which white is the hole; never the picture's own name."""
    return f"{picture.stem}_mask.png"


def whole_in_words(name: str, text: str) -> int | None:
    """A whole number, or None where nothing is said.

    Raises:
        ValueError: For anything else.
    """
    text = str(text).strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} is {shown(text)!r} but must be a whole number, or empty.") from None


@dataclass(frozen=True)
class Form:
    """What a visitor chose.

    Args (fields):
        picture: The file, as it was opened.
        task: Name of the task.
        mask: File of the mask; None without one.
        painted: Whether that mask was painted on the page.
        kernel: The blur, in the command line's words, such as "gaussian:2".
        sigma: The noise level in the command line's words; "auto" to estimate it.
        samples: Restorations.
        seed: Seed of everything drawn.
        solver: Name of the solver; "" for what does the task best.
        steps: Number of steps; None for the tuned one.
        grow: Pixels by which holes grow; None for what was measured to be best.
    """

    picture: Path
    task: str
    mask: Path | None = None
    painted: bool = False
    kernel: str = ""
    sigma: str = "auto"
    samples: int = 1
    seed: int = 0
    solver: str = ""
    steps: int | None = None
    grow: int | None = None

    def options(self) -> Options:
        """The job's options; what ``command`` gives them, too.

        A blur is told in words alone: as a file's name it would read whatever lies on the server.

        Raises:
            ValueError: For a noise level or a blur that is none.
        """
        if self.kernel:
            tasks.kernel_in_words(self.kernel)
        return Options(
            task=self.task,
            mask=self.mask,
            hole=Hole.WHITE if self.painted else Hole.AUTO,
            kernel=self.kernel or None,
            sigma=None if self.sigma == "auto" else jobs.sigma_in_words(self.sigma),
            samples=self.samples,
            seed=self.seed,
            solver=self.solver or None,
            changes={} if self.steps is None else {"num_steps": self.steps},
            grow=self.grow,
        )

    @property
    def is_mask_apart(self) -> bool:
        """Whether the mask must lie in a folder of its own, as its name is the picture's."""
        return self.mask is not None and self.mask.name == self.picture.name

    def command(self) -> str:
        """The words that restore the same on the command line; a folder's name does a folder."""
        words = ["reddiff-jax", "restore", _word(self.picture.name), "--task", self.task]
        if self.mask is not None:
            words += ["--mask", f"{MASKS}/{self.mask.name}" if self.is_mask_apart else _word(self.mask.name)]
        if self.painted:
            words += ["--hole", Hole.WHITE.value]
        given = {
            "--kernel": self.kernel,
            "--sigma": "" if self.sigma == "auto" else self.sigma,
            "--samples": "" if self.samples == 1 else self.samples,
            "--seed": self.seed or "",
            "--solver": self.solver,
            "--steps": "" if self.steps is None else self.steps,
            "--grow": "" if self.grow is None else self.grow,
        }
        for name, value in given.items():
            if value != "":
                words += [name, str(value)]
        return shlex.join([*words, "--out", "restored"])


def _word(name: str) -> str:
    """A file's name as the command line takes it: what begins with a dash would be an option."""
    return f"./{name}" if name.startswith("-") else name
