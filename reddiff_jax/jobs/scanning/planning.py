"""What is to be done for each scan."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.events import Failure
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.manifest import Manifest
from reddiff_jax.jobs.scanning.options import AUTO, DENOISE, ScanOptions
from reddiff_jax.jobs.scanning.posing import Posed, pose_scan
from reddiff_jax.scans.dicom import is_dicom
from reddiff_jax.scans.files import SUFFIXES, suffix_of
from reddiff_jax.scans.video import SUFFIXES as CLIPS

STD = "_std"
"""Ends the name of the file with the standard deviations of several restorations."""


@dataclass(frozen=True)
class ScanPlan:
    """One scan's part in a job: see ``Planned``."""

    item: Item
    record: dict[str, Any]
    asked: dict[str, Any]
    outputs: tuple[str, ...]


def find_scans(inputs: Sequence[str | Path], options: ScanOptions, out: Path) -> tuple[list[Item], list[Failure]]:
    """Files of scans, for volumes folders of a DICOM series, too; and what can be none.

    Args:
        inputs: Files and folders.
        options: What is to be done.
        out: Output folder: what lies in it is not an input.
    """
    items: dict[str, Item] = {}
    suffixes = CLIPS if options.clips else SUFFIXES
    failures = []
    for given in map(Path, inputs):
        paths = [given]
        if given.is_dir() and not (_is_volume(options) and any(map(is_dicom, given.iterdir()))):
            paths = sorted(each for each in given.iterdir() if _is_whole(each, suffixes) and given.resolve() != out)
        elif not given.is_dir() and suffix_of(given) not in suffixes:
            kind = "clip" if options.clips else "file of a scan"
            reason = f"{given} is no {kind}; those end in {', '.join(suffixes)}."
            failures.append(Failure(given.name, reason))
            continue
        for path in paths:
            if path.name in items and items[path.name].path.resolve() != path.resolve():
                reason = f"{path} would be written as {path.name} as {items[path.name].path} is; rename one."
                failures.append(Failure(path.name, reason))
            else:
                items[path.name] = Item(path, path.name)
    return list(items.values()), failures


def _is_volume(options: ScanOptions) -> bool:
    return options.task == DENOISE and not options.clips


def _is_whole(path: Path, suffixes: Sequence[str]) -> bool:
    """Whether a file stands for a scan: of BART's pairs one does."""
    return path.is_file() and suffix_of(path) in suffixes and suffix_of(path) != ".hdr"


class Planner:
    """Plans scans. It keeps the last one that was posed, for a job of one."""

    def __init__(self, options: ScanOptions, prior_name: str, manifest: Manifest):
        self.options, self.prior_name, self.manifest = options, prior_name, manifest
        self._last: tuple[Item, Posed] | None = None

    def posed(self, item: Item) -> Posed:
        """A scan, posed."""
        if self._last is None or self._last[0] != item:
            self._last = None  # before the next one needs the memory
            self._last = item, pose_scan(item.path, self.options)
        return self._last[1]

    def plan(self, item: Item) -> ScanPlan:
        """Plans one scan, which is read unless it is found finished with the same options.

        Raises:
            ValueError: If it cannot be restored so, in one line.
        """
        options = self.options
        asked = {**options.asked(), "prior": self.prior_name}
        same = {"task": options.task, "prior": self.prior_name, **digests_of(options, item)}
        entry = self.manifest.entries.get(item.name, {})
        if entry.get("status") == "restored" and entry.get("options") == asked and _holds(entry["settings"], same):
            return ScanPlan(item, entry["settings"], asked, tuple(entry["outputs"]))
        posed = self.posed(item)
        settings = options.settings(posed.problems[0])
        record = {
            **same,
            "sigma": float(f"{posed.sigma:.6g}"),
            "sigma_from": "estimate" if options.sigma is None else "option",
            "solver": settings.name,
            **asdict(settings),  # type: ignore[call-overload]
            **{name: asked[name] for name in ("lam_z", "motion", "center", "layout", "samples", "seed", "tile")},
        }
        return ScanPlan(item, json.loads(json.dumps(record)), asked, outputs_of(item, posed, options.samples))


def _holds(entry: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return all(entry.get(name) == value for name, value in values.items())


def outputs_of(item: Item, posed: Posed, samples: int) -> tuple[str, ...]:
    """Names of the files that are written of a scan, the restoration's first."""
    suffix = suffix_of(item.name)
    names = [item.name] if samples == 1 else [item.name, beside(item.name)]
    if suffix == ".cfl":
        return tuple(name[: -len(suffix)] + each for name in names for each in (".cfl", ".hdr"))
    if suffix == "":  # a folder of a series
        return tuple(f"{name}/{number:04d}.dcm" for name in names for number in range(len(posed.like.like)))
    return tuple(names)


def beside(name: str) -> str:
    """Name of the file with the standard deviations."""
    suffix = suffix_of(name)
    return f"{name[: len(name) - len(suffix)]}{STD}{suffix}"


def digests_of(options: ScanOptions, item: Item) -> dict[str, str]:
    """A digest of each file that a scan is restored from, or of the words that say its angles."""
    contents: dict[str, Callable[[], bytes]] = {"picture": lambda: _content(item.path)}
    if options.mask is not None and str(options.mask) != AUTO:
        contents["mask"] = lambda: _content(Path(str(options.mask)))
    if options.angles is not None:
        path = Path(options.angles)
        contents["angles"] = lambda: _content(path) if path.is_file() else str(options.angles).encode()
    return {name: hashlib.sha256(content()).hexdigest()[:16] for name, content in contents.items()}


def _content(path: Path) -> bytes:
    """The bytes of a file, with those of its pair; of a folder the digests of its files."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        return b"".join(hashlib.sha256(each.read_bytes()).digest() for each in files)
    if not path.exists():
        raise JobError(f"{path} does not exist; check the name.")
    pair = path.with_suffix(".hdr") if suffix_of(path) == ".cfl" else None
    return path.read_bytes() + (pair.read_bytes() if pair is not None and pair.is_file() else b"")
