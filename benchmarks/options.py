"""What each option of noise-aware RED-diff buys: the published form, with one after the other, to the default.

    python -m benchmarks.options [--tasks sr4 ...] [--sigmas 0.05 ...] [--out FOLDER]

Five held-out photos (benchmarks/quality.py), the bundled prior, 100 evaluations of the network, from A+ y but for the
last. Nothing is tuned: lam is 0.25, the paper's, with the published weighting, and 1 with the noise-aware one; Adam has
the paper's settings, with ``decay`` its rate falls from 0.1 to 0.002 by a cosine, and with ``exact steps`` there is no
Adam. ``rd.noise_aware`` has exact steps and all but the decay, and its levels end where each problem's noise says. Rows
already in results/options.json are kept.
"""

import argparse
import json
from collections import ChainMap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
from benchmarks import _long_runs, _report, _settings, noise_aware, quality
from reddiff_jax import metrics, schedules

NUM_STEPS = 100
SIGMAS = (0.0, 0.05, 0.1, 0.2)
METRICS = ("PSNR", "LPIPS")
OF_REDDIFF = (
    "published",
    "decay",
    "grid",
    "variate",
    "weighting",
    "exact steps",
    "weighting, variate",
    "weighting, variate, grid",
    "weighting, variate, grid, decay",
    "weighting, variate, grid, exact steps",
)
NAMES = (*OF_REDDIFF, "rd.noise_aware", "the default")


def solvers(prior: rd.Prior, task: str) -> dict[str, rd.Solver]:
    """What is compared, by name; the same at all noise levels."""
    options: dict[str, dict[str, Any]] = {
        "published": {},
        "decay": {"step": optax.adam(optax.cosine_decay_schedule(0.1, NUM_STEPS, 0.02), b1=0.9, b2=0.99)},
        "grid": {"spacing": schedules.log_even(prior.schedule)},
        "variate": {"control_variate": rd.solvers.variate_projected},
        "weighting": {"lam": 1.0},
        "exact steps": {"step": rd.proximal_step()},
    }
    chosen = [ChainMap(*(options[each] for each in name.split(", "))) for name in OF_REDDIFF]
    built_in = _settings.built_in(task, 0.0, "noise_aware").spending(NUM_STEPS)
    made = [
        *(rd.reddiff(prior, num_steps=NUM_STEPS, **each) for each in chosen),
        _long_runs.noise_aware(prior, num_steps=NUM_STEPS),
        built_in.solver(prior),
    ]
    weight = rd.solvers.NoiseAwareWeight()
    made = [
        each.replace(weight=weight) if "weighting" in name else each for name, each in zip(NAMES, made, strict=True)
    ]  # type: ignore[attr-defined]
    return dict(zip(NAMES, made, strict=True))


def main(argv: list[str] | None = None) -> None:
    """Runs the comparison; writes results/options.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=noise_aware.TASKS, choices=noise_aware.TASKS)
    parser.add_argument("--sigmas", nargs="+", type=float, default=SIGMAS)
    parser.add_argument("--size", type=int, default=quality.SIZE)
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    cut = quality.pictures(args.size)
    x, keys = np.stack(list(cut.values())), jax.random.split(jax.random.key(0), len(cut))
    used = {"prior": "bundled", "size": args.size, "num_steps": NUM_STEPS, "pictures": list(cut)}
    path = args.out / "options.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier["rows"] if earlier.get("settings") == used else []
    done = {(row["task"], row["sigma"], row["options"]) for row in rows}
    prior, lpips = rd.load_prior(), metrics.load_lpips()
    for task in args.tasks:
        jax.clear_caches()  # of too many programs at once LLVM aborts: memory mappings run out
        for name, solver in solvers(prior, task).items():
            for sigma in args.sigmas:
                if (task == "denoise" and sigma == 0) or (task, sigma, name) in done:
                    continue
                problems = rd.stack(quality.simulate(task, sigma, x))
                values = noise_aware.judge(lpips, quality.runs(keys, solver, problems).x, jnp.asarray(x))
                rows.append({"task": task, "sigma": sigma, "options": name})
                rows[-1] |= {metric: round(float(np.mean(values[metric])), 4) for metric in METRICS}
                _report.write("options", settings=used, rows=rows, out=args.out)
                print(_report.markdown(rows[-1:], list(rows[-1])).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
