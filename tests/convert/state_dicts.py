"""State dicts with guided-diffusion's or diffusers' names, made from our networks."""

import re

import jax
import numpy as np

from reddiff_jax.nets import parameter_shapes

_CONV1D = ("qkv", "proj_out", "qkv_proj", "c_proj")


def published_name(path: tuple[str, ...]) -> str:
    """('input_blocks_3_0', 'in_layers_2', 'kernel') to 'input_blocks.3.0.in_layers.2.weight'."""
    *groups, leaf = path
    leaf = {"kernel": "weight", "scale": "weight", "embedding": "weight"}.get(leaf, leaf)
    return ".".join([*(re.sub(r"(?<!linear)_(\d+)", r".\1", group) for group in groups), leaf])


def published_array(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    """In PyTorch's order of axes."""
    if path[-1] != "kernel":
        return array
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T[:, :, None] if path[-2] in _CONV1D else array.T


def paths(tree) -> list[tuple[tuple[str, ...], object]]:
    return [(tuple(key.key for key in path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def state_dict(net, *, empty: bool = False) -> dict[str, np.ndarray]:
    """Arrays by published name: random ones, or ones that take no memory."""
    rng = np.random.default_rng(0)

    def draw(shape):
        if empty:
            return np.broadcast_to(np.float32(0), shape)
        return 0.1 * rng.standard_normal(shape, dtype=np.float32)

    return {
        published_name(path): published_array(path, draw(leaf.shape)) for path, leaf in paths(parameter_shapes(net))
    }
