"""What every table of the site has: its results, and a line that says how they were measured."""

import json
from typing import Any

from benchmarks import _code
from benchmarks._report import RESULTS
from benchmarks._report import markdown as markdown

HIDDEN = ("nearest", "each", "commit")  # lists of one value a picture, and what the note says


def load(name: str) -> dict[str, Any]:
    """A committed result, with the name of the benchmark that wrote it."""
    return {"name": name, **json.loads((RESULTS / f"{name}.json").read_text())}


def measured_on(result: dict[str, Any], how: str) -> str:
    """The line below a table: command, conditions, commit, machine."""
    environment = result["environment"]
    rest = {row.get("commit", environment["commit"]) for row in result["rows"]} - {environment["commit"]}
    commits = f"commit {environment['commit']}" + (f" (some rows at {len(rest)} earlier ones)" if rest else "")
    return (
        f"\n\n`python -m benchmarks.{result['name']}`: {how}. Measured at {commits} on {environment['cpu']} "
        f"({environment['cpu_count']} cores, {environment['backend']}), jax {environment['jax']}."
        f"{_age(result)}"
    )


def _age(result: dict[str, Any]) -> str:
    """A warning below results of code that has changed since."""
    if "code" not in result:
        return " **Stale: measured before results kept a record of their code.**"
    changed = _code.changed(result["code"])
    return " **Stale: code or priors that it ran have changed since.**" if changed else ""
