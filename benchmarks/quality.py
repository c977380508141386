"""Quality on held-out photos: every solver on every task, tuned alike, beside classical methods.

    python -m benchmarks.quality [--prior PRIOR] [--tasks sr4 ...] [--solvers reddiff ...] [--pictures FOLDER]

First each solver's settings are searched at random for each kind of measurement and noise level, from the solver's
defaults, with the same number of trials, on pictures that are not reported on (not those of noise_aware, whose
fixed settings were chosen on the same pictures).
Then each task is solved for the reported ones, with 100 evaluations of the network (MMPS: 25, each differentiated four
times). What the result files hold already is not done again, so that the command may be interrupted; ``--fresh``
starts anew.

Pictures are the centres of five photos. Numbers are means over them; SSIM is of pixels in [0, 1]. ``built-in`` is
RED-diff as the command line has it. Classical methods come from scikit-image and Pillow, with weights chosen on the
tuning pictures, and trivial ones ask what iterating is good for (benchmarks/_classical.py). Seconds and memory of a
step are in benchmarks/cost.py, which needs an idle machine.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _classical, _pictures, _report, _settings
from reddiff_jax import metrics, tasks, tuning
from reddiff_jax.settings import SETTINGS, Settings, check_serves

SIZE = 64
SIGMAS = (0.0, 0.05)
TASKS = (
    "inpaint_random",
    "sr4",
    "deblur_gauss61",
    "inpaint_box",
    "inpaint_freeform",
    "deblur_motion",
    "colorize",
    "cs4",
    "hdr",
    "phase_retrieval",
)
SOLVERS = ("reddiff", "ddrm", "ddnm", "diffpir", "dps", "pigdm", "daps", "red", "mmps", "mcg", "noise_aware")
TUNING_TASK = {
    "inpaint_pixels": "inpaint_random",
    "inpaint_holes": "inpaint_freeform",
    "super_resolution": "sr4",
    "deblur": "deblur_gauss61",
    "colorize": "colorize",
    "compressed_sensing": "cs4",
    "hdr": "hdr",
    "phase_retrieval": "phase_retrieval",
    "denoise": "denoise",
}
BUDGET = 8
TUNED = tuple(name for name in SOLVERS if name != "noise_aware")


def pictures(size: int) -> dict[str, np.ndarray]:
    """The centres of the five reporting pictures at the scale 256 x 256."""
    margin = (256 - size) // 2
    inner = slice(margin, margin + size)
    return {name: x[inner, inner] for name, x in _pictures.held_out(256).items()}


def tuned(prior: rd.Prior, solver: str, task: str, sigma: float, size: int, evaluations: int | None = None) -> Settings:
    """The best of ``BUDGET`` trials with a quarter of the steps on two pictures, for what measures the same.

    ``evaluations`` are 100 for RED-diff unless told otherwise, and for others their defaults; if told, no trial has
    less than 25 of them.
    """
    first = SETTINGS[solver]()
    if evaluations is not None or solver == "reddiff":
        first = first.spending(evaluations or 100)
    tuned_on = TUNING_TASK[str(_settings.kind(task))]
    crops = np.stack(list(_pictures.tuning(size).values()))[::3]
    trial = first.num_evaluations // 4 if evaluations is None else max(evaluations // 4, min(evaluations, 25))
    found = tuning.tune(
        jax.random.key(2),
        prior,
        tuned_on,
        sigma,
        jnp.asarray(crops),
        solver=solver,
        first=first.spending(trial),
        budget=BUDGET,
    )
    return found.settings.spending(first.num_evaluations)


def simulate(name: str, sigma: float, x: np.ndarray) -> list[rd.Problem]:
    """One measurement of each picture."""
    task = tasks.by_name(name)
    problems = []
    for key, image in zip(run_keys(len(x), seed=1), x, strict=True):
        operator = task.operator(image.shape, task.simulate(key, image.shape))
        problems.append(rd.measure(key, operator, rd.gaussian(sigma), jnp.asarray(image)))
    return problems


runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


class KnownSettings:
    """Tuned settings, kept in results/quality_settings.json or another file."""

    def __init__(
        self,
        prior: rd.Prior,
        size: int,
        *,
        fresh: bool,
        name: str = "quality_settings",
        out: Path = _report.RESULTS,
    ):
        self.prior, self.size, self.name, self.out = prior, size, name, out
        path = out / f"{name}.json"
        self.rows = json.loads(path.read_text())["rows"] if path.exists() and not fresh else []

    def __call__(self, solver: str, task: str, sigma: float, evaluations: int | None = None) -> Settings:
        """The settings of a solver, searched now if they are not known; of what is not tuned the built-in ones."""
        if evaluations is None and solver not in TUNED:
            return _settings.built_in(task, sigma, solver)
        place = {"solver": solver, "kind": _settings.kind(task), "sigma": sigma}
        place |= {} if evaluations is None else {"evaluations": evaluations}
        for row in self.rows:
            if place.items() <= row.items():
                return SETTINGS[solver](**row["settings"])
        found = tuned(self.prior, solver, task, sigma, self.size, evaluations)
        self.rows.append({**place, "settings": asdict(found)})
        settings = {"size": self.size, "budget": BUDGET, "pictures": 2, "search": "random, from the solver's defaults"}
        _report.write(self.name, settings=settings, rows=self.rows, out=self.out)
        return found


def results(
    prior: rd.Prior, known: KnownSettings, name: str, sigma: float, x: np.ndarray, solvers: list[str], done: set[str]
) -> Iterator[tuple[str, jax.Array, int]]:
    """Method, restored pictures, evaluations of the network; for what is not done and the method can do."""
    problems = simulate(name, sigma, x)
    stacked, keys = rd.stack(problems), run_keys(len(x))
    if "A+y" not in done:
        yield "A+y", jax.vmap(lambda p: p.operator.pinv(p.y))(stacked), 0
    classical = {m: how for m, how in _classical.methods(name, problems[0], prior).items() if m not in done}
    others = np.stack(list(_pictures.tuning(x.shape[1]).values()))
    for method, how in classical.items():
        value = _classical.chosen(how, simulate(name, sigma, others), others)
        print(f"  {method}: {value}", flush=True)
        restored = np.stack([how[1](value, problem) for problem in problems])
        yield method, jnp.asarray(restored, jnp.float32), int(method == "one evaluation")
    if "built-in" not in done and "reddiff" in solvers:
        built_in = _settings.built_in(name, sigma, "reddiff").changed({"num_steps": 100})
        yield "built-in", runs(keys, built_in.solver(prior), stacked).x, built_in.num_evaluations
    for solver in solvers:
        if solver in done or (solver == "mcg" and sigma > 0):
            continue  # MCG is for noiseless measurements
        try:
            problem = _settings.posed(name, sigma)
            check_serves(SETTINGS[solver]().fitted(problem.operator), problem)
        except ValueError:
            continue
        began = time.perf_counter()
        chosen = known(solver, name, sigma).fitted(problem.operator)
        print(f"  {solver}: {chosen.describe()} ({time.perf_counter() - began:.0f} s)", flush=True)
        yield solver, runs(keys, chosen.solver(prior), stacked).x, chosen.num_evaluations


def main() -> None:
    """Runs the comparison and writes results/quality.json and results/quality_settings.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS)
    parser.add_argument("--solvers", nargs="*", default=SOLVERS, choices=SOLVERS)
    parser.add_argument("--pictures", type=Path, help="folder to write the restored pictures to")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    args = parser.parse_args()
    prior, lpips = rd.load_prior(args.prior), metrics.load_lpips()
    cut = pictures(args.size)
    names, x = list(cut), np.stack(list(cut.values()))
    used = {"prior": str(args.prior or "bundled"), "size": args.size, "pictures": names}
    path = _report.RESULTS / "quality.json"
    earlier = json.loads(path.read_text()) if path.exists() and not args.fresh else {}
    rows: list[dict[str, Any]] = earlier["rows"] if earlier.get("settings") == used else []
    known = KnownSettings(prior, args.size, fresh=args.fresh or not rows)
    for name in args.tasks:
        for sigma in SIGMAS:
            jax.clear_caches()  # of too many programs at once LLVM aborts: memory mappings run out
            done = {row["method"] for row in rows if (row["task"], row["sigma"]) == (name, sigma)}
            for method, images, evaluations in results(prior, known, name, sigma, x, args.solvers, done):
                row = {"task": name, "sigma": sigma, "method": method}
                row |= judged(lpips, images, cut) | {"evaluations": evaluations}
                rows.append(row)
                print(
                    _report.markdown([row], ["task", "sigma", "method", "PSNR", "LPIPS"]).splitlines()[-1], flush=True
                )
                if args.pictures:
                    _save(args.pictures / f"{name}_{sigma}" / method, names, images)
                _report.write("quality", settings=used, rows=rows)


def judged(lpips: metrics.Lpips, restored: jax.Array | np.ndarray, truths: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means over the pictures of PSNR in dB, SSIM of pixels in [0, 1] and LPIPS, and the PSNR of each."""
    found = _judge(lpips, jnp.asarray(restored), jnp.asarray(np.stack(list(truths.values()))))
    values = {name: np.asarray(value) for name, value in found.items()}
    row: dict[str, Any] = {name: round(float(value.mean()), 4) for name, value in values.items()}
    return row | {"per picture PSNR": dict(zip(truths, values["PSNR"].round(2).tolist(), strict=True))}


@jax.jit
def _judge(lpips: metrics.Lpips, restored: jax.Array, truths: jax.Array) -> dict[str, jax.Array]:
    def one(a, b):
        ssim = metrics.ssim((a + 1) / 2, (b + 1) / 2, data_range=1.0)
        return {"PSNR": metrics.psnr(a, b), "SSIM": ssim, "LPIPS": lpips(a, b)}

    return jax.vmap(one)(jnp.clip(restored, -1, 1), truths)


def run_keys(count: int, seed: int = 0) -> jax.Array:
    """One key for each picture; seed 0 is that of runs, 1 that of measurements."""
    return jax.random.split(jax.random.key(seed), count)


def _save(folder: Path, names: list[str], images) -> None:
    from reddiff_jax import pictures

    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        pictures.write_picture(folder / f"{name}.png", np.asarray(image))


if __name__ == "__main__":
    main()
