"""Laws of the classifier, and its agreement with an independent implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax.nets import EncoderUNet, parameter_shapes

TIMESTEPS = np.array([0, 1, 500, 999])
SIZE = 16
SMALL = {
    "image_size": SIZE,
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": (1, 2),
    "attention_downsamples": (2,),
    "num_classes": 10,
    "num_head_channels": 16,
}
# Each switch alone is the UNet's test: the code is shared.
SWITCHES = {
    "as_published": {},
    "all_others": {"new_attention_order": True, "use_scale_shift_norm": False, "resblock_updown": False},
}


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.standard_normal((len(TIMESTEPS), SIZE, SIZE, 3), dtype=np.float32)


def log_probability(net: EncoderUNet):
    """(logits, d log p(label | x_t) / d x_t) for one image."""

    def target(x_t, params, t, label):
        logits = net.apply({"params": params}, x_t, t)
        return jax.nn.log_softmax(logits)[label], logits

    def run(params, x_t, t, label):
        gradient, logits = jax.grad(target, has_aux=True)(x_t, params, t, label)
        return logits, gradient

    return jax.jit(jax.vmap(run, in_axes=(None, 0, 0, 0)))


@pytest.mark.oracle
@pytest.mark.parametrize("switch", SWITCHES)
def test_logits_and_input_gradient_equal_azulas(switch, adm, params_of, images):
    import torch

    net = EncoderUNet(**SMALL, **SWITCHES[switch])
    module = adm.EncoderUNetModel(
        image_size=SIZE,
        in_channels=3,
        model_channels=32,
        out_channels=10,
        num_res_blocks=1,
        attention_resolutions=(2,),
        channel_mult=(1, 2),
        num_head_channels=16,
        use_scale_shift_norm=net.use_scale_shift_norm,
        resblock_updown=net.resblock_updown,
        use_new_attention_order=net.new_attention_order,
        pool="attention",
    )
    params = params_of(module)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, parameter_shapes(net))
    labels = np.array([3, 0, 9, 4])

    logits, gradient = log_probability(net)(params, images, TIMESTEPS, labels)
    x_t = torch.from_numpy(images).movedim(-1, 1).requires_grad_()
    expected = module(x_t, torch.from_numpy(TIMESTEPS))
    chosen = torch.log_softmax(expected, dim=-1)[torch.arange(len(labels)), torch.from_numpy(labels)]
    (expected_gradient,) = torch.autograd.grad(chosen.sum(), x_t)

    # float32: 6e-8 a rounding, times the gain of some ten layers, there and back
    for ours, theirs in ((logits, expected.detach()), (gradient, expected_gradient.movedim(1, -1))):
        assert np.abs(ours - theirs.numpy()).max() < 1e-4 * np.abs(theirs.numpy()).max()


def test_image_must_have_the_classifiers_size(key):
    with pytest.raises(ValueError, match=r"shape \(8, 8, .\) but this EncoderUNet classifies images of 16 x 16"):
        jax.eval_shape(EncoderUNet(**SMALL).init, key, jnp.zeros((8, 8, 3)), 0)


def test_classifier_takes_one_image(key):
    with pytest.raises(ValueError, match="this EncoderUNet takes one image"):
        jax.eval_shape(EncoderUNet(**SMALL).init, key, jnp.zeros((2, 16, 16, 3)), 0)


def test_head_width_must_be_given(key):
    net = EncoderUNet(**{**SMALL, "num_head_channels": None})
    with pytest.raises(ValueError, match="num_head_channels is None"):
        jax.eval_shape(net.init, key, jnp.zeros((16, 16, 3)), 0)


@pytest.mark.parametrize("pool", ["adaptive", "spatial", "spatial_v2"])
def test_only_attention_pools_fix_the_size_and_need_the_width_of_heads(pool, key):
    net = EncoderUNet(**{**SMALL, "num_head_channels": None}, pool=pool)
    variables = jax.eval_shape(net.init, key, jnp.zeros((16, 16, 3)), 0)
    assert jax.eval_shape(net.apply, variables, jnp.zeros((8, 12, 3)), 0).shape == (10,)


def test_an_unknown_pool_is_an_error(key):
    with pytest.raises(ValueError, match="'largest' is not a valid Pool"):
        jax.eval_shape(EncoderUNet(**SMALL, pool="largest").init, key, jnp.zeros((16, 16, 3)), 0)


@pytest.mark.slow
def test_jit_of_vmap_equals_a_loop(redrawn, images):
    net = EncoderUNet(image_size=4, model_channels=32, num_res_blocks=0, channel_mult=(1,), num_head_channels=16)
    images = images[:, :4, :4]
    variables = {"params": redrawn(net)}
    looped = jnp.stack([net.apply(variables, x, t) for x, t in zip(images, TIMESTEPS, strict=True)])
    batched = jax.jit(jax.vmap(net.apply, in_axes=(None, 0, 0)))(variables, images, TIMESTEPS)
    assert batched.shape == (4, 1000)
    # compiled batches sum in another order: float32 roundings
    np.testing.assert_allclose(batched, looped, rtol=0, atol=1e-5 * float(jnp.abs(looped).max()))


def test_bfloat16_logits_are_float32(key):
    net = EncoderUNet(**SMALL, dtype=jnp.bfloat16)
    variables = jax.eval_shape(net.init, key, jnp.zeros((16, 16, 3)), 0)
    assert jax.eval_shape(net.apply, variables, jnp.zeros((16, 16, 3)), 0).dtype == jnp.float32
