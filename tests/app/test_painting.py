"""Strokes over a picture become the hole that they cover."""

import numpy as np

from reddiff_jax import masks, pictures
from reddiff_jax.app.painting import hole_of, write_mask


def _layer(height, width, *places):
    layer = np.zeros((height, width, 4), np.uint8)
    for place in places:
        layer[place] = (224, 0, 0, 255)
    return layer


def test_every_layer_counts_and_the_faintest_paint_does():
    faint = _layer(6, 8)
    faint[5, 7] = (224, 0, 0, 1)
    hole = hole_of([_layer(6, 8, (1, 2)), faint], (6, 8))
    assert sorted(zip(*np.nonzero(hole), strict=True)) == [(1, 2), (5, 7)]


def test_nothing_painted_is_no_hole():
    assert hole_of([], (6, 8)) is None
    assert hole_of([_layer(6, 8)], (6, 8)) is None


def test_what_was_painted_on_a_smaller_picture_covers_its_place_in_the_picture():
    hole = hole_of([_layer(6, 8, (slice(2, 4), slice(4, 8)))], (18, 24))
    assert hole[6:12, 12:24].all()
    assert not hole[:4].any()
    assert not hole[:, :10].any()


def test_the_mask_is_read_as_the_hole(tmp_path):
    hole = hole_of([_layer(6, 8, (1, 2), (4, 4))], (6, 8))
    write_mask(tmp_path / "mask.png", hole)
    assert pictures.picture_size(tmp_path / "mask.png") == (6, 8)
    observed = np.asarray(masks.load(tmp_path / "mask.png", (6, 8), hole=masks.Hole.WHITE))
    np.testing.assert_array_equal(observed[..., 0] == 0, hole)
