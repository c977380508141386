"""A state dict of PyTorch as the parameters of one of our networks, which name their layers as it does."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from reddiff_jax._text import shown
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.nets import AutoencoderNet, KernelWizard, Net, parameter_shapes

_TABLES = (
    ["label_emb"],
    ["class_embedding"],
    ["time_proj"],
    ["quantize", "embedding"],
)  # two axes, but no matrix product
_SHOWN = 4  # names in an error


def target_path(name: str, ndim: int) -> tuple[str, ...]:
    """Where a tensor goes: 'input_blocks.3.0.in_layers.2.weight' to ('input_blocks_3_0', 'in_layers_2', 'kernel')."""
    *groups, leaf = re.sub(r"\.(\d+)(?=\.)", r"_\1", name).split(".")
    if leaf == "weight":
        leaf = "scale" if ndim == 1 else "embedding" if groups in _TABLES else "kernel"
    return (*groups, leaf)


def target_array(tensor: np.ndarray, leaf: str) -> np.ndarray:
    """A tensor in our order of axes, as a view; ``leaf`` is the last part of its ``target_path``."""
    if leaf != "kernel":
        return tensor
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)  # (kh, kw, I, O)
    if tensor.ndim == 3 and tensor.shape[2] == 1:
        tensor = tensor[:, :, 0]
    return tensor.T  # (I, O)


def target(name: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Where a tensor goes, and the tensor in our order of axes."""
    path = target_path(name, tensor.ndim)
    return path, target_array(tensor, path[-1])


def fill(
    net: Net | AutoencoderNet | KernelWizard,
    tensors: Mapping[str, np.ndarray],
    *,
    remedy: str,
    target: Callable[[str, np.ndarray], tuple[tuple[str, ...], np.ndarray]] = target,
) -> dict[str, Any]:
    """The parameters of a network out of a state dict, one to one.

    Args:
        net: The network.
        tensors: Arrays by their PyTorch names.
        remedy: What the error says to try where they do not fit.
        target: Says where a tensor goes, and transposes it.

    Returns:
        The parameters' nested dictionary; its leaves are views of the tensors, in their types.

    Raises:
        CheckpointError: If a tensor has no place, a parameter no tensor, or a shape or type does not fit.
    """
    try:
        leaves = jax.tree_util.tree_leaves_with_path(parameter_shapes(net))
    except (ValueError, TypeError, ArithmeticError) as error:
        raise CheckpointError(f"the configuration makes no network: {error}") from error
    needed = {tuple(key.key for key in path): leaf.shape for path, leaf in leaves}  # type: ignore[attr-defined]
    found: dict[tuple[str, ...], np.ndarray] = {}
    homeless, misshapen = [], []
    for name, tensor in tensors.items():
        path, array = target(name, tensor)
        if path not in needed or path in found:
            homeless.append(name)
            continue
        if array.ndim == 4 and len(needed[path]) == 2 and array.shape[:2] == (1, 1):
            array = array[0, 0]  # attention's, stored as convolutions of images by some copies and of tokens by most
        found[path] = array
        if array.shape != needed[path]:
            misshapen.append(f"{name} {tensor.shape} gives {array.shape} and not {needed[path]}")
        elif not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
            misshapen.append(f"{name} is {array.dtype} and not floating-point")
    missing = ["/".join(path) for path in needed if path not in found]
    if homeless or missing or misshapen:
        differences = [
            f"{len(names)} {what} ({shorten(names)})"
            for names, what in (
                (homeless, "tensors of the file have no place in it"),
                (missing, "of its parameters are not in the file"),
                (misshapen, "tensors do not fit"),
            )
            if names
        ]
        raise CheckpointError(f"the file does not fill this {type(net).__name__}: {'; '.join(differences)}. {remedy}")
    params: dict[str, Any] = {}
    for (*groups, leaf), array in found.items():
        node = params
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = array
    return params


def shorten(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shown(name, 100) for name in names[:_SHOWN]) + more
