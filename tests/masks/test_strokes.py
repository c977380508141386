import jax
import numpy as np
import pytest

import reddiff_jax as rd


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "fraction"),
    [((16, 16), (0.95, 1.0)), ((32, 20), (0.1, 0.2)), ((32, 20), (0.25, 0.25))],
)
def test_freeform_mask_misses_a_fraction_within_the_range(shape, fraction):
    draw = jax.jit(jax.vmap(lambda key: rd.masks.freeform(key, shape, fraction)))
    masks = draw(jax.random.split(jax.random.key(1), 8))
    missing = 1 - np.asarray(masks).mean((1, 2, 3))
    assert (missing >= fraction[0] - 1e-6).all()  # float32 mean
    assert (missing <= fraction[1] + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [(0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6)])
def test_freeform_masks_of_palettes_ranges_are_drawn_by_name_and_seed(fraction):
    draw = jax.jit(rd.masks.freeform, static_argnums=(1, 2))
    keys = [rd.masks.key_of(name, seed) for name, seed in (("a.png", 0), ("a.png", 0), ("b.png", 0), ("a.png", 1))]
    first, again, other, seeded = (np.asarray(draw(key, (32, 32), fraction)) for key in keys)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != seeded).any()
    assert all(fraction[0] <= 1 - mask.mean() <= fraction[1] for mask in (first, other, seeded))


def test_freeform_strokes_are_connected_patches_not_dust(key):
    from scipy import ndimage

    hole = np.asarray(rd.masks.freeform(key, (32, 32), (0.2, 0.3)))[:, :, 0] == 0
    # A hole of 200 pixels or more; 32 strokes at most, in practice far fewer.
    assert ndimage.label(hole)[1] <= 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: rd.masks.freeform(key, (8, 8)), "at least 16 x 16"),
        (lambda key: rd.masks.freeform(key, (16, 16), (0.3, 0.2)), r"fraction is \(0.3, 0.2\)"),
    ],
)
def test_errors_name_the_argument_and_what_is_needed(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
