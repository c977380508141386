"""Files of tuned settings: what a search found for a prior, and the trials it has done."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import tasks
from reddiff_jax.jobs.errors import JobError, brief
from reddiff_jax.jobs.outputs import writing
from reddiff_jax.tasks import Method, interpolate
from reddiff_jax.tuning import Trial, Tuned

_VERSION = 1


@dataclass(frozen=True)
class PresetFile:
    """Settings that were tuned for one prior.

    Args (fields):
        path: The file.
        prior: What identifies the prior, see ``fingerprint``.
        rows: One for each task, noise level and solver: "task", "family", "sigma", "solver", "settings", "score",
            "how" (what must be equal for its trials to be kept), "search" and "trials", [settings, score] each.
    """

    path: Path
    prior: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def preset(self, task: str, sigma: float, solver: str | None) -> Method | None:
        """Settings for a task at a noise level: what was tuned for it, or else for one of its family; None if nothing.

        Between the noise levels that were tuned for they are interpolated; beyond the ends the nearest holds. If no
        solver is named, the task's default is preferred, and then the first that was tuned.
        """
        family = tasks.by_name(task).family
        of_solver = [row for row in self.rows if solver in (None, row["solver"])]
        for chosen in (
            [row for row in of_solver if row["task"] == task],
            [row for row in of_solver if row["family"] == family],
        ):
            if chosen:
                found, default = [row["solver"] for row in chosen], tasks.default_solver(task)
                name = default if default in found else found[0]
                method = tasks.method_by_name(name)
                settings = {row["sigma"]: method(**row["settings"]) for row in chosen if row["solver"] == name}
                return tasks.fitted(interpolate(sorted(settings.items(), key=lambda row: row[0]), sigma), task)
        return None

    def known(self, key: dict[str, Any], how: dict[str, Any]) -> dict[Method, float]:
        """Trials that were done for a task, noise level and solver in the same way."""
        for row in self.rows:
            if _key(row) == key and row["how"] == how:
                method = tasks.method_by_name(row["solver"])
                return {method(**settings): -np.inf if score is None else score for settings, score in row["trials"]}
        return {}

    def add(self, key: dict[str, Any], how: dict[str, Any], search: str, tuned: Tuned) -> None:
        """Puts a row in the place of the one with its key, and writes the file so that a kill leaves the old one."""
        row = {
            **key,
            "family": tasks.by_name(key["task"]).family,
            "settings": asdict(tuned.preset),  # type: ignore[call-overload]
            "score": _finite(tuned.score),
            "how": how,
            "search": search,
            "trials": [_as_json(trial) for trial in tuned.trials],
        }
        self.rows[:] = [other for other in self.rows if _key(other) != key] + [row]
        content = {"version": _VERSION, "prior": self.prior, "presets": self.rows}
        part = self.path.with_name(f".{self.path.name}.part")
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            os.replace(part, self.path)


def read_presets(path: str | Path, prior_name: str) -> PresetFile:
    """Reads a file of tuned settings.

    Args:
        path: The file.
        prior_name: What identifies the prior that they are to be used with.

    Raises:
        JobError: If it cannot be read, or was tuned with another prior.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise JobError(f"{path} has version {content['version']} but this program reads {_VERSION}; tune again.")
        for row in content["presets"]:
            tasks.by_name(row["task"])
            tasks.method_by_name(row["solver"])(**row["settings"])
            tasks.check_sigma(row["sigma"])
        file = PresetFile(path, content["prior"], content["presets"])
    except JobError:
        raise
    except OSError as error:
        raise JobError(f"{path} cannot be read ({error.strerror}); make it with reddiff-jax tune.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JobError(f"{path} is no file of presets ({brief(error)}); make one with reddiff-jax tune.") from error
    if file.prior != prior_name:
        raise JobError(
            f"{path} was tuned with the prior {file.prior}, not {prior_name}; tune for this one into another file."
        )
    return file


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("task", "sigma", "solver")}


def _as_json(trial: Trial) -> list[Any]:
    return [asdict(trial.preset), _finite(trial.score)]  # type: ignore[call-overload]


def _finite(score: float) -> float | None:
    return score if np.isfinite(score) else None
