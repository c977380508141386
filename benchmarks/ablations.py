"""The paper's ablations on the bundled prior: order of the timesteps, weighting of the prior term, optimizer.

    python -m benchmarks.ablations [--only orders weightings optimizers] [--size 64] [--steps 100]

RED-diff as published (all timesteps, constant learning rate) is varied in one thing at a time, on five held-out photos.
What must be chosen anew for a fair comparison is chosen on two tuning pictures by ``PSNR - 10 LPIPS``, from one grid
for all: lam for each order and weighting, the learning rate and then lam for each optimizer. Rows already in
results/ablations.json are kept: an interrupted run goes on where it was. ``benchmarks.order`` has the order of the
timesteps where the exact answer is known.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
from benchmarks import _pictures, _report, quality
from reddiff_jax import metrics, weightings

TASKS = {"inpaint_random": 0.0, "sr4": 0.05}
ORDERS = {"descending": rd.solvers.descending, "random": rd.solvers.random, "ascending": rd.solvers.ascending}
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "Adam 0.9, 0.99": partial(optax.adam, b1=0.9, b2=0.99),
    "Adam 0.9, 0.999": partial(optax.adam, b1=0.9, b2=0.999),
    "Adam 0.5, 0.9": partial(optax.adam, b1=0.5, b2=0.9),
    "SGD": optax.sgd,
    "momentum 0.9": partial(optax.sgd, momentum=0.9),
    "Nesterov 0.9": partial(optax.sgd, momentum=0.9, nesterov=True),
    # Its default weight decay would pull the picture to gray.
    "Lion": partial(optax.lion, weight_decay=0.0),
    "Adafactor": partial(optax.adafactor, min_dim_size_to_factor=1),
    "schedule-free Adam": partial(optax.contrib.schedule_free_adamw, b1=0.9, b2=0.99),
}
BASE = {
    "order": "descending",
    "weighting": "linear",
    "optimizer": "Adam 0.9, 0.99",
    "learning_rate": 0.1,
    "lam": 0.25,
}
ABLATIONS = {
    "orders": ("order", ORDERS, ("lam",)),
    "weightings": ("weighting", weightings.WEIGHTINGS, ("lam",)),
    "optimizers": ("optimizer", OPTIMIZERS, ("learning_rate", "lam")),
}
GRIDS = {"lam": (0.002, 0.01, 0.05, 0.25, 1.0), "learning_rate": (0.01, 0.03, 0.1, 0.3, 1.0)}
METRICS = ("PSNR", "SSIM", "LPIPS")
NUM_RECORDS = 10


@partial(jax.jit, static_argnames=("optimizer", "num_steps"))
def trajectory(prior, problem, key, order, weighting, lam, learning_rate, *, optimizer: str, num_steps: int):
    """Estimates (NUM_RECORDS, H, W, C) of one picture; ``order`` and ``weighting`` count the rows of their tables."""
    # Chosen by number and not by function, so that one compilation serves all orders and weightings.
    solver = rd.reddiff(
        prior,
        OPTIMIZERS[optimizer](learning_rate),
        lam=lam,
        num_steps=num_steps,
        order=lambda *args: jax.lax.switch(order, list(ORDERS.values()), *args),
        weighting=lambda *scales: jax.lax.switch(weighting, list(weightings.WEIGHTINGS.values()), *scales),
    )
    return rd.run(
        key, solver, problem, record=lambda state, _: solver.estimate(state), record_every=num_steps // NUM_RECORDS
    ).record


@jax.jit
def judge(lpips, restored, x) -> dict[str, jax.Array]:
    """Each metric of the estimates (NUM_RECORDS, H, W, C) of the picture ``x``."""

    def one(image):
        image = jnp.clip(image, -1, 1)
        ssim = metrics.ssim((image + 1) / 2, (x + 1) / 2, data_range=1.0)
        return {"PSNR": metrics.psnr(image, x), "SSIM": ssim, "LPIPS": lpips(image, x)}

    return jax.vmap(one)(restored)


class Bench:
    """Runs settings of RED-diff on the pictures of one task."""

    def __init__(self, prior: rd.Prior, lpips, task: str, size: int, num_steps: int):
        self.prior, self.lpips, self.num_steps = prior, lpips, num_steps
        self.known: dict[tuple, dict[str, np.ndarray]] = {}
        held_out, tuning = (np.stack(list(made(size).values())) for made in (_pictures.held_out, _pictures.tuning))
        # One crop of each tuning photo.
        self.sets = {
            name: list(zip(x, quality.simulate(task, TASKS[task], x), strict=True))
            for name, x in (("held out", held_out), ("tuning", tuning[::2]))
        }

    def curves(self, pictures: str, setting: dict) -> dict[str, np.ndarray]:
        """Each metric (NUM_RECORDS,), a mean over pictures; known settings are not run again."""
        which = (pictures, *sorted(setting.items()))
        if which not in self.known:
            self.known[which] = self.measured(pictures, setting)
        return self.known[which]

    def measured(self, pictures: str, setting: dict) -> dict[str, np.ndarray]:
        """Each metric (NUM_RECORDS,), a mean over pictures."""
        values = []
        for i, (x, problem) in enumerate(self.sets[pictures]):
            restored = trajectory(
                self.prior,
                problem,
                jax.random.key(i),
                list(ORDERS).index(setting["order"]),
                list(weightings.WEIGHTINGS).index(setting["weighting"]),
                setting["lam"],
                setting["learning_rate"],
                optimizer=setting["optimizer"],
                num_steps=self.num_steps,
            )
            values.append(judge(self.lpips, restored, jnp.asarray(x)))
        return {metric: np.mean([value[metric] for value in values], axis=0) for metric in METRICS}

    def score(self, setting: dict) -> float:
        """What settings are chosen by; a run that diverged is worst."""
        curves = self.curves("tuning", setting)
        score = float(curves["PSNR"][-1] - 10 * curves["LPIPS"][-1])
        return round(score, 3) if np.isfinite(score) else -100.0

    def tuned(self, setting: dict, fields: tuple[str, ...]) -> dict:
        """A row: the best value of one field after the other on the tuning pictures, measured on the held-out ones."""
        scores = {}
        for field in fields:
            found = {value: self.score({**setting, field: value}) for value in GRIDS[field]}
            setting = {**setting, field: max(found, key=found.__getitem__)}
            scores[field] = {str(value): score for value, score in found.items()}
        curves = self.curves("held out", setting)
        return {
            **setting,
            "scores": scores,
            **{metric: round(float(curve[-1]), 4) for metric, curve in curves.items()},
            "curves": {metric: curve.round(4).tolist() for metric, curve in curves.items()},
        }


def main() -> None:
    """Runs the ablations; writes results/ablations.json and a plot of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(ABLATIONS), choices=list(ABLATIONS))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help=f"a multiple of {NUM_RECORDS}")
    args = parser.parse_args()
    if args.steps < NUM_RECORDS or args.steps % NUM_RECORDS:
        parser.error(f"--steps is {args.steps} but must be a multiple of {NUM_RECORDS}")
    settings = {
        "prior": "bundled",
        "size": args.size,
        "num_steps": args.steps,
        "held out": list(_pictures.held_out()),
        "tuning": list(_pictures.tuning())[::2],
        "sigma": TASKS,
        "grids": {field: list(grid) for field, grid in GRIDS.items()},
    }
    path = _report.RESULTS / "ablations.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows = earlier["rows"] if earlier.get("settings") == settings else []
    prior, lpips = rd.load_prior(), metrics.load_lpips()

    for task in TASKS:
        bench = Bench(prior, lpips, task, args.size, args.steps)
        for ablation in args.only:
            name, variants, fields = ABLATIONS[ablation]
            for variant in variants:
                which = {"ablation": ablation, "task": task, name: variant}
                if any(which.items() <= row.items() for row in rows):
                    continue
                rows.append({**which, **bench.tuned({**BASE, name: variant}, fields)})
                _report.write("ablations", settings=settings, rows=rows)
                print(_report.markdown(rows[-1:], [*which, *fields, *METRICS]).splitlines()[-1], flush=True)
    plot(rows, args.steps)


def plot(rows: list[dict], num_steps: int, folder: Path = _report.RESULTS) -> None:
    """Writes ``ablations.png``: PSNR against network evaluations; a column an ablation, a row a task."""
    evaluations = num_steps // NUM_RECORDS * np.arange(1, NUM_RECORDS + 1)
    charts = {}
    for task, sigma in TASKS.items():
        for ablation, (name, variants, fields) in ABLATIONS.items():
            lines = {}
            for variant in variants:
                which = {"ablation": ablation, "task": task, name: variant}
                found = [row for row in rows if which.items() <= row.items()]
                if found:
                    lines[variant] = (evaluations, found[-1]["curves"]["PSNR"])
            charts[f"{ablation} ({', '.join(fields)} tuned)\n{task}, sigma {sigma:g}"] = lines
    figure = rd.plot.lines(charts, xlabel="network evaluations", ylabel="PSNR (dB)", columns=len(ABLATIONS))
    _report.write_figure(figure, folder / "ablations.png")


if __name__ == "__main__":
    main()
