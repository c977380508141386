"""Chooses the presets of the tasks: a coordinate search on tuning pictures that are never reported on.

    python -m benchmarks.tune [--prior PRIOR] [--steps 50] [--size 64] [--only denoise inpaint]

For each task family and noise level the settings are varied one after the other (learning-rate schedule, lam, starting
timestep, weighting, learning rate; with ``--vary`` also init) and the best by ``PSNR - 10 LPIPS`` is kept, so that
looks count beside fidelity. The table ``PRESETS`` of reddiff_jax/tasks/presets.py is copied from what this prints.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import metrics, tasks

FAMILIES = {
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
CHOICES = {
    "lr_schedule": ("cosine", "constant"),
    "lam": (0.05, 0.15, 0.5, 1.5, 4.0),
    "start_timestep": (300, 500, 800),
    "weighting": ("linear", "sqrt", "trunc_linear"),
    "learning_rate": (0.05, 0.1, 0.2),
    "init": ("pinv", "zeros", "noise"),
}
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


def score(lpips, restored, x) -> dict[str, float]:
    """Mean PSNR, mean LPIPS and the score of a batch."""
    psnr = float(jnp.mean(jax.vmap(metrics.psnr)(restored, x)))
    # LPIPS is of colour pictures: three times what is gray.
    colours = (jnp.broadcast_to(each, (*each.shape[:-1], 3)) for each in (restored, x))
    perceptual = float(jnp.mean(jax.vmap(lpips)(*colours)))
    return {"psnr": psnr, "lpips": perceptual, "score": psnr - 10 * perceptual}


def tune(prior, lpips, name: str, sigma: float, x: np.ndarray, num_steps: int, vary: list[str]) -> dict:
    """Searches the settings of one task at one noise level."""
    task = tasks.by_name(name)
    shape = x.shape[1:]
    keys = jax.random.split(jax.random.key(1), len(x))
    problems = rd.stack(
        [
            rd.measure(key, task.operator(shape, task.simulate(key, shape)), rd.gaussian(sigma), jnp.asarray(image))
            for key, image in zip(keys, x, strict=True)
        ]
    )
    tried: dict = {}

    def evaluate(preset: tasks.Preset) -> float:
        if preset not in tried:
            restored = jnp.clip(runs(keys, preset.solver(prior), problems).x, -1, 1)
            tried[preset] = score(lpips, task.result(restored), task.result(x))
            print(f"  {preset.describe()}: {tried[preset]}", flush=True)
        value = tried[preset]["score"]
        return value if np.isfinite(value) else -np.inf

    best = replace(task.preset(sigma), num_steps=num_steps)
    start = jnp.clip(jax.vmap(lambda p: p.operator.pinv(p.y))(problems), -1, 1)
    for field in vary:
        best = max((replace(best, **{field: value}) for value in (getattr(best, field), *CHOICES[field])), key=evaluate)
    row = {
        "family": task.family,
        "task": name,
        "sigma": sigma,
        **tried[best],
        "A+y psnr": score(lpips, task.result(start), task.result(x))["psnr"],
    }
    return {**row, **{field: getattr(best, field) for field in CHOICES}, "tried": len(tried), "varied": vary}


def main() -> None:
    """Runs the search and writes results/tune.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--vary", nargs="*", default=list(CHOICES)[:-1], choices=list(CHOICES), help="in this order")
    parser.add_argument("--only", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    args = parser.parse_args()
    prior, loaded = rd.load_prior(args.prior), metrics.load_lpips()
    lpips = partial(jax.jit(lambda net, a, b: net(a, b)), loaded)
    x = np.stack(list(_pictures.tuning(args.size).values()))
    path = _report.RESULTS / "tune.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in earlier if row["family"] not in args.only]
    for family in args.only:
        name, sigmas = FAMILIES[family]
        for sigma in sigmas:
            print(f"{family} at sigma {sigma}", flush=True)
            rows.append(tune(prior, lpips, name, sigma, x, args.steps, args.vary))
            print(_report.markdown(rows[-1:], list(rows[-1])), flush=True)
            settings = {
                "vary": args.vary,
                "prior": str(args.prior or "bundled"),
                "num_steps": args.steps,
                "size": args.size,
                "pictures": len(x),
            }
            _report.write("tune", settings=settings, rows=rows)
    print(_report.markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
