"""State dicts of the nonlinear blur's network: each tensor used once, the unused part left out, the rest an error."""

import re

import numpy as np
import pytest
from checkpoint_files import write_checkpoint
from state_dicts import paths

from reddiff_jax.converting import CheckpointError, read_kernel_wizard
from reddiff_jax.nets import KernelWizard, parameter_shapes

SMALL = KernelWizard(features=2, num_front_blocks=1, num_back_blocks=1, channel_mult=(1, 2))


def _state_dict(net: KernelWizard, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """With the published names and PyTorch's order of axes."""
    tensors = {"kernel_extractor.model.1.weight": np.zeros((2, 2), np.float32)}
    for path, leaf in paths(parameter_shapes(net)):
        *groups, last = path
        name = re.sub("_(?!extractor|trunk)", ".", ".".join(groups))
        array = rng.standard_normal(leaf.shape, dtype=np.float32)
        if last == "kernel":
            array = array.transpose(2, 3, 0, 1) if ".up." in name else array.transpose(3, 2, 0, 1)
        tensors[f"{name}.{'weight' if last == 'kernel' else last}"] = np.ascontiguousarray(array)
    return tensors


@pytest.fixture
def tensors(rng):
    return _state_dict(SMALL, rng)


def test_names_are_the_published_ones(tensors):
    published = {
        "feature_extractor.0.weight",
        "feature_extractor.6.conv1.bias",
        "adapter.model.down.0.weight",
        "adapter.model.up.1.bias",
        "adapter.model.submodule.down.1.weight",
        "adapter.model.submodule.up.1.weight",
        "recon_trunk.0.conv2.weight",
        "recon_trunk.1.weight",
        "recon_trunk.9.bias",
    }
    assert published <= tensors.keys()


def test_transposed_convolutions_are_turned_and_others_are_not(tensors, tmp_path):
    params = read_kernel_wizard(write_checkpoint(tmp_path / "a.pth", tensors), net=SMALL)
    down = tensors["adapter.model.submodule.down.1.weight"]
    up = tensors["adapter.model.submodule.up.1.weight"]
    np.testing.assert_array_equal(params["adapter_model_submodule_down_1"]["kernel"], down.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(
        params["adapter_model_submodule_up_1"]["kernel"], up.transpose(2, 3, 0, 1)[::-1, ::-1]
    )


def test_a_missing_tensor_is_an_error(tensors, tmp_path):
    del tensors["recon_trunk.1.bias"]
    with pytest.raises(CheckpointError, match=r"1 of its parameters are not in the file \(recon_trunk_1/bias\)"):
        read_kernel_wizard(write_checkpoint(tmp_path / "a.pth", tensors), net=SMALL)


def test_a_tensor_without_a_place_is_an_error(tensors, tmp_path):
    tensors["recon_trunk.40.weight"] = np.zeros(3, np.float32)
    with pytest.raises(CheckpointError, match=r"have no place in it \(recon_trunk\.40\.weight\).*kernel\.pth"):
        read_kernel_wizard(write_checkpoint(tmp_path / "a.pth", tensors), net=SMALL)


def test_a_blur_code_is_not_taken_for_weights(tmp_path):
    code = write_checkpoint(tmp_path / "kernel.pth", {"kernel": np.zeros((1, 8, 2, 2), np.float32)})
    with pytest.raises(CheckpointError, match=r"kernel\.pth \(9 kB\) is a single blur code"):
        read_kernel_wizard(code, net=SMALL)
