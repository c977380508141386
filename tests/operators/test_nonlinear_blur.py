import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import WIZARD, _wizard_params

import reddiff_jax.operators as ops
from reddiff_jax.nets import KernelWizard

SHAPE = (8, 16, 3)


@pytest.fixture(scope="module")
def params():
    return _wizard_params(SHAPE, jax.random.key(0))


@jax.jit
def _measure(operator, x):
    return operator(x)


def test_key_fixes_the_code_and_the_operator_is_a_function(params, rng):
    x = jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)
    first, again, other = (ops.nonlinear_blur(jax.random.key(i), SHAPE, params, net=WIZARD) for i in (0, 0, 1))
    np.testing.assert_array_equal(_measure(first, x), _measure(again, x))
    assert not np.array_equal(first.code, other.code)


def test_measurement_is_the_network_between_two_ranges(params, rng):
    x = jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)
    operator = ops.nonlinear_blur(jax.random.key(0), SHAPE, params, net=WIZARD)
    inner = jax.jit(WIZARD.apply)({"params": params}, (x + 1) / 2, operator.code)
    np.testing.assert_allclose(_measure(operator, x), jnp.clip(2 * inner - 1, -1, 1), atol=1e-6)  # float32


def test_published_code_has_the_published_shape_and_scale():
    net = KernelWizard()
    assert net.code_shape(256, 256) == (2, 2, 512)
    # Codes of a picture of another size cover it like 256 x 256 ones.
    assert net.code_shape(384, 128) == (3, 1, 512)


@pytest.mark.parametrize("missing", [None, {}])
def test_missing_weights_are_an_error_that_says_where_they_are(missing):
    with pytest.raises(ValueError, match=r"no weights.*GOPRO_wVAE\.pth.*read_kernel_wizard.*rd\.saturated_blur"):
        ops.nonlinear_blur(jax.random.key(0), (128, 128, 3), missing)


def test_weights_of_another_network_are_an_error_that_names_the_first(params):
    with pytest.raises(ValueError, match=r"not the weights of KernelWizard.*has shape .*, needed is"):
        ops.nonlinear_blur(jax.random.key(0), (128, 128, 3), params)


@pytest.mark.parametrize("shape", [(8, 16, 1), (8, 12, 3)])
def test_pictures_that_the_network_cannot_take_are_refused(shape, params):
    with pytest.raises(ValueError, match="sides divisible by 8"):
        ops.nonlinear_blur(jax.random.key(0), shape, params, net=WIZARD)


def test_a_batch_of_codes_shares_the_weights(params, rng):
    operator = ops.nonlinear_blur(jax.random.key(0), SHAPE, params, net=WIZARD)
    codes = jnp.stack([operator.code, 2 * operator.code])
    axes = jax.tree.map(lambda _: None, operator).replace(code=0)
    x = jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)
    ys = jax.jit(jax.vmap(lambda operator: operator(x), in_axes=(axes,)))(operator.replace(code=codes))
    np.testing.assert_allclose(ys[0], _measure(operator, x), atol=1e-6)  # float32
