"""What a step of each solver costs: seconds, network evaluations and memory, side by side in one run.

    python -m benchmarks.cost [--prior PRIOR] [--size 64] [--batch 4] [--steps 10] [--repeats 5]

Every solver restores the same inpainting problems; compilation is measured apart, and the solvers take turns, so that a
change of the machine's speed meets all of them. Memory is XLA's plan: temporary buffers and results of one batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _pictures, _report
from reddiff_jax.priors import Prior
from reddiff_jax.solvers import Solver

NUM_ODE = 5
NUM_CG = 3
# Name -> (solver of a number of steps, network evaluations a step, derivatives of the network a step)
SOLVERS: dict[str, tuple[Callable[[Prior, int], Solver], int, int]] = {
    "reddiff": (lambda prior, n: rd.reddiff(prior, num_steps=n), 1, 0),
    "noise_aware": (lambda prior, n: _long_runs.noise_aware(prior, num_steps=n), 1, 0),
    "reddiff_var": (lambda prior, n: rd.reddiff_var(prior, num_steps=n), 1, 0),
    "red": (lambda prior, n: rd.red(prior, num_steps=n), 1, 0),
    "ddim": (lambda prior, n: rd.ddim(prior, num_steps=n), 1, 0),
    "ddrm": (lambda prior, n: rd.ddrm(prior, num_steps=n), 1, 0),
    "ddnm": (lambda prior, n: rd.ddnm(prior, num_steps=n), 1, 0),
    "diffpir": (lambda prior, n: rd.diffpir(prior, num_steps=n), 1, 0),
    "daps": (lambda prior, n: rd.daps(prior, num_steps=n, num_ode=NUM_ODE), NUM_ODE, 0),
    "dps": (lambda prior, n: rd.dps(prior, num_steps=n), 1, 1),
    "mcg": (lambda prior, n: rd.mcg(prior, num_steps=n), 1, 1),
    "pigdm": (lambda prior, n: rd.pigdm(prior, num_steps=n), 1, 1),
    "mmps": (lambda prior, n: rd.mmps(prior, num_steps=n, num_cg=NUM_CG), 1, NUM_CG + 1),
}


def problems_of(x: np.ndarray) -> rd.Problem:
    """Noisy inpainting of each picture, 70 % of its pixels missing."""
    keys = jax.random.split(jax.random.key(1), len(x))
    operators = [rd.inpainting(rd.masks.random(key, image.shape)) for key, image in zip(keys, x, strict=True)]
    return rd.stack([rd.measure(key, operators[i], rd.gaussian(0.05), x[i]) for i, key in enumerate(keys)])


def main() -> None:
    """Measures and writes results/cost.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(SOLVERS), choices=list(SOLVERS))
    args = parser.parse_args()
    prior = rd.load_prior(args.prior)
    x = np.stack(list(_pictures.held_out(args.size).values()) * args.batch)[: args.batch]
    problems, keys = problems_of(x), jax.random.split(jax.random.key(0), args.batch)
    rows, calls = [], {}
    for name in args.only:
        build, evaluations, derivatives = SOLVERS[name]
        solver = build(prior, args.steps)
        began = time.perf_counter()
        compiled = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0))).lower(keys, solver, problems).compile()
        memory: Any = compiled.memory_analysis()
        rows.append(
            {
                "solver": name,
                "evaluations a step": evaluations,
                "derivatives a step": derivatives,
                "compile seconds": round(time.perf_counter() - began, 2),
                "peak MiB": round((memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20, 1),
            }
        )
        calls[name] = lambda compiled=compiled, solver=solver: compiled(keys, solver, problems).x
        calls[name]().block_until_ready()
        print(rows[-1], flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(args.repeats):
        for name, call in calls.items():
            began = time.perf_counter()
            call().block_until_ready()
            seconds[name].append(time.perf_counter() - began)
    step = {name: statistics.median(times) / args.steps / args.batch for name, times in seconds.items()}
    for row in rows:
        row["ms a step"] = round(1e3 * step[row["solver"]], 3)
        if "reddiff" in step:
            # Of the same round, so that both had the machine in the same state.
            ratios = [a / b for a, b in zip(seconds[row["solver"]], seconds["reddiff"], strict=True)]
            row["times RED-diff's"] = round(statistics.median(ratios), 3)
    settings = {"prior": str(args.prior or "bundled"), "dtype": "float32"}
    settings |= {name: getattr(args, name) for name in ("size", "batch", "steps", "repeats")}
    _report.write("cost", settings=settings, rows=rows)
    print(_report.markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
