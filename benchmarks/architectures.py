"""How to train a prior of photos on a CPU: quality per millisecond of UNets and objectives after the same time.

    python -m benchmarks.architectures FOLDER [--minutes 7] [--only time quality] [--networks w64-p2 ...]
                                       [--objectives v-lognormal ...]

FOLDER is what benchmarks/photo_data.py has collected. ``time`` is one forward pass at 256 x 256, which needs an
idle machine. ``quality`` trains each network with each objective for as many minutes, compiling apart, from scratch,
the learning rate falling to zero at the end, and measures it on the tuning photos: as a denoiser at sigma 15, 25 and
50 of 255, and in restoring (``rd.noise_aware``, 50 evaluations, sigma 0.05). Short trainings favour what learns fast,
which is what a prior that is trained on a CPU needs. Rows that results/architectures.json has are kept.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _pictures, _report, denoising, quality
from reddiff_jax import metrics, pictures, priors, training
from reddiff_jax.nets import UNet, multiply_adds, parameter_count

NETWORKS = {
    "w32": {"model_channels": 32, "channel_mult": (1, 2, 4)},
    "w32-4levels": {"model_channels": 32, "channel_mult": (1, 2, 4, 4)},
    "w64-p2": {"model_channels": 64, "channel_mult": (1, 2, 2), "patch_size": 2},
    "w64-p2-no-attention": {
        "model_channels": 64,
        "channel_mult": (1, 2, 2),
        "patch_size": 2,
        "middle_attention": False,
    },
    "w64-p2-2levels": {"model_channels": 64, "channel_mult": (1, 2), "patch_size": 2},
    "w96-p2": {"model_channels": 96, "channel_mult": (1, 1, 2), "patch_size": 2},
    "w128-p4": {"model_channels": 128, "channel_mult": (1, 2), "patch_size": 4},
}
OBJECTIVES = {
    "v-lognormal": (priors.from_v, training.lognormal_levels),
    "v": (priors.from_v, training.uniform_levels),
    "eps-lognormal": (priors.from_eps, training.lognormal_levels),
    "eps": (priors.from_eps, training.uniform_levels),
}
TASKS = ("inpaint_random", "sr4", "deblur_gauss61")
SIGMA = 0.05
CROPS = (64, 64, 64, 128)


def network(name: str) -> UNet:
    """A candidate."""
    return UNet(num_res_blocks=1, num_head_channels=32, **NETWORKS[name])


def time_forward(name: str, size: int = 256, rounds: int = 7) -> dict[str, Any]:
    """Milliseconds of a forward pass."""
    net, x = network(name), jnp.zeros((size, size, 3))
    t = jnp.asarray(500)
    params = net.init(jax.random.key(0), x, t)
    forward = jax.jit(net.apply).lower(params, x, t).compile()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        forward(params, x, t).block_until_ready()
        seconds.append(time.perf_counter() - began)
    row = {"parameters": parameter_count(net), "GMAC": multiply_adds(net, size) / 1e9}
    return row | {"ms, 256 x 256": 1e3 * statistics.median(seconds)}


def trained(name: str, objective: str, folder: Path, minutes: float) -> tuple[rd.priors.NetPrior, int]:
    """A prior after some minutes of training, and the number of its updates."""
    net, schedule = network(name), rd.schedules.linear()
    to_eps, levels = OBJECTIVES[objective]
    crops = training.Crops(tuple(pictures.find_pictures(folder)), min_size=min(CROPS))
    trial = training.TrainingConfig(steps=10_000, crops=CROPS, warmup=50, to_eps=to_eps, levels=levels)
    sizes = [CROPS[k % len(CROPS)] for k in range(len(CROPS))]
    state = training.init_state(net, trial, 3)
    seconds = []
    for k, size in enumerate(2 * sizes):  # the first round compiles
        batch = jnp.asarray(crops.batch(k, size, trial.count(size)))
        began = time.perf_counter()
        state, loss = training.train_step(state, batch, schedule, net=net, config=trial)
        loss.block_until_ready()
        seconds.append(time.perf_counter() - began)
    steps = int(60 * minutes / (sum(seconds[len(sizes) :]) / len(sizes)))
    config = replace(trial, steps=steps, warmup=min(50, steps // 4), ema=0.99, learning_rate=1e-3, decay=0.5)
    state = training.init_state(net, config, 3)
    for k in range(steps):
        size = CROPS[k % len(CROPS)]
        state, _ = training.train_step(
            state, jnp.asarray(crops.batch(k, size, config.count(size))), schedule, net=net, config=config
        )
    return rd.priors.NetPrior(schedule, state.ema, net, to_eps), steps


def judge(prior: rd.priors.NetPrior) -> dict[str, float]:
    """PSNR as a denoiser at 128 x 128, and in restoring at 64 x 64."""
    row = {}
    photos = np.stack([(x + 1) / 2 for x in _pictures.tuning(112).values()])
    for level in denoising.SIGMAS:
        noisy = denoising.noisy(photos, level / 255)
        found = [denoising.by_prior(prior, y, level / 255) for y in noisy]
        row[f"denoised {level}"] = float(
            np.mean([denoising.scores(a, b)[0] for a, b in zip(found, photos, strict=True)])
        )
    x = np.stack(list(_pictures.tuning(64).values()))
    keys = jax.random.split(jax.random.key(0), len(x))
    for task in TASKS:
        problems = rd.stack(quality.simulate(task, SIGMA, x))
        restored = quality.runs(keys, _long_runs.noise_aware(prior, num_steps=50), problems).x
        row[task] = float(jnp.mean(jax.vmap(metrics.psnr)(jnp.clip(restored, -1, 1), jnp.asarray(x))))
    return row


def main() -> None:
    """Measures what is missing and writes results/architectures.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--only", nargs="+", default=["time", "quality"], choices=["time", "quality"])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--objectives", nargs="+", default=["v-lognormal"], choices=list(OBJECTIVES))
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args()
    settings = {"minutes": args.minutes, "crops": CROPS, "pictures": list(_pictures.tuning(64)), "sigma": SIGMA}
    path = args.out / "architectures.json"

    def known() -> list[dict[str, Any]]:
        return json.loads(path.read_text())["rows"] if path.exists() else []

    for what in args.only:
        for name in args.networks:
            for objective in args.objectives if what == "quality" else [""]:
                row = {"what": what, "network": name} | ({"objective": objective} if objective else {})
                if any(row.items() <= other.items() for other in known()):
                    continue
                if what == "time":
                    row |= time_forward(name)
                else:
                    prior, updates = trained(name, objective, args.folder, args.minutes)
                    row |= {"updates": updates, **judge(prior)}
                # Another process may have written in the meantime.
                _report.write("architectures", settings=settings, rows=[*known(), row], out=args.out)
                print(_report.markdown([row], list(row)).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
