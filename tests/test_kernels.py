import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

_motion_kernel = jax.jit(rd.kernels.motion, static_argnums=1)


@pytest.mark.parametrize("intensity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_motion_kernel_is_a_distribution_centred_in_its_window(seed, intensity):
    kernel = np.asarray(_motion_kernel(jax.random.key(seed), 31, intensity))
    assert (kernel >= 0).all()
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)  # float32
    centroid = [(kernel.sum(axis=1 - axis) * np.arange(31)).sum() for axis in (0, 1)]
    assert centroid == pytest.approx([15, 15], abs=1e-3)  # bilinear weights in float32


def test_motion_kernel_of_no_intensity_is_a_straight_line():
    kernel = np.asarray(_motion_kernel(jax.random.key(0), 31, 0.0))
    i, j = np.mgrid[:31, :31] - 15
    second = np.array([[(kernel * a * b).sum() for a in (i, j)] for b in (i, j)])
    # Across the line only the bilinear weights spread: at most half a pixel.
    assert np.linalg.eigvalsh(second)[0] < 0.5**2


def test_motion_kernels_of_other_keys_differ():
    a, b = (_motion_kernel(jax.random.key(seed), 31, 0.5) for seed in (0, 1))
    assert float(jnp.abs(a - b).sum()) > 0.5


def test_gaussian_kernel_has_its_sum_and_its_variance():
    kernel = np.asarray(rd.kernels.gaussian(61, 3.0))
    variance = (kernel.sum(axis=1) * (np.arange(61) - 30) ** 2).sum()
    assert (kernel.sum(), variance) == (pytest.approx(1.0, abs=1e-5), pytest.approx(9.0, abs=1e-3))  # float32


def test_a_kernel_without_a_central_tap_is_refused():
    with pytest.raises(ValueError, match="size is 30 but must be odd"):
        rd.kernels.motion(jax.random.key(0), 30)
