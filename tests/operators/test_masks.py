import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops


@pytest.mark.parametrize(
    "mask",
    [
        lambda key, shape: ops.box_mask(shape, 1, 2, 3, 4),
        lambda key, shape: ops.random_box_mask(key, shape, 8),
        lambda key, shape: ops.extreme_mask(key, shape, 8),
        lambda key, shape: ops.center_mask(shape),
        lambda key, shape: ops.half_mask(shape),
        lambda key, shape: ops.random_mask(key, shape),
        lambda key, shape: ops.freeform_mask(key, shape),
    ],
)
def test_masks_are_float32_zeros_and_ones_with_one_channel(mask, key):
    made = mask(key, (16, 24, 3))
    assert (made.shape, made.dtype) == ((16, 24, 1), jnp.float32)
    assert set(np.unique(made)) == {0.0, 1.0}


def test_box_is_where_it_should_be():
    hole = np.argwhere(np.asarray(ops.box_mask((16, 24), 2, 3, 4, 5))[:, :, 0] == 0)
    assert (hole.min(0).tolist(), hole.max(0).tolist(), len(hole)) == ([2, 3], [5, 7], 20)


def test_random_box_has_its_size_and_keeps_its_margin():
    draw = jax.jit(jax.vmap(lambda key: ops.random_box_mask(key, (32, 24), (8, 10), margin=4)))
    masks = draw(jax.random.split(jax.random.key(0), 200))
    holes = np.asarray(masks)[:, :, :, 0] == 0
    assert (holes.sum((1, 2)) == 80).all()
    rows, columns = np.flatnonzero(holes.any((0, 2))), np.flatnonzero(holes.any((0, 1)))
    # 200 draws of 17 and 7 places reach both ends, and never the margin.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 27, 4, 19)


def test_random_box_gives_up_margin_where_it_does_not_fit(key):
    assert (np.asarray(ops.random_box_mask(key, (16, 16), 16)) == 0).all()


def test_extreme_mask_keeps_what_the_random_box_misses(key):
    box = ops.random_box_mask(key, (32, 24), (8, 10), margin=4)
    np.testing.assert_array_equal(ops.extreme_mask(key, (32, 24), (8, 10), margin=4), 1 - box)


def test_center_mask_is_the_published_box():
    np.testing.assert_array_equal(ops.center_mask((256, 256)), ops.box_mask((256, 256), 64, 64, 128, 128))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("keep_first", [True, False])
def test_half_mask_keeps_the_half_that_was_asked_for(axis, keep_first):
    profile = np.asarray(ops.half_mask((16, 20), axis=axis, keep_first=keep_first))[:, :, 0].mean(axis=1 - axis)
    n = len(profile) // 2
    assert (profile[:n] == keep_first).all()
    assert (profile[n:] != keep_first).all()


@pytest.mark.parametrize("keep", [0.0, 0.08, 0.3, 1.0])
def test_random_mask_keeps_exactly_the_fraction(keep, key):
    assert int(ops.random_mask(key, (17, 23), keep).sum()) == round(keep * 17 * 23)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "fraction"),
    [((16, 16), (0.95, 1.0)), ((32, 20), (0.1, 0.2)), ((32, 20), (0.25, 0.25))],
)
def test_freeform_mask_misses_a_fraction_within_the_range(shape, fraction):
    draw = jax.jit(jax.vmap(lambda key: ops.freeform_mask(key, shape, fraction)))
    masks = draw(jax.random.split(jax.random.key(1), 8))
    missing = 1 - np.asarray(masks).mean((1, 2, 3))
    assert (missing >= fraction[0] - 1e-6).all()  # float32 mean
    assert (missing <= fraction[1] + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [(0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6)])
def test_freeform_masks_of_palettes_ranges_are_drawn_by_name_and_seed(fraction):
    draw = jax.jit(ops.freeform_mask, static_argnums=(1, 2))
    keys = [ops.mask_key(name, seed) for name, seed in (("a.png", 0), ("a.png", 0), ("b.png", 0), ("a.png", 1))]
    first, again, other, seeded = (np.asarray(draw(key, (32, 32), fraction)) for key in keys)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != seeded).any()
    assert all(fraction[0] <= 1 - mask.mean() <= fraction[1] for mask in (first, other, seeded))


def test_freeform_strokes_are_connected_patches_not_dust(key):
    from scipy import ndimage

    hole = np.asarray(ops.freeform_mask(key, (32, 32), (0.2, 0.3)))[:, :, 0] == 0
    # A hole of 200 pixels or more; 32 strokes at most, in practice far fewer.
    assert ndimage.label(hole)[1] <= 8


def test_mask_key_depends_on_the_name_and_the_seed_alone():
    names = ["a.png", "b.png", "c.png"]
    keys = {name: jax.random.key_data(ops.mask_key(name)).tolist() for name in names}
    backwards = {name: jax.random.key_data(ops.mask_key(name)).tolist() for name in reversed(names[:2])}
    assert backwards == {name: keys[name] for name in names[:2]}
    assert len({*map(tuple, keys.values()), tuple(jax.random.key_data(ops.mask_key("a.png", 1)).tolist())}) == 4


def test_mask_key_is_the_same_on_every_machine():
    # Frozen: a change here changes the masks of every data set that was measured before.
    assert jax.random.key_data(ops.mask_key("ILSVRC2012_val_00000001.JPEG", 7)).tolist() == [3297337946, 2865298346]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: ops.box_mask((8, 8), 4, 4, 5, 2), "leaves the picture of 8 x 8 pixels"),
        (lambda key: ops.random_box_mask(key, (8, 8), 9), "size is 9"),
        (lambda key: ops.random_mask(key, (8, 8), 1.5), "keep is 1.5"),
        (lambda key: ops.freeform_mask(key, (8, 8)), "at least 16 x 16"),
        (lambda key: ops.freeform_mask(key, (16, 16), (0.3, 0.2)), r"fraction is \(0.3, 0.2\)"),
        (lambda key: ops.half_mask((8, 8), axis=2), "axis is 2"),
        (lambda key: ops.center_mask((2, 8, 8, 3)), r"must be \(H, W\) or \(H, W, C\)"),
    ],
)
def test_errors_name_the_argument_and_what_is_needed(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
