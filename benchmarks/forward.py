"""Speed of one forward pass of the UNet: JAX against PyTorch with the same weights.

    python -m benchmarks.forward [--only 5M 40M 553M] [--batches 1 4] [--dtypes float32] [--rounds 5]

The PyTorch side is azula's copy of the published network: channels last, inference mode, its activation checkpointing
taken out, eager (and on a GPU also under ``torch.compile``). On the JAX side, the network for one sample, jitted; from
batch 2 on, jitted under ``vmap``. The two take turns, in one process and with one thread for each core that the process
may use (``taskset -c 0`` makes it one). Times are medians over the rounds; compiling is timed apart. On a machine that
others use, compare processor seconds on one core. ``difference`` is the largest from the last one's output, over the
largest value of that.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves PyTorch its share of a GPU

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import _report
from reddiff_jax.converting import guided_diffusion
from reddiff_jax.nets import UNet, configs, multiply_adds, parameter_count

T = 500

# Name -> network, height and width of its images.
NETWORKS = {
    "5M": (
        UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 2, 4, 4), attention_downsamples=(4, 8)),
        64,
    ),
    "40M": (
        UNet(
            model_channels=96,
            num_res_blocks=1,
            channel_mult=(1, 2, 3, 4),
            attention_downsamples=(4, 8),
            num_head_channels=32,
        ),
        64,
    ),
    "553M": (configs.imagenet256_uncond(), 256),
}


class Contestant(NamedTuple):
    """One way to compute the forward pass."""

    run: Callable[[], Any]  # computes and waits
    output: np.ndarray  # (B, H, W, C)
    compile_seconds: float
    memory: float | None  # peak beside parameters and inputs, in GB


def adm_unet(net: UNet, size: int, *, seed: int = 0) -> Any:
    """The network of azula with the configuration of ``net``, in evaluation mode, its weights random and none zero.

    Args:
        net: Our network, with attention in the middle block and a ``patch_size`` of 1.
        size: Height and width of the images, in pixels.
        seed: Of the weights.
    """
    import torch
    from azula.plugins.adm._src import unet

    with torch.device("meta"):
        module = unet.UNetModel(
            image_size=size,
            in_channels=net.in_channels,
            model_channels=net.model_channels,
            out_channels=net.out_channels,
            num_res_blocks=net.num_res_blocks,
            attention_resolutions=net.attention_downsamples,
            channel_mult=net.channel_mult,
            conv_resample=net.conv_resample,
            num_classes=net.num_classes,
            num_heads=net.num_heads,
            num_head_channels=net.num_head_channels or -1,
            use_scale_shift_norm=net.use_scale_shift_norm,
            resblock_updown=net.resblock_updown,
            use_new_attention_order=net.new_attention_order,
        )
    module = module.to_empty(device="cpu").requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.named_parameters():
        is_scale = tensor.ndim == 1 and name.endswith("weight")
        tensor.normal_(float(is_scale), tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2, generator=generator)
    return module


def params_of(module: Any, net: UNet) -> dict[str, Any]:
    """The weights of ``adm_unet(net)`` as our parameters, as the converter makes them: views."""
    return guided_diffusion.to_params({name: tensor.numpy() for name, tensor in module.state_dict().items()}, net)


def jax_forward(net: UNet, params: dict[str, Any], x: np.ndarray) -> Contestant:
    """Our network over a batch ``x`` (B, H, W, C); a batch of one is one sample, without ``vmap``."""
    single = len(x) == 1
    forward = jax.jit(net.apply if single else jax.vmap(net.apply, in_axes=(None, 0, None)))
    arguments = ({"params": params}, jnp.asarray(x[0] if single else x), jnp.int32(T))
    started = time.perf_counter()
    compiled = forward.lower(*arguments).compile()
    elapsed = time.perf_counter() - started
    analysis = compiled.memory_analysis()
    memory = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e9 if analysis else None

    def run() -> jax.Array:
        return compiled(*arguments).block_until_ready()

    return Contestant(run, np.asarray(run(), np.float32).reshape(*x.shape[:-1], -1), elapsed, memory)


def torch_forward(module: Any, x: np.ndarray, *, dtype: str, compiled: bool = False) -> Contestant:
    """A copy of PyTorch's network, in channels last, over a batch ``x`` (B, H, W, C)."""
    import torch
    from azula.plugins.adm._src import unet

    unet.checkpoint = lambda function, *inputs, **_: function(*inputs)
    on_gpu = torch.cuda.is_available()
    place = {"device": "cuda" if on_gpu else "cpu", "dtype": getattr(torch, dtype)}
    module = copy.deepcopy(module).to(**place, memory_format=torch.channels_last)
    # The embedding of time comes in float32 whatever the weights are.
    module.time_embed.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(place["dtype"]),))
    forward = torch.compile(module) if compiled else module
    images = torch.from_numpy(x).movedim(-1, 1).to(**place)  # its memory is channels last as it is
    t = torch.full((len(x),), T, device=place["device"])

    def run() -> Any:
        with torch.inference_mode():
            output = forward(images, t)
        if on_gpu:
            torch.cuda.synchronize()
        return output

    started = time.perf_counter()
    output = run().float().movedim(1, -1).cpu().numpy()
    elapsed = time.perf_counter() - started if compiled else 0.0
    memory = None
    if on_gpu:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        memory = (torch.cuda.max_memory_allocated() - before) / 1e9
    return Contestant(run, output, elapsed, memory)


def take_turns(contestants: dict[str, Contestant], rounds: int) -> dict[str, dict[str, float]]:
    """Median wall-clock and processor seconds of a call, by name."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            time.sleep(0.05)  # the last one's idle threads spin for a while, at the expense of this one's
            wall, processor = time.perf_counter(), time.process_time()
            contestant.run()
            seconds[name][0].append(time.perf_counter() - wall)
            seconds[name][1].append(time.process_time() - processor)
    return {
        name: {"seconds": statistics.median(wall), "processor seconds": statistics.median(processor)}
        for name, (wall, processor) in seconds.items()
    }


def compare(name: str, batch: int, dtype: str, *, rounds: int, peak: float | None) -> list[dict[str, Any]]:
    """One row for each contestant."""
    import torch

    net, size = NETWORKS[name]
    module = adm_unet(net, size)
    x = np.random.default_rng(0).standard_normal((batch, size, size, net.in_channels), dtype=np.float32)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params_of(module, net))
    contestants = {f"JAX {dtype}": jax_forward(net.clone(dtype=dtype), params, x)}
    if torch.cuda.is_available():
        # Half precision as published, and the faster one of today.
        eager = "float32" if dtype == "float32" else "float16"
        contestants[f"PyTorch {eager}"] = torch_forward(module, x, dtype=eager)
        contestants[f"PyTorch {dtype} compiled"] = torch_forward(module, x, dtype=dtype, compiled=True)
    else:
        contestants[f"PyTorch {dtype}"] = torch_forward(module, x, dtype=dtype)
    times = take_turns(contestants, rounds)
    fastest = min(time["seconds"] for rival, time in times.items() if rival.startswith("PyTorch"))
    reference = contestants[next(reversed(contestants))].output
    tflop = 2e-12 * batch * multiply_adds(net, size)
    rows = []
    for rival, contestant in contestants.items():
        seconds = times[rival]["seconds"]
        row = {"network": name, "parameters": parameter_count(net), "size": size, "batch": batch, "with": rival}
        row |= times[rival] | {"TFLOP/s": tflop / seconds, "times PyTorch's": seconds / fastest}
        row |= {"share of peak": tflop / seconds / peak} if peak else {}
        row |= {
            "compile seconds": contestant.compile_seconds,
            "peak GB beside parameters": contestant.memory,
            "difference": float(np.abs(contestant.output - reference).max() / np.abs(reference).max()),
        }
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows for a terminal."""
    columns = ["network", "batch", "with", "seconds", "processor seconds", "times PyTorch's", "TFLOP/s"]
    columns += ["share of peak"] * any("share of peak" in row for row in rows)
    columns += ["compile seconds", "peak GB beside parameters", "difference"]
    shown = Table(*columns)
    for row in rows:
        shown.add_row(
            *(f"{value:.3g}" if isinstance(value := row.get(c), float) else str(value or "") for c in columns)
        )
    return shown


def main() -> None:
    """Measures and writes results/forward.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--batches", nargs="*", type=int, default=(1, 4))
    parser.add_argument("--dtypes", nargs="*", default=("float32",), choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak", type=float, help="the accelerator's peak in TFLOP/s, of which a share is reported")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()

    import torch

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    settings = {"t": T, "rounds": args.rounds, "threads": threads, "torch": torch.__version__, "peak": args.peak}
    rows = []
    for name in args.only:
        for dtype in args.dtypes:
            for batch in args.batches:
                rows += compare(name, batch, dtype, rounds=args.rounds, peak=args.peak)
                _report.write("forward", settings=settings, rows=rows, out=args.out)
    Console(width=160).print(table(rows))


if __name__ == "__main__":
    main()
