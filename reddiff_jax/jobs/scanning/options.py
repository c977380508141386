"""How scans are to be restored, and checks of what the user chose."""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reddiff_jax import tasks
from reddiff_jax.jobs.checks import MIN_TILE, check_seed
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.options import check_parts
from reddiff_jax.masks import Hole
from reddiff_jax.operators import LinearOperator
from reddiff_jax.problems import Problem
from reddiff_jax.settings import NoiseAwareSettings, Settings, SettingsFile, check_serves, default_settings

MRI, CT, DENOISE = "mri", "ct", "denoise"
TASKS = (MRI, CT)
"""Tasks of scans alone; volumes are denoised, too."""

AUTO = "auto"
_FILES_AND_ORDER = ("mask", "tuned", "batch_size", "overwrite")


class Layout(enum.StrEnum):
    """Whose conventions a sinogram has."""

    SCIKIT_IMAGE = "scikit-image"
    ASTRA = "astra"
    TOMOPY = "tomopy"


@dataclass(frozen=True)
class ScanOptions:
    """How scans are to be restored.

    Args (fields):
        task: "mri" or "ct"; or "denoise" of volumes.
        mask: Which points of k-space are measured: a file, or "auto" and None for those that are not 0.
        hole: What marks the hole in the mask of a clip.
        angles: Of the views of CT: "FIRST:LAST" in degrees, without the last, or a file of degrees.
        center: Index of the detector element where the axis is seen, or "auto" to find it; None: the layout's.
        layout: Whose conventions the sinogram has.
        clips: Inputs are clips, of which each frame is a picture that a task degraded.
        lam_z: Weight of the coupling of neighbouring slices, or frames, ``solvers.coupling``; with 0 each is restored
            by itself.
        motion: Coupled frames are compared where their pixels moved.
        sigma: Standard deviation of the noise for pixels in [-1, 1]; estimated if None.
        solver: Name of the solver; None: what does the task best, or what the tuned settings are of.
        tuned: Tuned settings, which are preferred to the built-in ones where there are some.
        changes: Fields of the settings to be replaced.
        samples: Restorations of each slice; of several, their mean and their standard deviation are written.
        batch_size: Slices restored at once.
        seed: Seed of everything drawn.
        tile: Slices with a longer side go through the prior in tiles of this size.
        overwrite: Do again what the output folder holds already.
    """

    task: str
    mask: str | Path | None = None
    hole: Hole = Hole.AUTO
    angles: str | None = None
    center: str | None = None
    layout: Layout = Layout.ASTRA
    clips: bool = False
    lam_z: float = 0.0
    motion: bool = False
    sigma: float | None = None
    solver: str | None = None
    tuned: SettingsFile | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1
    batch_size: int = 4
    seed: int = 0
    tile: int = 512
    overwrite: bool = False

    def check(self) -> None:
        """Raises JobError for options that do not go together."""
        if self.task == CT and self.angles is None:
            raise JobError("--task ct needs the angles of the views: --angles 0:180, or a file of degrees.")
        if self.clips:
            self._check_clips()
        elif self.task not in (*TASKS, DENOISE):
            raise JobError(f"volumes are restored by --task denoise, scans by mri and ct; the task is {self.task}.")
        if self.hole is not Hole.AUTO and not self.clips:
            raise JobError("hole is not for scans; leave --hole out.")
        if self.lam_z < 0 or (self.lam_z and self.solver not in (None, "noise_aware")):
            raise JobError("lam-z must be at least 0, and is of --solver noise_aware, whose step couples the slices.")
        if self.task != CT and (self.angles is not None or self.center is not None):
            raise JobError(f"angles and center are of CT; leave them out for --task {self.task}.")
        if self.motion and not (self.clips and self.lam_z):
            raise JobError("motion is of coupled frames: a clip, and --lam-z above 0.")
        if self.task in (CT, DENOISE) and self.mask is not None:
            raise JobError("a mask is of MRI; for CT leave out views of the sinogram, and their angles.")
        if min(self.samples, self.batch_size) < 1:
            raise JobError("samples and batch-size must be at least 1.")
        if self.tile < MIN_TILE:
            raise JobError(f"tile is {self.tile} but must be at least {MIN_TILE} pixels.")
        check_seed(self.seed)

    def _check_clips(self) -> None:
        task = tasks.by_name(self.task)
        check_parts(self.task, self.mask, None)
        operator = tasks.example(self.task).operator
        if not task.is_picture or task.gray or task.needs == "kernel" or not isinstance(operator, LinearOperator):
            raise JobError(f"{self.task} is not for clips; take denoise, inpaint, sr4 or another of linear operators.")
        if self.sigma is None and self.task != DENOISE:
            raise JobError(f"the noise of clips is estimated for --task denoise alone; for {self.task} give --sigma.")

    def asked(self) -> dict[str, Any]:
        """What decides how a scan is restored, beside the files it is restored from, as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _FILES_AND_ORDER}
        return json.loads(json.dumps({**values, "tuned": self.tuned and str(self.tuned.path)}, default=str))

    def settings(self, problem: Problem) -> Settings:
        """The settings of the solver for the problem of a slice.

        Raises:
            ValueError: If the solver cannot do the task, or for values that make no sense.
        """
        # Tweedie's formula, the default for noise alone, has no step that a coupling could be part of.
        solver = NoiseAwareSettings.name if self.lam_z else self.solver
        found = self.tuned.find(problem, task=self.task, solver=solver) if self.tuned is not None else None
        settings = found or default_settings(problem, solver)
        if self.samples > 1 and "sample" not in self.changes:
            settings = settings.drawing()
        settings = settings.changed(self.changes)
        check_serves(settings, problem)
        return settings
