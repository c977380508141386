"""Checks of a network's input."""

from typing import Any

import jax


def check_image(net: Any, x_t: jax.Array) -> None:
    """Raises ValueError unless ``x_t`` is one image of the network's channels, of sides that it can halve."""
    name = type(net).__name__
    if x_t.ndim != 3 or x_t.shape[-1] != net.in_channels:
        raise ValueError(
            f"x_t has shape {x_t.shape} but this {name} takes one image (H, W, {net.in_channels}); "
            "batches go through jax.vmap."
        )
    if x_t.shape[0] % net.stride or x_t.shape[1] % net.stride:
        raise ValueError(
            f"x_t has shape {x_t.shape} but this {name} needs height and width divisible by "
            f"{net.stride}; pad the image, or use the network through a NetPrior, which does."
        )


def check_label(net: Any, label: jax.Array | None) -> None:
    """Raises ValueError unless there is a label if and only if the network takes one."""
    if (label is not None) != net.takes_label:
        raise ValueError(
            f"this {type(net).__name__} is class-conditional and needs a label (pass it as cond)."
            if label is None
            else f"this {type(net).__name__} is unconditional and takes no label; set cond=None."
        )
