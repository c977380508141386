"""What every benchmark writes: its rows, and on what they were measured."""

import json
import os
import platform
import subprocess
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _code

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
MAX_BYTES = 500_000  # of a committed picture


def _describe_commit() -> str:
    """The commit, "-dirty" if more than results differs from it."""
    git = partial(subprocess.run, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    commit = git(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
    changed = git(
        ["git", "diff", "--quiet", "HEAD", "--", ".", ":!benchmarks/results", ":!README.md", ":!docs"]
    ).returncode
    return (commit + "-dirty" * bool(changed)) if commit else "unknown"


# Read at the start: commits made while a benchmark runs are not what it measures.
_COMMIT = _describe_commit()
_BEGAN = time.perf_counter()


def environment() -> dict[str, Any]:
    """Machine, versions and commit."""
    import jax

    device = jax.devices()[0]
    return {
        "commit": _COMMIT,
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "backend": jax.default_backend(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optax", "numpy")},
    }


def write(name: str, *, settings: dict[str, Any], rows: list[dict[str, Any]], out: Path | None = None) -> Path:
    """Writes ``results/NAME.json``, with the code that was run and how long this process took.

    Each row keeps the commit that it was measured at, this one if it has none yet.
    """
    path = (out or RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "commit": row.get("commit", _COMMIT)} for row in rows]
    result = {"environment": environment(), "minutes": _minutes(), **_record(path, rows)}
    path.write_text(_dumped({**result, "settings": settings, "rows": rows}))
    return path


def _record(path: Path, rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The code that the rows were measured with; of rows that are kept the code of the result that they are from."""
    code = _code.loaded()
    if all(row["commit"] == _COMMIT for row in rows) or not path.exists():
        return {"code": code}
    earlier = json.loads(path.read_text())
    return {"code": {**code, **earlier["code"]}} if "code" in earlier else {}


def _minutes() -> float:
    """How long this process has run."""
    return round((time.perf_counter() - _BEGAN) / 60, 1)


def _dumped(result: dict[str, Any]) -> str:
    """JSON with one row a line: small, and two versions differ in the rows that differ."""
    head = "".join(f'"{name}": {json.dumps(result[name])},\n' for name in result if name != "rows")
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in result["rows"])
    return f'{{{head}"rows": [\n{rows}\n]}}\n'


def read(name: str, *, settings: dict[str, Any], out: Path | None = None) -> list[dict[str, Any]]:
    """Rows of ``results/NAME.json`` if they were measured with these settings at this commit on this machine."""
    path = (out or RESULTS) / f"{name}.json"
    if not path.exists():
        return []
    earlier, now = json.loads(path.read_text()), environment()
    same = all(earlier["environment"].get(each) == now[each] for each in ("commit", "device", "cpu", "jax"))
    return earlier["rows"] if same and earlier["settings"] == json.loads(json.dumps(settings)) else []


def write_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure of ``rd.plot`` as a picture for the repository, and closes it."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    shrink_picture(path)


def shrink_picture(path: Path, width: int = 1100, *, suffix: str = ".png") -> Path:
    """Rewrites a picture for the repository: no wider than this, at most ``MAX_BYTES``.

    Args:
        path: The picture, which is replaced.
        width: Largest width in pixels.
        suffix: ``.png``, 256 colours, for drawings; ``.jpg`` for photos.
    """
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    path.unlink()
    path = path.with_suffix(suffix)
    width = min(width, picture.width)
    while True:
        smaller = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        if suffix == ".jpg":
            smaller.save(path, quality=85)
        else:
            smaller.quantize(256).save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            return path
        width = int(0.95 * width)


def markdown(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as a Markdown table."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row.get(column)) for column in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1
        else f"{value:.2f}"
        if isinstance(value, float)
        else str(value)
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
