import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd


@pytest.mark.parametrize(
    "mask",
    [
        lambda key, shape: rd.masks.box(shape, 1, 2, 3, 4),
        lambda key, shape: rd.masks.random_box(key, shape, 8),
        lambda key, shape: rd.masks.extreme(key, shape, 8),
        lambda key, shape: rd.masks.center(shape),
        lambda key, shape: rd.masks.half(shape),
        lambda key, shape: rd.masks.random(key, shape),
        lambda key, shape: rd.masks.freeform(key, shape),
    ],
)
def test_masks_are_float32_zeros_and_ones_with_one_channel(mask, key):
    made = mask(key, (16, 24, 3))
    assert (made.shape, made.dtype) == ((16, 24, 1), jnp.float32)
    assert set(np.unique(made)) == {0.0, 1.0}
