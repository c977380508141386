"""A record of what was done, how and with which prior: ``manifest.jsonl``, or ``manifest-00000.jsonl`` of a process."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reddiff_jax import _rules as rules
from reddiff_jax._files import append, sha256_of
from reddiff_jax._rules import JsonError, Rule, check, read_json
from reddiff_jax.cards import CARD
from reddiff_jax.jobs.outputs import writing

MANIFEST = "manifest.jsonl"
_MAX_LINE = 2**20  # bytes; a longer line is read in pieces, none of which is an entry
_MAX_ORDER = 2**53
_COUNT = rules.whole(0, 2**31)
_SIZE = rules.whole(1, 2**31)
# What is read of a line again; a line that says anything else is passed over, as one that was cut short is.
_OPTIONAL = {
    "time": rules.number(0, 1e11),
    "order": rules.whole(0, _MAX_ORDER),
    "status": rules.text(),
    "source": rules.text(),
    "outputs": rules.list_of(rules.text(), 0, 2_000),
    "settings": rules.table_of(rules.anything()),
    "options": rules.table_of(rules.anything()),
    "attempts": _COUNT,
    "batch_size": _SIZE,
    "overwrite": rules.one_of(False, True),
    "versions": rules.table_of(rules.text(100)),
    "sha256": rules.table_of(rules.hexadecimal(64)),
}
_NAMED = rules.record({"name": rules.text()}, optional=_OPTIONAL)
_RESTORED = rules.record({"name": rules.text(), "status": rules.text()}, optional=_OPTIONAL)
_LINE = Rule(
    lambda value: type(value) is dict,
    "an entry",
    lambda value: iter([("", value, _RESTORED if "settings" in value else _NAMED)]),
)


class Manifest:
    """A file of JSON lines, of which the last one of a name counts; a line cut short by a kill is skipped.

    Other ``manifest*.jsonl`` beside it are of other processes: they are read, too. Of two lines of one name the one of
    the larger ``order`` counts, which is one more than any that its process had read: clocks jump, and differ between
    machines, so the time is for people only.
    """

    def __init__(self, path: Path):
        self.path = path
        self.entries: dict[str, dict[str, Any]] = {}
        for file in sorted({*path.parent.glob("manifest*.jsonl"), path}):
            for name, entry in {entry["name"]: entry for entry in _entries(file)}.items():
                if _order(entry) >= _order(self.entries.get(name, {})):
                    self.entries[name] = entry
        self._order = max(map(_order, self.entries.values()), default=0)

    def add(self, *entries: Mapping[str, Any]) -> None:
        """Appends lines, each with the time: all are on the disk when this returns, or none if there is no room."""
        now, order = round(time.time(), 3), min(self._order + 1, _MAX_ORDER)
        lines = [json.loads(json.dumps({**entry, "time": now, "order": order})) for entry in entries]
        with writing(self.path):
            append(self.path, b"".join(json.dumps(line).encode() + b"\n" for line in lines), sync=True)
        self.entries |= {line["name"]: line for line in lines}
        self._order = order

    def sources(self) -> dict[str, str]:
        """Name of a result -> the file that it is of; without those that failed, of which there is none."""
        known = {name: entry.get("source") for name, entry in self.entries.items() if entry.get("status") != "failed"}
        return {name: source for name, source in known.items() if isinstance(source, str)}


def is_of_a_job(folder: Path) -> bool:
    """Whether a folder holds the results of a restoration: a manifest of ours."""
    for path in folder.glob("manifest*.jsonl"):
        try:
            return next(_entries(path), {}).keys() >= {"name", "source", "status"}
        except OSError:
            continue
    return False


def _order(entry: Mapping[str, Any]) -> int:
    return entry.get("order", 0)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(_MAX_LINE), b""):
            try:
                entry = read_json(line.decode(errors="replace"), limit=_MAX_LINE)
                check(entry, _LINE)
            except JsonError:
                continue
            yield entry


def fingerprint(folder: str | Path) -> str:
    """Name of a prior's folder and a hash of its card, which lists the SHA-256 of every other file."""
    folder = Path(folder)
    return f"{folder.resolve().name}-{sha256_of(folder / CARD)[:12]}"
