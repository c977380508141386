import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
import reddiff_jax.operators as ops


@pytest.mark.parametrize("mask", [np.eye(4, 6), np.eye(4, 6, dtype=bool), np.eye(4, 6, dtype=np.uint8)[:, :, None]])
def test_mask_of_any_kind_becomes_float_with_a_channel_axis(mask):
    operator = ops.inpainting(mask)
    assert (operator.mask.shape, operator.mask.dtype, operator.in_shape) == ((4, 6, 1), jnp.float32, (4, 6, 3))


def test_kept_pixels_are_measured_and_the_others_are_zero():
    x = jnp.arange(1.0, 13.0).reshape(2, 2, 3)
    y = ops.inpainting(np.array([[1, 0], [0, 1]]))(x)
    np.testing.assert_array_equal(y, np.array([[[1, 2, 3], [0, 0, 0]], [[0, 0, 0], [10, 11, 12]]]))


def test_mask_that_is_not_binary_is_refused():
    with pytest.raises(ValueError, match=r"values from 0.* to 0\.5 but must be 0 \(missing\) or 1 \(kept\)"):
        ops.inpainting(np.array([[0, 0.5]]))


@pytest.mark.parametrize("shape", [(4,), (4, 6, 2), (2, 4, 6, 3)])
def test_mask_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"mask has shape .*jax\.vmap"):
        ops.inpainting(np.ones(shape))


def test_masks_of_a_batch_are_a_vmap_of_the_factory(rng):
    masks, xs = jnp.asarray(rng.random((3, 4, 6)) > 0.5), jnp.asarray(rng.random((3, 4, 6, 3)), dtype=jnp.float32)
    ys = jax.vmap(lambda operator, x: operator(x))(jax.vmap(ops.inpainting)(masks), xs)
    np.testing.assert_array_equal(ys, masks[..., None] * np.asarray(xs))


# ---- pixels or holes


@pytest.mark.parametrize("keep_first", [True, False])
def test_half_a_picture_is_a_hole(keep_first):
    assert not ops.inpainting(rd.masks.half((16, 16, 3), keep_first=keep_first)).scattered


def test_a_mask_that_hides_nothing_is_of_pixels_and_one_that_hides_all_a_hole():
    assert ops.inpainting(jnp.ones((16, 16))).scattered
    assert not ops.inpainting(jnp.zeros((16, 16))).scattered


@pytest.mark.parametrize("keep", [0.02, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_pixels_that_are_missing_by_themselves_are_no_holes(keep):
    for seed in range(4):
        assert ops.inpainting(rd.masks.random(jax.random.key(seed), (64, 48), keep)).scattered


def test_a_mask_for_each_channel_counts_as_one_a_channel(key):
    mask = jax.random.bernoulli(key, 0.3, (64, 64, 3))
    assert ops.inpainting(mask).scattered


def test_numbers_are_seen_through_vmap_and_not_through_jit(key):
    seen = []

    def look(mask):
        seen.append(ops.inpainting(mask).scattered)
        return mask

    masks = jnp.stack([rd.masks.random(key, (32, 32))] * 2, axis=1)  # (H, 2, W, 1)
    jax.vmap(look, in_axes=1)(masks)
    jax.vmap(jax.vmap(look), in_axes=2)(masks.transpose(1, 0, 2, 3)[:, :, None])
    jax.jit(look)(masks[:, 0])
    assert seen == [True, True, False]
