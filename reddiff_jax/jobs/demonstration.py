"""The demonstration: the sample photos restored from several kinds of measurements."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import panels, pictures, tasks
from reddiff_jax.jobs.batches import BatchSolver
from reddiff_jax.jobs.measuring import simulate
from reddiff_jax.jobs.outputs import prepare_folder, writing
from reddiff_jax.jobs.scoring import mean, score_arrays
from reddiff_jax.jobs.settings import check_seed
from reddiff_jax.operators import mask_key
from reddiff_jax.priors import Prior
from reddiff_jax.tasks import Preset


@dataclass(frozen=True)
class DemoResult:
    """One task of the demonstration; lists are in the order of ``names``."""

    task: str
    sigma: float
    preset: Preset
    names: list[str]
    pinv_scores: list[dict[str, float]]
    scores: list[dict[str, float]]
    compile_seconds: float
    solve_seconds: float


def sample_photos() -> list[Path]:
    """The photos that come with the package."""
    return pictures.find_pictures(Path(__file__).parents[1] / "data" / "photos")


def demonstrate(
    prior: Prior,
    out: str | Path,
    tasks_and_sigmas: Sequence[tuple[str, float]],
    *,
    prior_name: str = "",
    steps: int = 100,
    size: int = 128,
    seed: int = 0,
    say: Callable[[str], Any] = lambda text: None,
) -> Iterator[DemoResult]:
    """Restores the sample photos from several kinds of measurements, each kind in one compiled call.

    Writes ``TASK.png`` and ``restored/TASK/NAME.png`` for each task, and at the end ``panel.png`` and ``metrics.json``.

    Args:
        prior: The diffusion prior, of colour pictures.
        out: Output folder.
        tasks_and_sigmas: Names of tasks and noise levels.
        prior_name: For metrics.json.
        steps: Steps of each restoration.
        size: Side of the photos in pixels.
        seed: Seed of everything drawn.
        say: Called with what is being done.

    Yields:
        Each task's result.

    Raises:
        JobError: If the folder cannot be written.
        ValueError: For an impossible number of steps.
    """
    replace(Preset(), num_steps=steps)
    check_seed(seed)
    out = Path(out)
    prepare_folder(out)
    paths = sample_photos()
    names = [path.stem for path in paths]
    photos = [pictures.to_float(pictures.center_crop(pictures.read_uint8(path), size)) for path in paths]
    rows: list[tuple[str, list[np.ndarray]]] = [("original", photos)]
    results = []
    for task, sigma in tasks_and_sigmas:
        preset = replace(tasks.by_name(task).preset(sigma), num_steps=steps)
        solver = preset.solver(prior)
        measured = [simulate(name, x, task, sigma, seed) for name, x in zip(names, photos, strict=True)]
        shared = not measured[0].arrays
        operator = measured[0].operator() if shared else None
        problems = [measurement.problem(operator) for measurement in measured]
        keys = [jax.random.fold_in(mask_key(name, seed), 0) for name in names]
        say(f"{task}: compiling")
        batch = BatchSolver(solver, problems[0], batch_size=len(problems), shared_operator=shared)
        say(f"{task}: restoring {len(problems)} photos in one call")
        began = time.perf_counter()
        xs, _ = batch(keys, problems)
        seconds = time.perf_counter() - began
        xs = np.clip(xs, -1, 1)
        pinvs = [np.clip(np.asarray(each.operator.pinv(each.y)), -1, 1) for each in problems]
        scores = [score_arrays(x, photo) for x, photo in zip(xs, photos, strict=True)]
        pinv_scores = [score_arrays(x, photo) for x, photo in zip(pinvs, photos, strict=True)]
        result = DemoResult(task, sigma, preset, names, pinv_scores, scores, batch.compile_seconds, seconds)
        results.append(result)
        views = [measurement.preview() for measurement in measured]
        with writing(out):
            panels.write_panel(out / f"{task}.png", _task_panel(result, photos, views, pinvs, list(xs)))
            (out / "restored" / task).mkdir(parents=True, exist_ok=True)
            for name, x in zip(names, xs, strict=True):
                pictures.write_picture(out / "restored" / task / f"{name}.png", x)
        rows += [(f"{task}, sigma {sigma:g}", views), ("restored", list(xs))]
        yield result
    overall = panels.panel([cells for _, cells in rows], columns=names, rows=[name for name, _ in rows])
    with writing(out):
        panels.write_panel(out / "panel.png", overall)
        (out / "metrics.json").write_text(
            json.dumps(_demo_metrics(results, prior_name, steps, size, seed), indent=1) + "\n"
        )


def _task_panel(
    result: DemoResult, photos: list, views: list[np.ndarray], pinvs: list[np.ndarray], xs: list[np.ndarray]
) -> np.ndarray:
    def said(score: Mapping[str, float]) -> str:
        return f"{score['psnr']:.2f} dB, SSIM {score['ssim']:.3f}"

    cells = [list(row) for row in zip(photos, views, pinvs, xs, strict=True)]
    captions = [
        ["", "", said(before), said(after)] for before, after in zip(result.pinv_scores, result.scores, strict=True)
    ]
    return panels.panel(
        cells,
        columns=("original", "measurement y", "A+ y", "RED-diff"),
        rows=result.names,
        captions=captions,
        title=f"{result.task}, sigma {result.sigma:g}: {tasks.by_name(result.task).help}",
    )


def _demo_metrics(results: list[DemoResult], prior_name: str, steps: int, size: int, seed: int) -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "prior": prior_name,
        "steps": steps,
        "size": size,
        "seed": seed,
        "device": f"{device.device_kind} ({device.platform})",
        "jax": jax.__version__,
        "tasks": [
            {
                "task": result.task,
                "sigma": result.sigma,
                "preset": asdict(result.preset),
                "compile_seconds": round(result.compile_seconds, 2),
                "solve_seconds": round(result.solve_seconds, 2),
                "mean": {
                    kind: {key: mean(score[key] for score in scores) for key in ("psnr", "ssim")}
                    for kind, scores in (("pinv", result.pinv_scores), ("reddiff", result.scores))
                },
                "pictures": {
                    name: {"pinv": before, "reddiff": after}
                    for name, before, after in zip(result.names, result.pinv_scores, result.scores, strict=True)
                },
            }
            for result in results
        ],
    }
