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


def second_moments(kernel):
    """Means of row^2, row * column and column^2 about the centre, rows counted upwards."""
    rows, columns = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - (kernel.shape[0] // 2)
    return [float((kernel * product).sum()) for product in (rows**2, -rows * columns, columns**2)]


@pytest.mark.parametrize("radius", [1.0, 4.0, 7.5])
def test_defocus_kernel_is_a_disk_of_its_radius(radius):
    kernel = np.asarray(rd.kernels.defocus(radius))
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)  # float32
    np.testing.assert_array_equal(kernel, kernel.T)
    # A disk has the second moment radius^2 / 4 in each direction; an edge a pixel wide adds up to 1/6.
    assert second_moments(kernel)[0] == pytest.approx(radius**2 / 4, abs=1 / 6)
    assert kernel[0].max() > 0
    assert (kernel[len(kernel) // 2] > 0).all()


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_line_kernel_has_its_length_and_its_direction(degrees):
    kernel, angle = np.asarray(rd.kernels.line(15, np.deg2rad(degrees))), np.deg2rad(degrees)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)  # float32
    # Time spent evenly on a length has the second moment length^2 / 12; bilinear weights add up to 1/4.
    expected = 15**2 / 12 * np.array([np.sin(angle) ** 2, np.sin(angle) * np.cos(angle), np.cos(angle) ** 2])
    np.testing.assert_allclose(second_moments(kernel), expected, atol=1 / 4)


def test_a_line_at_45_degrees_rises_to_the_right():
    kernel = np.asarray(rd.kernels.line(9, np.pi / 4))
    assert kernel[: len(kernel) // 2, len(kernel) // 2 + 1 :].sum() > 0.3
    assert kernel[: len(kernel) // 2, : len(kernel) // 2].sum() == 0


def test_the_smallest_kernel_that_holds_a_blur_is_chosen():
    assert rd.kernels.defocus(0.3).shape == (1, 1)
    assert rd.kernels.defocus(4).shape == (9, 9)
    assert rd.kernels.line(15).shape == (17, 17)
    np.testing.assert_allclose(
        rd.kernels.line(5, 0.3, size=21)[7:14, 7:14], rd.kernels.line(5, 0.3, size=7), atol=1e-2
    )  # both sample the path


def test_kernels_of_a_batch_have_a_blur_each():
    made = jax.vmap(lambda radius: rd.kernels.defocus(radius, 11))(jnp.array([2.0, 4.0]))
    np.testing.assert_allclose(made[1, 1:-1, 1:-1], rd.kernels.defocus(4.0), atol=1e-6)  # float32
    with pytest.raises(ValueError, match=r"length is traced, so the kernel's size must be given"):
        jax.vmap(rd.kernels.line)(jnp.array([2.0, 4.0]))


@pytest.mark.parametrize("wrong", [lambda: rd.kernels.defocus(0), lambda: rd.kernels.line(-3)])
def test_a_blur_without_extent_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be finite and above 0\. For no blur use rd.denoising"):
        wrong()


def test_the_simplex_projection_is_the_nearest_kernel():
    kernel = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found = np.asarray(rd.kernels.simplex(jnp.asarray(kernel)))
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)
    # Optimality: kernel - found is the same number where found is positive, and less where it is zero.
    excess = kernel - found
    tau = excess[found > 0].mean()
    np.testing.assert_allclose(excess[found > 0], tau, atol=1e-6)
    assert (excess[found == 0] <= tau + 1e-6).all()


def test_a_kernel_is_its_own_projection():
    kernel = rd.kernels.gaussian(5, 1.0)
    np.testing.assert_allclose(rd.kernels.simplex(kernel), kernel, atol=1e-6)
