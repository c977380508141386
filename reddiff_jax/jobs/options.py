"""Options of a restoration, and checks of what the user chose."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from reddiff_jax import pictures, tasks
from reddiff_jax.jobs.borders import Border
from reddiff_jax.jobs.checks import check_mask, check_numbers, check_taken
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.masks import Hole
from reddiff_jax.noise import gaussian
from reddiff_jax.problems import Problem
from reddiff_jax.settings import Settings, SettingsFile, by_name, check_serves, default_name, default_settings

_NUMBERS = ("samples", "batch_size", "tile", "seed", "grow", "white", "page")
_FILES_AND_ORDER = ("mask", "kernel", "tuned", "batch_size", "overwrite")


@dataclass(frozen=True)
class Options:
    """How pictures are to be restored.

    Args (fields):
        task: Name of the task; None where the measurement files say it.
        sigma: Standard deviation of the noise, for pixels in [-1, 1]; None: what measurement files say, and of pictures
            an estimate. For pictures at least that of rounding to 8 bits.
        mask: Mask file, or folder of masks named as the pictures.
        hole: What marks the hole in a mask file.
        grow: Pixels by which the holes of a mask are grown; None for what was measured to be best: 0 for arrays.
        kernel: Kernel file, or folder of kernels named as the pictures, or ``tasks.FORMS``.
        border: What lies beyond the border of blurred pictures; measurement files have their task's.
        white: The number that is white in pictures of more than 8 bits; None for what the file says.
        page: Which page of files with several, counted from 1; None refuses such files.
        bits: Of the results, 8, 16, or 32 for floating-point numbers in a TIFF; None for those of the input.
        solver: Name of the solver; None: what does the task best, or what the tuned settings are of.
        tuned: Tuned settings, which are preferred to the built-in ones where there are some.
        changes: Fields of the settings to be replaced.
        samples: Restorations of each picture, by other noise; draws from the posterior where the solver has them,
            unless the changes have a ``sample`` of their own.
        batch_size: Pictures restored at once; None for what is fastest and fits into memory.
        seed: Seed of everything drawn.
        tile: Pictures with more pixels than a square of this side go through the prior in tiles of at most so many.
        exact_sizes: Restore each picture whole and at its own size, a compilation for each size, not in frames of few
            sizes or in regions.
        overwrite: Do again what the output folder holds already.
    """

    task: str | None = None
    sigma: float | None = None
    mask: str | Path | None = None
    hole: Hole = Hole.AUTO
    grow: int | None = None
    kernel: str | Path | None = None
    border: Border = Border.UNKNOWN
    white: float | None = None
    page: int | None = None
    bits: int | None = None
    solver: str | None = None
    tuned: SettingsFile | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1
    batch_size: int | None = 4
    seed: int = 0
    tile: int = 512
    exact_sizes: bool = False
    overwrite: bool = False

    def asked(self) -> dict[str, Any]:
        """What decides how a picture is restored, beside the files it is restored from, as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _FILES_AND_ORDER}
        return json.loads(json.dumps({**values, "tuned": self.tuned and str(self.tuned.path)}, default=str))

    def check(self) -> None:
        """Raises ValueError for values that make no sense."""
        check_numbers(**{name: getattr(self, name) for name in _NUMBERS})
        if self.sigma is not None:
            tasks.check_sigma(self.sigma, None if self.task is None else tasks.by_name(self.task))
        self._check_pictures()
        settings_class(self.solver, self.task)().changed(self.changes)
        if self.task is not None:
            check_parts(self.task, self.mask, self.kernel)
            problem = replace(tasks.example(self.task), noise=gaussian(self.sigma or 0.0))
            self.settings(problem, self.task)
        elif self.mask is not None or self.kernel is not None:
            raise JobError("a mask or a kernel needs the task, too: --task inpaint or --task deblur.")

    def _check_pictures(self) -> None:
        if self.bits not in (None, 8, 16, pictures.FLOAT):
            raise JobError(f"bits is {self.bits} but must be 8, 16, or {pictures.FLOAT} for floating-point numbers.")
        if self.hole is not Hole.AUTO and self.mask is None:
            raise JobError(f"hole is {self.hole.value} but there is no mask whose hole it could mark: --mask FILE.")
        if self.border is not Border.UNKNOWN and self.task is not None and tasks.by_name(self.task).kernel is None:
            raise JobError(
                f"border is {self.border.value} but {self.task} undoes no blur of a kernel; leave --border out."
            )
        if self.grow is not None and self.task is not None and tasks.by_name(self.task).needs != "mask":
            raise JobError(f"grow is {self.grow} but {self.task} takes no mask; leave --grow out.")

    def settings(self, problem: Problem, task: str, *, in_regions: bool = False) -> Settings:
        """The settings of the solver for a problem of a task; its shapes and the numbers of a mask are enough.

        Args:
            problem: The problem of the picture.
            task: Name of the task.
            in_regions: Whether only windows around the holes are restored.

        Raises:
            ValueError: If the solver cannot do the task, or for values that make no sense.
        """
        # What a solver lacks does not depend on the size: one look serves a folder of many.
        like = replace(tasks.example(task, problem.operator.in_shape[2]), noise=problem.noise)
        found = self.tuned.find(problem, task=task, solver=self.solver) if self.tuned is not None else None
        settings = found or default_settings(problem, self.solver)
        if in_regions and self.samples == 1 and not self.changes.get("sample"):
            settings = settings.for_regions()
        if self.samples > 1 and "sample" not in self.changes:
            draws = settings.drawing().fitted(problem.operator)
            settings = settings if draws.obstacle(like) else draws
        settings = settings.changed(self.changes)
        check_serves(settings, like)
        return settings


def settings_class(solver: str | None, task: str | None) -> type[Settings]:
    """The class of a solver's settings; of the one that does the task best, or most tasks, if none is named.

    Raises:
        ValueError: For an unknown solver or task.
    """
    return by_name(solver or ("noise_aware" if task is None else default_name(tasks.example(task))))


def check_parts(task: str, mask: str | Path | None, kernel: str | Path | None) -> None:
    """Raises JobError for a mask or kernel that is missing, or that the task does not take."""
    needs = tasks.by_name(task).needs
    check_mask(task, needs, mask)
    check_taken(task, needs, "kernel", kernel)
    if kernel is not None and not Path(kernel).exists():
        if not tasks.is_in_words(str(kernel)):
            raise JobError(f"kernel {kernel} does not exist; check the name, or say {tasks.FORMS}.")
        tasks.kernel_in_words(str(kernel))
