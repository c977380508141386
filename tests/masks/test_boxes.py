import jax
import numpy as np
import pytest

import reddiff_jax as rd


def test_box_is_where_it_should_be():
    hole = np.argwhere(np.asarray(rd.masks.box((16, 24), 2, 3, 4, 5))[:, :, 0] == 0)
    assert (hole.min(0).tolist(), hole.max(0).tolist(), len(hole)) == ([2, 3], [5, 7], 20)


def test_random_box_has_its_size_and_keeps_its_margin():
    draw = jax.jit(jax.vmap(lambda key: rd.masks.random_box(key, (32, 24), (8, 10), margin=4)))
    masks = draw(jax.random.split(jax.random.key(0), 200))
    holes = np.asarray(masks)[:, :, :, 0] == 0
    assert (holes.sum((1, 2)) == 80).all()
    rows, columns = np.flatnonzero(holes.any((0, 2))), np.flatnonzero(holes.any((0, 1)))
    # 200 draws of 17 and 7 places reach both ends, and never the margin.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 27, 4, 19)


def test_random_box_gives_up_margin_where_it_does_not_fit(key):
    assert (np.asarray(rd.masks.random_box(key, (16, 16), 16)) == 0).all()


def test_extreme_mask_keeps_what_the_random_box_misses(key):
    box = rd.masks.random_box(key, (32, 24), (8, 10), margin=4)
    np.testing.assert_array_equal(rd.masks.extreme(key, (32, 24), (8, 10), margin=4), 1 - box)


def test_center_mask_is_the_published_box():
    np.testing.assert_array_equal(rd.masks.center((256, 256)), rd.masks.box((256, 256), 64, 64, 128, 128))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("keep_first", [True, False])
def test_half_mask_keeps_the_half_that_was_asked_for(axis, keep_first):
    profile = np.asarray(rd.masks.half((16, 20), axis=axis, keep_first=keep_first))[:, :, 0].mean(axis=1 - axis)
    n = len(profile) // 2
    assert (profile[:n] == keep_first).all()
    assert (profile[n:] != keep_first).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: rd.masks.box((8, 8), 4, 4, 5, 2), "leaves the picture of 8 x 8 pixels"),
        (lambda key: rd.masks.random_box(key, (8, 8), 9), "size is 9"),
        (lambda key: rd.masks.half((8, 8), axis=2), "axis is 2"),
        (lambda key: rd.masks.center((2, 8, 8, 3)), r"must be \(H, W\) or \(H, W, C\)"),
    ],
)
def test_errors_name_the_argument_and_what_is_needed(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
