"""Chooses the solvers' settings: a search for each kind of measurement and noise level, on pictures never reported on.

    python -m benchmarks.tune [--solver reddiff dps] [--prior PRIOR] [--steps 50] [--size 64] [--budget 32]
                              [--search optuna] [--vary lam] [--only denoise inpaint_holes]

Each search is ``reddiff_jax.tuning.tune`` with the same budget for every solver; the best settings by
``PSNR - 10 LPIPS``, so that looks count beside fidelity, go to results/tune.json with the score of the present ones.
The table of reddiff_jax/settings/defaults.py is copied from what this prints.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report, _settings
from reddiff_jax import tuning
from reddiff_jax.settings import SETTINGS, check_serves

KINDS = {
    "inpaint_pixels": ("inpaint_random", (0.0, 0.05, 0.2)),
    "super_resolution": ("sr4", (0.0, 0.05, 0.2)),
    "deblur": ("deblur_gauss61", (0.0, 0.05, 0.2)),
    "denoise": ("denoise", (0.05, 0.2)),
    "colorize": ("colorize", (0.0,)),
    "inpaint_holes": ("inpaint_freeform", (0.0, 0.05, 0.2)),
    "deblur_saturated": ("deblur_saturated", (0.0, 0.05)),
    "demosaic": ("demosaic", (0.0, 0.05)),
    "hdr": ("hdr", (0.0,)),
    "jpeg": ("jpeg20", (0.0,)),
    "quantization": ("quant2", (0.0,)),
    "compressed_sensing": ("cs4", (0.0, 0.05)),
    "mri": ("mri4", (0.0, 0.05)),
    "ct": ("ct60", (0.0, 0.05)),
    "phase_retrieval": ("phase_retrieval", (0.0,)),
}
SEARCHES = {"random": tuning.random_search, "grid": tuning.grid_search, "optuna": tuning.optuna_search}


def main() -> None:
    """Runs the searches and writes results/tune.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solver", nargs="*", default=["reddiff"], choices=list(SETTINGS))
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--steps", type=int, help="of each run; the built-in ones' if left out")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--budget", type=int, default=32)
    parser.add_argument("--search", default="random", choices=list(SEARCHES))
    parser.add_argument("--vary", nargs="*", help="fields to search; all if left out")
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    prior = rd.load_prior(args.prior)
    x = jnp.asarray(np.stack(list(_pictures.tuning(args.size).values())))
    path = _report.RESULTS / "tune.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {(solver, kind) for solver in args.solver for kind in args.only}
    rows = [row for row in earlier if (row.get("solver", "reddiff"), row["kind"]) not in done]
    found = []
    for solver, kind in sorted(done):
        name, sigmas = KINDS[kind]
        for sigma in sigmas:
            try:
                check_serves(_settings.built_in(name, sigma, solver), _settings.posed(name, sigma))
            except ValueError as error:
                print(error, flush=True)
                continue
            tuned = tuning.tune(
                jax.random.key(args.seed),
                prior,
                name,
                sigma,
                x,
                solver=solver,
                budget=args.budget,
                search=SEARCHES[args.search],
                num_steps=args.steps,
                vary=args.vary,
                report=lambda so_far, count: print(f"  {count} trials: {so_far.score:.3f}", flush=True),
            )
            row = {"solver": solver, "kind": kind, "task": name, "sigma": sigma}
            row |= {"score": tuned.score, "before": tuned.trials[0].score, "tried": len(tuned.trials)}
            found.append(row | asdict(tuned.settings))  # type: ignore[call-overload]
            print(_report.markdown(found[-1:], list(found[-1])), flush=True)
            settings = {name: str(value) for name, value in vars(args).items()} | {"pictures": len(x)}
            _report.write("tune", settings=settings, rows=rows + found)


if __name__ == "__main__":
    main()
