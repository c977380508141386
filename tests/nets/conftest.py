"""Weights for the tests of networks, and azula's copy of the published PyTorch code with the way from its to ours."""

import re

import jax
import numpy as np
import pytest

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
def adm():
    """azula's module of published networks."""
    pytest.importorskip("torch")
    pytest.importorskip("azula.plugins.adm", exc_type=ImportError)
    from azula.plugins.adm._src import unet

    return unet


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
                *groups, leaf = _path(name, tensor.ndim)
                node = params
                for group in groups:
                    node = node.setdefault(group, {})
                assert leaf not in node
                node[leaf] = _array(tensor.numpy().copy(), leaf)
        module.eval()
        return params

    return redraw_and_convert


def _path(name: str, ndim: int) -> list[str]:
    """'input_blocks.3.0.in_layers.2.weight' -> ['input_blocks_3_0', 'in_layers_2', 'kernel']."""
    *groups, leaf = re.sub(r"\.(\d+)", r"_\1", name).split(".")
    if leaf == "weight":
        leaf = "scale" if ndim == 1 else "embedding" if groups == ["label_emb"] else "kernel"
    return [*groups, leaf]


def _array(weight: np.ndarray, leaf: str) -> np.ndarray:
    if leaf != "kernel":
        return weight
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)  # (kh, kw, I, O)
    return weight.reshape(weight.shape[:2]).T  # (I, O)
