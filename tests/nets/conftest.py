"""Weights for the tests of networks."""

import jax
import numpy as np
import pytest

from reddiff_jax.converting.parameters import target_array, target_path
from reddiff_jax.nets import parameter_shapes


@pytest.fixture(scope="session")
def redrawn():
    """Draws parameters of a network, none zero (a new network's output is zero)."""

    def draw(net) -> dict:
        rng = np.random.default_rng(1)

        def normal(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
            deviation = max(leaf.size // leaf.shape[-1], 25) ** -0.5
            return deviation * rng.standard_normal(leaf.shape, dtype=np.float32)

        return jax.tree.map(normal, parameter_shapes(net))

    return draw


@pytest.fixture(scope="session")
def params_of():
    """Draws all weights of a PyTorch network anew, none zero; returns them as our parameters."""

    def redraw_and_convert(module) -> dict:
        import torch

        generator = torch.Generator().manual_seed(0)
        params = {}
        with torch.no_grad():
            for name, tensor in module.named_parameters():
                is_scale = tensor.ndim == 1 and name.endswith("weight")
                deviation = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2
                tensor.normal_(float(is_scale), deviation, generator=generator)
                *groups, leaf = target_path(name, tensor.ndim)
                node = params
                for group in groups:
                    node = node.setdefault(group, {})
                assert leaf not in node
                node[leaf] = target_array(tensor.numpy().copy(), leaf)
        module.eval()
        return params

    return redraw_and_convert
