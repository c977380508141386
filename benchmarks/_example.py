"""Runs one script, keeps its last picture, and prints the numbers that its variables hold: see benchmarks/examples.py.

python -m benchmarks._example SCRIPT PICTURE
"""

import json
import resource
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

DOTS_PER_INCH = 130  # 1250 pixels wide
MAX_BYTES = 100_000  # of a committed picture


def numbers(variables: dict[str, Any]) -> dict[str, float]:
    """Variables that are numbers, or arrays of one number."""
    found = {}
    for name, value in variables.items():
        kind = getattr(getattr(value, "dtype", None), "kind", "")
        number = isinstance(value, int | float) or (kind in ("f", "i") and value.shape == ())
        if number and not name.startswith("_"):
            found[name] = float(value)
    return found


def cpu_seconds() -> float:
    """Of this process and those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as WebP, as well as fits."""
    for quality in range(85, 0, -10):
        figure.savefig(path, dpi=DOTS_PER_INCH, pil_kwargs={"quality": quality})
        if path.stat().st_size <= MAX_BYTES:
            return


if __name__ == "__main__":
    matplotlib.use("agg")
    from matplotlib import pyplot

    warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
    script, picture = sys.argv[1:]
    found = runpy.run_path(script)
    save(pyplot.gcf(), Path(picture))
    print(json.dumps({**numbers(found), "cpu_seconds": cpu_seconds()}))
