"""Compile time of whole runs: cold, and warm from the persistent cache.

    python -m benchmarks.compiling [--only 3M 553M] [--batches 1 4] [--rounds 3]

RED-diff with 100 steps on random inpainting with another mask for each picture: with the bundled prior at 64 x 64, and
with the published network for 256 x 256 (552.8 M parameters). Each compilation is in a process of its own; the cache is
an empty folder for the first and what that left behind for the second. Nothing is run: parameters, measurements and
masks are shapes. ``trace`` is Python's part, ``lower`` the way to StableHLO, ``compile`` XLA's or the reading from the
cache; ``total`` is their sum, without starting Python. Medians over the rounds. Run it on an idle machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NETWORKS = {"3M": 64, "553M": 256}
STEPS = 100
PARTS = ("trace", "lower", "compile")


def compile_once(name: str, batch: int) -> dict[str, float]:
    """Seconds of each part, in this process."""
    import jax

    import reddiff_jax as rd
    from reddiff_jax.nets import configs, parameter_count, parameter_shapes

    size = NETWORKS[name]
    shape = (size, size, 3)

    def arguments(key: jax.Array, prior: rd.priors.NetPrior) -> tuple[Any, ...]:
        def problem(key: jax.Array) -> rd.Problem:
            return rd.measure(
                key, rd.inpainting(rd.masks.random(key, shape)), rd.gaussian(0.05), jax.numpy.zeros(shape)
            )

        keys = jax.random.split(key, batch)
        return keys, rd.reddiff(prior, num_steps=STEPS), jax.vmap(problem)(keys)

    if name == "553M":
        net = configs.imagenet256_uncond()
        prior = rd.priors.NetPrior(rd.schedules.linear(), parameter_shapes(net), net)
    else:
        prior = rd.load_prior()
    net: Any = prior.net
    shapes = jax.eval_shape(arguments, jax.random.key(0), prior)
    began = [time.perf_counter()]
    traced = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0))).trace(*shapes)
    began.append(time.perf_counter())
    lowered = traced.lower()
    began.append(time.perf_counter())
    lowered.compile()
    began.append(time.perf_counter())
    seconds = {part: after - before for part, before, after in zip(PARTS, began, began[1:], strict=False)}
    return {"parameters": parameter_count(net), **seconds}


def in_new_process(name: str, batch: int, cache: str) -> dict[str, float]:
    """The same in a process of its own, with a cache folder."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-m", "benchmarks.compiling", "--once", name, str(batch)]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures and writes results/compiling.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--batches", nargs="*", type=int, default=(1, 4))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    parser.add_argument("--once", nargs=2, metavar=("NETWORK", "BATCH"), help="compile in this process and print it")
    args = parser.parse_args()
    if args.once:
        print(json.dumps(compile_once(args.once[0], int(args.once[1]))))
        return
    from benchmarks import _report

    rows = []
    for name in args.only:
        for batch in args.batches:
            measured: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
            for _ in range(args.rounds):
                with tempfile.TemporaryDirectory() as cache:
                    for times in measured.values():
                        times.append(in_new_process(name, batch, cache))
            for cache, times in measured.items():
                seconds = {part: statistics.median(each[part] for each in times) for part in PARTS}
                row = {"network": name, "parameters": times[0]["parameters"], "size": NETWORKS[name], "batch": batch}
                rows.append({**row, "cache": cache, **seconds, "total": sum(seconds.values())})
                print(rows[-1], flush=True)
            _report.write("compiling", settings={"steps": STEPS, "rounds": args.rounds}, rows=rows, out=args.out)
    print(_report.markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
