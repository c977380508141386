import jax.numpy as jnp
import numpy as np
import pytest
from small_operators import GREYED, RGB, SMALL, SQUARE

import reddiff_jax.operators as ops


def test_split_undoes_join(x):
    operator = ops.stacked(SQUARE, GREYED, weights=[2.0, 0.5])
    square, grey = operator.split(operator.join(SQUARE(x), GREYED(x)))
    np.testing.assert_allclose(square, SQUARE(x), atol=1e-7)  # times and over a power of 2
    np.testing.assert_allclose(grey, GREYED(x), atol=1e-7)


def test_split_gives_real_measurements_back_as_real(x):
    fourier = ops.linear_operator(jnp.fft.fft2, RGB)
    operator = ops.stacked(fourier, GREYED)
    assert [part.dtype for part in operator.split(operator(x))] == [jnp.complex64, jnp.float32]


def test_stacked_measurements_equal_each_of_them(x):
    operator = ops.stacked(SQUARE, GREYED, weights=[2.0, 0.5])
    expected = np.concatenate([2 * np.ravel(SQUARE(x)), 0.5 * np.ravel(GREYED(x))])
    np.testing.assert_allclose(operator(x), expected, atol=1e-6)  # float32


def test_two_halves_stacked_determine_the_picture(x):
    mask = np.arange(96).reshape(8, 12) % 2
    operator = ops.stacked(ops.inpainting(mask), ops.inpainting(1 - mask))
    np.testing.assert_allclose(operator.pinv(operator(x)), x, atol=1e-6)  # A^T A = I: one step


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.stacked(GREYED, SMALL), ValueError, r"operators\[1\], SuperResolution, takes \(8, 12, 1\)"),
        (lambda: ops.stacked(GREYED, SQUARE, weights=[1.0]), ValueError, "must be 2 positive numbers"),
        (lambda: ops.stacked(GREYED, weights=[0.0]), ValueError, "a weight is 0.0 .*must be finite and above 0"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call()
