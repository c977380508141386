"""What was done, how, and with which prior: ``manifest.jsonl``."""

import hashlib
import json
from pathlib import Path
from typing import Any

from reddiff_jax.jobs.outputs import writing

MANIFEST = "manifest.jsonl"


class Manifest:
    """A file of JSON lines, the last of which for a name holds; a line cut short by a kill is passed over."""

    def __init__(self, path: Path):
        self.path = path
        self.entries: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self.entries[entry["name"]] = entry
                except (json.JSONDecodeError, TypeError, KeyError):
                    continue

    def add(self, entry: dict[str, Any]) -> None:
        """Appends a line."""
        entry = json.loads(json.dumps(entry))  # tuples as the lists that are read back
        with writing(self.path):
            cut_short = self.path.is_file() and self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("\n" if cut_short else "") + json.dumps(entry) + "\n")
        self.entries[entry["name"]] = entry


def fingerprint(folder: str | Path) -> str:
    """Name of a prior's folder and a hash of all that is in it."""
    folder = Path(folder)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return f"{folder.resolve().name}-{digest.hexdigest()[:12]}"
