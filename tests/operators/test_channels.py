import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

RGB = (8, 12, 3)
GREY = (8, 12, 1)


@pytest.fixture
def x(rng) -> jax.Array:
    return jnp.asarray(rng.uniform(-1, 1, RGB), dtype=jnp.float32)


SMALL = ops.super_resolution(GREY, 2)


def test_operator_on_channels_leaves_the_others_out(x):
    operator = ops.on_channels(SMALL, 1, RGB)
    np.testing.assert_array_equal(operator(x), SMALL(x[:, :, 1:2]))
    assert not operator.pinv(operator(x))[:, :, (0, 2)].any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.on_channels(SMALL, 3, RGB), ValueError, "must be different numbers from 0 to 2"),
        (lambda: ops.on_channels(SMALL, (0, 1), RGB), ValueError, r"maps \(8, 12, 3\) to \(8, 12, 2\)"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call()
