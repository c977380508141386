"""Laws of diffusers' UNet; that it agrees with the diffusers package is tested where folders are converted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax import io
from reddiff_jax.nets import DiffusersUNet, parameter_count, parameter_shapes, tensor_count
from reddiff_jax.nets.layers import timestep_embedding

TINY = DiffusersUNet(
    down_block_types=("DownBlock2D",),
    up_block_types=("AttnUpBlock2D",),
    block_out_channels=(32,),
    layers_per_block=1,
    mid_block_type=None,
    norm_num_groups=8,  # groups of one channel would take away what the embedding adds to it
)
TWO_LEVELS = TINY.clone(
    down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D",) * 2, block_out_channels=(32, 64)
)
# As their config.json say: parameters, tensors.
PUBLISHED = {
    "ddpm-cifar10-32": (
        {
            "block_out_channels": (128, 256, 256, 256),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        },
        (35_746_307, 328),
    ),
    "ddpm-celebahq-256, ddpm-church-256, ddpm-bedroom-256, ddpm-cat-256": (
        {
            "block_out_channels": (128, 128, 256, 256, 512, 512),
            "down_block_types": (*("DownBlock2D",) * 4, "AttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *("UpBlock2D",) * 4),
        },
        (113_673_219, 450),
    ),
}
DDPM = {
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.standard_normal((8, 8, 3), dtype=np.float32)


def relative_difference(ours, theirs) -> float:
    return float(jnp.abs(ours - theirs).max() / jnp.abs(theirs).max())


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.slow
def test_it_has_the_published_parameters_and_tensors(name):
    config, size = PUBLISHED[name]
    net = DiffusersUNet(**config, **DDPM)
    assert (parameter_count(net), tensor_count(net)) == size


def test_a_card_describes_it():
    net = TWO_LEVELS.clone(num_class_embeds=3)
    assert io.net_from_card(io.describe_net(net)) == net


def test_the_embedding_of_ho_et_al_ends_at_the_longest_period():
    phases = 500 * 1e4 ** (-np.arange(4) / 3)
    embedding = timestep_embedding(jnp.asarray(500), 8, sines_first=True, freq_shift=1)
    # float32 holds a phase of 500 to 3e-5
    np.testing.assert_allclose(embedding, [*np.sin(phases), *np.cos(phases)], atol=1e-4)


@pytest.mark.parametrize("conditioning", [{"num_class_embeds": 3}, {"class_embed_type": "timestep"}])
@pytest.mark.slow
def test_label_changes_the_output(conditioning, image, redrawn):
    net = TINY.clone(**conditioning)
    params = redrawn(net)
    outputs = [net.apply({"params": params}, image, 10, label) for label in (0, 2)]
    assert relative_difference(outputs[0], outputs[1]) > 1e-3


def test_a_label_is_required_if_and_only_if_it_is_used(image, key):
    with pytest.raises(ValueError, match="DiffusersUNet is class-conditional and needs a label"):
        jax.eval_shape(TINY.clone(num_class_embeds=3).init, key, image, 0)
    with pytest.raises(ValueError, match="DiffusersUNet is unconditional and takes no label"):
        jax.eval_shape(TINY.init, key, image, 0, 1)


def test_size_must_be_a_multiple_of_the_stride(key):
    with pytest.raises(
        ValueError, match=r"shape \(9, 8, .\) but this DiffusersUNet needs height and width divisible by 2"
    ):
        jax.eval_shape(TWO_LEVELS.init, key, jnp.zeros((9, 8, 3)), 0)


def test_a_head_wider_than_the_features_is_refused(key, image):
    with pytest.raises(ValueError, match="attention over 32 channels has no head of attention_head_dim=64"):
        jax.eval_shape(TINY.clone(attention_head_dim=64).init, key, image, 0)


@pytest.mark.slow
def test_bfloat16_is_close_to_float32(image, redrawn):
    params = redrawn(TINY)
    full = TINY.apply({"params": params}, image, 100)
    half = TINY.clone(dtype=jnp.bfloat16).apply({"params": params}, image, 100)
    assert half.dtype == jnp.float32
    # 0.2 % a rounding, some 25 independent ones on the way from input to output: 1 % of the output's scale
    assert 1e-4 < jnp.sqrt(jnp.mean(jnp.square(half - full)) / jnp.mean(jnp.square(full))) < 0.02


def test_remat_recomputes_with_the_same_parameters(image, redrawn):
    net = TWO_LEVELS.clone(mid_block_type="UNetMidBlock2D")
    rematted, params = net.clone(remat=True), redrawn(net)
    assert parameter_shapes(rematted) == parameter_shapes(net)
    assert "remat" in str(jax.make_jaxpr(lambda x: rematted.apply({"params": params}, x, 50))(image))


@pytest.mark.slow
def test_dropout_acts_only_if_not_deterministic(image, redrawn):
    params = redrawn(TINY)
    dropping = TINY.clone(dropout=0.3)

    def apply(deterministic: bool) -> jax.Array:
        rngs = {"dropout": jax.random.key(0)}
        return dropping.apply({"params": params}, image, 0, deterministic=deterministic, rngs=rngs)

    plain = TINY.apply({"params": params}, image, 0)
    np.testing.assert_array_equal(apply(True), plain)
    assert relative_difference(apply(False), plain) > 0.01
