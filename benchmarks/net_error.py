"""Where a trained network's own error is, and what noise-aware RED-diff should do about it.

    python -m benchmarks.net_error [--only loss sweep] [--priors photo64 emoji64 galaxies] [--data DATA]

On three priors, and on no picture that is reported on: ``photo64`` with the tuning crops, ``emoji64`` with held-out
emoji (DATA is the folder that benchmarks/emoji64_data.py has filled; faces are left out, because they are reported on),
and ``galaxies``, a network of another domain, architecture and schedule (``pip install --no-deps galaxygrad==0.1.9
diffrax equinox optimistix lineax einops``), with pictures drawn from itself.

``loss`` is the error of the network by noise level r = sigma_t / alpha_t: of its noise prediction (1 is what predicting
zero has), and of the clean picture, in pixels, at three inputs: ``noised`` is a picture with noise, as in training;
``smoothed`` a picture that lost its fine detail (a Gaussian of 1 pixel) before the noise was added, like a mu that
carries too little; ``noiseless`` the smoothed picture without noise, where all that it predicts is made up. ``sweep``
is the quality of ``rd.noise_aware`` for values of r_min, gamma and r_max about its defaults, and for both control
variates.

Rows already in results/net_error.json are kept.
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
from benchmarks import _pictures, _report, emoji64, quality
from reddiff_jax import metrics, pictures

LEVELS = tuple(float(f"{r:.3g}") for r in np.geomspace(0.01, 30, 12))
NUM_DRAWS = 4
SIGMA = 0.05
SIZE = 64
NUM_PICTURES = 4
PRIORS = ("photo64", "emoji64", "galaxies")
# (r_min, gamma, r_max): one value is varied at a time.
DEFAULTS = (0.02, 0.001, 3.0)
GRID = tuple(
    dict.fromkeys(
        [(r_min, *DEFAULTS[1:]) for r_min in (0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.2)]
        + [(DEFAULTS[0], gamma, DEFAULTS[2]) for gamma in (0.0, 0.01, 0.1)]
        + [(*DEFAULTS[:2], r_max) for r_max in (1.0, 10.0)]
    )
)
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
    prior: rd.Prior, problems: rd.Problem, x: jax.Array, grid: jax.Array, num_steps: int, variate: str
) -> jax.Array:
    """Restored pictures (G, B, H, W, C) for each (r_min, gamma, r_max) of a grid (G, 3), one after the other."""
    keys = jax.random.split(jax.random.key(0), len(x))

    def one(setting: jax.Array) -> jax.Array:
        r_min, gamma, r_max = setting
        solver = rd.noise_aware(
            prior, r_min=r_min, gamma=gamma, r_max=r_max, num_steps=num_steps, control_variate=VARIATES[variate]
        )
        return jax.vmap(rd.run, in_axes=(0, None, 0))(keys, solver, problems).x

    return jax.lax.map(one, grid)


def bed(name: str, data: Path | None) -> tuple[rd.Prior, np.ndarray]:
    """A prior, and pictures (B, H, W, C) to try it on."""
    if name == "photo64":
        return rd.load_prior(name), np.stack(list(_pictures.tuning(SIZE).values()))
    if name == "emoji64":
        if data is None:
            raise SystemExit("emoji64 needs --data, the folder that benchmarks/emoji64_data.py has filled.")
        found = pictures.find_pictures(data / "held_out")
        held_out = [path for path in found if path.stem.split("_")[0] not in emoji64.FACES]
        return rd.load_prior(name), emoji64.read(held_out[:: len(held_out) // NUM_PICTURES][:NUM_PICTURES])
    prior = galaxies()
    drawn = jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))(
        jax.random.split(jax.random.key(2), NUM_PICTURES),
        rd.ddim(prior, eta=1.0, num_steps=1000),
        rd.unconditional((SIZE, SIZE, 1)),
    )
    return prior, np.asarray(drawn.x)


def galaxies() -> rd.Prior:
    """Galaxygrad's score network of HSC galaxies, log(1 + flux) / 0.1: dx = -x dt / 2 + dw for t in [0, 10]."""
    from galaxygrad import scorenet

    def denoise(x: jax.Array, sigma: jax.Array, cond: Any) -> jax.Array:
        t = jnp.log1p(sigma**2)
        score = scorenet.HSC_64(jnp.exp(-t / 2) * jnp.moveaxis(x, -1, 0), t)
        return x + sigma * jnp.sqrt(-jnp.expm1(-t)) * jnp.moveaxis(score, 0, -1)

    return rd.edm_prior(denoise, rd.schedules.linear())


def psnr(restored: jax.Array, x: jax.Array) -> jax.Array:
    """Mean PSNR over pictures; in the range -1 to 1 where the pictures are."""
    restored = jnp.where(jnp.max(jnp.abs(x)) <= 1, jnp.clip(restored, -1, 1), restored)
    return jnp.mean(jax.vmap(metrics.psnr)(restored, x))


@jax.jit
def distance(restored: jax.Array, x: jax.Array) -> jax.Array:
    """Mean LPIPS over colour pictures."""
    return jnp.mean(jax.vmap(metrics.load_lpips())(jnp.clip(restored, -1, 1), x))


def main(argv: list[str] | None = None) -> None:
    """Measures and writes results/net_error.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["loss", "sweep"], choices=["loss", "sweep"])
    parser.add_argument("--priors", nargs="+", default=PRIORS, choices=PRIORS)
    parser.add_argument("--data", type=Path, help="emoji")
    parser.add_argument("--tasks", nargs="+", default=["sr4", "inpaint_random", "deblur_gauss61"])
    parser.add_argument("--evaluations", nargs="+", type=int, default=[20, 100])
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    settings = {"size": SIZE, "pictures": NUM_PICTURES, "sigma": SIGMA, "draws": NUM_DRAWS}
    path = args.out / "net_error.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier["rows"] if earlier.get("settings") == settings else []

    def known(row: dict[str, Any]) -> bool:
        return any(row.items() <= other.items() for other in rows)

    def add(*new: dict[str, Any]) -> None:
        rows.extend(new)
        _report.write("net_error", settings=settings, rows=rows, out=args.out)
        for row in new:
            print(_report.markdown([row], list(row)).splitlines()[-1], flush=True)

    for name in args.priors:
        prior, pixels = bed(name, args.data)
        x = jnp.asarray(pixels)
        if "loss" in args.only:
            z = jax.random.normal(jax.random.key(1), (NUM_DRAWS, *x.shape[1:]))
            smooth = jax.jit(jax.vmap(rd.gaussian_blur((SIZE, SIZE, x.shape[-1]), sigma=1.0, size=7)))(x)
            for r in LEVELS:
                place = {"part": "loss", "prior": name, "r": r}
                if not known(place):
                    found = errors(prior, x, smooth, z, jnp.asarray(r))
                    add({**place, **{key: round(float(value), 6) for key, value in found.items()}})
        if "sweep" in args.only:
            for task, num_steps, variate in itertools.product(args.tasks, args.evaluations, VARIATES):
                place = {"part": "sweep", "prior": name, "task": task, "evaluations": num_steps, "variate": variate}
                if known(place):
                    continue
                # The variate matters less than the rest: its other choice only at the defaults.
                grid = GRID if variate == "projected" else (DEFAULTS,)
                problems = rd.stack(quality.simulate(task, SIGMA, pixels))
                restored = sweep(prior, problems, x, jnp.asarray(grid), num_steps, variate)
                for (r_min, gamma, r_max), images in zip(grid, restored, strict=True):
                    row = {**place, "r_min": r_min, "gamma": gamma, "r_max": r_max}
                    row["PSNR"] = round(float(psnr(images, x)), 3)
                    if x.shape[-1] == 3:
                        row["LPIPS"] = round(float(distance(images, x)), 4)
                    add(row)


if __name__ == "__main__":
    main()
