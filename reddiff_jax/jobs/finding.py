"""Finding pictures and measurement files, and naming their results.

What lies in a folder is a stranger's: pipes, links to nothing, folders that are called like pictures, names that are no
text. Each is a failure of its own and hides nothing else.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reddiff_jax import measurements, pictures
from reddiff_jax._files import kind_of
from reddiff_jax.jobs.events import Failure
from reddiff_jax.jobs.manifest import MANIFEST, Manifest, is_of_a_job
from reddiff_jax.jobs.outputs import PREVIEWS, REFERENCES

Say = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """One input file.

    Args (fields):
        path: The file.
        name: Where its results go, below the output folder and without suffix; unique.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The file's name without folders and suffix, on which its random numbers depend."""
        return self.path.stem


def find_inputs(
    inputs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    measured: bool = True,
    recorded: Mapping[str, str] | None = None,
    say: Say = lambda text: None,
) -> tuple[list[Item], list[Failure]]:
    """Finds pictures and measurement files.

    A folder's files are named by their place below it, other files by their stem. Where that is the same for two, as
    for ``cat.jpg`` beside ``cat.png``, they are named ``cat_jpg`` and ``cat_png``; but a file that has results already
    keeps their name, so that nothing is done again because the folder has grown.

    A picture beside a measurement file of its name is taken for its preview. Below a folder these are passed over: what
    is hidden, the output folder, folders that hold the results of another job, and a measurement's previews and
    references.

    Args:
        inputs: Files and folders.
        out: Output folder: what lies in it is not an input.
        measured: Whether measurement files count.
        recorded: Of results that are there: their name -> the file that they are of.
        say: Called with a line about each folder that is passed over because it holds results.

    Returns:
        The files, and what cannot be one.
    """
    found, failures = _Found(None if out is None else Path(out), measured, say), []
    for given in inputs:
        if not str(given):  # as a path it would be the current folder, with all that lies in it
            failures.append(Failure("", "an input name is empty; give a file or a folder."))
            continue
        given = Path(given)
        kind = kind_of(given)
        if kind == "a folder":
            found.search(given)
        elif kind == "":
            found.add(given, given.stem)
        else:
            failures.append(Failure(str(given), _said_of(given, kind)))
    failures += found.failures
    places = found.without_previews()
    items, twice = _named(places, recorded or {})
    return items, failures + twice


class _Found:
    """Files with their places: the name that each would have if it were alone."""

    def __init__(self, out: Path | None, measured: bool, say: Say):
        self.out, self.say = None if out is None else out.resolve(), say
        self.suffixes = {*pictures.SUFFIXES, *([measurements.SUFFIX] if measured else [])}
        self.kinds = "pictures or measurement files" if measured else "pictures"
        self.places: dict[Path, tuple[Path, str]] = {}  # the file in its real folder: as given, and its place
        self.failures: list[Failure] = []

    def add(self, path: Path, place: str) -> None:
        self.places.setdefault(path.parent.resolve() / path.name, (path, place))

    def search(self, folder: Path) -> None:
        """Adds a folder's files."""
        before = len(self.places) + len(self.failures)
        like_files: list[Path] = []
        own = _results_in(folder) if self.out == folder.resolve() else frozenset()
        for root, folders, files in os.walk(folder, onerror=self._unreadable):
            here = Path(root)
            folders[:] = sorted(name for name in folders if self._is_searched(here / name, files))
            like_files += [here / name for name in folders if Path(name).suffix.lower() in self.suffixes]
            for name in sorted(files):
                path = here / name
                place = path.relative_to(folder)
                if name.startswith(".") or path.suffix.lower() not in self.suffixes or place.as_posix() in own:
                    continue
                if kind := kind_of(path):
                    self.failures.append(Failure(place.as_posix(), _said_of(path, kind)))
                else:
                    self.add(path, place.with_suffix("").as_posix())
        for path in like_files:
            if not any(known.is_relative_to(path) for known, _ in self.places.values()):
                self.failures.append(Failure(str(path), f"{path} is a folder without {self.kinds}, not one of them."))
        if len(self.places) + len(self.failures) == before:
            self.failures.append(Failure(str(folder), f"{folder} holds no {self.kinds}; name a folder that does."))

    def without_previews(self) -> list[tuple[Path, str]]:
        """Files and places, without the pictures that are previews of measurement files."""
        of_measurements = {
            path.with_suffix("")
            for path, _ in self.places.values()
            if path.suffix == measurements.SUFFIX and path.with_suffix("") in self._pictures() and _is_measurement(path)
        }
        return [
            (path, place)
            for path, place in self.places.values()
            if path.suffix == measurements.SUFFIX or path.with_suffix("") not in of_measurements
        ]

    def _pictures(self) -> set[Path]:
        return {path.with_suffix("") for path, _ in self.places.values() if path.suffix != measurements.SUFFIX}

    def _is_searched(self, folder: Path, beside: Iterable[str]) -> bool:
        if folder.name.startswith(".") or folder.resolve() == self.out:
            return False
        of_measure = any(name.endswith(measurements.SUFFIX) for name in beside)
        if folder.name in (PREVIEWS, REFERENCES) and (of_measure or folder.parent.resolve() == self.out):
            return False
        if is_of_a_job(folder):
            self.say(f"{folder} is passed over: it holds the results of another job. To work on them, name it.")
            return False
        return True

    def _unreadable(self, error: OSError) -> None:
        path = Path(error.filename or ".")
        self.failures.append(Failure(str(path), f"{path} cannot be searched ({error.strerror})."))


def _named(places: list[tuple[Path, str]], recorded: Mapping[str, str]) -> tuple[list[Item], list[Failure]]:
    """The files with a name each, and those that are the second of a name."""
    places = sorted(places, key=lambda each: (each[1], each[0].suffix))
    names: dict[str, Path] = {}
    kept, failures = set(), []
    for path, place in places:  # first those that have a name
        for name in (place, _tagged(path, place)):
            if name in recorded and Path(recorded[name]).name == path.name and name not in names:
                names[name] = path
                kept.add(path)
                break
    alone: dict[str, list[Path]] = {}
    for path, place in places:
        alone.setdefault(place, []).append(path)
    for place, paths in alone.items():
        if len(paths) == 1 and paths[0] not in kept and place not in names and place not in recorded:
            names[place] = paths[0]
            kept.add(paths[0])
    for path, place in places:
        if path in kept:
            continue
        same = [other for other in alone[place] if other is not path and other.name == path.name]
        if same and same[0] in kept:
            failures.append(
                Failure(
                    place,
                    f"{path} would be written as {place!r} as {same[0]} is; rename one, or give their common folder as "
                    "the input.",
                )
            )
            continue
        name = place if len({other.name for other in alone[place]}) == 1 and same else _tagged(path, place)
        while name in names or (name in recorded and Path(recorded[name]).name != path.name):
            name += "_"
        names[name] = path
        kept.add(path)
    return [Item(path, name) for name, path in sorted(names.items())], failures


def _tagged(path: Path, place: str) -> str:
    """'cat_jpg' of cat.jpg."""
    return f"{place}_{re.sub(r'[^A-Za-z0-9]', '', path.suffix) or 'file'}"


def _results_in(folder: Path) -> frozenset[str]:
    """What a job has written into a folder, by its manifest."""
    entries = Manifest(folder / MANIFEST).entries.values()
    return frozenset(output for entry in entries for output in entry.get("outputs", ()))


def _is_measurement(path: Path) -> bool:
    try:
        measurements.read_header(path)
    except measurements.MeasurementError:
        return False
    return True


def _said_of(path: Path, kind: str) -> str:
    if kind == "missing":
        return f"{path} does not exist; check the name."
    if kind.startswith("a "):
        return f"{path} is {kind}, not a file; give a picture."
    return f"{path} cannot be read ({kind})."
