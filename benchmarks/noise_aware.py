"""Noise-aware RED-diff, with fixed settings, against the published form and others, by noise level and evaluations.

    python -m benchmarks.noise_aware [--tasks sr4 ...] [--sigmas 0 0.1 ...] [--evaluations 20 100 ...] [--methods ...]
                                     [--estimate] [--plot]

Five held-out photos (benchmarks/quality.py), the bundled prior. ``published`` is RED-diff with its paper's settings;
``published, tuned`` the best of random trials for each kind of measurement, noise level and number of evaluations, as
is ``noise_aware, tuned``; other solvers are tuned at 100 evaluations for each kind and noise level. All that is on
pictures that are not reported on. ``noise_aware`` has the built-in settings, which were chosen on the same
pictures: the mean of as many runs of 25 steps (50 for compressed sensing) as the evaluations allow. ``noise_aware, one
run`` has all steps and the solver's own defaults, ``noise_aware, sample`` is one posterior sample, ``noise_aware, mean
of samples`` the mean of eight of an eighth of the steps.

What results/noise_aware.json holds is not done again. Seconds are of one picture in the batch, without compiling; only
those of an idle machine are worth anything. ``--estimate`` counts the network's evaluations that are left, and does
nothing.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _report, _settings, quality
from reddiff_jax import metrics
from reddiff_jax.settings import NoiseAwareSettings, ReddiffSettings, Settings, check_serves

TASKS = ("denoise", "inpaint_random", "inpaint_freeform", "sr4", "deblur_gauss61", "cs4")
SIGMAS = (0.0, 0.02, 0.05, 0.1, 0.2)
EVALUATIONS = (10, 20, 50, 100, 1000)
METRICS = ("PSNR", "SSIM", "LPIPS")
GOAL_COLUMNS = ["goal", "cases", "mean", "missed", "worst", "worst at"]
NUM_MEAN = 8
# Seconds of a method relative to RED-diff's (benchmarks/cost.py); trials of what is tuned for each number of
# evaluations are 8 of a quarter of the steps on 2 of 5 pictures.
COST = {
    "published": 1.0,
    "published, tuned": 1.8,
    "noise_aware": 1.0,
    "noise_aware, tuned": 1.8,
    "noise_aware, one run": 1.0,
    "noise_aware, sample": 1.0,
    "noise_aware, mean of samples": 1.0,
    "ddrm": 1.0,
    "diffpir": 1.01,
    "daps": 1.12,
    "dps": 2.03,
    "pigdm": 2.04,
}
METHODS = tuple(COST)
# On the site: rivals wait until each has been tuned on runs of full length.
SHOWN = ("published", "noise_aware, one run", "noise_aware", "noise_aware, sample", "noise_aware, mean of samples")

Search = Callable[..., Settings]


def method(name: str, settings: Search, task: str, sigma: float, evaluations: int) -> Settings:
    """A method's settings, searched now if they are not known."""
    built_in = _settings.built_in(task, sigma, "noise_aware")
    of_solver = {"num_steps": evaluations, "num_runs": 1, "lam": 1.0, "sigma_max": 3.0, "init": "pinv"}
    one_run = NoiseAwareSettings().changed(of_solver)
    match name:
        case "published":
            return ReddiffSettings(lam=0.25, num_steps=evaluations)
        case "published, tuned":
            return settings("reddiff", task, sigma, evaluations)
        case "noise_aware":
            return built_in.spending(evaluations)
        case "noise_aware, tuned":
            return settings("noise_aware", task, sigma, evaluations)
        case "noise_aware, one run":
            return one_run
        case "noise_aware, sample":
            return built_in.spending(evaluations).changed({"sample": True})
        case "noise_aware, mean of samples":
            return built_in.changed({"sample": True, "num_steps": evaluations // NUM_MEAN, "num_runs": NUM_MEAN})
    return settings(name, task, sigma).fitted(_settings.posed(task).operator).spending(evaluations)


class Runs:
    """Compiled runs of a batch, kept while a task lasts."""

    def __init__(self) -> None:
        self.compiled: dict[Any, Any] = {}

    def __call__(self, keys: jax.Array, solver: rd.Solver, problems: rd.Problem) -> tuple[Any, float]:
        """The restored pictures, and the seconds that they took."""
        leaves, tree = jax.tree.flatten((solver, problems))
        structure = tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        if structure not in self.compiled:
            batched = jax.jit(jax.vmap(lambda *a: rd.run(*a).x, in_axes=(0, None, 0)))
            self.compiled[structure] = batched.lower(keys, solver, problems).compile()
        start = time.perf_counter()
        images = jax.block_until_ready(self.compiled[structure](keys, solver, problems))
        return images, time.perf_counter() - start


@jax.jit
def judge(lpips: metrics.Lpips, restored: jax.Array, originals: jax.Array) -> dict[str, jax.Array]:
    """Each metric of each picture."""

    def one(a: jax.Array, b: jax.Array) -> dict[str, jax.Array]:
        ssim = metrics.ssim((a + 1) / 2, (b + 1) / 2, data_range=1.0)
        return {"PSNR": metrics.psnr(a, b), "SSIM": ssim, "LPIPS": lpips(a, b)}

    return jax.vmap(one)(jnp.clip(restored, -1, 1), originals)


def cases(args: argparse.Namespace, done: set[tuple]) -> list[tuple[str, str, int, float]]:
    """What is to be done: (task, method, evaluations, sigma), in an order that compiles little."""
    return [
        (task, name, evaluations, sigma)
        for task in args.tasks
        for name in args.methods
        for evaluations in args.evaluations
        for sigma in args.sigmas
        if not (task == "denoise" and sigma == 0)
        and not (name == "noise_aware, mean of samples" and evaluations < 50 * NUM_MEAN)
        and (task, name, evaluations, sigma) not in done
    ]


def main(argv: list[str] | None = None) -> None:
    """Runs the comparison; writes results/noise_aware.json, noise_aware_settings.json and a plot of PSNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--sigmas", nargs="+", type=float, default=SIGMAS)
    parser.add_argument("--evaluations", nargs="+", type=int, default=EVALUATIONS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--size", type=int, default=quality.SIZE)
    parser.add_argument("--pictures", type=int, default=5, help="how many of the photos")
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    parser.add_argument("--estimate", action="store_true", help="say how much is left, and stop")
    parser.add_argument("--plot", action="store_true", help="only draw what is known")
    args = parser.parse_args(argv)
    cut = dict(list(quality.pictures(args.size).items())[: args.pictures])
    used = {"prior": "bundled", "size": args.size, "pictures": list(cut)}
    path = args.out / "noise_aware.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier["rows"] if earlier.get("settings") == used else []
    left = cases(args, {(row["task"], row["method"], row["evaluations"], row["sigma"]) for row in rows})
    if args.estimate:
        count = sum(COST[name] * evaluations * len(cut) for _, name, evaluations, _ in left)
        print(f"{len(left)} cases, about {count / 1e3:.0f} thousand evaluations of the network")
        return
    if not args.plot:
        compare(left, rows, used, cut, args)
    if rows:
        plot(rows, args.out)
        print(_report.markdown(goals(rows), GOAL_COLUMNS))


def compare(left: list, rows: list[dict], used: dict, cut: dict[str, np.ndarray], args: argparse.Namespace) -> None:
    """Does what is left; each row is written at once."""
    prior, lpips = rd.load_prior(), metrics.load_lpips()
    settings = quality.KnownSettings(prior, args.size, fresh=False, name="noise_aware_settings", out=args.out)
    x = np.stack(list(cut.values()))
    keys, runs, now = jax.random.split(jax.random.key(0), len(x)), Runs(), ""
    for task, name, evaluations, sigma in left:
        if task != now:
            runs, now = Runs(), task
            jax.clear_caches()  # of too many programs at once LLVM aborts: memory mappings run out
        problems = rd.stack(quality.simulate(task, sigma, x))
        chosen = method(name, settings, task, sigma, evaluations)
        try:
            check_serves(chosen, _settings.posed(task, sigma))
        except ValueError:
            continue
        images, seconds = runs(keys, chosen.solver(prior), problems)
        values = {metric: np.asarray(value) for metric, value in judge(lpips, images, jnp.asarray(x)).items()}
        row = {"task": task, "sigma": sigma, "method": name, "evaluations": evaluations}
        row |= {metric: round(float(value.mean()), 4) for metric, value in values.items()}
        row |= {"settings": chosen.describe()}
        row |= {"per picture PSNR": [round(float(each), 2) for each in values["PSNR"]]}  # in the order of the settings
        rows.append(row)
        _report.write("noise_aware", settings=used, rows=rows, out=args.out)
        columns = ["task", "sigma", "method", "evaluations", *METRICS, "seconds"]
        print(_report.markdown([row | {"seconds": seconds / len(x)}], columns).splitlines()[-1], flush=True)


def goals(rows: list[dict]) -> list[dict[str, Any]]:
    """How much noise_aware is better (positive) than the best of what it is measured against, in dB or LPIPS."""
    known = {(row["method"], row["task"], row["sigma"], row["evaluations"]): row for row in rows}

    def compared(
        goal: str,
        least: float,
        ours: str,
        others: tuple[str, ...],
        *,
        metric: str = "PSNR",
        at: int | None = None,
        kept: Callable[[float, int], bool] = lambda sigma, evaluations: True,
    ) -> dict[str, Any]:
        """Against the best of others with as many evaluations, or with those of ``at``; missed below ``least``."""
        sign = -1 if metric == "LPIPS" else 1
        gains = {}
        for (name, task, sigma, evaluations), row in known.items():
            rivals = [known.get((other, task, sigma, at or evaluations)) for other in others]
            if name == ours and kept(sigma, evaluations) and all(rivals):
                gain = sign * row[metric] - max(sign * rival[metric] for rival in rivals if rival)
                gains[f"`{task}` {sigma:g}, {evaluations}"] = gain
        stated: dict[str, Any] = {"goal": goal, "cases": len(gains)}
        if gains:
            worst = min(gains, key=gains.__getitem__)
            stated |= {"mean": float(np.mean(list(gains.values()))), "worst": gains[worst], "worst at": worst}
            stated |= {"missed": sum(gain < least for gain in gains.values())}
        return stated

    # Random trials that count LPIPS, too, on other pictures may miss what a default has: a rival is the best of both.
    optimum = ("noise_aware, tuned", "noise_aware, one run")
    published = ("published", "published, tuned")
    return [
        compared("(a) own optimum, dB: each >= -0.3", -0.3, "noise_aware", optimum),
        compared("(a) published, dB: each >= 0", 0, "noise_aware", published),
        compared(
            "(a) the same, sigma > 0: mean >= 1", 0, "noise_aware", published, kept=lambda sigma, evaluations: sigma > 0
        ),
        compared(
            "(b) 20 against published 1000, dB: each >= 0",
            0,
            "noise_aware",
            published[:1],
            at=1000,
            kept=lambda sigma, evaluations: evaluations == 20,
        ),
        compared(
            "(c) sample against published, LPIPS: each >= 0",
            0,
            "noise_aware, sample",
            published[:1],
            metric="LPIPS",
            kept=lambda sigma, evaluations: evaluations >= 100,
        ),
    ]


def plot(rows: list[dict], folder: Path) -> None:
    """Writes ``noise_aware.png``: PSNR of ``SHOWN`` against evaluations; a row a task, a column a sigma."""
    names = [name for name in TASKS if any(row["task"] == name for row in rows)]
    charts = {}
    for task in names:
        for sigma in sorted({row["sigma"] for row in rows}):
            lines = {}
            for name in SHOWN:
                points = sorted(
                    (row["evaluations"], row["PSNR"])
                    for row in rows
                    if (row["task"], row["sigma"], row["method"]) == (task, sigma, name)
                )
                if points:
                    lines[name] = tuple(zip(*points, strict=True))
            if lines:
                charts[f"{task}, sigma {sigma:g}"] = lines
    figure = rd.plot.lines(charts, xlabel="network evaluations", ylabel="PSNR (dB)", xlog=True, bold="noise_aware")
    _report.write_figure(figure, folder / "noise_aware.png")


if __name__ == "__main__":
    main()
