"""Where a trained network's own error is, and what noise-aware RED-diff should do about it.

    python -m benchmarks.net_error [--only loss sweep] [--tasks sr4 inpaint_random] [--evaluations 20 100 300]

On the tuning pictures only. ``loss`` is the error of the network by noise level r = sigma_t / alpha_t: of its noise
prediction (1 is what predicting zero has), and of the clean picture, in pixels, at three inputs: ``noised`` is a photo
with noise, as in training; ``smoothed`` a photo that lost its fine detail (a Gaussian of 1 pixel) before the noise was
added, like a mu that carries too little; ``noiseless`` the smoothed photo without noise, where all that it predicts is
made up. ``sweep`` is the quality of ``rd.noise_aware`` for a grid of r_min and gamma and both control variates.

Rows already in results/net_error.json are kept. ``--prior`` measures another prior, in another file.
"""

import argparse
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report, quality
from reddiff_jax import metrics

LEVELS = tuple(float(f"{r:.3g}") for r in np.geomspace(0.01, 30, 12))
NUM_DRAWS = 4
SIGMA = 0.05
R_MINS = (0.01, 0.02, 0.05, 0.1, 0.2)
GAMMAS = (0.0, 0.001, 0.01, 0.1)
VARIATES = {"projected": rd.variate_projected, "published": rd.variate_published}


@jax.jit
def errors(prior: rd.Prior, x: jax.Array, smooth: jax.Array, z: jax.Array, r: jax.Array) -> dict[str, jax.Array]:
    """Mean squared errors at one level, over pictures and smoothed ones (B, H, W, C) and draws (K, H, W, C)."""
    t = prior.schedule.nearest(r)
    alpha_t, sigma_t = prior.schedule(t)

    def one(u: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.mean((prior.eps(alpha_t * u + sigma_t * z, t) - z) ** 2)

    over = jax.vmap(jax.vmap(one, in_axes=(0, None)), in_axes=(None, 0))
    noised, smoothed, noiseless = (jnp.mean(over(*pair)) for pair in ((x, z), (smooth, z), (smooth, 0 * z[:1])))
    return {
        "t": t,
        "eps, noised": noised,
        "eps, smoothed": smoothed,
        "eps, noiseless": noiseless,
        "x, noised": jnp.sqrt(noised) * sigma_t / alpha_t,
    }


@partial(jax.jit, static_argnames=("num_steps", "variate"))
def sweep(
    prior: rd.Prior,
    lpips: metrics.Lpips,
    problems: rd.Problem,
    x: jax.Array,
    grid: jax.Array,
    num_steps: int,
    variate: str,
) -> tuple[jax.Array, jax.Array]:
    """PSNR and LPIPS, means over pictures, for each (r_min, gamma) of a grid (G, 2), one after the other."""
    keys = jax.random.split(jax.random.key(0), len(x))

    def one(setting: jax.Array) -> tuple[jax.Array, jax.Array]:
        solver = rd.noise_aware(
            prior, r_min=setting[0], gamma=setting[1], num_steps=num_steps, control_variate=VARIATES[variate]
        )
        restored = jnp.clip(jax.vmap(rd.run, in_axes=(0, None, 0))(keys, solver, problems).x, -1, 1)
        return jnp.mean(jax.vmap(metrics.psnr)(restored, x)), jnp.mean(jax.vmap(lpips)(restored, x))

    return jax.lax.map(one, grid)


def main(argv: list[str] | None = None) -> None:
    """Measures and writes results/net_error.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["loss", "sweep"], choices=["loss", "sweep"])
    parser.add_argument("--tasks", nargs="+", default=["sr4", "inpaint_random"])
    parser.add_argument("--evaluations", nargs="+", type=int, default=[20, 100, 300])
    parser.add_argument("--pictures", type=int, default=4, help="tuning crops")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--prior", type=Path, help="of colour photos")
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    prior = rd.load_prior(args.prior)
    cut = dict(list(_pictures.tuning(args.size).items())[:: 4 // args.pictures])
    x = jnp.asarray(np.stack(list(cut.values())))
    name = "net_error" if args.prior is None else f"net_error_{args.prior.name}"
    settings = {"size": args.size, "pictures": list(cut), "sigma": SIGMA, "draws": NUM_DRAWS}
    path = args.out / f"{name}.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier["rows"] if earlier.get("settings") == settings else []

    def known(row: dict[str, Any]) -> bool:
        return any(row.items() <= other.items() for other in rows)

    def add(*new: dict[str, Any]) -> None:
        rows.extend(new)
        _report.write(name, settings=settings, rows=rows, out=args.out)
        for row in new:
            print(_report.markdown([row], list(row)).splitlines()[-1], flush=True)

    if "loss" in args.only:
        z = jax.random.normal(jax.random.key(1), (NUM_DRAWS, *x.shape[1:]))
        smooth = jax.jit(jax.vmap(rd.gaussian_blur((args.size, args.size, 3), sigma=1.0, size=7)))(x)
        for r in LEVELS:
            if not known({"part": "loss", "r": r}):
                found = errors(prior, x, smooth, z, jnp.asarray(r))
                add({"part": "loss", "r": r, **{key: round(float(value), 6) for key, value in found.items()}})
    if "sweep" in args.only:
        lpips = metrics.load_lpips()
        for task, num_steps, variate in itertools.product(args.tasks, args.evaluations, VARIATES):
            place = {"part": "sweep", "task": task, "evaluations": num_steps, "variate": variate}
            if known(place):
                continue
            # The variate matters less than the rest: its other choice only at the defaults.
            pairs = list(itertools.product(R_MINS, GAMMAS)) if variate == "projected" else [(0.02, 0.001)]
            problems = rd.stack(quality.simulate(task, SIGMA, np.asarray(x)))
            psnr, lpips_found = sweep(prior, lpips, problems, x, jnp.asarray(pairs), num_steps, variate)
            found = zip(pairs, psnr.tolist(), lpips_found.tolist(), strict=True)
            add(
                *(
                    {**place, "r_min": r_min, "gamma": gamma, "PSNR": round(a, 3), "LPIPS": round(b, 4)}
                    for (r_min, gamma), a, b in found
                )
            )


if __name__ == "__main__":
    main()
