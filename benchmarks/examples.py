"""Runs the scripts of examples/ as a stranger would, and keeps the picture that each ends in for the site.

    python -m benchmarks.examples [NAME ...]

Each runs in a process of its own. Pictures are written to docs/examples/NAME.webp.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
PICTURES = ROOT / "docs" / "examples"


def names() -> list[str]:
    """The examples, in the order of the alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def run(name: str, picture: Path) -> dict[str, float]:
    """Runs an example.

    Args:
        name: Which one.
        picture: Where its picture goes; the suffix says the format.

    Returns:
        The numbers that its variables hold at the end, and ``cpu_seconds``.

    Raises:
        RuntimeError: If it fails, with what it printed.
    """
    hidden = ("XLA_FLAGS", "JAX_PLATFORMS")  # a test's, not a stranger's
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | {"PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-m", "benchmarks._example", str(FOLDER / f"{name}.py"), str(picture.resolve())]
    with tempfile.TemporaryDirectory() as folder:  # where an example may write
        environment["REDDIFF_JAX_CACHE"] = f"{folder}/cache"  # empty, as in a stranger's first run
        done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=names())
    for name in parser.parse_args().names:
        numbers = run(name, PICTURES / f"{name}.webp")
        print(name, {key: round(value, 2) for key, value in numbers.items()}, flush=True)
