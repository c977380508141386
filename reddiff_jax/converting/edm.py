"""State dicts of EDM's networks under EDMPrecond: names to our parameters, and the configuration that shapes tell.

Names tell resolutions, blocks and where attention is; shapes tell widths, classes and embeddings; buffers tell the
resampling filter. They do not tell sigma_data, which is 0.5 in EDM and all that builds on it.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.parameters import fill, target
from reddiff_jax.nets import DhariwalUNet, SongUNet

SCHEDULE = "EDM, sigma 0.002..80"
_NAME = re.compile(r"(enc|dec)\.(\d+)x\d+_(\w+)\.(.+)")
_UNUSED = ("map_augment.weight",)  # of augmentation in training


def is_edm(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are those of this family."""
    return "map_layer0.weight" in tensors and any(_NAME.fullmatch(name) for name in tensors)


def choose_net(tensors: Mapping[str, np.ndarray]) -> DhariwalUNet | SongUNet:
    """The network of a state dict.

    Raises:
        CheckpointError: If shapes do not fit together, or the network has parts that are not known here.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    matches = [match for name in shapes if (match := _NAME.fullmatch(name))]
    if unknown := sorted({m[3] for m in matches if m[3] in ("aux_down", "aux_skip", "aux_up")}):
        raise CheckpointError(
            f"the file is of a SongUNet with {' and '.join(unknown)} (encoder or decoder of type skip), which this "
            "converter does not know; it knows the standard and the residual encoder."
        )
    sizes = sorted({int(match[2]) for match in matches}, reverse=True)
    try:
        return _infer(tensors, shapes, sizes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"the file has names of an EDM network, but lacks some, or shapes ({error}).") from error


def _infer(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], sizes: list[int]
) -> DhariwalUNet | SongUNet:
    song = "out_conv.weight" not in shapes
    first = shapes[f"enc.{sizes[0]}x{sizes[0]}_conv.weight"]
    noise_features = shapes["map_layer0.weight"][1]
    model_channels = first[0] if song else noise_features
    widths = [shapes[f"enc.{size}x{size}_block0.conv0.weight"][0] for size in sizes]
    if any(width % model_channels for width in widths):
        raise ValueError(f"widths {widths} are no multiples of {model_channels}")
    labels = shapes.get("map_label.weight")
    fields: dict[str, Any] = {
        "in_channels": first[1],
        "out_channels": shapes[f"dec.{sizes[0]}x{sizes[0]}_aux_conv.weight" if song else "out_conv.weight"][0],
        "model_channels": model_channels,
        "channel_mult": tuple(width // model_channels for width in widths),
        "embedding_mult": shapes["map_layer0.weight"][0] // model_channels,
        "num_res_blocks": sum(
            re.fullmatch(rf"enc\.{sizes[0]}x{sizes[0]}_block\d+\.conv0\.weight", name) is not None for name in shapes
        ),
        "attention_levels": tuple(
            level for level, size in enumerate(sizes) if f"enc.{size}x{size}_block0.qkv.weight" in shapes
        ),
        "num_classes": labels[1] if labels else None,
    }
    if not song:
        return DhariwalUNet(**fields)
    filters = [tensor for name, tensor in tensors.items() if name.endswith("down.conv0.resample_filter")]
    return SongUNet(
        **fields,
        fourier="map_noise.freqs" in shapes,
        noise_mult=noise_features // model_channels,
        residual_encoder=any("aux_residual" in name for name in shapes),
        resample_filter=_filter(filters[0]) if filters else (1.0, 1.0),
    )


def _filter(buffer: np.ndarray) -> tuple[float, ...]:
    """The taps of a filter (1, 1, k, k), the outer product of them, scaled so that the outermost is 1."""
    if buffer.ndim != 4 or not 2 <= buffer.shape[-1] <= 16:
        raise ValueError(f"a resampling filter of shape {buffer.shape}")
    row = np.asarray(buffer[0, 0, 0], np.float64)
    taps = row / row[0]
    if not np.isfinite(taps).all():
        raise ValueError("a resampling filter with a zero")
    return tuple(float(tap) for tap in np.round(taps, 6))


def to_params(tensors: Mapping[str, np.ndarray], net: DhariwalUNet | SongUNet) -> dict[str, Any]:
    """Maps a state dict to the parameters of a network, one to one; see ``parameters.fill``."""
    sizes = sorted({int(m[2]) for name in tensors if (m := _NAME.fullmatch(name))}, reverse=True)

    def place(name: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        if match := _NAME.fullmatch(name):
            part, size, block, rest = match.groups()
            inner = "conv." if block == "aux_residual" else ""
            name = f"{part}_{sizes.index(int(size))}_{block}.{inner}{rest}"
        return target(name, tensor)

    # PhysicsNeMo's networks have an empty buffer, too.
    unused = {name for name, tensor in tensors.items() if name.endswith(".resample_filter") or not tensor.size}
    used = {name: tensor for name, tensor in tensors.items() if name not in {*_UNUSED, *unused}}
    return fill(net, used, remedy="Check that the file is of this network, and complete.", target=place)
