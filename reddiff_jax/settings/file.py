"""Files of tuned settings: what a search found for a prior, and the trials it has done."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import _rules as rules
from reddiff_jax._files import replacing
from reddiff_jax._rules import JsonError, check, read_json
from reddiff_jax._text import shown
from reddiff_jax.problems import Problem
from reddiff_jax.settings.base import Settings, interpolate
from reddiff_jax.settings.defaults import SETTINGS, by_name, default_name, noise_level
from reddiff_jax.settings.kinds import Kind, kind_of

_VERSION = 2
_SCORE = rules.number(-1e300, 1e300).or_null()
_CONTENT = rules.record(
    {
        "version": rules.one_of(_VERSION),
        "prior": rules.text(),
        "settings": rules.list_of(
            rules.record(
                {
                    "task": rules.text(),
                    "sigma": rules.number(0, 1e30),
                    "solver": rules.one_of(*SETTINGS),
                    "kind": rules.one_of(None, *map(str, Kind)),
                    "settings": rules.table_of(rules.anything(), 100),
                    "score": _SCORE,
                    "how": rules.table_of(rules.anything()),
                    "search": rules.text(),
                    "trials": rules.list_of(rules.tuple_of(rules.table_of(rules.anything(), 100), _SCORE), 0, 100_000),
                }
            ),
            0,
            10_000,
        ),
    }
)


class SettingsFileError(ValueError):
    """A file that cannot be used; the message is one line."""


@dataclass(frozen=True)
class SettingsFile:
    """Settings that were tuned for one prior.

    Args (fields):
        path: The file.
        prior: What identifies the prior.
        rows: One for each task, noise level and solver: "task", "kind", "sigma", "solver", "settings", "score", "how"
            (what must be equal for its trials to be kept), "search" and "trials", [settings, score] each.
    """

    path: Path
    prior: str
    rows: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def find(self, problem: Problem, *, task: str, solver: str | None = None) -> Settings | None:
        """Settings for a problem: what was tuned for its task, or else for one that measures the same; None if nothing.

        If no solver is named, the problem's default is preferred, and then the first that was tuned. Of several tasks
        that measure the same, the one with the nearest noise level serves. Between the noise levels of a task settings
        are interpolated; beyond the ends the nearest holds.
        """
        kind, sigma, default = kind_of(problem.operator), noise_level(problem), default_name(problem)
        of_solver = [row for row in self.rows if solver in (None, row["solver"])]
        chosen = [row for row in of_solver if row["task"] == task] or [
            row for row in of_solver if row["kind"] is not None and row["kind"] == kind
        ]
        if not chosen:
            return None
        name = default if any(row["solver"] == default for row in chosen) else chosen[0]["solver"]
        rows = [row for row in chosen if row["solver"] == name]
        nearest = min(rows, key=lambda row: abs(row["sigma"] - sigma))["task"]
        of_task = {row["sigma"]: by_name(name)(**row["settings"]) for row in rows if row["task"] == nearest}
        return interpolate(sorted(of_task.items(), key=lambda row: row[0]), sigma).fitted(problem.operator)

    def known(self, key: dict[str, Any], how: dict[str, Any]) -> dict[Settings, float]:
        """Trials that were done for a task, noise level and solver in the same way."""
        for row in self.rows:
            if _key(row) == key and row["how"] == how:
                of_solver = by_name(row["solver"])
                return {of_solver(**values): -np.inf if score is None else score for values, score in row["trials"]}
        return {}

    def add(
        self,
        key: dict[str, Any],
        how: dict[str, Any],
        search: str,
        kind: Kind | None,
        trials: Sequence[tuple[Settings, float]],
    ) -> None:
        """Puts a row in the place of the one with its key, and writes the file so that a kill leaves the old one.

        Args:
            key: "task", "sigma" and "solver".
            how: What must be equal for the trials to be kept.
            search: How they were proposed.
            kind: What was measured.
            trials: All that was tried, with its score. The first of the best is the row's.
        """
        best, score = max(trials, key=lambda trial: trial[1])
        row = {
            **key,
            "kind": kind,
            "settings": asdict(best),  # type: ignore[call-overload]
            "score": _finite(score),
            "how": how,
            "search": search,
            "trials": [[asdict(each), _finite(score)] for each, score in trials],  # type: ignore[call-overload]
        }
        self.rows[:] = [other for other in self.rows if _key(other) != key] + [row]
        content = {"version": _VERSION, "prior": self.prior, "settings": self.rows}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_settings(path: str | Path, prior_name: str) -> SettingsFile:
    """Reads a file of tuned settings.

    Args:
        path: The file.
        prior_name: What identifies the prior that they are to be used with.

    Raises:
        SettingsFileError: If it cannot be read, or was tuned with another prior.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise SettingsFileError(f"{path} is no file; make one with reddiff-jax tune.")
        content = read_json(path.read_bytes())
        version = content.get("version") if isinstance(content, dict) else None
        if type(version) is int and version != _VERSION:
            raise SettingsFileError(f"{path} has version {version} but this program reads {_VERSION}; tune again.")
        check(content, _CONTENT)
        for index, row in enumerate(content["settings"]):
            for values in (row["settings"], *(values for values, _ in row["trials"])):
                _check_settings(row["solver"], values, f"settings[{index}]")
            row["kind"] = None if row["kind"] is None else Kind(row["kind"])
        file = SettingsFile(path, content["prior"], content["settings"])
    except OSError as error:
        raise SettingsFileError(f"{path} cannot be read ({error.strerror}); make it with reddiff-jax tune.") from error
    except JsonError as error:
        raise SettingsFileError(f"{path} is no file of settings ({error}); make one with reddiff-jax tune.") from error
    if file.prior != prior_name:
        raise SettingsFileError(
            f"{path} was tuned with the prior {shown(file.prior)}, not {prior_name}; tune for this one into another "
            "file."
        )
    return file


def _check_settings(solver: str, values: dict[str, Any], field: str) -> None:
    """Raises JsonError if these are not the settings of a solver."""
    try:
        hash(by_name(solver)(**values))
    except (ValueError, TypeError, OverflowError) as error:
        raise JsonError(f"{field}: {shown(str(error).strip().splitlines()[0])}") from error


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("task", "sigma", "solver")}


def _finite(score: float) -> float | None:
    return score if np.isfinite(score) else None
