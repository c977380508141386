"""Are samples with the bundled prior calibrated? Problems whose truths are drawn from that prior itself.

    python -m benchmarks.calibration [--size 32] [--problems 16] [--samples 19] [--evaluations 100] [--solvers ...]

Truths come from ancestral sampling with all timesteps. Coverage is of pixels, expected coverage of problems (TARP); see
``rd.diagnostics.calibration`` for all numbers and for what they should be. ``noise_aware, sample`` is what the command
line draws; ``from A+ y`` has the solver's own defaults. Rows in results/calibration.json are kept.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _report
from reddiff_jax import diagnostics

SIGMA = 0.1
OPERATORS: dict[str, Callable[[tuple[int, int, int]], rd.Operator]] = {
    "sr4": partial(rd.super_resolution, factor=4),
    "inpaint_random": lambda shape: rd.inpainting(rd.masks.random(jax.random.key(5), shape)),
    "inpaint_box": lambda shape: rd.inpainting(rd.masks.center(shape)),
    "denoise": rd.denoising,
}
SOLVERS: dict[str, Callable[[rd.Prior, int], rd.Solver]] = {
    "noise_aware, sample": lambda prior, n: _long_runs.noise_aware(
        prior, num_steps=n, sample=True, sigma_max=0.5, init=rd.solvers.init_smooth
    ),
    "noise_aware, sample from A+ y": lambda prior, n: _long_runs.noise_aware(prior, num_steps=n, sample=True),
    "noise_aware": lambda prior, n: _long_runs.noise_aware(prior, num_steps=n),
    "reddiff": lambda prior, n: rd.reddiff(prior, num_steps=n),
    "ddrm": lambda prior, n: rd.ddrm(prior, num_steps=n),
    "diffpir": lambda prior, n: rd.diffpir(prior, num_steps=n),
    "dps": lambda prior, n: rd.dps(prior, num_steps=n),
    "pigdm": lambda prior, n: rd.pigdm(prior, num_steps=n),
}


def main(argv: list[str] | None = None) -> None:
    """Measures and writes results/calibration.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--samples", type=int, default=19, help="of each problem; 19 are the least for 90 %%")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--truth-steps", type=int, default=1000)
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS), choices=list(SOLVERS))
    parser.add_argument("--operators", nargs="+", default=list(OPERATORS), choices=list(OPERATORS))
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    names = ("size", "problems", "samples", "evaluations", "truth_steps")
    settings = {"prior": "bundled", "sigma": SIGMA, **{name: getattr(args, name) for name in names}}
    path = args.out / "calibration.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier["rows"] if earlier.get("settings") == settings else []
    prior, shape = rd.load_prior(), (args.size, args.size, 3)
    sampler = rd.ddim(prior, eta=1.0, num_steps=args.truth_steps)
    simulate = jax.jit(
        lambda key, operator: diagnostics.simulate(key, sampler, operator, rd.gaussian(SIGMA), args.problems)
    )
    for task in args.operators:
        left = [name for name in args.solvers if not any((r["task"], r["solver"]) == (task, name) for r in rows)]
        if not left:
            continue
        truths, problems = simulate(jax.random.key(0), OPERATORS[task](shape))
        for name in left:
            solver = SOLVERS[name](prior, args.evaluations)
            samples = diagnostics.draw(jax.random.key(1), solver, problems, args.samples)
            judged = diagnostics.calibration(truths, samples)
            row: dict[str, Any] = {"task": task, "solver": name}
            for i, level in enumerate(diagnostics.LEVELS):
                row[f"coverage {level:g}"] = round(float(judged.coverage[i]), 4)
                row[f"TARP {level:g}"] = round(float(judged.expected_coverage[i]), 4)
            for number in ("z_mean", "z_std", "spread_skill_ratio"):
                row[number] = round(float(getattr(judged, number)), 4)
            rows.append(row | {"ranks": np.asarray(judged.ranks).round(3).tolist()})
            _report.write("calibration", settings=settings, rows=rows, out=args.out)
            print(_report.markdown([row], list(row)).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
