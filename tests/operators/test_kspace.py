"""Sampling of k-space and simulated coils."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

pytestmark = pytest.mark.slow  # many small programs
KINDS = list(ops.Undersampling)
every_kind = pytest.mark.parametrize("kind", KINDS)


def _lines(masks):
    """(..., W) of masks (..., H, W, 1) whose rows are the same."""
    masks = np.asarray(masks)[..., 0]
    assert (masks == masks[..., :1, :]).all()
    return masks[..., 0, :]


@every_kind
@pytest.mark.parametrize(("side", "acceleration"), [(31, 8.0), (20, 1.0)])
def test_cartesian_mask_has_exactly_the_lines_of_its_acceleration(kind, side, acceleration, key):
    mask = ops.cartesian_mask(key, (3, side), acceleration=acceleration, kind=kind)
    assert (mask.shape, mask.dtype) == ((3, side, 1), jnp.float32)
    assert _lines(mask).sum() == round(side / acceleration)
    assert set(np.unique(mask)) <= {0.0, 1.0}


@every_kind
def test_the_autocalibration_lines_are_always_measured(kind):
    keys = jax.random.split(jax.random.key(0), 20)
    draw = jax.vmap(lambda key: ops.cartesian_mask(key, (2, 50), num_acs=6, kind=kind))
    lines = _lines(draw(keys))
    assert lines[:, 22:28].all()  # six around DC, 25
    assert len(np.unique(lines, axis=0)) > 5


@pytest.mark.parametrize(("acceleration", "acs"), [(4, 8), (8, 4)])
def test_default_centre_is_that_of_fastmri(acceleration, acs):
    draw = jax.vmap(lambda key: ops.cartesian_mask(key, (1, 100), acceleration=acceleration))
    always = _lines(draw(jax.random.split(jax.random.key(0), 50))).all(axis=0)
    assert np.flatnonzero(always).tolist() == list(range(50 - acs // 2, 50 + acs // 2))


@pytest.mark.parametrize("side", [32, 33])
@pytest.mark.parametrize("num_acs", [1, 2])
def test_dc_is_among_the_autocalibration_lines(side, num_acs, key):
    mask = ops.cartesian_mask(key, (1, side), num_acs=num_acs, acceleration=side / num_acs)
    assert _lines(mask)[side // 2] == 1


def test_equispaced_lines_have_equal_distances_outside_the_centre(key):
    mask = ops.cartesian_mask(key, (1, 64), acceleration=4, num_acs=0, kind=ops.Undersampling.EQUISPACED)
    assert set(np.diff(np.flatnonzero(_lines(mask)))) == {4}


def test_variable_density_prefers_low_frequencies():
    draw = jax.vmap(lambda key: ops.cartesian_mask(key, (1, 64), num_acs=0, kind=ops.Undersampling.VARIABLE_DENSITY))
    often = _lines(draw(jax.random.split(jax.random.key(0), 200))).mean(axis=0)
    # 200 draws: standard deviations of at most 0.035.
    assert often[28:37].mean() > 0.6 > 0.15 > often[:8].mean()


def test_rows_can_be_the_lines(key):
    across, down = (ops.cartesian_mask(key, (32, 32), axis=axis) for axis in (1, 0))
    np.testing.assert_array_equal(across, jnp.swapaxes(down, 0, 1))


@pytest.mark.parametrize("shape", [(20, 16), (15, 21)])
def test_variable_density_mask_has_its_number_of_points_and_its_block(shape, key):
    mask = ops.variable_density_mask(key, shape, acceleration=5, center_fraction=0.2)
    assert (mask.shape, mask.dtype) == ((*shape, 1), jnp.float32)
    assert mask.sum() == round(shape[0] * shape[1] / 5)
    row, column = shape[0] // 2, shape[1] // 2
    assert mask[row - 1 : row + 2, column - 1 : column + 2].all()


@pytest.mark.parametrize("num_coils", [1, 8])
def test_coil_maps_have_squares_that_sum_to_one(num_coils):
    maps = ops.coil_maps(num_coils, (12, 9, 2))
    assert (maps.shape, maps.dtype) == ((12, 9, num_coils), jnp.complex64)
    np.testing.assert_allclose(jnp.sum(jnp.abs(maps) ** 2, axis=2), 1, atol=1e-6)  # float32


def test_coils_are_in_phase_in_the_middle_and_strongest_nearby():
    maps = np.asarray(ops.coil_maps(4, (15, 15)))
    np.testing.assert_allclose(maps[7, 7], 0.5, atol=1e-6)  # four equal ones, float32
    places = [np.unravel_index(np.abs(maps[:, :, c]).argmax(), (15, 15)) for c in range(4)]
    assert [tuple(map(int, place)) for place in places] == [(7, 14), (14, 7), (7, 0), (0, 7)]


def test_spokes_go_through_dc_at_the_golden_angle():
    trajectory = np.asarray(ops.radial_trajectory(4, 6))
    assert trajectory.shape == (4, 6, 2)
    assert not trajectory[:, 3].any()
    radii = np.linalg.norm(trajectory, axis=2)
    np.testing.assert_allclose(radii, np.abs(np.arange(6) - 3)[None, :] * np.pi / 3 + 0 * radii, atol=1e-6)  # float32
    angles = np.unwrap(np.arctan2(*trajectory[:, -1].T))
    np.testing.assert_allclose(np.rad2deg(np.diff(angles)) % 360, 111.246, atol=1e-2)  # published to two digits


def test_uniform_spokes_share_the_half_circle():
    trajectory = np.asarray(ops.radial_trajectory(5, 4, golden=False, start=0.1))
    angles = np.arctan2(*trajectory[:, -1].T)
    np.testing.assert_allclose(angles, 0.1 + np.arange(5) * np.pi / 5, atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: ops.cartesian_mask(key, (8, 8), acceleration=0.25), "acceleration is 0.25"),
        (lambda key: ops.cartesian_mask(key, (8, 8), num_acs=3), "num_acs is 3 but 2 of 8 lines"),
        (lambda key: ops.cartesian_mask(key, (8, 8), num_acs=1, center_fraction=0.1), "give one of them"),
        (lambda key: ops.cartesian_mask(key, (8, 8), kind="spiral"), r"Undersampling\.EQUISPACED"),
        (lambda key: ops.cartesian_mask(key, (8, 8), axis=2), "axis is 2"),
        (lambda key: ops.variable_density_mask(key, (8, 8), center_fraction=0.9), "a block of 49 points, but 16"),
        (lambda key: ops.coil_maps(0, (8, 8)), "num_coils is 0"),
        (lambda key: ops.coil_maps(4, (8, 8), radius=1.0), "radius is 1.0"),
        (lambda key: ops.radial_trajectory(3, 1), "num_readout=1"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
