"""Where a trained network's own error is, and what noise-aware RED-diff should do about it.

    python -m benchmarks.net_error [--priors photo emoji64 galaxies] [--data DATA]

On three priors, and on no picture that is reported on: ``photo`` with the tuning crops, ``emoji64`` with held-out
emoji (DATA is the folder that benchmarks/emoji64_data.py has filled; faces are left out, because they are reported on),
and ``galaxies``, a network of another domain, architecture and schedule (``pip install --no-deps galaxygrad==0.1.9
diffrax equinox optimistix lineax einops``), with pictures drawn from itself.

``loss`` is the error of the network by noise level r = sigma_t / alpha_t: of its noise prediction (1 is what predicting
zero has), and of the clean picture, in pixels, at three inputs: ``noised`` is a picture with noise, as in training;
``smoothed`` a picture that lost its fine detail (a Gaussian of 1 pixel) before the noise was added, like a mu that
carries too little; ``noiseless`` the smoothed picture without noise, where all that it predicts is made up.

``sweep`` is the quality of ``rd.noise_aware`` at equal evaluations: with its defaults, and with one thing changed: the
least and the first level, gamma, lam, the control variate, a final denoising, a weight of the prior by the network's
measured accuracy (kappa divided by the square root of the loss at its level), or several short runs, averaged.

``lam`` is the quality of three averaged runs of 33 steps by the weight of the prior, on tasks that measure much of a
picture and little, and ``start`` by the first image, the first noise level and the length of the runs; ``least`` is
that of the built-in settings of ``noise_aware`` by the least noise level. That is where these settings come from.

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
from flax import struct

import reddiff_jax as rd
from benchmarks import _long_runs, _pictures, _report, _settings, emoji64, quality
from reddiff_jax import metrics, pictures
from reddiff_jax.settings import INITS

LEVELS = tuple(float(f"{r:.3g}") for r in np.geomspace(0.01, 30, 12))
NUM_DRAWS = 4
SIGMA = 0.05
SIZE = 64
NUM_PICTURES = 4
PRIORS = ("photo", "emoji64", "galaxies")
DEFAULTS: dict[str, Any] = {
    "num_runs": 1,
    "sigma_min": 0.02,
    "sigma_max": 3.0,
    "lam": 1.0,
    "gamma": 0.001,
    "variate": "projected",
    "final_denoising": False,
    "weight_by_accuracy": False,
}
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"num_runs": 3},
    {"sigma_min": 0.05},
    {"sigma_min": 0.1},
    {"sigma_max": 1.0},
    {"sigma_max": 10.0},
    {"lam": 0.7},
    {"num_runs": 3, "lam": 0.7},
    {"gamma": 0.1},
    {"variate": "published"},
    {"final_denoising": True},
    {"weight_by_accuracy": True},
)
LAM_TASKS = ("denoise", "inpaint_freeform", "inpaint_random", "cs4", "sr4", "deblur_gauss61", "deblur_motion")
LAM_SIGMAS = (0.05, 0.2)
LAMS = (0.2, 0.35, 0.5, 0.7, 1.0)
# Of the part start: its best lam for each task, and the first image and level.
LAM = {"inpaint_freeform": 0.7, "inpaint_box": 0.7, "inpaint_random": 0.35, "cs4": 0.35, "sr4": 0.35}
START_SIGMAS = (0.0, 0.1)
STARTS = (("pinv", 3.0), ("smooth", 0.5), ("smooth", 1.0), ("smooth", 3.0))
LENGTHS = ((20, 1), (33, 3), (25, 4), (50, 2))  # steps of a run, runs
LEAST_TASKS = ("denoise", "inpaint_random", "inpaint_freeform", "sr4", "deblur_gauss61", "cs4")
LEAST_SIGMAS = (0.0, 0.02, 0.05)  # above, runs end at a quarter of sigma
R_MINS = (0.005, 0.01, 0.02, 0.04)
VARIATES = {"projected": rd.solvers.variate_projected, "published": rd.solvers.variate_published}


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


@struct.dataclass
class WeightByAccuracy(rd.solvers.Weight):
    """A weight that trusts the network by its loss, known at some levels."""

    weight: rd.solvers.Weight
    levels: jax.Array
    losses: jax.Array

    follow_noise = True

    def of(self, *arguments: Any) -> Any:
        """The weight over the square root of the loss."""
        at_level = self.weight.of(*arguments)

        def trusted(alpha_t: jax.Array, sigma_t: jax.Array) -> tuple[jax.Array, jax.Array]:
            loss = jnp.exp(jnp.interp(jnp.log(sigma_t / alpha_t), jnp.log(self.levels), jnp.log(self.losses)))
            w, kappa = at_level(alpha_t, sigma_t)
            return w / jnp.sqrt(loss), kappa / jnp.sqrt(loss)

        return trusted


@partial(jax.jit, static_argnames=("num_runs", "final_denoising"))
def restore(solver: rd.solvers.RedDiff, problems: rd.Problem, num_runs: int, final_denoising: bool) -> jax.Array:
    """Restored pictures (B, H, W, C)."""

    def one(key: jax.Array, problem: rd.Problem) -> jax.Array:
        if num_runs > 1:
            return rd.run(key, rd.averaged(solver, num_runs), problem).x
        solution = rd.run(key, solver, problem)
        if not final_denoising:
            return solution.x
        schedule, last = solver.prior.schedule, jnp.asarray(solver.num_steps - 1)
        (t,) = solver.levels(key, last, rd.solvers.Scene(problem, schedule, solution.state.scale))
        return solver.prior.denoise(schedule(t)[0] * solution.x, t)

    return jax.vmap(one)(jax.random.split(jax.random.key(0), len(problems.y)), problems)


def changed(
    prior: rd.Prior, evaluations: int, losses: jax.Array, **changes: Any
) -> tuple[rd.solvers.RedDiff, int, bool]:
    """What ``restore`` takes for a change of the defaults."""
    chosen = {**DEFAULTS, **changes}
    solver = _long_runs.noise_aware(
        prior,
        num_steps=evaluations // chosen["num_runs"],
        control_variate=VARIATES[chosen["variate"]],
        **{name: chosen[name] for name in ("sigma_min", "sigma_max", "lam", "gamma")},
    )
    if chosen["weight_by_accuracy"]:
        weight = WeightByAccuracy(solver.weight, jnp.asarray(LEVELS), losses)
        solver = solver.replace(weight=weight)  # type: ignore[attr-defined]
    return solver, chosen["num_runs"], chosen["final_denoising"]


def bed(name: str, data: Path | None) -> tuple[rd.Prior, np.ndarray]:
    """A prior, and pictures (B, H, W, C) to try it on."""
    if name == "photo":
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


def judged(restored: jax.Array, x: jax.Array) -> dict[str, float]:
    """PSNR, and of colour pictures LPIPS."""
    known = {"PSNR": round(float(psnr(restored, x)), 3)}
    return known | ({"LPIPS": round(float(distance(restored, x)), 4)} if x.shape[-1] == 3 else {})


def main(argv: list[str] | None = None) -> None:
    """Measures and writes results/net_error.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--priors", nargs="+", default=PRIORS, choices=PRIORS)
    parser.add_argument("--data", type=Path, help="emoji")
    parser.add_argument("--tasks", nargs="*", default=["denoise", "inpaint_random", "sr4", "deblur_gauss61"])
    parser.add_argument("--lam-tasks", nargs="*", default=LAM_TASKS, help="tasks of the part lam")
    parser.add_argument("--start-tasks", nargs="*", default=LAM, help="tasks of the part start")
    parser.add_argument("--least-tasks", nargs="*", default=LEAST_TASKS, help="tasks of the part least")
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
        z = jax.random.normal(jax.random.key(1), (NUM_DRAWS, *x.shape[1:]))
        smooth = jax.jit(jax.vmap(rd.gaussian_blur((SIZE, SIZE, x.shape[-1]), sigma=1.0, size=7)))(x)
        found = [errors(prior, x, smooth, z, jnp.asarray(r)) for r in LEVELS]
        for r, each in zip(LEVELS, found, strict=True):
            place = {"part": "loss", "prior": name, "r": r}
            if not known(place):
                add({**place, **{key: round(float(value), 6) for key, value in each.items()}})
        losses = jnp.stack([each["eps, noised"] for each in found])
        for task, evaluations, changes in itertools.product(args.tasks, args.evaluations, CHANGES):
            place = {"part": "sweep", "prior": name, "task": task, "evaluations": evaluations, **DEFAULTS, **changes}
            if known(place) or evaluations < 20 * place["num_runs"]:
                continue
            problems = rd.stack(quality.simulate(task, SIGMA, pixels))
            solver, num_runs, final_denoising = changed(prior, evaluations, losses, **changes)
            images = restore(solver, problems, num_runs, final_denoising)
            add({**place, **judged(images, x)})
        for task, sigma in itertools.product(args.lam_tasks if name != "galaxies" else (), LAM_SIGMAS):
            problems = rd.stack(quality.simulate(task, sigma, pixels))
            for lam in LAMS:
                place = {"part": "lam", "prior": name, "task": task, "sigma": sigma, "lam": lam}
                if not known(place):
                    images = restore(_long_runs.noise_aware(prior, lam=lam, num_steps=33), problems, 3, False)
                    add({**place, **judged(images, x)})
        for task, sigma in itertools.product(args.start_tasks if name != "galaxies" else (), START_SIGMAS):
            problems = rd.stack(quality.simulate(task, sigma, pixels))
            for (num_steps, num_runs), (init, sigma_max) in itertools.product(LENGTHS, STARTS):
                place = {"part": "start", "prior": name, "task": task, "sigma": sigma, "lam": LAM[task]}
                place |= {"num_steps": num_steps, "num_runs": num_runs, "init": init, "sigma_max": sigma_max}
                if not known(place):
                    start = INITS[init]
                    own = {"lam": LAM[task], "sigma_max": sigma_max, "init": start}
                    solver = _long_runs.noise_aware(prior, num_steps, **own)
                    add({**place, **judged(restore(solver, problems, num_runs, False), x)})
        for task, sigma in itertools.product(args.least_tasks if name != "galaxies" else (), LEAST_SIGMAS):
            built_in = _settings.built_in(task, sigma, "noise_aware")
            problems = rd.stack(quality.simulate(task, sigma, pixels))
            for sigma_min in R_MINS:
                place = {"part": "least", "prior": name, "task": task, "sigma": sigma, "sigma_min": sigma_min}
                if not known(place) and (task, sigma) != ("denoise", 0.0):
                    keys = jax.random.split(jax.random.key(0), len(x))
                    images = quality.runs(keys, built_in.changed({"sigma_min": sigma_min}).solver(prior), problems).x
                    add({**place, **judged(images, x)})


if __name__ == "__main__":
    main()
