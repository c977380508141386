import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

RGB = (8, 12, 3)


@pytest.fixture
def x(rng) -> jax.Array:
    return jnp.asarray(rng.uniform(-1, 1, RGB), dtype=jnp.float32)


def test_crop_of_a_blur_depends_on_no_boundary(x):
    kernel = np.random.default_rng(1).random((5, 3))
    ys = [ops.crop(RGB, (2, 1)) @ ops.blur(kernel, RGB, boundary=boundary, normalize=True) for boundary in ops.Boundary]
    for operator in ys[1:]:
        np.testing.assert_allclose(operator(x), ys[0](x), atol=1e-6)  # float32 FFTs of other sizes


@pytest.mark.parametrize("margins", [2, (2, 2), ((2, 2), (2, 2))])
def test_margins_are_given_in_three_ways(margins, x):
    np.testing.assert_array_equal(ops.crop(RGB, margins)(x), x[2:6, 2:10])


def test_crop_undoes_pad(x):
    margins = ((1, 2), (3, 0))
    for boundary in ops.Boundary:
        padded = ops.pad(RGB, margins, boundary=boundary)
        np.testing.assert_array_equal((ops.crop(padded.out_shape, margins) @ padded)(x), x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.crop(RGB, 4), ValueError, "leave nothing"),
        (lambda: ops.crop(RGB, -1), ValueError, "must be whole numbers, not negative"),
        (lambda: ops.pad(RGB, (1, 2, 3)), ValueError, "must be whole numbers, not negative"),
        (lambda: ops.pad(RGB, 1, boundary="mirror"), ValueError, "pad: boundary is 'mirror'"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call()
