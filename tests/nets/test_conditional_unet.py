"""The UNet of Stable Diffusion: as diffusers computes it, its size, and guidance by its text."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax as rd
from reddiff_jax.nets import ConditionalUNet, parameter_count, parameter_shapes

TINY = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
}
CONFIGS = {
    "1.x": TINY,
    "2.x": {
        **TINY,
        "use_linear_projection": True,
        "attention_head_dim": (2, 4),
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "layers_per_block": 2,
    },
    "others": {**TINY, "freq_shift": 1, "flip_sin_to_cos": False, "downsample_padding": 0},
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", CONFIGS)
def test_output_equals_diffusers(name, params_of, rng):
    torch = pytest.importorskip("torch")

    config = CONFIGS[name]
    theirs = oracles.diffusers().UNet2DConditionModel(**config)
    net, params = ConditionalUNet(**config), params_of(theirs)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, parameter_shapes(net))
    x, context = rng.standard_normal((8, 6, 4), np.float32), rng.standard_normal((7, 12), np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x.transpose(2, 0, 1))[None], 17, torch.from_numpy(context)[None]).sample
    expected = expected[0].numpy().transpose(1, 2, 0)
    with jax.default_matmul_precision("highest"):
        found = net.apply({"params": params}, x, jnp.int32(17), context)
    # float32 sums over channels, relative to the largest number
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_stable_diffusions_network_has_the_published_parameters():
    assert parameter_count(ConditionalUNet(cross_attention_dim=768)) == 859_520_964


@pytest.mark.slow
def test_guidance_extrapolates_from_the_empty_text(redrawn, rng):
    net = ConditionalUNet(**TINY)
    prior = rd.priors.NetPrior(schedule=rd.schedules.linear(), params=redrawn(net), net=net)
    x = rng.standard_normal((8, 8, 4), np.float32)
    text, empty = (jnp.asarray(rng.standard_normal((7, 12)), jnp.float32) for _ in range(2))
    guided = rd.classifier_free(prior, 3.0, null=empty)
    eps, eps_empty = (prior.eps(x, 100, each) for each in (text, empty))
    np.testing.assert_allclose(guided.eps(x, 100, text), eps_empty + 3 * (eps - eps_empty), atol=1e-4)


def test_a_context_of_another_length_is_named():
    net = ConditionalUNet(**TINY)
    with pytest.raises(ValueError, match=r"context has shape \(7, 768\) but this ConditionalUNet attends to \(T, 12\)"):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((8, 8, 4)), 0, jnp.zeros((7, 768)))
