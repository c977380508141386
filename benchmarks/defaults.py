"""Which of the two RED-diffs a task's default is: the published one, or noise-aware, at equal evaluations.

    python -m benchmarks.defaults [--tasks sr4 ...] [--sigmas 0 0.05 0.2] [--prior PRIOR]

Crops of two photos that nothing else is reported on, 64 x 64, 100 evaluations of the network (noise-aware: in four
runs, averaged, in two for compressed sensing, in one where the operator is not linear), one draw of masks and noise.
Rows already in results/defaults.json are kept.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report, _settings, quality
from benchmarks.noise_aware import judge
from benchmarks.tasks import names
from reddiff_jax import metrics, tasks
from reddiff_jax.settings import Settings

EVALUATIONS = 100
METRICS = ("PSNR", "SSIM", "LPIPS")


def method(name: str, task: str, sigma: float) -> Settings:
    """The built-in settings of a method, with 100 evaluations."""
    settings: Any = _settings.built_in(task, sigma, name)
    return replace(settings, num_steps=EVALUATIONS) if name == "reddiff" else settings


def main() -> None:
    """Runs the comparison and writes results/defaults.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=names())
    parser.add_argument("--sigmas", nargs="+", type=float, default=(0.0, 0.05, 0.2))
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, lpips = rd.load_prior(args.prior), metrics.load_lpips()
    x = np.stack(list(_pictures.tuning(64).values()))
    settings = {"prior": str(args.prior or "bundled"), "size": 64, "evaluations": EVALUATIONS, "pictures": len(x)}
    path = (args.out or _report.RESULTS) / "defaults.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows = earlier["rows"] if earlier.get("settings") == settings else []
    done = {(row["task"], row["sigma"], row["method"]) for row in rows}
    for task in args.tasks:
        jax.clear_caches()  # of too many programs at once LLVM aborts: memory mappings run out
        for sigma in args.sigmas:
            if task == "denoise" and sigma == 0:
                continue
            problems = rd.stack(quality.simulate(task, sigma, x))
            for name in ("reddiff", "noise_aware"):
                if (task, sigma, name) in done:
                    continue
                images = quality.runs(
                    jax.random.split(jax.random.key(0), len(x)), method(name, task, sigma).solver(prior), problems
                ).x
                originals, images = (tasks.by_name(task).result(each) for each in (x, images))
                three = [jnp.broadcast_to(each, (*each.shape[:3], 3)) for each in (images, originals)]
                values = judge(lpips, *three)
                row: dict[str, Any] = {"task": task, "sigma": sigma, "method": name}
                rows.append(row | {metric: round(float(values[metric].mean()), 4) for metric in METRICS})
                print(_report.markdown(rows[-1:], list(rows[-1])).splitlines()[-1], flush=True)
                _report.write("defaults", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
