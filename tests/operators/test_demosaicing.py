import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax.operators as ops


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(-1, 1, (8, 10, 3)).astype(np.float32)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG", "gbrg"])
def test_each_pixel_has_the_colour_of_its_letter(pattern, x):
    y = ops.demosaicing((8, 10, 3), pattern=pattern)(jnp.asarray(x))
    for k, letter in enumerate(pattern.upper()):
        i, j = divmod(k, 2)
        np.testing.assert_array_equal(y[i::2, j::2, 0], x[i::2, j::2, "RGB".index(letter)])


def test_x_trans_has_twenty_greens_and_each_colour_in_every_row_and_column():
    mask = np.asarray(ops.demosaicing((6, 6, 3), pattern=ops.X_TRANS).mask)
    assert mask.sum((0, 1)).tolist() == [8, 20, 8]
    assert all(mask.max(axis).all() for axis in (0, 1))


@pytest.mark.parametrize("pattern", ["RGGB", ops.X_TRANS])
def test_bilinear_keeps_flat_colours(pattern):
    operator = ops.demosaicing((12, 14, 3), pattern=pattern)
    flat = jnp.broadcast_to(jnp.array([0.5, -0.25, 1.0])[None, None, :], (12, 14, 3))
    np.testing.assert_allclose(operator.bilinear(operator(flat)), flat, atol=1e-6)  # float32


def test_bilinear_of_a_bayer_mosaic_is_exact_on_linear_pictures_inside():
    i, j = np.mgrid[:8, :10]
    x = jnp.asarray(np.stack([i, j, i - j], axis=2), dtype=jnp.float32)
    operator = ops.demosaicing((8, 10, 3))
    np.testing.assert_allclose(operator.bilinear(operator(x))[1:-1, 1:-1], x[1:-1, 1:-1], atol=1e-5)  # float32


def test_bilinear_explains_the_measurement(x):
    operator = ops.demosaicing((8, 10, 3))
    y = operator(jnp.asarray(x))
    np.testing.assert_array_equal(operator(operator.bilinear(y)), y)


@pytest.mark.oracle
def test_mosaic_equals_deepinv(x):
    torch = pytest.importorskip("torch")
    theirs = oracles.deepinv().physics.Demosaicing(img_size=(3, 8, 10))(torch.tensor(x).permute(2, 0, 1)[None])
    # Theirs is dense: red at odd rows and columns, and zeros in the other colours.
    ours = ops.demosaicing((8, 10, 3), pattern="BGGR")
    np.testing.assert_array_equal(ours.pinv(ours(jnp.asarray(x))), theirs[0].permute(1, 2, 0))


@pytest.mark.parametrize("pattern", ["RGG", "RGGBG", "RGGW", ("RG", "G"), (), ("",)])
def test_a_pattern_that_is_no_tile_is_refused(pattern):
    with pytest.raises(ValueError, match=r"must be four letters of R, G and B.*rd\.operators\.X_TRANS"):
        ops.demosaicing((8, 8, 3), pattern=pattern)


def test_pictures_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="3 channels, red, green and blue"):
        ops.demosaicing((8, 8, 1))
