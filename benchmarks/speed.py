"""Speed of whole solvers: ours against the same in PyTorch and against deepinv's, with one network.

    python -m benchmarks.speed [--only 5M 40M 553M] [--batches 1 4 16] [--dtypes float32] [--steps 10] [--rounds 3]
    python -m benchmarks.speed --only 5M --sizes 64 128 256 --batches 1 --grow --devices 1 2

Inpainting with another mask for each picture. Every contestant does ``--steps`` steps, and the times are given for 100:
a step costs the same whatever their number. The networks are those of benchmarks/forward.py: azula's copy of the
published one on the side of PyTorch, ours with the same weights. RED-diff in PyTorch is benchmarks/_torch_solvers.py,
with its network channels last and eager, as published; on a GPU also in float16, and compiled in bfloat16. The
contestants take turns in one process; times are medians over the rounds and compiling is apart. ``overhead`` is what
RED-diff takes beside the network's own forward passes, measured in the same turns. Run it on an idle machine.

``--grow`` doubles the last batch for RED-diff in JAX until an accelerator's memory is full; on a CPU up to ``--limit``.
``--devices`` divides each batch among as many devices, by ``rd.shard_vmap``, in a process for each number; a CPU is
made to look like as many. Cases that results/speed.json has of this commit, machine and settings are not measured
again, except those of the networks that ``--only`` names.
"""

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves PyTorch its share of a GPU
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")  # the largest batch is to be that of the whole memory

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

import reddiff_jax as rd
from benchmarks import _report, _torch_solvers
from benchmarks.forward import NETWORKS, Contestant, adm_unet, jax_forward, params_of, take_turns
from reddiff_jax.nets import multiply_adds, parameter_count

DEFAULT = ("5M", "40M")
SIGMA = 0.05
STEPS_OF_A_RUN = 100


@jax.jit
def problems_of(x: jax.Array) -> rd.Problem:
    """Noisy inpainting of each image, 70 % of its pixels missing."""

    def problem(key: jax.Array, image: jax.Array) -> rd.Problem:
        operator = rd.inpainting(rd.masks.random(key, image.shape))
        return rd.measure(key, operator, rd.gaussian(SIGMA), image)

    return jax.vmap(problem)(jax.random.split(jax.random.key(1), len(x)), x)


def schedule_of(prior: rd.Prior) -> np.ndarray:
    """alpha_t and sigma_t of every timestep, (num_timesteps, 2)."""
    t = jnp.arange(prior.schedule.num_timesteps)
    return np.stack([np.asarray(each, np.float64) for each in jax.vmap(prior.schedule)(t)], axis=1)


def of_jax(solver: Any, problems: rd.Problem, batch: int, num_devices: int = 1) -> Contestant:
    """A solver of ours over a batch, which the first devices share."""
    keys = jax.random.split(jax.random.key(0), batch)
    run_batch: Any = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))
    began, memory = time.perf_counter(), None
    if num_devices == 1:
        run_batch = run_batch.lower(keys, solver, problems).compile()
        if analysis := run_batch.memory_analysis():
            memory = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e9
    else:
        mesh = jax.make_mesh((num_devices,), ("batch",), devices=jax.devices()[:num_devices])
        solver = jax.device_put(solver, NamedSharding(mesh, PartitionSpec()))
        keys, problems = jax.device_put((keys, problems), NamedSharding(mesh, PartitionSpec("batch")))
        run_batch = rd.shard_vmap(rd.run, mesh, (0, None, 0))
        run_batch(keys, solver, problems).x.block_until_ready()
    seconds = time.perf_counter() - began

    def run() -> jax.Array:
        return run_batch(keys, solver, problems).x.block_until_ready()

    return Contestant(run, np.asarray(run()), seconds, memory)


class Torch:
    """The contestants of PyTorch: one network in one dtype, and the problems as its tensors."""

    def __init__(self, module: Any, problems: rd.Problem, schedule: np.ndarray, dtype: str, *, compiled: bool = False):
        import torch
        from azula.plugins.adm._src import unet

        unet.checkpoint = lambda function, *inputs, **_: function(*inputs)
        self.on_gpu = torch.cuda.is_available()
        place = {"device": "cuda" if self.on_gpu else "cpu", "dtype": getattr(torch, dtype)}
        module = copy.deepcopy(module).to(**place, memory_format=torch.channels_last)
        # The embedding of time comes in float32 whatever the weights are.
        module.time_embed.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(place["dtype"]),))
        self.module, self.schedule = torch.compile(module) if compiled else module, schedule
        self.y = torch.from_numpy(np.array(problems.y)).movedim(-1, 1).to(**place)
        mask: Any = problems.operator
        self.mask = torch.from_numpy(np.array(mask.mask)).movedim(-1, 1).to(place["device"]).expand(self.y.shape)

    def reddiff(self, num_steps: int) -> Callable[[], Any]:
        """RED-diff, its noise drawn by PyTorch."""
        import torch

        return lambda: _torch_solvers.reddiff(
            self.module,
            self.schedule,
            self.y,
            self.mask,
            lambda k: torch.randn_like(self.y, dtype=torch.float32),
            num_steps=num_steps,
        )

    def deepinv(self, name: str, num_steps: int) -> Callable[[], Any]:
        """A solver of deepinv."""
        from benchmarks._torch import import_deepinv

        deepinv = import_deepinv()
        denoiser = _torch_solvers.deepinv_denoiser(self.module, self.schedule)
        noise = deepinv.physics.GaussianNoise(SIGMA / 2)
        # Its DDRM takes one mask for the whole batch only.
        mask = self.mask[:1] if name == "ddrm" else self.mask
        physics = deepinv.physics.Inpainting(tuple(self.y.shape[1:]), mask=mask, noise_model=noise)
        y = (self.y + self.mask) / 2  # of pixels in [0, 1]
        if name == "dps":
            # Its last time only ends the last step.
            options = {"device": y.device, "dtype": y.dtype}
            model = deepinv.sampling.DPS(denoiser, num_steps=num_steps + 1, **options)
        else:
            model = deepinv.sampling.DDRM(denoiser, sigmas=np.linspace(1, 0.02, num_steps))
        return lambda: model(y, physics)

    def contestant(self, run: Callable[[], Any]) -> Contestant:
        """The first call of a function, and how to repeat it."""
        import torch

        def wait() -> Any:
            x = run()
            if self.on_gpu:
                torch.cuda.synchronize()
            return x

        began = time.perf_counter()
        first = wait()
        memory = None
        if self.on_gpu:
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            wait()
            memory = (torch.cuda.max_memory_allocated() - before) / 1e9
        return Contestant(wait, first.float().cpu().numpy(), time.perf_counter() - began, memory)


class Case(NamedTuple):
    """What one row for each contestant is measured of."""

    network: str
    size: int
    dtype: str
    devices: int
    batch: int


def place(row: dict[str, Any]) -> Case:
    """The case of a row."""
    return Case(*(row[name] for name in Case._fields))


@lru_cache(maxsize=1)
def network(name: str, size: int) -> Any:
    """PyTorch's network, with random weights."""
    return adm_unet(NETWORKS[name][0], size)


def compare(case: Case, args: argparse.Namespace, *, alone: bool) -> list[dict[str, Any]]:
    """One row for each contestant; ``alone``: for RED-diff in JAX and the forward pass only.

    Raises:
        MemoryError: If RED-diff does not fit into the memory.
    """
    import torch

    name, size, dtype, num_devices, batch = case
    net, module = NETWORKS[name][0], network(name, size)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params_of(module, net))
    prior = rd.priors.NetPrior(rd.schedules.linear(), params, net.clone(dtype=dtype))
    x = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, net.in_channels)).astype(np.float32)
    problems, n = problems_of(x), args.steps
    methods = {
        "RED-diff": rd.reddiff(prior, optax.adam(0.1, b2=0.99), lam=0.25, num_steps=n),
        "DPS": rd.dps(prior, num_steps=n),
        "DDRM": rd.ddrm(prior, num_steps=n),
    }
    contestants: dict[str, Contestant] = {}
    try:
        if num_devices == 1:
            contestants["forward pass, JAX"] = jax_forward(net.clone(dtype=dtype), params, x)
        for method in ["RED-diff"] if alone else args.methods:
            contestants[f"{method}, JAX"] = of_jax(methods[method], problems, batch, num_devices)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise MemoryError(f"{case} does not fit") from error
        raise
    on_gpu = torch.cuda.is_available()
    styles = [("eager", "float16" if on_gpu and dtype != "float32" else dtype, False)]
    styles += [("compiled", dtype, True)] if on_gpu else []
    for style, precision, compiled in [] if alone else styles:
        torches = Torch(module, problems, schedule_of(prior), precision, compiled=compiled)
        contestants[f"RED-diff, PyTorch {style} {precision}"] = torches.contestant(torches.reddiff(n))
        for method in set(args.methods) & {"DPS", "DDRM"} if style == "eager" and precision == "float32" else ():
            contestants[f"{method}, deepinv"] = torches.contestant(torches.deepinv(method.lower(), n))
    times = {each: value["seconds"] for each, value in take_turns(contestants, args.rounds).items()}
    rows = []
    for rival, contestant in contestants.items():
        method = rival.split(",")[0]
        a_step = times[rival] / (1 if method == "forward pass" else n)
        rivals = [seconds for other, seconds in times.items() if other.startswith(method) and "JAX" not in other]
        tflop = 2e-12 * batch * multiply_adds(net, size) / a_step
        row = {**case._asdict(), "parameters": parameter_count(net), "with": rival}
        row |= {"seconds a step": a_step, "seconds per image": STEPS_OF_A_RUN * a_step / batch}
        row |= {"images per second": batch / (STEPS_OF_A_RUN * a_step), "peak GB": contestant.memory}
        row |= {"compile seconds": contestant.compile_seconds if "JAX" in rival or "compiled" in rival else None}
        row |= {"times PyTorch's": times[rival] / min(rivals)} if rivals else {}
        if rival == "RED-diff, JAX" and num_devices == 1:
            row["overhead"] = a_step / times["forward pass, JAX"] - 1
        row |= {"share of peak": tflop / args.peak / num_devices} if args.peak and method != "DPS" else {}
        rows.append(row)
    return rows


def main() -> None:
    """Measures and writes results/speed.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=NETWORKS, help=f"networks to measure anew; {DEFAULT} if left out")
    parser.add_argument("--sizes", nargs="*", type=int, help="of the pictures; the network's own if left out")
    parser.add_argument("--batches", nargs="*", type=int, default=(1, 4))
    parser.add_argument("--grow", action="store_true", help="double the last batch while it fits")
    parser.add_argument("--limit", type=int, default=16, help="largest batch of --grow on a CPU")
    parser.add_argument("--devices", nargs="*", type=int, default=(1,))
    parser.add_argument("--dtypes", nargs="*", default=("float32",), choices=("float32", "bfloat16"))
    parser.add_argument("--methods", nargs="*", default=("RED-diff", "DPS", "DDRM"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=float, help="the accelerator's peak in TFLOP/s, of which a share is reported")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    if len(args.devices) > 1:
        for count in args.devices:
            command = [sys.executable, "-m", "benchmarks.speed", *sys.argv[1:], "--devices", str(count)]
            subprocess.run(command, check=True)
        return
    num_devices = args.devices[0]
    flags = f"--xla_force_host_platform_device_count={num_devices} {os.environ.get('XLA_FLAGS', '')}"
    os.environ["XLA_FLAGS"] = flags  # nothing has asked for devices yet
    if jax.device_count() < num_devices:
        parser.error(f"there are {jax.device_count()} devices but {num_devices} are asked for.")

    import torch

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    settings = {"steps": args.steps, "rounds": args.rounds, "threads": threads, "torch": torch.__version__}
    settings |= {"peak": args.peak, "methods": list(args.methods)}
    rows = _report.read("speed", settings=settings, out=args.out)

    def fits(case: Case, *, alone: bool) -> bool:
        """Measures a case, or finds it measured; returns whether more would fit."""
        known = [row for row in rows if place(row) == case]
        if not known or case.network in (args.only or ()):
            try:
                known = compare(case, args, alone=alone)
            except MemoryError:
                known = []
                for row in rows:
                    if place(row) == case._replace(batch=case.batch // 2):
                        row["largest that fits"] = True
            rows[:] = [row for row in rows if place(row) != case] + known
            rows.sort(key=lambda row: (list(NETWORKS).index(row["network"]), *place(row)))
            _report.write("speed", settings=settings, rows=rows, out=args.out)
        return bool(known) and not known[0].get("largest that fits")

    for name in args.only or DEFAULT:
        sizes: list[int] = args.sizes or [NETWORKS[name][1]]
        for size, dtype in ((size, dtype) for size in sizes for dtype in args.dtypes):
            more, batch = True, 0
            for batch in (each for each in args.batches if each % num_devices == 0):
                more = fits(Case(name, size, dtype, num_devices, batch), alone=num_devices > 1)
            while args.grow and batch and more and (jax.default_backend() != "cpu" or 2 * batch <= args.limit):
                batch *= 2
                more = fits(Case(name, size, dtype, num_devices, batch), alone=True)
    columns = ["network", "size", "devices", "batch", "with", "seconds a step", "seconds per image"]
    print(_report.markdown(rows, [*columns, "times PyTorch's", "overhead"]))


if __name__ == "__main__":
    main()
