"""Speed of whole solvers: ours against the same in PyTorch and against deepinv's, with one network.

    python -m benchmarks.speed [--only 5M 40M 553M] [--batches 1 4 16] [--dtypes float32] [--steps 10] [--rounds 3]

Inpainting with another mask for each picture. Every contestant does ``--steps`` steps, and the times are given for 100:
a step costs the same whatever their number. The networks are those of benchmarks/forward.py: azula's copy of the
published one on the side of PyTorch, ours with the same weights. RED-diff in PyTorch is benchmarks/_torch_solvers.py,
with its network channels last and eager, as published; on a GPU also in float16, and compiled in bfloat16. The
contestants take turns in one process; times are medians over the rounds and compiling is apart. ``overhead`` is what
RED-diff takes beside the network's own forward passes, measured in the same turns. Run it on an idle machine.
"""

import argparse
import copy
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves PyTorch its share of a GPU

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
from benchmarks import _report, _torch_solvers
from benchmarks.forward import NETWORKS, Contestant, adm_unet, jax_forward, params_of, take_turns
from reddiff_jax.nets import multiply_adds, parameter_count

SIGMA = 0.05
STEPS_OF_A_RUN = 100


def problems_of(x: np.ndarray) -> rd.Problem:
    """Noisy inpainting of each image, 70 % of its pixels missing."""
    problems = []
    for key, image in zip(jax.random.split(jax.random.key(1), len(x)), x, strict=True):
        mask = rd.random_mask(key, image.shape)
        y = rd.measure(key, rd.inpainting(mask), rd.gaussian(SIGMA), jnp.asarray(image)).y
        problems.append(rd.problem(mask * y, rd.inpainting(mask), rd.gaussian(SIGMA)))
    return rd.stack(problems)


def schedule_of(prior: rd.Prior) -> np.ndarray:
    """alpha_t and sigma_t of every timestep, (num_timesteps, 2)."""
    t = jnp.arange(prior.schedule.num_timesteps)
    return np.stack([np.asarray(each, np.float64) for each in jax.vmap(prior.schedule)(t)], axis=1)


def of_jax(solver: Any, problems: rd.Problem, batch: int) -> Contestant:
    """A solver of ours over a batch."""
    keys = jax.random.split(jax.random.key(0), batch)
    began = time.perf_counter()
    compiled = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0))).lower(keys, solver, problems).compile()
    seconds = time.perf_counter() - began
    analysis = compiled.memory_analysis()
    memory = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e9 if analysis else None

    def run() -> jax.Array:
        return compiled(keys, solver, problems).x.block_until_ready()

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


def compare(name: str, batch: int, dtype: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each contestant."""
    import torch

    net, size = NETWORKS[name]
    module = adm_unet(net, size)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params_of(module, net))
    prior = rd.NetPrior(rd.schedules.linear(), params, net.clone(dtype=dtype))
    x = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, net.in_channels)).astype(np.float32)
    problems, n = problems_of(x), args.steps
    methods = {
        "RED-diff": rd.reddiff(prior, optax.adam(0.1, b2=0.99), lam=0.25, num_steps=n),
        "DPS": rd.dps(prior, num_steps=n),
        "DDRM": rd.ddrm(prior, num_steps=n),
    }
    contestants = {"forward pass, JAX": jax_forward(net.clone(dtype=dtype), params, x)}
    contestants |= {f"{method}, JAX": of_jax(methods[method], problems, batch) for method in args.methods}
    on_gpu = torch.cuda.is_available()
    styles = [("eager", "float16" if on_gpu and dtype != "float32" else dtype, False)]
    styles += [("compiled", dtype, True)] if on_gpu else []
    for style, precision, compiled in styles:
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
        row = {"network": name, "parameters": parameter_count(net), "size": size, "batch": batch, "dtype": dtype}
        row |= {"with": rival, "seconds a step": a_step, "seconds per image": STEPS_OF_A_RUN * a_step / batch}
        row |= {"images per second": batch / (STEPS_OF_A_RUN * a_step), "peak GB": contestant.memory}
        row |= {"compile seconds": contestant.compile_seconds if "JAX" in rival or "compiled" in rival else None}
        row |= {"times PyTorch's": times[rival] / min(rivals)} if rivals else {}
        if rival == "RED-diff, JAX":
            row["overhead"] = a_step / times["forward pass, JAX"] - 1
        row |= {"share of peak": tflop / args.peak} if args.peak and method != "DPS" else {}
        rows.append(row)
    return rows


def main() -> None:
    """Measures and writes results/speed.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=("5M", "40M"), choices=NETWORKS)
    parser.add_argument("--batches", nargs="*", type=int, default=(1, 4))
    parser.add_argument("--dtypes", nargs="*", default=("float32",), choices=("float32", "bfloat16"))
    parser.add_argument("--methods", nargs="*", default=("RED-diff", "DPS", "DDRM"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=float, help="the accelerator's peak in TFLOP/s, of which a share is reported")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()

    import torch

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    settings = {"steps": args.steps, "rounds": args.rounds, "threads": threads, "torch": torch.__version__}
    settings |= {"peak": args.peak}
    rows = []
    for name in args.only:
        for dtype in args.dtypes:
            for batch in args.batches:
                rows += compare(name, batch, dtype, args)
                _report.write("speed", settings=settings, rows=rows, out=args.out)
    columns = ["network", "batch", "with", "seconds a step", "seconds per image", "times PyTorch's", "overhead"]
    print(_report.markdown(rows, columns))


if __name__ == "__main__":
    main()
