"""Trajectories through k-space and simulated coils."""

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

pytestmark = pytest.mark.slow  # many small programs


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
        (lambda key: ops.coil_maps(0, (8, 8)), "num_coils is 0"),
        (lambda key: ops.coil_maps(4, (8, 8), radius=1.0), "radius is 1.0"),
        (lambda key: ops.radial_trajectory(3, 1), "num_readout=1"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
