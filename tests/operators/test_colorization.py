import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops


def test_measurement_is_the_weighted_sum_of_the_channels():
    y = ops.colorization((1, 2, 3))(jnp.array([[[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]]]))
    np.testing.assert_allclose(y, [[[2.0], [0.0]]], atol=1e-6)  # float32; the weights are symmetric and sum to 1


def test_pinv_replicates_the_grey_value():
    x = ops.colorization((1, 1, 3)).pinv(jnp.array([[[0.5]]]))
    # The weights differ from 1/3 by 1e-4 / 3, and the inverse is proportional to them.
    np.testing.assert_allclose(x, np.full((1, 1, 3), 0.5), atol=2e-4)


@pytest.mark.parametrize("weights", [(1.0, 2.0), (0.0, 0.0, 0.0), (1.0, np.nan, 0.0)])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights are .* but must be 3 finite numbers, not all zero"):
        ops.colorization((4, 4, 3), weights=weights)
