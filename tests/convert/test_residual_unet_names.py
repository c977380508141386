"""State dicts of the residual UNet: shapes tell the network, each tensor is used once, and what is amiss is said."""

import re

import numpy as np
import pytest
from checkpoint_files import write_checkpoint
from typer.testing import CliRunner

from reddiff_jax import converting, io, schedules
from reddiff_jax.converting import CheckpointError
from reddiff_jax.converting.residual_unet import choose_net, is_residual_unet, to_params
from reddiff_jax.nets import ResidualUNet
from reddiff_jax.priors import from_v

NET = ResidualUNet(widths=(4, 6, 5), num_res_blocks=2)


def _shapes(net: ResidualUNet) -> dict[str, tuple[int, ...]]:
    """PyTorch's, of the weights; a bias has as many entries as its layer's output."""
    patch, fine, coarse = net.patch_size**2, net.widths[:-1], net.widths[1:]
    shapes = {
        "time.0": (128, 64),
        "time.2": (128, 128),
        "head": (net.widths[0], net.in_channels * patch, 3, 3),
        "tail": (net.out_channels * patch, net.widths[0], 3, 3),
    }
    for way, widths in (("down", net.widths), ("up", fine)):
        for level, width in enumerate(widths):
            for block in range(net.num_res_blocks):
                convolution = (width, width, 3, 3)
                layers = {"conv1": convolution, "conv2": convolution, "film": (2 * width, 128)}
                shapes |= {f"{way}.{level}.{block}.{layer}": shape for layer, shape in layers.items()}
    for level, (a, b) in enumerate(zip(fine, coarse, strict=True)):
        shapes |= {f"shrink.{level}": (b, a, 2, 2), f"grow.{level}": (b, a, 2, 2)}
    return shapes


def _state_dict(net: ResidualUNet) -> dict[str, np.ndarray]:
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in _shapes(net).items():
        tensors[f"{name}.weight"] = rng.standard_normal(shape, dtype=np.float32)
        outputs = shape[1] if name.startswith("grow.") else shape[0]  # transposed convolutions: (in, out, i, j)
        tensors[f"{name}.bias"] = rng.standard_normal(outputs, dtype=np.float32)
    return tensors


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    return _state_dict(NET)


@pytest.mark.parametrize(
    "net",
    [
        NET,
        NET.clone(widths=(4,), num_res_blocks=1),
        NET.clone(patch_size=1),
        NET.clone(patch_size=3),
        NET.clone(in_channels=1, out_channels=1),
        NET.clone(in_channels=1, out_channels=1, patch_size=4),
    ],
)
def test_shapes_tell_the_configuration(net):
    assert choose_net(_state_dict(net)) == net


def test_the_patch_is_asked_for_where_pictures_have_other_channels():
    net = NET.clone(in_channels=2, out_channels=2)
    with pytest.raises(CheckpointError, match=r"the 8 channels of head\.weight are no square patch .* --patch-size"):
        choose_net(_state_dict(net))
    assert choose_net(_state_dict(net), patch_size=2) == net


def test_a_patch_that_does_not_divide_the_channels_is_refused(tensors):
    with pytest.raises(CheckpointError, match=r"--patch-size 5 does not fit the file: .* the 12 channels"):
        choose_net(tensors, patch_size=5)


def test_a_patch_s_channels_are_brought_to_our_order(tensors):
    params = to_params(tensors, NET)
    head, tail = tensors["head.weight"].reshape(4, 3, 2, 2, 3, 3), tensors["tail.weight"].reshape(3, 2, 2, 4, 3, 3)
    ours = params["head"]["kernel"].reshape(3, 3, 2, 2, 3, 4)
    np.testing.assert_array_equal(ours, head.transpose(4, 5, 2, 3, 1, 0))
    ours = params["tail"]["kernel"].reshape(3, 3, 4, 2, 2, 3)
    np.testing.assert_array_equal(ours, tail.transpose(4, 5, 3, 1, 2, 0))
    bias = tensors["tail.bias"].reshape(3, 2, 2)
    np.testing.assert_array_equal(params["tail"]["bias"].reshape(2, 2, 3), bias.transpose(1, 2, 0))


def test_transposed_convolutions_keep_their_input_first(tensors):
    params = to_params(tensors, NET)
    np.testing.assert_array_equal(params["grow_1"]["kernel"], tensors["grow.1.weight"].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(params["shrink_1"]["kernel"], tensors["shrink.1.weight"].transpose(2, 3, 1, 0))


def test_a_missing_tensor_is_an_error(tensors):
    del tensors["up.1.0.conv2.bias"]
    with pytest.raises(CheckpointError, match=r"1 of its parameters are not in the file \(up_1_0/conv2/bias\)"):
        to_params(tensors, NET)


def test_a_tensor_without_a_place_is_an_error(tensors):
    tensors["down.999999999.0.conv1.weight"] = np.zeros((4, 4, 3, 3), np.float32)
    with pytest.raises(CheckpointError, match=r"have no place in it \(down\.999999999\.0\.conv1\.weight\)"):
        to_params(tensors, choose_net(tensors))


@pytest.mark.parametrize("name", ["tail.bias", "head.weight", "grow.0.weight", "time.0.weight", "down.0.0.film.bias"])
@pytest.mark.parametrize("shape", [(), (7,), (0, 12, 3, 3), (4, 12, 3, 3, 1)])
def test_tensors_of_other_shapes_are_errors(name, shape, tensors):
    tensors[name] = np.zeros(shape, np.float32)
    with pytest.raises(CheckpointError):
        to_params(tensors, choose_net(tensors))


def test_other_networks_are_not_taken_for_it(tensors):
    assert is_residual_unet(tensors)
    assert not is_residual_unet({"down.0.block.0.conv1.weight": tensors["head.weight"]})


# ---- the command


def _run(*args: object):
    from reddiff_jax.cli import app

    return CliRunner().invoke(app, ["convert", *map(str, args)])


def test_one_command_makes_a_prior_that_predicts_v_on_the_linear_schedule(tensors, tmp_path):
    result = _run(write_checkpoint(tmp_path / "a.pt", tensors), tmp_path / "out")
    assert result.exit_code == 0, result.output
    card = io.read_card(tmp_path / "out")
    assert (card["prediction"], card["schedule"]["num_timesteps"], card["value_range"]) == ("v", 1000, [-1, 1])
    assert card["schedule"]["name"].startswith("linear")
    assert (card["image_channels"], card["learned_variance_channels"], card["num_classes"]) == (3, 0, None)
    prior = io.load_prior(tmp_path / "out")
    assert (prior.net, prior.to_eps) == (NET, from_v)
    np.testing.assert_array_equal(prior.schedule.sigmas, schedules.linear().sigmas)
    np.testing.assert_array_equal(prior.params["down_2_1"]["film"]["kernel"], tensors["down.2.1.film.weight"].T)


def test_the_options_have_the_last_word(tensors, tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", tensors)
    card = converting.convert(path, tmp_path / "out", prediction="eps", schedule="cosine", timesteps=100, patch_size=1)
    assert (card["prediction"], card["schedule"]) == ("eps", {"name": "cosine", "num_timesteps": 100})
    assert (card["architecture"]["in_channels"], card["architecture"]["patch_size"]) == (12, 1)


def test_options_of_other_networks_are_refused(tensors, tmp_path):
    result = _run(write_checkpoint(tmp_path / "a.pt", tensors), tmp_path / "out", "--heads", 2, "--blocks", 1)
    assert result.exit_code == 2
    assert re.search(r"shapes of a residual UNet tell the network; leave out --heads and --blocks", result.stderr)
    assert not (tmp_path / "out").exists()


def test_only_a_residual_unet_has_patches(tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", {"time_embed.0.weight": np.zeros((4, 4), np.float32)})
    with pytest.raises(CheckpointError, match="only a residual UNet has patches; leave out --patch-size"):
        converting.convert(path, tmp_path / "out", patch_size=2)
