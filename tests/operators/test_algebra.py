import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_operators import GREYED, RGB, SMALL, SQUARE

import reddiff_jax as rd
import reddiff_jax.operators as ops


def test_the_last_operator_acts_first(x):
    np.testing.assert_array_equal(ops.compose(SMALL, GREYED)(x), SMALL(GREYED(x)))


def test_compose_takes_any_number_of_operators(x):
    # float32: eager and composed sums of three channels
    np.testing.assert_allclose(ops.compose(2.0 * SMALL, GREYED, SQUARE)(x), 2 * SMALL(GREYED(SQUARE(x))), atol=1e-6)


def test_composition_is_linear_iff_all_are():
    assert isinstance(SMALL @ GREYED, ops.LinearOperator)
    assert not isinstance(GREYED @ SQUARE, ops.LinearOperator)


def test_an_rgb_prior_restores_a_grey_measurement(x):
    operator = ops.inpainting(np.arange(96).reshape(8, 12) % 2, channels=1) @ GREYED
    solver = rd.reddiff(rd.gaussian_prior(jnp.zeros(RGB), 1.0, rd.schedules.linear()), num_steps=2)
    assert rd.run(jax.random.key(0), solver, rd.problem(operator(x), operator)).x.shape == RGB


def test_numpy_numbers_scale_operators(x):
    assert isinstance(np.float64(2.0) * GREYED, ops.SpectralScaled)
    np.testing.assert_allclose((np.float32(2.0) * GREYED)(x), 2 * GREYED(x))


def test_scaling_keeps_what_an_operator_can_do():
    kinds = [type(2.0 * operator) for operator in (GREYED, SMALL @ GREYED, SQUARE)]
    assert kinds == [ops.SpectralScaled, ops.LinearScaled, ops.Scaled]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GREYED @ SMALL, ValueError, r"SuperResolution maps \(8, 12, 1\) to \(4, 6, 1\), but Colorization"),
        (lambda: ops.compose(GREYED), ValueError, "1 operators came but at least 2"),
        (lambda: GREYED @ jnp.zeros(RGB), TypeError, r"measure by operator\(x\)"),
        (lambda: ops.compose(jnp.tanh, GREYED), TypeError, r"operators\[0\] is .* rd\.operator\(fn, in_shape\)"),
        (lambda: ops.scale(GREYED, 0.0), ValueError, "factor is 0.0 but must be one finite number other than 0"),
        (lambda: ops.scale(GREYED, np.ones(3)), ValueError, "must be one finite number"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call()
