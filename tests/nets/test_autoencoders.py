"""Autoencoders of latent diffusion: as diffusers computes them, and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from reddiff_jax.nets import AutoencoderKL, AutoencoderTiny, VQModel, parameter_count, parameter_shapes

TWO_LEVELS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
}
ATTENDING = {
    "down_block_types": ("AttnDownEncoderBlock2D", "DownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
}
TINY = {
    "encoder_block_out_channels": (8, 8),
    "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 2),
    "num_decoder_blocks": (2, 1),
}
CONFIGS = {
    "kl": (AutoencoderKL, TWO_LEVELS),
    "kl_attention": (AutoencoderKL, {**TWO_LEVELS, **ATTENDING, "layers_per_block": 2}),
    "kl_bare": (
        AutoencoderKL,
        {
            **TWO_LEVELS,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
            "mid_block_add_attention": False,
            "latent_channels": 16,
            "act_fn": "gelu",
        },
    ),
    "vq": (VQModel, {**TWO_LEVELS, "num_vq_embeddings": 32}),
    "vq_attention": (VQModel, {**TWO_LEVELS, **ATTENDING, "num_vq_embeddings": 16, "vq_embed_dim": 2}),
    "tiny": (AutoencoderTiny, TINY),
    "tiny_gelu": (AutoencoderTiny, {**TINY, "act_fn": "gelu", "in_channels": 1, "out_channels": 1}),
}
STABLE_DIFFUSION = AutoencoderKL(
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
)


@pytest.mark.oracle
@pytest.mark.parametrize("name", CONFIGS)
def test_encoder_and_decoder_are_diffusers(name, params_of, rng):
    check_parity(*CONFIGS[name], params_of, rng)


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.timeout(1200)
def test_stable_diffusions_autoencoder_is_diffusers_at_full_size(params_of, rng):
    fields = ("down_block_types", "up_block_types", "block_out_channels", "layers_per_block")
    check_parity(AutoencoderKL, {name: getattr(STABLE_DIFFUSION, name) for name in fields}, params_of, rng)


def check_parity(kind, config, params_of, rng):
    torch = pytest.importorskip("torch")

    theirs = getattr(oracles.diffusers(), kind.__name__)(**config)
    net, params = kind(**config), params_of(theirs)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, parameter_shapes(net))
    x = rng.uniform(-1, 1, (16, 24, net.in_channels)).astype(np.float32)
    with torch.no_grad():
        encoded = theirs.encode(torch.from_numpy(x.transpose(2, 0, 1))[None])
        expected = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        decoded = theirs.decode(expected).sample
    expected, decoded = (each[0].numpy().transpose(1, 2, 0) for each in (expected, decoded))
    with jax.default_matmul_precision("highest"):
        z = net.apply({"params": params}, x, method="encode")
        found = net.apply({"params": params}, jnp.asarray(expected), method="decode")
    assert z.shape == (16 // net.stride, 24 // net.stride, z.shape[2])
    # float32 sums over channels, relative to the largest number
    np.testing.assert_allclose(z, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found, decoded, atol=1e-5 * np.abs(decoded).max())


def test_stable_diffusions_autoencoder_has_the_published_parameters():
    assert parameter_count(STABLE_DIFFUSION) == 83_653_863


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl_attention", "tiny"])
def test_remat_recomputes_with_the_same_parameters(name, redrawn, rng):
    kind, config = CONFIGS[name]
    net, params = kind(**config), redrawn(kind(**config))
    x = jnp.asarray(rng.uniform(-1, 1, (8, 8, 3)), jnp.float32)

    def loss(net, x):
        return jnp.sum(net.apply({"params": params}, x) ** 2)

    plain, rematted = (jax.grad(loss, argnums=1)(each, x) for each in (net, net.clone(remat=True)))
    np.testing.assert_allclose(plain, rematted, rtol=1e-4, atol=1e-5 * jnp.abs(plain).max())


def test_a_codebook_rounds_and_has_the_derivative_of_the_identity(rng):
    net = VQModel(block_out_channels=(8,), norm_num_groups=4, num_vq_embeddings=5)
    from reddiff_jax.nets.autoencoders import Codebook

    table = rng.normal(size=(5, 3)).astype(np.float32)
    params, z = {"embedding": {"embedding": table}}, rng.normal(size=(2, 2, 3)).astype(np.float32)
    rounded, pull = jax.vjp(lambda z: Codebook(5, 3).apply({"params": params}, z), z)
    nearest = np.argmin(((z[..., None, :] - table) ** 2).sum(-1), axis=-1)
    np.testing.assert_allclose(rounded, table[nearest], atol=1e-6)
    np.testing.assert_array_equal(pull(jnp.ones_like(rounded))[0], 1.0)
    assert net.stride == 1


def test_a_latent_of_other_channels_is_named(redrawn):
    net = AutoencoderKL(**TWO_LEVELS)
    with pytest.raises(
        ValueError, match=r"z has shape \(4, 4, 3\) but this AutoencoderKL decodes one latent \(h, w, 4"
    ):
        jax.eval_shape(lambda z: net.apply({"params": redrawn(net)}, z, method="decode"), jnp.zeros((4, 4, 3)))
