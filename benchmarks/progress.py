"""What showing progress costs: whole runs of RED-diff with and without a bar, in turns.

    python -m benchmarks.progress [--sizes 64 128] [--steps 100] [--rounds 9]

One picture and the bundled prior. In Python: ``rd.run`` against ``rd.run_with_progress``. On the command line: the
batch solver of ``reddiff-jax restore`` in one call, against calls of a few steps with its bar in between. The bars are
drawn as for a terminal. ``slower`` is the median over the rounds of the ratio to the one without, of the same round,
less 1; the quartiles say how sure that is. ``processor`` is the same of the processor's time, all threads together,
which other work on the machine disturbs less. Run it on an idle machine.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["FORCE_COLOR"] = "1"  # rich draws bars although nobody is there to see them

import jax
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from benchmarks.cost import problems_of
from reddiff_jax.batching import BatchSolver, Scalars, steps_per_call
from reddiff_jax.cli._common import progress_bar
from reddiff_jax.progress import describe_step
from reddiff_jax.solvers import Solver


def calls(solver: Solver, problem: rd.Problem) -> dict[str, Callable[[], Any]]:
    """What is compared, by name: each pair without and with a bar."""
    key = jax.random.key(0)
    count = steps_per_call(solver.num_steps)
    whole, parts = (
        BatchSolver(solver, problem, batch_size=1, shared_noise=True, steps_per_call=n) for n in (None, count)
    )

    def restore() -> Any:
        with progress_bar("restoring") as update:

            def show(step: int, scalars: Scalars, _: Any) -> None:
                update(step / solver.num_steps, describe_step(step, solver.num_steps, scalars))

            return np.asarray(parts([key], [problem], show).x)

    return {
        "run": lambda: rd.run(key, solver, problem).x.block_until_ready(),
        "run_with_progress": lambda: rd.run_with_progress(key, solver, problem).x.block_until_ready(),
        "restore, in one call": lambda: np.asarray(whole([key], [problem]).x),
        f"restore, calls of {count} steps and a bar": restore,
    }


def main() -> None:
    """Measures and writes results/progress.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=(64, 128))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, rows = rd.load_prior(args.prior), []
    for size in args.sizes:
        x = next(iter(_pictures.held_out(size).values()))
        problem = jax.tree.map(lambda leaf: leaf[0], problems_of(x[None]))
        contestants = calls(rd.reddiff(prior, num_steps=args.steps), problem)
        taken: dict[str, list[list[float]]] = {name: [] for name in contestants}  # seconds and processor seconds
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            for measured in range(-1, args.rounds):  # the first round compiles
                for name, call in contestants.items():
                    began = time.perf_counter(), time.process_time()
                    call()
                    if measured >= 0:
                        taken[name].append([time.perf_counter() - began[0], time.process_time() - began[1]])
        names = list(taken)
        for without, shown in zip(names[::2], names[1::2], strict=True):
            ratios = np.asarray(taken[shown]) / taken[without] - 1  # (rounds, 2)
            low, high = np.quantile(ratios[:, 0], (0.25, 0.75)).tolist()
            medians = [float(np.median(taken[name], axis=0)[0]) for name in (without, shown)]
            slower, processor = np.median(ratios, axis=0).tolist()
            row = {
                "size": size,
                "with": shown,
                "without": without,
                "seconds without": medians[0],
                "seconds": medians[1],
            }
            rows.append(
                {**row, "slower": slower, "lower quartile": low, "upper quartile": high, "processor": processor}
            )
        settings = {"prior": str(args.prior or "bundled"), "steps": args.steps, "rounds": args.rounds}
        _report.write("progress", settings=settings, rows=rows, out=args.out)
    print(_report.markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
