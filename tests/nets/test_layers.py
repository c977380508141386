"""Laws of the layers that the networks' own tests do not isolate."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from reddiff_jax.nets.layers import (
    Conv,
    GroupNorm,
    ResBlock,
    downsample_average,
    timestep_embedding,
    upsample_nearest,
)


@pytest.mark.parametrize("features", [32, 33, 128, 256])
@pytest.mark.parametrize("t", [0, 1, 999])
def test_time_embedding_is_cosines_and_then_sines(t, features):
    half = features // 2
    phases = t * 10_000.0 ** (-np.arange(half) / half)
    expected = np.concatenate([np.cos(phases), np.sin(phases), np.zeros(features - 2 * half)])
    # 1e-6, and the rounding of the phase itself: one unit in the last place of a float32 near t
    tolerance = 1e-6 + float(np.spacing(np.float32(t)))
    np.testing.assert_allclose(timestep_embedding(jnp.int32(t), features), expected, rtol=0, atol=tolerance)


def test_time_embedding_takes_fractions():
    assert not jnp.allclose(timestep_embedding(jnp.float32(0.5), 8), timestep_embedding(jnp.int32(0), 8))


@pytest.mark.parametrize("shape", [(6, 10, 96), (60, 64)])
def test_group_norm_is_the_textbook_formula(shape, rng, key):
    x = 3.0 + 2.0 * rng.standard_normal(shape)
    scale, bias = rng.standard_normal((2, shape[-1]))
    groups = x.reshape(-1, 32, shape[-1] // 32)
    mean, variance = groups.mean((0, 2), keepdims=True), groups.var((0, 2), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(shape) * scale + bias
    output = GroupNorm().apply({"params": {"scale": np.float32(scale), "bias": np.float32(bias)}}, np.float32(x))
    # float32 sums over 120 and more values
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


def test_modulation_scales_and_shifts_what_group_norm_returns(rng):
    x = rng.standard_normal((6, 10, 96), dtype=np.float32)
    scale, bias, *modulation = rng.standard_normal((4, 96), dtype=np.float32)
    params = {"scale": scale, "bias": bias}
    plain = GroupNorm().apply({"params": params}, x)
    modulated = GroupNorm().apply({"params": params}, x, np.stack(modulation))
    expected = plain * (1 + modulation[0])[None, None] + modulation[1][None, None]
    # float32 roundings of numbers up to 30, in another order
    np.testing.assert_allclose(modulated, expected, rtol=0, atol=1e-5)


def test_group_norm_of_a_constant_is_the_bias(key):
    params = {"scale": jnp.ones(32), "bias": jnp.arange(32.0)}
    output = GroupNorm().apply({"params": params}, jnp.full((4, 4, 32), 1000.0))
    # |mean| times a rounding over sqrt(epsilon)
    np.testing.assert_allclose(output, jnp.broadcast_to(params["bias"], (4, 4, 32)), atol=1000 * 6e-8 / 1e-5**0.5)


def test_upsampling_repeats_pixels(rng):
    x = rng.standard_normal((3, 5, 2))
    np.testing.assert_array_equal(
        upsample_nearest(jnp.asarray(x, jnp.float32)), np.float32(x).repeat(2, 0).repeat(2, 1)
    )


def test_downsampling_inverts_upsampling(rng):
    x = rng.standard_normal((3, 5, 2), dtype=np.float32)
    np.testing.assert_allclose(downsample_average(upsample_nearest(x)), x, rtol=1e-6)


def test_group_norm_is_float32_inside_for_bfloat16_inputs(key):
    x = jax.random.normal(key, (8, 8, 32), jnp.bfloat16)
    norm = GroupNorm(dtype=jnp.bfloat16)
    variables = norm.init(key, x)
    expected = norm.clone(dtype=jnp.float32).apply(variables, x.astype(jnp.float32))
    np.testing.assert_array_equal(norm.apply(variables, x), expected.astype(jnp.bfloat16))


def test_new_residual_block_is_the_identity(key):
    x = jax.random.normal(key, (4, 4, 32))
    output, _ = ResBlock(32).init_with_output(key, x, jnp.ones(8))
    np.testing.assert_array_equal(output, x)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "strides", "padding"), [(3, 1, 1), (1, 1, "SAME"), (4, 1, (1, 2)), (3, 2, 1)])
def test_convolution_has_the_gradients_of_jax_s_own(window, strides, padding, key):
    padding = padding if isinstance(padding, str) else (padding, padding)
    arguments = (5, (window, window), strides, padding)
    x = jax.random.normal(key, (2, 8, 6, 3))
    params = nn.Conv(*arguments).init(key, x)

    def gradients(conv):
        return jax.grad(lambda params, x: jnp.sum(jnp.sin(conv(*arguments).apply(params, x))), (0, 1))(params, x)

    # float32 sums of fewer than 1000 products of size about 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradients(Conv), gradients(nn.Conv))


def test_convolution_has_the_directional_derivatives_of_jax_s_own(key):
    arguments = (5, (3, 3), 1, 1)
    x = jax.random.normal(key, (2, 8, 6, 3))
    params = nn.Conv(*arguments).init(key, x)

    def derivative(conv):
        return jax.jvp(conv(*arguments).apply, (params, x), (jax.tree.map(jnp.cos, params), jnp.sin(x)))[1]

    np.testing.assert_allclose(derivative(Conv), derivative(nn.Conv), atol=1e-5)  # float32 sums of 27 products


@pytest.mark.cpu_only
def test_no_convolution_of_a_gradient_in_a_loop_has_labels_that_are_slow_on_a_cpu(key):
    conv = Conv(8, (3, 3), padding=1)
    x = jax.random.normal(key, (8, 8, 8))
    params = conv.init(key, x)
    gradient = jax.grad(lambda x, params: jnp.sum(jnp.square(conv.apply(params, x))))
    loop = jax.jit(lambda params, x: jax.lax.scan(lambda x, _: (gradient(x, params), None), x, length=2)[0])
    labels = re.findall(r"convolution\(.*dim_labels=(\S+),", loop.lower(params, x).compile().as_text())
    assert labels
    assert set(labels) == {"b01f_01io->b01f"}
