"""The demonstration: the sample photos restored from several kinds of measurements."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import masks, pictures, plot, tasks
from reddiff_jax._files import replacing
from reddiff_jax.batching import BatchSolver, local_mesh, num_runs_of
from reddiff_jax.jobs.checks import check_seed
from reddiff_jax.jobs.demonstration_page import page
from reddiff_jax.jobs.measuring import simulate
from reddiff_jax.jobs.outputs import prepare_folder, writing
from reddiff_jax.jobs.scoring import mean, score_arrays
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem
from reddiff_jax.settings import DiffpirSettings, ReddiffSettings, Settings, default_settings


@dataclass(frozen=True)
class Show:
    """What is shown of one prior.

    Args (fields):
        prior: The diffusion prior, of colour pictures.
        name: For metrics.json.
        pictures: The originals.
        size: Side to which they are reduced, in pixels.
        tasks: Names of tasks, and noise levels.
        evaluations: Of the network, for each restoration; the demonstration's if None.
        settings: What replaces fields of the tasks' settings, ``{"sigma_max": 6.0}``.
        folder: Where its files go, below the output folder.
    """

    prior: Prior
    name: str
    pictures: Sequence[Path]
    size: int
    tasks: Sequence[tuple[str, float]]
    evaluations: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""


@dataclass(frozen=True)
class DemoResult:
    """One task of the demonstration; lists are in the order of ``names``.

    ``scores`` has those of every method: of the pseudo-inverse, of the default solver, and of the baseline where it was
    asked for.
    """

    show: Show
    task: str
    sigma: float
    settings: Settings
    names: list[str]
    scores: dict[str, list[dict[str, float]]]
    compile_seconds: float
    solve_seconds: float

    @property
    def methods(self) -> tuple[str, ...]:
        """What the restorations are by, in the order of their scores."""
        return tuple(_NAMES[name] for name in self.scores)


_PINV = "pinv"
_NAMES = {
    _PINV: "A+ y",
    "noise_aware": "noise-aware RED-diff",
    "reddiff": "RED-diff",
    "tweedie": "Tweedie, mirrored",
    "diffpir": "DiffPIR",
}
# Of the other solvers the best on two of the photos' four tasks, within 0.2 dB on two (benchmarks/quality.py).
BASELINE = DiffpirSettings.name


def sample_photos() -> list[Path]:
    """Files of the photos that come with the package, 256 x 256 pixels; no bundled prior was trained on them."""
    return pictures.find_pictures(Path(__file__).parents[1] / "data" / "photos")


def sample_emoji() -> list[Path]:
    """Files of the emoji that come with the package, 64 x 64 pixels; no vendor's drawing of them was trained on."""
    return pictures.find_pictures(Path(__file__).parents[1] / "data" / "emoji")


def demonstrate(
    shows: Sequence[Show],
    out: str | Path,
    *,
    steps: int = 100,
    seed: int = 0,
    full: bool = False,
    say: Callable[[str], Any] = lambda text: None,
) -> Iterator[DemoResult]:
    """Restores sample pictures from several kinds of measurements.

    Writes ``TASK.png`` and ``restored/TASK/NAME.png`` for each task, ``panel.png`` with one picture of each task,
    ``metrics.json``, and ``index.html``, which shows what is there from the first task on. The panel's picture of the
    k-th task is the k-th of the pictures; nobody has chosen it.

    Args:
        shows: Priors, each with its pictures and tasks.
        out: Output folder.
        steps: Evaluations of the network for each restoration, where a show does not say otherwise.
        seed: Seed of everything drawn.
        full: Every picture of each task, in one compiled call, and by DiffPIR, too; otherwise one picture.
        say: Called with what is being done.

    Yields:
        Each task's result.

    Raises:
        JobError: If the folder cannot be written.
        ValueError: For an impossible number of steps.
    """
    replace(ReddiffSettings(), num_steps=steps)
    check_seed(seed)
    out = Path(out)
    results, rows, num_tasks = [], [], sum(len(show.tasks) for show in shows)
    for show in shows:
        folder = out / show.folder
        prepare_folder(folder)
        for index, (task, sigma) in enumerate(show.tasks):
            paths = show.pictures if full else [show.pictures[index % len(show.pictures)]]
            result, cells = _restore(show, task, sigma, paths, show.evaluations or steps, seed, full, say)
            results.append(result)
            with writing(out):
                plot.write_sheet(folder / f"{task}.png", _task_panel(result, cells))
                (folder / "restored" / task).mkdir(parents=True, exist_ok=True)
                for name, row in zip(result.names, cells, strict=True):
                    pictures.write_picture(folder / "restored" / task / f"{name}.png", row[_RESTORED])
            chosen = index % len(paths)
            rows.append((f"{task}, sigma {sigma:g}", cells[chosen], _captions(result, chosen)))
            overall = plot.sheet(
                [cells for _, cells, _ in rows],
                columns=("original", "measurement y", *result.methods),
                rows=[name for name, _, _ in rows],
                captions=[captions for _, _, captions in rows],
                min_cell=192,
            )
            with writing(out):
                plot.write_sheet(out / "panel.png", overall)
                with replacing(out / "metrics.json") as partial:
                    partial.write_text(json.dumps(_demo_metrics(results, steps, seed), indent=1) + "\n")
                shown = [(each.task, each.sigma, f"{each.show.folder or '.'}/{each.task}.png") for each in results]
                with replacing(out / "index.html") as partial:
                    partial.write_text(page(shown, len(results) == num_tasks), encoding="utf-8")
            yield result


_RESTORED = 3  # the column of a row of cells that has the default solver's picture


def _restore(
    show: Show,
    task: str,
    sigma: float,
    paths: Sequence[Path],
    evaluations: int,
    seed: int,
    full: bool,
    say: Callable[[str], Any],
) -> tuple[DemoResult, list[list[np.ndarray]]]:
    """One task's result, and for each picture original, view of y, pseudo-inverse and restorations."""
    names = [path.stem for path in paths]
    originals = [pictures.to_float(pictures.center_crop(pictures.read_uint8(path), show.size)) for path in paths]
    measured = [simulate(name, x, task, sigma, seed) for name, x in zip(names, originals, strict=True)]
    shared = not measured[0].arrays
    operator = measured[0].operator() if shared else None
    problems = [measurement.problem(operator) for measurement in measured]
    keys = [jax.random.fold_in(masks.key_of(name, seed), 0) for name in names]
    settings = default_settings(problems[0]).spending(evaluations).changed(show.settings)
    restored = {_PINV: [np.clip(np.asarray(each.operator.pinv(each.y)), -1, 1) for each in problems]}
    xs, compile_seconds, seconds = _solve(settings, show.prior, problems, keys, shared, say)
    restored[settings.name] = list(xs)
    if full:
        xs, *_ = _solve(DiffpirSettings().spending(evaluations), show.prior, problems, keys, shared, say)
        restored[BASELINE] = list(xs)
    scores = {
        name: [score_arrays(x, original) for x, original in zip(each, originals, strict=True)]
        for name, each in restored.items()
    }
    views = [measurement.preview() for measurement in measured]
    cells = [list(row) for row in zip(originals, views, *restored.values(), strict=True)]
    return DemoResult(show, task, sigma, settings, names, scores, compile_seconds, seconds), cells


def _solve(
    settings: Settings, prior: Prior, problems: list[Problem], keys: list, shared: bool, say: Callable[[str], Any]
) -> tuple[np.ndarray, float, float]:
    """Restorations, cut to [-1, 1], and the seconds of compiling and of solving."""
    say(f"{settings.name}: compiling")
    solver = settings.solver(prior)
    batch = BatchSolver(
        solver,
        problems[0],
        batch_size=len(problems),
        shared_operator=shared,
        shared_noise=True,
        steps_per_call=solver.num_steps,
        mesh=local_mesh(len(problems) * num_runs_of(solver)),
    )
    say(f"{settings.name}: restoring {len(problems)} picture{'s in one call' if len(problems) > 1 else ''}")
    began = time.perf_counter()
    xs = np.asarray(batch(keys, problems).x)
    return np.clip(xs, -1, 1), batch.compile_seconds, time.perf_counter() - began


def _task_panel(result: DemoResult, cells: list[list[np.ndarray]]) -> np.ndarray:
    return plot.sheet(
        cells,
        columns=("original", "measurement y", *result.methods),
        rows=result.names,
        captions=[_captions(result, index) for index in range(len(cells))],
        title=f"{result.task}, sigma {result.sigma:g}: {tasks.by_name(result.task).help}",
    )


def _captions(result: DemoResult, index: int) -> list[str]:
    scores = (each[index] for each in result.scores.values())
    return ["", "", *(f"{score['psnr']:.2f} dB, SSIM {score['ssim']:.3f}" for score in scores)]


def _demo_metrics(results: list[DemoResult], steps: int, seed: int) -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "steps": steps,
        "seed": seed,
        "device": f"{device.device_kind} ({device.platform})",
        "jax": jax.__version__,
        "tasks": [
            {
                "prior": result.show.name,
                "size": result.show.size,
                "task": result.task,
                "sigma": result.sigma,
                "settings": asdict(result.settings),  # type: ignore[call-overload]
                "compile_seconds": round(result.compile_seconds, 2),
                "solve_seconds": round(result.solve_seconds, 2),
                "mean": {
                    kind: {key: mean(score[key] for score in scores) for key in ("psnr", "ssim")}
                    for kind, scores in result.scores.items()
                },
                "pictures": {
                    name: {kind: scores[index] for kind, scores in result.scores.items()}
                    for index, name in enumerate(result.names)
                },
            }
            for result in results
        ],
    }
