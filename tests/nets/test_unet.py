"""Laws of the UNet, and its agreement with an independent implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from reddiff_jax.nets import UNet, configs, parameter_shapes
from reddiff_jax.nets.layers import depth_to_space, space_to_depth

TIMESTEPS = np.array([0, 1, 500, 999])
SIZE = 16
SMALL = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "attention_downsamples": (2,)}
TINY = {"model_channels": 32, "num_res_blocks": 0, "channel_mult": (1,)}  # three residual blocks and an attention


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.standard_normal((len(TIMESTEPS), SIZE, SIZE, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def small(redrawn) -> tuple[UNet, dict]:
    net = UNet(**SMALL, num_heads=2)
    return net, redrawn(net)


def relative_difference(ours: jax.Array, theirs: jax.Array | np.ndarray) -> float:
    return float(jnp.abs(ours - theirs).max() / jnp.abs(theirs).max())


# Our configuration; where a switch is not at azula's default, its name there.
SWITCHES = {
    "legacy_order_heads_by_number": ({"num_heads": 4}, {"num_heads": 4}),
    "legacy_order_heads_by_width": ({"num_head_channels": 16}, {"num_head_channels": 16}),
    "new_order_heads_by_number": (
        {"num_heads": 4, "new_attention_order": True},
        {"num_heads": 4, "use_new_attention_order": True},
    ),
    "new_order_heads_by_width": (
        {"num_head_channels": 16, "new_attention_order": True},
        {"num_head_channels": 16, "use_new_attention_order": True},
    ),
    "no_scale_shift": ({"use_scale_shift_norm": False}, {"use_scale_shift_norm": False}),
    "resampling_by_convolution": ({"resblock_updown": False}, {"resblock_updown": False}),
    "resampling_without_convolution": (
        {"resblock_updown": False, "conv_resample": False},
        {"resblock_updown": False, "conv_resample": False},
    ),
    "class_conditional": ({"num_classes": 5}, {"num_classes": 5}),
    "learned_variance": ({"out_channels": 6}, {"out_channels": 6}),
    "dropout_in_evaluation": ({"dropout": 0.5}, {"dropout": 0.5}),
    "attention_in_the_middle_only": ({"attention_downsamples": ()}, {"attention_resolutions": ()}),
    "no_attention": ({"attention_downsamples": (), "middle_attention": False}, {"attention_resolutions": ()}),
    "fractional_width_three_levels": (
        {"model_channels": 64, "channel_mult": (0.5, 1, 1), "num_res_blocks": 2, "attention_downsamples": (2, 4)},
        {"model_channels": 64, "channel_mult": (0.5, 1, 1), "num_res_blocks": 2, "attention_resolutions": (2, 4)},
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("switch", SWITCHES)
def test_output_equals_azulas(switch, adm, params_of, images):
    import torch

    ours, theirs = SWITCHES[switch]
    net = UNet(**{**SMALL, **ours})
    settings = {
        "model_channels": 32,
        "out_channels": 3,
        "num_res_blocks": 1,
        "channel_mult": (1, 2),
        "attention_resolutions": (2,),
        "use_scale_shift_norm": True,
        "resblock_updown": True,
    }
    module = adm.UNetModel(image_size=SIZE, in_channels=3, **{**settings, **theirs})
    if not net.middle_attention:
        module.middle_block[1] = torch.nn.Identity()  # azula has no switch for it
    params = params_of(module)
    labels = np.arange(len(TIMESTEPS)) if net.num_classes else None

    # not jitted: the operations' own compilations are shared by all switches
    in_axes = (None, 0, 0, None if labels is None else 0)
    outputs = jax.vmap(net.apply, in_axes=in_axes)({"params": params}, images, TIMESTEPS, labels)
    with torch.no_grad():
        expected = module(
            torch.from_numpy(images).movedim(-1, 1),
            torch.from_numpy(TIMESTEPS),
            None if labels is None else torch.from_numpy(labels),
        )
    # float32: 6e-8 a rounding, times the gain of some ten layers in a row
    assert relative_difference(outputs, expected.movedim(1, -1).numpy()) < 1e-4


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.timeout(1200)
def test_published_network_equals_azulas_at_full_size(adm, rng):
    import torch

    forward = pytest.importorskip("benchmarks.forward")
    net = configs.imagenet256_uncond()
    module = forward.adm_unet(net, 256)
    params = jax.device_put(forward.params_of(module, net))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 552_814_086
    image = rng.standard_normal((256, 256, 3), dtype=np.float32)

    output = jax.jit(net.apply)({"params": params}, image, 500)
    with torch.inference_mode():
        expected = module(torch.from_numpy(image).movedim(-1, 0)[None], torch.tensor([500]))[0].movedim(0, -1)
    # float32: 6e-8 a rounding, times the gain of some hundred layers in a row
    assert relative_difference(output, expected.numpy()) < 1e-4


@pytest.mark.oracle
def test_parameters_are_those_of_the_published_state_dict(adm, params_of):
    net = UNet(**SMALL, num_head_channels=32, num_classes=5)
    module = adm.UNetModel(
        image_size=SIZE,
        in_channels=3,
        model_channels=32,
        out_channels=3,
        num_res_blocks=1,
        channel_mult=(1, 2),
        attention_resolutions=(2,),
        num_head_channels=32,
        num_classes=5,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    assert jax.tree.map(jnp.shape, params_of(module)) == jax.tree.map(jnp.shape, parameter_shapes(net))


@pytest.mark.slow
def test_jit_of_vmap_equals_a_loop(images, redrawn):
    net = UNet(**TINY)
    params = redrawn(net)
    looped = jnp.stack([net.apply({"params": params}, x, t) for x, t in zip(images, TIMESTEPS, strict=True)])
    batched = jax.jit(jax.vmap(net.apply, in_axes=(None, 0, 0)))({"params": params}, images, TIMESTEPS)
    # compiled batches sum in another order: float32 roundings
    assert relative_difference(batched, looped) < 1e-5


def test_timestep_changes_the_output(images, redrawn):
    net = UNet(**TINY)
    params = redrawn(net)
    outputs = [net.apply({"params": params}, images[0], t) for t in (10, 11)]
    assert relative_difference(outputs[0], outputs[1]) > 1e-3


def test_label_changes_the_output(images, redrawn):
    net = UNet(**TINY, num_classes=3)
    params = redrawn(net)
    outputs = [net.apply({"params": params}, images[0], 10, label) for label in (0, 2)]
    assert relative_difference(outputs[0], outputs[1]) > 1e-3


def test_height_and_width_may_differ(small):
    net, params = small
    assert jax.eval_shape(net.apply, {"params": params}, jnp.zeros((8, 12, 3)), 3).shape == (8, 12, 3)


def test_class_conditional_network_needs_a_label(images, key):
    with pytest.raises(ValueError, match="needs a label"):
        jax.eval_shape(UNet(**SMALL, num_classes=3).init, key, images[0], 0)


def test_unconditional_network_takes_no_label(images, key):
    with pytest.raises(ValueError, match="takes no label"):
        jax.eval_shape(UNet(**SMALL).init, key, images[0], 0, 1)


def test_size_must_be_a_multiple_of_the_stride(key):
    with pytest.raises(ValueError, match=r"shape \(9, 8, .\) but this UNet needs height and width divisible by 2"):
        jax.eval_shape(UNet(**SMALL).init, key, jnp.zeros((9, 8, 3)), 0)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (8, 8, 1), (8, 8)])
def test_input_must_be_one_image_of_the_right_channels(shape, key):
    with pytest.raises(ValueError, match=r"takes one image \(H, W, 3\)"):
        jax.eval_shape(UNet(**SMALL).init, key, jnp.zeros(shape), 0)


def test_heads_must_divide_the_channels(key):
    with pytest.raises(ValueError, match="attention over 64 channels does not divide into heads"):
        jax.eval_shape(UNet(**SMALL, num_head_channels=48).init, key, jnp.zeros((8, 8, 3)), 0)


def test_width_must_be_a_multiple_of_the_groups(key):
    with pytest.raises(ValueError, match="divisible by num_groups=32, got 48"):
        jax.eval_shape(UNet(model_channels=48).init, key, jnp.zeros((8, 8, 3)), 0)


@pytest.mark.slow
def test_patch_size_folds_pixels_around_the_same_network(images, redrawn):
    patched = UNet(**TINY, patch_size=2)
    plain = UNet(**TINY, in_channels=12, out_channels=12)
    params = redrawn(patched)
    assert patched.stride == 2 * plain.stride
    output = patched.apply({"params": params}, images[0], 7)
    expected = depth_to_space(plain.apply({"params": params}, space_to_depth(images[0], 2), 7), 2)
    assert output.shape == images[0].shape
    np.testing.assert_array_equal(output, expected)


def test_depth_to_space_inverts_space_to_depth(rng):
    x = rng.standard_normal((6, 4, 3))
    folded = space_to_depth(x, 2)
    assert folded.shape == (3, 2, 12)
    np.testing.assert_array_equal(folded[1, 0].reshape(2, 2, 3), x[2:4, 0:2])
    np.testing.assert_array_equal(depth_to_space(folded, 2), x)


@pytest.mark.parametrize("params_dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.slow
def test_bfloat16_is_close_to_float32(params_dtype, images, redrawn):
    net = UNet(**TINY)
    params = redrawn(net)
    full = net.apply({"params": params}, images[0], 100)
    rounded = jax.tree.map(lambda leaf: jnp.asarray(leaf, params_dtype), params)
    half = net.clone(dtype=jnp.bfloat16).apply({"params": rounded}, images[0], 100)
    assert half.dtype == jnp.float32
    # A rounding is off by 2^-9 at most, some 25 independent ones lie between input and output: 1 % of the output's
    # scale, twice that for the worst pixel. Measured: 0.6 % here, 0.3 to 0.7 % with other weights and twice the layers.
    assert 1e-4 < relative_difference(half, full) < 0.02


def test_bfloat16_keeps_the_parameters_in_float32():
    net = UNet(**SMALL, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(parameter_shapes(net))} == {jnp.dtype(jnp.float32)}


@pytest.mark.slow
def test_remat_changes_neither_output_nor_gradient(images, redrawn):
    net = UNet(**TINY)

    def loss(params, net):
        output = net.apply({"params": params}, images[0, :4, :4], 50)
        return jnp.mean(jnp.square(output)), output

    gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    plain, output = gradient(redrawn(net), net)
    rematted, rematted_output = gradient(redrawn(net), net.clone(remat=True))
    # the recomputed pass fuses differently: float32 roundings
    assert relative_difference(rematted_output, output) < 1e-5
    assert relative_difference(ravel_pytree(rematted)[0], ravel_pytree(plain)[0]) < 1e-5


def test_remat_recomputes(small, images):
    net, params = small

    def jaxpr(net):
        return str(jax.make_jaxpr(lambda x: net.apply({"params": params}, x, 0))(images[0]))

    assert "remat" in jaxpr(net.clone(remat=True))
    assert "remat" not in jaxpr(net)


def test_dropout_acts_only_if_not_deterministic(images, redrawn):
    net = UNet(**TINY)
    params = redrawn(net)
    dropping = net.clone(dropout=0.3)

    def apply(deterministic: bool, seed: int) -> jax.Array:
        rngs = {"dropout": jax.random.key(seed)}
        return dropping.apply({"params": params}, images[0], 0, deterministic=deterministic, rngs=rngs)

    plain = net.apply({"params": params}, images[0], 0)
    np.testing.assert_array_equal(apply(True, 0), plain)
    assert relative_difference(apply(False, 0), plain) > 0.01
    assert relative_difference(apply(False, 0), apply(False, 1)) > 0.01
