"""Whole commands on a CPU, cold and warm: ours, an older commit's, PyTorch's, and what a user would take instead.

    python -m benchmarks.cpu [--against FOLDER] [--rounds 1] [--tiny] [--work FOLDER]

Every number is of a process from the shell to its end: start, reading, compiling, restoring, writing; seconds of the
clock, processor seconds and peak memory. ``--against`` names another checkout of this package, whose command takes its
turn. Two tasks:

    inpaint    RED-diff, 20 steps of one evaluation, 70 % of the pixels missing, with the bundled network: ours, and the
               same in PyTorch (benchmarks/_torch_solvers.py), eager and compiled, channels last, on all cores
    denoise    what a user would take, sigma 0.1: ours with its defaults, deepinv's DiffPIR with the same network, BM3D,
               total variation; with the PSNR that each reaches

Cold: an empty cache of compiled programs, ours or PyTorch's; warm: a second run. Who has no cache is run once. The
contestants of a cell take turns. A run that was broken off continues: what results/cpu.json has of this commit, machine
and settings is not measured again. BM3D (``pip install bm3d``) is left out where it is missing. On two idle cores it
takes about 20 minutes; ``--tiny`` rehearses it in two. This process stays small: Linux counts a parent's memory as its
child's.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import _report

ROOT = Path(__file__).parents[1]
SIGMA, MISSING, STEPS, BATCH = 0.1, 0.7, 20, 4
GOALS = {"times PyTorch's": 1.0, "times as fast as before": 1.5, "peak GB at 1024": 1.2}
_COMMAND = "from reddiff_jax.cli import main; main()"
# Seconds of two idle cores, for the estimate: of a start, and of an evaluation of the network for 256 x 256 pixels.
_START, _COLD, _INDUCTOR, _EVALUATION = 4.0, 8.0, 60.0, 0.15
_PIXELS = 256**2


class Cell(NamedTuple):
    """What is restored."""

    task: str
    size: int
    count: int


CELLS = [
    *(Cell("inpaint", size, count) for size, count in ((64, 1), (64, 16), (256, 1), (256, 4), (256, 16), (1024, 1))),
    *(Cell("denoise", size, count) for size, count in ((64, 1), (256, 1), (256, 4), (1024, 1))),
]
TINY = [Cell("inpaint", 32, 1), Cell("inpaint", 32, 3), Cell("denoise", 32, 1)]
COMPILED = {(256, 1), (256, 16), (1024, 1), (32, 1)}  # PyTorch's compiler takes a minute for each shape


class Contestant(NamedTuple):
    """One way to do it.

    Args (fields):
        name: What it is called.
        command: (cell, its pictures, output folder) -> the command.
        root: Checkout that it runs in.
        cache: Name of the environment variable with the folder of its compiled programs; None if it keeps none.
        seconds: Cell -> what it is thought to take, cold.
    """

    name: str
    command: Callable[[Cell, Path, Path], list[str]]
    root: Path
    cache: str | None
    seconds: Callable[[Cell], float]


def contestants(cell: Cell, args: argparse.Namespace) -> list[Contestant]:
    """Those that take their turns in a cell."""
    found = [_ours("ours", ROOT, args)]
    if args.against is not None and (cell.count > 1 or cell.task == "denoise"):
        found.append(_ours("before", args.against.resolve(), args))
    if cell.task == "inpaint":
        found.append(_torch("PyTorch, eager", "reddiff", args, evaluations=args.steps))
        if (cell.size, cell.count) in COMPILED:
            found.append(_torch("PyTorch, compiled", "reddiff", args, evaluations=args.steps, compiled=True))
        return found
    found.append(_torch("deepinv's DiffPIR", "diffpir", args, evaluations=args.steps))
    if importlib.util.find_spec("bm3d") is not None:
        found.append(_torch("BM3D", "bm3d", args, evaluations=40))
    return [*found, _torch("total variation", "tv", args, evaluations=2)]


def _ours(name: str, root: Path, args: argparse.Namespace) -> Contestant:
    def command(cell: Cell, pictures: Path, out: Path) -> list[str]:
        folder = str(pictures / ("masked" if cell.task == "inpaint" else "noisy"))
        line = [sys.executable, "-c", _COMMAND, "restore", folder, "--task", cell.task, "--sigma", str(SIGMA)]
        line += ["--out", str(out), "--batch-size", str(min(BATCH, cell.count))]
        if cell.task == "inpaint":
            line += ["--mask", str(pictures / "mask.png"), "--hole", "black", "--grow", "0"]
            line += ["--solver", "reddiff", "--steps", str(args.steps)]
        return line

    def seconds(cell: Cell) -> float:
        return _COLD + (args.steps if cell.task == "inpaint" else 8) * _EVALUATION * cell.count * cell.size**2 / _PIXELS

    return Contestant(name, command, root, "REDDIFF_JAX_CACHE", seconds)


def _torch(
    name: str, method: str, args: argparse.Namespace, *, evaluations: float, compiled: bool = False
) -> Contestant:
    def command(cell: Cell, pictures: Path, out: Path) -> list[str]:
        folder = str(pictures / ("masked" if cell.task == "inpaint" else "noisy"))
        line = [sys.executable, "-m", "benchmarks._torch_tasks", method, folder, str(out), "--sigma", str(SIGMA)]
        line += ["--weights", str(pictures.parent / "net.pt"), "--mask", str(pictures / "mask.png")]
        return [*line, "--steps", str(args.steps), "--batch", str(BATCH), *["--compiled"] * compiled]

    def seconds(cell: Cell) -> float:
        work = evaluations * _EVALUATION * cell.count * cell.size**2 / _PIXELS
        return (_INDUCTOR if compiled else _START) + work

    return Contestant(name, command, ROOT, "TORCHINDUCTOR_CACHE_DIR" if compiled else None, seconds)


def turns_of(contestant: Contestant) -> tuple[str, ...]:
    """A second run tells nothing new of those that keep nothing."""
    return ("cold", "warm") if contestant.cache else ("cold",)


def estimate(cells: list[Cell], args: argparse.Namespace) -> float:
    """Seconds that all of it is thought to take."""
    return sum(
        args.rounds * each.seconds(cell) * (1 if turn == "cold" else 0.7)
        for cell in cells
        for each in contestants(cell, args)
        for turn in turns_of(each)
    )


_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
found = {
    "exit status": os.waitstatus_to_exitcode(status),
    "seconds": time.perf_counter() - began,
    "processor seconds": usage.ru_utime + usage.ru_stime,
    "peak GB": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9,
}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


def timed(command: list[str], *, root: Path, environment: dict[str, str]) -> dict[str, float]:
    """Runs a command; seconds of the clock and of the processors, and peak memory in GB.

    Raises:
        RuntimeError: If it fails.
    """
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.NamedTemporaryFile("r") as told, tempfile.TemporaryFile() as said:
        # Linux counts the memory of the process that forks as the new one's: a small one forks, whatever this is.
        launched = [sys.executable, "-c", _LAUNCHER, told.name, *command]
        subprocess.run(launched, cwd=root, env=variables, stdout=said, stderr=said, check=True)
        found = json.load(told)
        status = found.pop("exit status")
        if status:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {said.read()[-500:].decode(errors='replace')}")
    return found


def psnr(folder: Path, clean: Path) -> float:
    """Mean PSNR of pictures against those of the same names, in dB."""
    import numpy as np
    from PIL import Image

    def pixels(path: Path) -> Any:
        return np.asarray(Image.open(path).convert("RGB"), np.float64)

    errors = [np.mean((pixels(folder / path.name) - pixels(path)) ** 2) for path in sorted(clean.glob("*.png"))]
    return float(np.mean([10 * np.log10(255**2 / error) for error in errors]))


def measure(cell: Cell, work: Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each contestant and turn; medians over the rounds."""
    pictures = _pictures(cell, work)
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(args.rounds):
        caches = {each.name: Path(tempfile.mkdtemp(dir=work)) for each in contestants(cell, args)}
        for turn in ("cold", "warm"):
            for each in contestants(cell, args):
                if turn not in turns_of(each):
                    continue
                out = work / "out"
                shutil.rmtree(out, ignore_errors=True)
                environment = {each.cache: str(caches[each.name])} if each.cache else {}
                found = timed(each.command(cell, pictures, out), root=each.root, environment=environment)
                if cell.task == "denoise":
                    found["PSNR"] = psnr(out, pictures / "clean")
                runs.setdefault((each.name, turn), []).append(found)
                print(f"{cell.task} {cell.size} x {cell.count}, {each.name}, {turn}: {found['seconds']:.1f} s")
        for cache in caches.values():
            shutil.rmtree(cache, ignore_errors=True)
    for (name, turn), found in runs.items():
        medians = {part: statistics.median(each[part] for each in found) for part in found[0]}
        yield {**cell._asdict(), "with": name, "turn": turn, **medians}


def _pictures(cell: Cell, work: Path) -> Path:
    """The folder of a cell's pictures: those that there are of its size, as many as it has."""
    folder = work / f"{cell.size}x{cell.count}"
    if not folder.exists():
        every = work / str(cell.size)
        for kind in ("clean", "noisy", "masked"):
            (folder / kind).mkdir(parents=True)
            for path in sorted((every / kind).glob("*.png"))[: cell.count]:
                shutil.copy(path, folder / kind)
        shutil.copy(every / "mask.png", folder)
    return folder


def prepare(cells: list[Cell], work: Path) -> None:
    """Writes the pictures and the weights."""
    counts: dict[int, int] = {}
    for cell in cells:
        counts[cell.size] = max(cell.count, counts.get(cell.size, 0))
    sets = [f"{size}x{count}" for size, count in counts.items()]
    line = [sys.executable, "-m", "benchmarks._cpu_inputs", str(work), *sets]
    subprocess.run([*line, "--sigma", str(SIGMA), "--missing", str(MISSING)], cwd=ROOT, check=True)


def _environment() -> dict[str, Any]:
    """Machine and versions, asked for in another process: JAX would make this one large."""
    code = "import json; from benchmarks import _report; print(json.dumps(_report.environment()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _known(path: Path, environment: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that a run of this commit, machine and settings has left."""
    if not path.exists():
        return []
    earlier = json.loads(path.read_text())
    return earlier["rows"] if (earlier["environment"], earlier["settings"]) == (environment, settings) else []


def _commit_of(folder: Path) -> str:
    line = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> None:
    """Measures and writes results/cpu.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of this package, to compare with")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: everything small, and nothing kept")
    parser.add_argument("--work", type=Path, help="folder for what lies between; a temporary one if left out")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    if args.tiny:
        args.steps = 2
    cells = TINY if args.tiny else CELLS
    out = args.out or (Path(tempfile.mkdtemp()) if args.tiny else _report.RESULTS)
    path = out / "cpu.json"
    before = None if args.against is None else _commit_of(args.against)
    settings = {"steps": args.steps, "rounds": args.rounds, "sigma": SIGMA, "missing": MISSING, "before": before}
    environment = _environment()
    rows = _known(path, environment, settings)
    done = {(row["task"], row["size"], row["count"]) for row in rows}
    left = [cell for cell in cells if cell not in done]
    print(f"about {estimate(left, args) / 60:.0f} min on two idle cores for {len(left)} cells")
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        prepare(left, work)
        while left:
            cell = left.pop(0)
            rows += measure(cell, work, args)
            out.mkdir(parents=True, exist_ok=True)
            path.write_text(_report._dumped({"environment": environment, "settings": settings, "rows": rows}))
            print(f"{path}: {len(rows)} rows; about {estimate(left, args) / 60:.0f} min left")


if __name__ == "__main__":
    main()
