"""State dicts of openai/guided-diffusion (ADM): names to our parameters, and the configuration that shapes tell.

Shapes tell widths, blocks, where attention is, how blocks resample, how the timestep enters, classes and the learned
variance. They do not tell how attention lays out its channels, how many heads it has, or the noise schedule: these are
asked for.

Source:
    Dhariwal & Nichol 2021 (arXiv 2105.05233), appendices A, H and I.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reddiff_jax import schedules
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.parameters import fill, shorten
from reddiff_jax.nets import EncoderUNet, UNet, configs
from reddiff_jax.nets.classifier import Pool
from reddiff_jax.schedules import Schedule

# What shapes do not tell. Dropout matters in training only.
UNTOLD = ("num_heads", "num_head_channels", "new_attention_order", "dropout", "timestep_scale")
TIMESTEPS = 1000  # of all published guided-diffusion checkpoints
SCHEDULES: dict[str, tuple[str, Callable[[int], Schedule]]] = {
    "linear": (
        "linear beta 1e-4..2e-2 times 1000 / T",
        lambda total: schedules.linear(total, beta_start=0.1 / total, beta_end=20 / total),
    ),
    "cosine": ("cosine", schedules.cosine),
}
PUBLISHED: dict[str, Callable[[], UNet | EncoderUNet]] = {
    name: function
    for name, function in inspect.getmembers(configs, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == configs.__name__
}
_OTHER_FAMILIES = {
    "down_blocks.": "diffusers",
    "all_modules.": "score_sde",
    "down.0.block.0.": "DDPM (CompVis)",
}


def published_schedule(config: str) -> str:
    """Name of the schedule of a published configuration."""
    return "cosine" if config == "imagenet64" else "linear"


def to_params(tensors: Mapping[str, np.ndarray], net: UNet | EncoderUNet) -> dict[str, Any]:
    """Maps a state dict to the parameters of a network, one to one; see ``parameters.fill``."""
    remedy = "Try without --config, or with another; if neither fits, the network is no plain guided-diffusion one."
    return fill(net, tensors, remedy=remedy)


def infer_config(tensors: Mapping[str, np.ndarray], *, blocks: int | None = None) -> dict[str, Any]:
    """The fields of a ``UNet`` or ``EncoderUNet`` that names and shapes tell, and its ``type``.

    Args:
        tensors: Arrays (or anything with a ``shape``) by their PyTorch names.
        blocks: ``num_res_blocks`` of a classifier, whose shapes may allow more than one.

    Raises:
        CheckpointError: If these are not the names of guided-diffusion, or the shapes allow several networks.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    is_unet = "output_blocks.0.0.in_layers.2.weight" in shapes
    if not (is_unet or _pool(shapes)) or "time_embed.0.weight" not in shapes:
        raise CheckpointError(_not_ours(shapes))
    try:
        return _infer(shapes, is_unet, blocks)
    except (KeyError, IndexError, ZeroDivisionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"the file has names of guided-diffusion but lacks some or has them in other shapes ({error}); "
            "name its configuration with --config to see the differences."
        ) from error


def _infer(shapes: dict[str, tuple[int, ...]], is_unet: bool, blocks: int | None) -> dict[str, Any]:
    width = shapes["time_embed.0.weight"][1]
    out_weight = "input_blocks.{}.0.in_layers.2.weight"
    num_inputs = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks."))
    if num_inputs > len(shapes):
        raise ValueError(f"there is no input block {len(shapes)}, but a {num_inputs - 1}")
    downs = [i for i in range(1, num_inputs) if out_weight.format(i) not in shapes]
    convolved = any(f"input_blocks.{i}.0.op.weight" in shapes for i in downs)
    if is_unet:
        num_outputs = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("output_blocks."))
        # The last block of a level may resample; a second residual block in its place shows it.
        ups = [
            i for i in range(num_outputs) for part in (1, 2) if f"output_blocks.{i}.{part}.in_layers.2.weight" in shapes
        ]
        levels = 1 + (len(downs) or len(ups))
        num_blocks = num_outputs // levels - 1
    else:
        levels, num_blocks = _classifier_depth(shapes, num_inputs, downs, blocks)

    def first(level: int) -> int:
        return 1 + level * (num_blocks + 1)

    widths = [shapes[out_weight.format(first(level))][0] for level in range(levels)]
    attention = tuple(
        2**level
        for level in range(levels)
        if any(f"input_blocks.{i}.1.qkv.weight" in shapes for i in range(first(level), first(level) + num_blocks))
    )
    fields = {
        "type": "UNet" if is_unet else "EncoderUNet",
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "model_channels": width,
        "num_res_blocks": num_blocks,
        "channel_mult": tuple(each // width if each % width == 0 else each / width for each in widths),
        "attention_downsamples": attention,
        "middle_attention": "middle_block.1.qkv.weight" in shapes,
        "use_scale_shift_norm": shapes["middle_block.0.emb_layers.1.weight"][0] == 2 * widths[-1],
        "resblock_updown": not downs,
        "conv_resample": convolved or not downs,
    }
    if is_unet:
        labels = shapes.get("label_emb.weight")
        return {**fields, "out_channels": shapes["out.2.weight"][0], "num_classes": labels[0] if labels else None}
    pool = _pool(shapes)
    last = "out.2.c_proj" if pool is Pool.ATTENTION else "out.2" if pool is Pool.SPATIAL else "out.3"
    fields |= {"pool": pool, "num_classes": shapes[f"{last}.weight"][0]}
    if pool is Pool.ATTENTION:
        fields["image_size"] = math.isqrt(shapes["out.2.positional_embedding"][1] - 1) * 2 ** (levels - 1)
    return fields


def _pool(shapes: dict[str, tuple[int, ...]]) -> Pool | None:
    """How a classifier pools; None if it is none."""
    if "out.2.positional_embedding" in shapes:
        return Pool.ATTENTION
    if len(shapes.get("out.0.weight", ())) == 2:
        return Pool.SPATIAL_V2 if "out.1.weight" in shapes else Pool.SPATIAL
    return Pool.ADAPTIVE if "out.3.weight" in shapes else None


def _classifier_depth(
    shapes: dict[str, tuple[int, ...]], num_inputs: int, downs: list[int], blocks: int | None
) -> tuple[int, int]:
    """(levels, residual blocks of each) of a classifier, which has no output blocks that would tell."""
    if downs:
        return len(downs) + 1, num_inputs // (len(downs) + 1) - 1
    features = [shapes[f"input_blocks.{i}.0.in_layers.2.weight"][0] for i in range(1, num_inputs)]
    attends = [f"input_blocks.{i}.1.qkv.weight" in shapes for i in range(1, num_inputs)]
    fits = []
    for num_blocks in [blocks] if blocks else range(1, num_inputs):
        period = num_blocks + 1
        levels = [slice(start, start + num_blocks) for start in range(0, num_inputs, period)]
        # A level keeps its width to the block that leaves it, which never attends.
        even = all(len({*features[level]}) == 1 == len({*attends[level]}) for level in levels if features[level])
        leave = range(num_blocks, num_inputs - 1, period)
        same = all(features[i] == features[i - 1] and not attends[i] for i in leave)
        if num_inputs % period == 0 and even and same:
            fits.append((num_inputs // period, num_blocks))
    if len(fits) == 1:
        return fits[0]
    allowed = (
        ", ".join(f"{num_blocks} in each of {levels} levels" for levels, num_blocks in fits)
        or "none that was asked for"
    )
    raise CheckpointError(
        f"the residual blocks of a level cannot be counted from the shapes, which allow {allowed}; "
        "say --config or --blocks."
    )


def choose_net(
    tensors: Mapping[str, np.ndarray],
    *,
    config: str | None = None,
    heads: int | None = None,
    head_channels: int | None = None,
    new_attention_order: bool | None = None,
    schedule: str | None = None,
    blocks: int | None = None,
    timesteps: int = TIMESTEPS,
    rescale_timesteps: bool | None = None,
) -> tuple[UNet | EncoderUNet, str]:
    """The network of a state dict and the name of its schedule: shapes tell most, a published name or options the rest.

    Args:
        tensors: Arrays by their PyTorch names.
        config: Name of a published configuration, one of ``PUBLISHED``.
        heads: Number of attention heads at every level.
        head_channels: Channels of an attention head, instead of ``heads``.
        new_attention_order: How attention lays out its channels, see ``nets.layers.AttentionBlock``.
        schedule: Name of the noise schedule, one of ``SCHEDULES``.
        blocks: Residual blocks of a level, for classifiers whose shapes allow several numbers.
        timesteps: Number of timesteps T of the training.
        rescale_timesteps: Whether the network was given t * 1000 / T instead of t; needed where T is not 1000.

    Raises:
        CheckpointError: If the shapes contradict the configuration, or options are missing.
    """
    missing = []
    if timesteps != TIMESTEPS and rescale_timesteps is None:
        missing.append("--rescale-timesteps or --no-rescale-timesteps")
    timestep_scale = TIMESTEPS / timesteps if rescale_timesteps else 1.0
    if config is not None:
        if config not in PUBLISHED:
            raise CheckpointError(f"--config {config!r} is unknown; known are {', '.join(PUBLISHED)}.")
        net = PUBLISHED[config]()
        told = infer_config(tensors, blocks=net.num_res_blocks if isinstance(net, EncoderUNet) else None)
        differences = _differences(told, net)
        if differences:
            raise CheckpointError(f"the file is no {config}: {'; '.join(differences)}.{_suggest(told)}")
        if missing:
            raise CheckpointError(f"{timesteps} timesteps are not {config}'s {TIMESTEPS}; say {' and '.join(missing)}.")
        given: dict[str, Any] = {"timestep_scale": timestep_scale}
        if heads is not None or head_channels is not None:
            given |= {"num_heads": heads or 1, "num_head_channels": head_channels}
        if new_attention_order is not None:
            given["new_attention_order"] = new_attention_order
        return net.clone(**given), schedule or published_schedule(config)
    told = infer_config(tensors, blocks=blocks)
    pools = told.get("pool") is Pool.ATTENTION
    if told["attention_downsamples"] or told["middle_attention"] or pools:
        if head_channels is None and (heads is None or pools):
            missing.append("--head-channels" if pools else "--heads or --head-channels")
        if new_attention_order is None:
            missing.append("--attention-order legacy or new")
    if schedule is None:
        missing.append(f"--schedule {' or '.join(SCHEDULES)}")
    if missing or schedule is None:
        raise CheckpointError(f"shapes cannot tell everything; say {' and '.join(missing)}.{_suggest(told)}")
    kind = {"UNet": UNet, "EncoderUNet": EncoderUNet}[told.pop("type")]
    net = kind(
        **told,
        num_heads=heads or 1,
        num_head_channels=head_channels,
        new_attention_order=bool(new_attention_order),
        timestep_scale=timestep_scale,
    )
    return net, schedule


def matching_configs(told: dict[str, Any]) -> list[str]:
    """Names of the published configurations that have these fields of ``infer_config``."""
    return [name for name, make in PUBLISHED.items() if not _differences(told, make())]


def _differences(told: dict[str, Any], net: UNet | EncoderUNet) -> list[str]:
    if told["type"] != type(net).__name__:
        return [f"it is of a {told['type']}, not of a {type(net).__name__}"]
    same_order = {**told, "attention_downsamples": tuple(sorted(net.attention_downsamples))}
    differences = [
        f"{field} is {value} in the file and {getattr(net, field)} in the configuration"
        for field, value in told.items()
        if field not in ("type", "attention_downsamples") and getattr(net, field) != value
    ]
    # A factor beyond the deepest level is never met.
    met = tuple(each for each in same_order["attention_downsamples"] if each < 2 ** len(net.channel_mult))
    if met != told["attention_downsamples"]:
        differences.append(f"attention is at 1/{told['attention_downsamples']} in the file and 1/{met} there")
    return differences


def _suggest(told: dict[str, Any]) -> str:
    names = matching_configs(told)
    return f" The shapes are those of --config {' or '.join(names)}." if names else ""


def _not_ours(shapes: dict[str, tuple[int, ...]]) -> str:
    for start, family in _OTHER_FAMILIES.items():
        if any(name.startswith(start) for name in shapes):
            if family == "diffusers":
                return "the file's names are those of diffusers; give the folder that has it and its config.json."
            return f"the file's names are those of {family}; this converter knows guided-diffusion's networks."
    if "time_embed.0.weight" in shapes and "input_blocks.0.0.weight" in shapes:
        return "the file has guided-diffusion's names but neither output blocks nor a classifier's head; is it cut off?"
    return (
        f"the file's {len(shapes)} tensors ({shorten(list(shapes))}) are not named as guided-diffusion names them; "
        "is it a diffusion UNet?"
    )
