"""Every task once: what RED-diff, noise-aware and published, makes of a measurement, and a picture of it.

    python -m benchmarks.tasks [--prior PRIOR] [--size 128] [--only mri4 ...]

The bundled prior, two held-out photos a task, for MRI and CT a slice of a head; PSNR of A+ y and of the restorations,
means over pictures. What is drawn, and the value of each picture, is of the method that the command line takes. Phase
retrieval is run from several starts: how many of them succeed, and the PSNR of that with the smallest residual.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report, _settings
from reddiff_jax import metrics, pictures, plot, tasks
from reddiff_jax.measurements import make_measurement

RESTARTS = 4
METHODS = ("reddiff", "noise_aware")
SUCCESS = 25.0  # dB; failed retrievals are far below
NOISELESS = ("jpeg", "quantization", "hdr", "phase_retrieval")  # kinds
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))
restarts = jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))


def names() -> list[str]:
    """Tasks that need nothing of the user's, each by one of its names."""
    first = {id(task): name for name, task in reversed(tasks.TASKS.items())}
    return [name for name, task in tasks.TASKS.items() if task.draw and first[id(task)] == name and name != "deblur_nl"]


def pictures_of(kind: str | None, size: int) -> dict[str, np.ndarray]:
    """What is measured: photos, or a head."""
    if kind in ("mri", "ct"):
        return {"head": np.repeat(_pictures.head_slice(size), 3, axis=-1)}
    photos = _pictures.held_out(size)
    return {name: photos[name] for name in ("chelsea", "motorcycle")}


def restore(prior: rd.Prior, name: str, size: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Measures and restores; returns the row of the table, and original, measurement, A+ y and restoration of one."""
    task, kind = tasks.by_name(name), _settings.kind(name)
    sigma = 0.0 if kind in NOISELESS else 0.05
    photos = pictures_of(kind, size)
    x = np.stack(list(photos.values()))
    keys = jax.random.split(jax.random.key(2), len(x))
    drawn = [task.simulate(key, x.shape[1:]) for key in keys]
    problems = [
        rd.measure(key, task.operator(image.shape, arrays), rd.gaussian(sigma), jnp.asarray(image))
        for key, arrays, image in zip(keys, drawn, x, strict=True)
    ]
    default = _settings.built_in(name, sigma).name
    row: dict[str, Any] = {"task": name, "sigma": sigma, "pictures": ", ".join(photos), "default": default}
    stacked = rd.stack(problems)
    if kind == "phase_retrieval":
        solver = _settings.built_in(name, sigma).solver(prior)
        best, counts = [], []
        for key, problem, image in zip(keys, problems, x, strict=True):
            solutions = restarts(jax.random.split(key, RESTARTS), solver, problem)
            residuals = jax.vmap(problem.misfit)(solutions.x)
            candidates = [_turned(np.asarray(each), image) for each in solutions.x]
            counts.append(sum(_psnr(each, image) > SUCCESS for each in candidates))
            best.append(candidates[int(jnp.argmin(residuals))])
        restorations = {default: np.stack(best)}
        row["restarts"] = f"{sum(counts)} of {RESTARTS * len(x)} above {SUCCESS:g} dB"
    else:
        solvers = {method: _settings.built_in(name, sigma, method).solver(prior) for method in METHODS}
        restorations = {method: np.asarray(runs(keys, solver, stacked).x) for method, solver in solvers.items()}
    explained = np.asarray(jax.vmap(lambda problem: problem.operator.pinv(problem.y))(stacked))
    original, explained, *restored = (task.result(np.clip(e, -1, 1)) for e in (x, explained, *restorations.values()))
    shown = restored[list(restorations).index(default)]
    for column, images in zip(("A+y", *restorations), (explained, *restored), strict=True):
        values = [_psnr(a, b) for a, b in zip(images, original, strict=True)]
        row[f"{column} PSNR"] = round(float(np.mean([min(value, 99.0) for value in values])), 2)
    row["per picture"] = {each: round(_psnr(a, b), 2) for each, a, b in zip(photos, shown, original, strict=True)}
    measurement = make_measurement(name, sigma, np.asarray(problems[0].y), x.shape[1:], drawn[0])
    view = pictures.shrink(measurement.preview(), size)
    return row, [original[0], view, explained[0], shown[0]]


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(metrics.psnr(jnp.asarray(a), jnp.asarray(b)))


def _turned(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Of the images with the same magnitudes (turned by 180 degrees, with the other sign) the nearest."""
    turned = x[::-1, ::-1]
    return max((x, turned, -x, -turned), key=lambda each: _psnr(each, reference))


def main() -> None:
    """Runs the comparison and writes results/tasks.json and results/tasks_panel.jpg."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results")
    args = parser.parse_args()
    prior = rd.load_prior(args.prior)
    rows, cells, captions = [], [], []
    for name in args.only or names():
        row, shown = restore(prior, name, args.size)
        rows.append(row)
        print(
            _report.markdown(
                [row], ["task", "sigma", "A+y PSNR", *(f"{method} PSNR" for method in METHODS), "restarts"]
            ).splitlines()[-1],
            flush=True,
        )
        cells.append(shown)
        captions.append([name, "", f"{row['A+y PSNR']:.1f} dB", f"{row[row['default'] + ' PSNR']:.1f} dB"])
    settings = {"prior": str(args.prior or "bundled"), "size": args.size, "success": SUCCESS, "dtype": "float32"}
    path = _report.write("tasks", settings=settings, rows=rows, out=args.out)
    columns = ("original", "measurement y", "A+ y", "restored")
    half = -(-len(cells) // 2)
    empty = [None] * len(columns)
    right = [*cells[half:], empty][:half] if len(cells) % 2 else cells[half:]
    right_captions = [*captions[half:], [""] * len(columns)][:half] if len(cells) % 2 else captions[half:]
    panel = plot.sheet(
        [[*a, *b] for a, b in zip(cells[:half], right, strict=True)],
        columns=columns * 2,
        rows=[""] * half,
        captions=[[*a, *b] for a, b in zip(captions[:half], right_captions, strict=True)],
    )
    plot.write_sheet(path.with_name("tasks_panel.png"), panel)
    _report.shrink_picture(path.with_name("tasks_panel.png"), suffix=".jpg")


if __name__ == "__main__":
    main()
