"""What iterating buys in denoising: one evaluation of the network, its mirrored views, and a hundred evaluations.

    python -m benchmarks.views [--size 64]

White noise on crops of the five reporting photos, which nothing here was tuned on; bundled prior. PSNR and LPIPS are
means over the photos.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import metrics
from reddiff_jax.settings import NoiseAwareSettings, default_settings

SIGMAS = (0.02, 0.05, 0.1, 0.2)


@jax.jit
def restored(keys: jax.Array, solver: rd.Solver, problems: rd.Problem) -> jax.Array:
    """One restoration a problem."""
    return jax.vmap(rd.run, in_axes=(0, None, 0))(keys, solver, problems).x


def solvers(prior: rd.Prior, problem: rd.Problem) -> dict[str, rd.Solver]:
    """The solvers of the table."""
    noise_aware = default_settings(problem, "noise_aware")
    assert isinstance(noise_aware, NoiseAwareSettings)
    views = {f"tweedie, {n}": rd.tweedie(prior, num_steps=n) for n in (1, 2, 4, 8)}
    return views | {f"noise-aware RED-diff, {noise_aware.num_evaluations}": noise_aware.solver(prior)}


def main() -> None:
    """Measures and writes results/views.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, lpips = rd.load_prior(), metrics.load_lpips()
    photos = jnp.stack([_pictures.held_out()[name] for name in _pictures.HELD_OUT])
    start = (photos.shape[1] - args.size) // 2
    photos = photos[:, start : start + args.size, start : start + args.size]
    keys = jax.random.split(jax.random.key(0), len(photos))
    rows: list[dict[str, Any]] = []
    for sigma in SIGMAS:
        noise = np.random.default_rng(0).normal(size=photos.shape)
        y = photos + jnp.asarray(sigma * noise, jnp.float32)
        problems = jax.vmap(lambda y, sigma=sigma: rd.problem(y, rd.denoising(y.shape), rd.gaussian(sigma)))(y)
        problem = jax.tree.map(lambda leaf: leaf[0], problems)
        found = {"the noisy picture, 0": y}
        found |= {name: restored(keys, solver, problems) for name, solver in solvers(prior, problem).items()}
        for name, x in found.items():
            cut = jnp.clip(x, -1, 1)
            row = {"sigma": sigma, "method": name, "psnr": np.mean(jax.vmap(metrics.psnr)(cut, photos)).item()}
            rows.append(row | {"lpips": float(jnp.mean(jax.vmap(lpips)(cut, photos)))})
            print(rows[-1], flush=True)
    _report.write("views", settings={"size": args.size, "photos": list(_pictures.HELD_OUT)}, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
