"""guided-diffusion's names and shapes: the network is found, each tensor used once, and what is amiss is listed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_files import write_checkpoint
from state_dicts import paths, published_array, published_name, state_dict

from reddiff_jax import io, schedules
from reddiff_jax.converting import CheckpointError, convert
from reddiff_jax.converting.guided_diffusion import (
    PUBLISHED,
    SCHEDULES,
    UNTOLD,
    choose_net,
    infer_config,
    matching_configs,
    to_params,
)
from reddiff_jax.nets import EncoderUNet, Pool, UNet

SMALL = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "attention_downsamples": (2,)}
NETS = {
    "small": UNet(**SMALL),
    "gray": UNet(**SMALL, in_channels=1, out_channels=2),
    "no_scale_shift": UNet(**SMALL, use_scale_shift_norm=False),
    "resampling_by_convolution": UNet(**SMALL, resblock_updown=False),
    "resampling_without_convolution": UNet(**SMALL, resblock_updown=False, conv_resample=False),
    "class_conditional": UNet(**SMALL, num_classes=5),
    "learned_variance": UNet(**SMALL, out_channels=6),
    "no_attention": UNet(**{**SMALL, "attention_downsamples": ()}, middle_attention=False),
    "one_level": UNet(**{**SMALL, "channel_mult": (1,), "attention_downsamples": (1,)}),
    "fractions": UNet(model_channels=64, num_res_blocks=2, channel_mult=(0.5, 1, 1, 1.5), attention_downsamples=(1, 4)),
    "classifier": EncoderUNet(**SMALL, image_size=16, num_classes=10, num_head_channels=16),
    "classifier_by_convolution": EncoderUNet(
        **SMALL, image_size=8, num_head_channels=16, resblock_updown=False, use_scale_shift_norm=False
    ),
}
NETS |= {pool: EncoderUNet(**SMALL, num_classes=10, pool=pool) for pool in ("adaptive", "spatial", "spatial_v2")}
TOLD_BY_OPTIONS = {"head_channels": 16, "new_attention_order": False, "schedule": "linear"}


@pytest.fixture(scope="module")
def small():
    return state_dict(NETS["small"])


@pytest.mark.parametrize("name", NETS)
def test_shapes_tell_the_configuration(name):
    net = NETS[name]
    told = infer_config(state_dict(net, empty=True))
    assert told.pop("type") == type(net).__name__
    assert told == {field: getattr(net, field) for field in told}
    untold = {*UNTOLD, "dtype", "remat", "parent", "name", "patch_size"}
    if told.get("pool", "attention") != "attention":
        untold.add("image_size")  # any
    assert told.keys() == net.__dataclass_fields__.keys() - untold


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_recognised_by_their_shapes(name):
    told = infer_config(state_dict(PUBLISHED[name](), empty=True))
    others = {"imagenet256_uncond": ["lsun"], "lsun": ["imagenet256_uncond"]}.get(name, [])
    assert sorted(matching_configs(told)) == sorted([name, *others])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["class_conditional", "fractions", "classifier", "adaptive", "spatial_v2"])
def test_each_parameter_is_its_tensor(name):
    net = NETS[name]
    tensors = state_dict(net)
    params = to_params(tensors, net)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, io.abstract_params(net))
    for path, array in paths(params):
        np.testing.assert_array_equal(published_array(path, array), tensors[published_name(path)])


def test_attention_may_be_stored_as_convolutions_of_images(small):
    stored = {
        name: a[..., None] if name.endswith(("qkv.weight", "proj_out.weight")) else a for name, a in small.items()
    }
    assert any(stored[name].ndim != small[name].ndim for name in small)
    ours, theirs = (jax.tree.leaves(to_params(tensors, NETS["small"])) for tensors in (stored, small))
    assert all(map(np.array_equal, ours, theirs))


def test_parameters_are_views_of_the_tensors(small):
    array = to_params(small, NETS["small"])["input_blocks_0_0"]["kernel"]
    assert np.shares_memory(array, small["input_blocks.0.0.weight"])


# ---- what does not fit


def test_both_differences_are_listed(small):
    tensors = dict(small)
    tensors["input_blocks.1.0.extra.weight"] = tensors.pop("middle_block.0.in_layers.0.weight")
    with pytest.raises(CheckpointError) as caught:
        to_params(tensors, NETS["small"])
    assert "1 tensors of the file have no place in it (input_blocks.1.0.extra.weight)" in str(caught.value)
    assert "1 of its parameters are not in the file (middle_block_0/in_layers_0/scale)" in str(caught.value)
    assert "Try without --config" in str(caught.value)


def test_a_wrong_shape_is_named(small):
    tensors = {**small, "out.2.bias": np.zeros(4, np.float32)}
    with pytest.raises(CheckpointError, match=re.escape("out.2.bias (4,) gives (4,) and not (3,)")):
        to_params(tensors, NETS["small"])


def test_two_tensors_for_one_parameter_are_refused(small):
    tensors = {**small, "input_blocks_0_0.bias": small["input_blocks.0.0.bias"]}
    with pytest.raises(CheckpointError, match="1 tensors of the file have no place"):
        to_params(tensors, NETS["small"])


def test_whole_numbers_are_no_weights(small):
    tensors = {**small, "out.2.bias": np.zeros(3, np.int64)}
    with pytest.raises(CheckpointError, match=r"out\.2\.bias is int64 and not floating-point"):
        to_params(tensors, NETS["small"])


def test_what_shapes_cannot_tell_is_asked_for_by_name(small):
    with pytest.raises(CheckpointError) as caught:
        choose_net(small)
    for option in ("--heads or --head-channels", "--attention-order legacy or new", "--schedule linear or cosine"):
        assert option in str(caught.value)


def test_without_attention_only_the_schedule_is_asked_for():
    with pytest.raises(CheckpointError, match="say --schedule linear or cosine") as caught:
        choose_net(state_dict(NETS["no_attention"], empty=True))
    assert "--heads" not in str(caught.value)


def test_a_published_configuration_is_suggested():
    with pytest.raises(CheckpointError, match="those of --config ffhq256"):
        choose_net(state_dict(PUBLISHED["ffhq256"](), empty=True))


def test_a_published_name_tells_the_rest():
    net, schedule = choose_net(state_dict(PUBLISHED["imagenet64"](), empty=True), config="imagenet64")
    assert (net, schedule) == (PUBLISHED["imagenet64"](), "cosine")


def test_the_wrong_published_name_lists_what_differs(small):
    with pytest.raises(CheckpointError, match=r"is no ffhq256: .*model_channels is 32 in the file and 128"):
        choose_net(small, config="ffhq256")


def test_a_classifiers_name_for_a_unet_is_refused(small):
    with pytest.raises(CheckpointError, match="it is of a UNet, not of a EncoderUNet"):
        choose_net(small, config="classifier64")


def test_an_unknown_name_lists_the_known(small):
    with pytest.raises(CheckpointError, match=r"'imagenet' is unknown; known are .*imagenet256_uncond"):
        choose_net(small, config="imagenet")


def test_heads_that_do_not_divide_are_refused(small):
    net, _ = choose_net(small, head_channels=48, new_attention_order=False, schedule="linear")
    with pytest.raises(CheckpointError, match="attention over 64 channels does not divide into heads"):
        to_params(small, net)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["down_blocks.0.resnets.0.conv1.weight"], "those of diffusers"),
        (["conv1.weight", "fc.bias"], "2 tensors .* not named as guided-diffusion names them"),
        (["time_embed.0.weight", "input_blocks.0.0.weight"], "neither output blocks nor a classifier's head"),
        (
            ["time_embed.0.weight", "output_blocks.0.0.in_layers.2.weight", "input_blocks.999999999.0.weight"],
            "lacks some",
        ),
        (["time_embed.0.weight", "output_blocks.0.0.in_layers.2.weight", "input_blocks.x.0.weight"], "lacks some"),
    ],
)
def test_other_networks_are_recognised(names, said):
    with pytest.raises(CheckpointError, match=said):
        choose_net({name: np.zeros((4, 4), np.float32) for name in names}, **TOLD_BY_OPTIONS)


# ---- the whole way, against an independent implementation


def relative_difference(ours, theirs) -> float:
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def redraw(module) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            is_scale = tensor.ndim == 1 and name.endswith("weight")
            deviation = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2
            tensor.normal_(float(is_scale), deviation, generator=generator)
    module.eval()


AZULA = {
    "image_size": 16,
    "in_channels": 3,
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": (1, 2),
    "attention_resolutions": (2,),
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}


@pytest.mark.oracle
@pytest.mark.parametrize("order", ["legacy", "new"])
def test_a_converted_unet_predicts_what_azulas_does(order, adm, rng, tmp_path):
    import torch

    new = order == "new"
    module = adm.UNetModel(**AZULA, out_channels=6, num_classes=5, use_new_attention_order=new)
    redraw(module)
    state = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    torch.save({"step": 1, "state_dict": state}, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "out", head_channels=16, new_attention_order=new, schedule="linear")

    prior = io.load_prior(tmp_path / "out")
    images, timesteps, labels = (
        rng.standard_normal((4, 16, 16, 3), np.float32),
        np.array([0, 1, 500, 999]),
        np.arange(4),
    )
    ours = jax.vmap(prior.eps)(images, timesteps, labels)
    with torch.no_grad():
        theirs = module(torch.from_numpy(images).movedim(-1, 1), torch.from_numpy(timesteps), torch.from_numpy(labels))
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert relative_difference(ours, theirs.movedim(1, -1).numpy()[..., :3]) < 1e-4


@pytest.mark.oracle
@pytest.mark.parametrize("rescaled", [True, False], ids=["rescaled", "raw"])
def test_a_checkpoint_of_4000_timesteps_is_given_its_own(rescaled, adm, rng, tmp_path):
    import torch

    # improved-diffusion's switches
    own = {"num_head_channels": -1, "num_heads": 4, "resblock_updown": False}
    module = adm.UNetModel(**{**AZULA, **own}, out_channels=6)
    redraw(module)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    options = {"heads": 4, "new_attention_order": False, "schedule": "cosine"}
    convert(tmp_path / "a.pt", tmp_path / "out", **options, timesteps=4000, rescale_timesteps=rescaled)

    prior = io.load_prior(tmp_path / "out")
    images, timesteps = rng.standard_normal((4, 16, 16, 3), np.float32), np.array([0, 1, 1234, 3999])
    ours = jax.vmap(prior.eps)(images, timesteps)
    given = torch.from_numpy(timesteps).float() * (1000.0 / 4000 if rescaled else 1.0)
    with torch.no_grad():
        theirs = module(torch.from_numpy(images).movedim(-1, 1), given)
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert relative_difference(ours, theirs.movedim(1, -1).numpy()[..., :3]) < 1e-4
    np.testing.assert_array_equal(prior.schedule.sigmas, schedules.cosine(4000).sigmas)


def test_linear_betas_shrink_as_timesteps_grow_in_number():
    thousand, four_thousand = (SCHEDULES["linear"][1](total) for total in (1000, 4000))
    np.testing.assert_array_equal(thousand.sigmas, schedules.linear().sigmas)
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4 / 4, 2e-2 / 4, 4000))
    np.testing.assert_allclose(four_thousand.alphas, np.sqrt(alphas_cumprod), rtol=1e-6)  # float32


def test_whether_other_timesteps_are_rescaled_is_asked_for(small):
    with pytest.raises(CheckpointError, match="say --rescale-timesteps or --no-rescale-timesteps"):
        choose_net(small, **TOLD_BY_OPTIONS, timesteps=4000)
    with pytest.raises(CheckpointError, match="not imagenet64's 1000; say --rescale-timesteps or"):
        choose_net(state_dict(PUBLISHED["imagenet64"](), empty=True), config="imagenet64", timesteps=4000)


@pytest.mark.oracle
@pytest.mark.parametrize("size", [4, 5], ids=["a_quarter", "a_fraction"])
def test_a_converted_upsampler_predicts_what_azulas_does(size, adm, rng, tmp_path):
    import torch

    module = adm.SuperResModel(**AZULA, out_channels=6, num_classes=5)
    redraw(module)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "out", head_channels=16, new_attention_order=False, schedule="linear")

    prior = io.load_prior(tmp_path / "out")
    images, small = (rng.standard_normal((2, side, side, 3), np.float32) for side in (16, size))
    timesteps, labels = np.array([1, 500]), np.array([4, 2])
    ours = jax.vmap(prior.eps)(images, timesteps, {"low_res": small, "label": labels})
    with torch.no_grad():
        theirs = module(
            torch.from_numpy(images).movedim(-1, 1),
            torch.from_numpy(timesteps),
            low_res=torch.from_numpy(small).movedim(-1, 1),
            y=torch.from_numpy(labels),
        )
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert relative_difference(ours, theirs.movedim(1, -1).numpy()[..., :3]) < 1e-4


@pytest.mark.oracle
@pytest.mark.parametrize("pool", Pool)
def test_a_converted_classifier_has_azulas_logits_and_gradient(pool, adm, rng, tmp_path):
    import torch

    module = adm.EncoderUNetModel(**AZULA, out_channels=10, pool=pool)
    redraw(module)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "out", head_channels=16, new_attention_order=False, schedule="linear")

    net, params, _ = io.load_classifier(tmp_path / "out")
    assert net.pool == pool
    image = rng.standard_normal((16, 16, 3), np.float32)
    logits, pull_back = jax.vjp(lambda x: net.apply({"params": params}, x, 500), image)
    (gradient,) = pull_back(jnp.eye(10)[3])
    x = torch.from_numpy(image).movedim(-1, 0)[None].requires_grad_()
    expected = module(x, torch.tensor([500]))
    expected[0, 3].backward()
    # float32: 6e-8 a rounding, times the gain of some ten layers, there and back
    assert relative_difference(logits, expected[0].detach().numpy()) < 1e-4
    assert relative_difference(gradient, x.grad[0].movedim(0, -1).numpy()) < 1e-4


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_are_widened_exactly(dtype, small, tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in small.items()}
    torch.save(state, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "out", **TOLD_BY_OPTIONS)
    for path, leaf in paths(io.load_prior(tmp_path / "out").params):
        np.testing.assert_array_equal(
            published_array(path, np.asarray(leaf)), state[published_name(path)].float().numpy()
        )


@pytest.mark.slow
def test_what_is_stored_in_bfloat16_is_rounded_once(small, tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", small)
    card = convert(path, tmp_path / "out", **TOLD_BY_OPTIONS, dtype=jnp.bfloat16)
    assert card["stored_dtype"] == "bfloat16"
    kernel = io.load_prior(tmp_path / "out").params["out_2"]["kernel"]
    rounded = small["out.2.weight"].astype(jnp.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(kernel, rounded.transpose(2, 3, 1, 0))
