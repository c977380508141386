"""The network for one sample under ``vmap``, against the same network written for a batch.

    python -m benchmarks.vmap [--batch 4] [--size 32] [--rounds 7]

Both with the same weights: floating-point operations by XLA's own count, and seconds in turns. The network written for
a batch is the plain one: Flax's group normalisation, and convolutions of (B, H, W, C).
"""

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from benchmarks import _report
from reddiff_jax.nets import UNet, parameter_shapes
from reddiff_jax.nets.layers import count_heads, timestep_embedding

NET = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamples=(2,), resblock_updown=False)
T = 500


def batched(net: UNet, params: dict[str, Any], x: jax.Array, t: jax.Array) -> jax.Array:
    """``net`` over a batch (B, H, W, C), with a batch axis throughout; without ``resblock_updown`` and patches."""

    def conv(h, group, strides=1):
        kernel = group["kernel"]
        side = kernel.shape[0]
        dims = ("NHWC", "HWIO", "NHWC")
        h = jax.lax.conv_general_dilated(h, kernel, (strides,) * 2, [(side // 2,) * 2] * 2, dimension_numbers=dims)
        return h + group["bias"][None, None, None]

    def dense(h, group):
        return h @ group["kernel"] + group["bias"][(None,) * (h.ndim - 1)]

    def norm(h, group) -> Any:
        return nn.GroupNorm(32, epsilon=1e-5).apply({"params": group}, h)

    def res(h, group):
        shift = dense(nn.silu(embedding), group["emb_layers_1"])[None, None, None]
        scale, shift = jnp.split(shift, 2, -1)
        x, h = h, conv(nn.silu(norm(h, group["in_layers_0"])), group["in_layers_2"])
        h = conv(nn.silu(norm(h, group["out_layers_0"]) * (1 + scale) + shift), group["out_layers_3"])
        return (conv(x, group["skip_connection"]) if "skip_connection" in group else x) + h

    def attend(h, group):
        b, height, width, c = h.shape
        heads = count_heads(c, net.num_heads, net.num_head_channels)
        qkv = dense(norm(h.reshape(b, -1, c), group["norm"]), group["qkv"]).reshape(b, height * width, heads, 3, -1)
        attended = jax.nn.dot_product_attention(*jnp.moveaxis(qkv, 3, 0))
        return h + dense(attended.reshape(b, -1, c), group["proj_out"]).reshape(h.shape)

    def apply(h, index):
        for part in range(3):
            group = params.get(f"{index}_{part}", {})
            if "in_layers_0" in group:
                h = res(h, group)
            elif "qkv" in group:
                h = attend(h, group)
            elif "op" in group:
                h = conv(h, group["op"], strides=2)
            elif "conv" in group:
                h = conv(h.repeat(2, 1).repeat(2, 2), group["conv"])
        return h

    embedding = nn.silu(dense(timestep_embedding(t, net.model_channels), params["time_embed_0"]))
    embedding = dense(embedding, params["time_embed_2"])
    count = sum(1 for name in params if name.startswith("input_blocks") and name.endswith("_0"))
    h = conv(x, params["input_blocks_0_0"])
    skips = [h]
    for i in range(1, count):
        h = apply(h, f"input_blocks_{i}")
        skips.append(h)
    h = apply(h, "middle_block")
    for i in range(count):
        h = apply(jnp.concatenate([h, skips.pop()], -1), f"output_blocks_{i}")
    return conv(nn.silu(norm(h, params["out_0"])), params["out_2"])


def random_params(net: UNet) -> dict[str, Any]:
    """Parameters none of which is zero."""
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(net)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.02, 0.1, leaf.shape), jnp.float32), shapes)


def both(net: UNet, batch: int, size: int) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The two compiled networks by name, and their arguments."""
    arguments = (
        random_params(net),
        jax.random.normal(jax.random.key(1), (batch, size, size, net.in_channels)),
        jnp.int32(T),
    )

    def mapped(params, x, t):
        return jax.vmap(lambda x: net.apply({"params": params}, x, t))(x)

    forms = {"vmap": mapped, "written for a batch": lambda *arguments: batched(net, *arguments)}
    return {name: jax.jit(form).lower(*arguments).compile() for name, form in forms.items()}, arguments


def main() -> None:
    """Measures and writes results/vmap.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    compiled, arguments = both(NET, args.batch, args.size)
    seconds: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(args.rounds):
        for name, program in compiled.items():
            began = time.process_time()
            program(*arguments).block_until_ready()
            seconds[name].append(time.process_time() - began)
    rows = [
        {
            "with": name,
            "GFLOP": program.cost_analysis()["flops"] / 1e9,
            "processor seconds": statistics.median(seconds[name]),
            "temporaries MB": program.memory_analysis().temp_size_in_bytes / 1e6,
        }
        for name, program in compiled.items()
    ]
    _report.write("vmap", settings=vars(args), rows=rows)
    print(_report.markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
