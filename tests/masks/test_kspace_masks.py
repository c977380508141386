"""Points of k-space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

pytestmark = pytest.mark.slow  # many small programs
KINDS = list(rd.masks.Undersampling)
every_kind = pytest.mark.parametrize("kind", KINDS)


def _lines(masks):
    """(..., W) of masks (..., H, W, 1) whose rows are the same."""
    masks = np.asarray(masks)[..., 0]
    assert (masks == masks[..., :1, :]).all()
    return masks[..., 0, :]


@every_kind
@pytest.mark.parametrize(("side", "acceleration"), [(31, 8.0), (20, 1.0)])
def test_cartesian_mask_has_exactly_the_lines_of_its_acceleration(kind, side, acceleration, key):
    mask = rd.masks.cartesian(key, (3, side), acceleration=acceleration, kind=kind)
    assert (mask.shape, mask.dtype) == ((3, side, 1), jnp.float32)
    assert _lines(mask).sum() == round(side / acceleration)
    assert set(np.unique(mask)) <= {0.0, 1.0}


@every_kind
def test_the_autocalibration_lines_are_always_measured(kind):
    keys = jax.random.split(jax.random.key(0), 20)
    draw = jax.vmap(lambda key: rd.masks.cartesian(key, (2, 50), num_acs=6, kind=kind))
    lines = _lines(draw(keys))
    assert lines[:, 22:28].all()  # six around DC, 25
    assert len(np.unique(lines, axis=0)) > 5


@pytest.mark.parametrize(("acceleration", "acs"), [(4, 8), (8, 4)])
def test_default_centre_is_that_of_fastmri(acceleration, acs):
    draw = jax.vmap(lambda key: rd.masks.cartesian(key, (1, 100), acceleration=acceleration))
    always = _lines(draw(jax.random.split(jax.random.key(0), 50))).all(axis=0)
    assert np.flatnonzero(always).tolist() == list(range(50 - acs // 2, 50 + acs // 2))


@pytest.mark.parametrize("side", [32, 33])
@pytest.mark.parametrize("num_acs", [1, 2])
def test_dc_is_among_the_autocalibration_lines(side, num_acs, key):
    mask = rd.masks.cartesian(key, (1, side), num_acs=num_acs, acceleration=side / num_acs)
    assert _lines(mask)[side // 2] == 1


def test_equispaced_lines_have_equal_distances_outside_the_centre(key):
    mask = rd.masks.cartesian(key, (1, 64), acceleration=4, num_acs=0, kind=rd.masks.Undersampling.EQUISPACED)
    assert set(np.diff(np.flatnonzero(_lines(mask)))) == {4}


def test_variable_density_prefers_low_frequencies():
    draw = jax.vmap(
        lambda key: rd.masks.cartesian(key, (1, 64), num_acs=0, kind=rd.masks.Undersampling.VARIABLE_DENSITY)
    )
    often = _lines(draw(jax.random.split(jax.random.key(0), 200))).mean(axis=0)
    # 200 draws: standard deviations of at most 0.035.
    assert often[28:37].mean() > 0.6 > 0.15 > often[:8].mean()


def test_rows_can_be_the_lines(key):
    across, down = (rd.masks.cartesian(key, (32, 32), axis=axis) for axis in (1, 0))
    np.testing.assert_array_equal(across, jnp.swapaxes(down, 0, 1))


@pytest.mark.parametrize("shape", [(20, 16), (15, 21)])
def test_variable_density_mask_has_its_number_of_points_and_its_block(shape, key):
    mask = rd.masks.variable_density(key, shape, acceleration=5, center_fraction=0.2)
    assert (mask.shape, mask.dtype) == ((*shape, 1), jnp.float32)
    assert mask.sum() == round(shape[0] * shape[1] / 5)
    row, column = shape[0] // 2, shape[1] // 2
    assert mask[row - 1 : row + 2, column - 1 : column + 2].all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: rd.masks.cartesian(key, (8, 8), acceleration=0.25), "acceleration is 0.25"),
        (lambda key: rd.masks.cartesian(key, (8, 8), num_acs=3), "num_acs is 3 but 2 of 8 lines"),
        (lambda key: rd.masks.cartesian(key, (8, 8), num_acs=1, center_fraction=0.1), "give one of them"),
        (lambda key: rd.masks.cartesian(key, (8, 8), kind="spiral"), r"Undersampling\.EQUISPACED"),
        (lambda key: rd.masks.cartesian(key, (8, 8), axis=2), "axis is 2"),
        (lambda key: rd.masks.variable_density(key, (8, 8), center_fraction=0.9), "a block of 49 points, but 16"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
