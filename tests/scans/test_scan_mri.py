"""K-space becomes problems that suit a prior: sampling, coil maps, noise, scale."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scan_files import random_kspace
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

import reddiff_jax as rd
from reddiff_jax import scans
from reddiff_jax.scans.calibration import to_images

N, COILS, SCALE = 48, 4, 1e-5  # fastMRI's numbers are of that size


@functools.cache
def _picture() -> np.ndarray:
    return resize(shepp_logan_phantom(), (N, N), anti_aliasing=True).astype(np.float32) + 0.05


@functools.cache
def _maps() -> np.ndarray:
    return np.asarray(rd.coil_maps(COILS, (N, N)))


def _lines(middle: int = 12, step: int = 3) -> np.ndarray:
    mask = np.zeros((N, N), np.float32)
    mask[:, ::step] = 1
    mask[:, N // 2 - middle // 2 : N // 2 + middle // 2] = 1
    return mask


@functools.cache
def _scan(coils: int = COILS, sigma: float = 0.0) -> scans.KSpace:
    """One slice with a smooth phase, in a scanner's numbers."""
    rows, columns = np.mgrid[:N, :N] / N - 0.5
    z = _picture() * np.exp(1j * (2 * columns + 3 * rows**2))
    images = z[..., None] * (_maps() if coils > 1 else 1)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (0, 1)), axes=(0, 1), norm="ortho"), (0, 1))
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, *kspace.shape)) * sigma
    return scans.KSpace(SCALE * (kspace + noise[0] + 1j * noise[1])[None])


def _masked(scan: scans.KSpace, mask: np.ndarray) -> scans.KSpace:
    return scans.KSpace(scan.values * mask[None, :, :, None])


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of the angle between maps, whatever their phase."""
    return np.abs((np.conj(a) * b).sum(axis=-1))


def test_the_calibration_region_is_the_largest_whole_block():
    rows, columns = scans.calibration_region(_lines(12))
    assert (columns.start, columns.stop) == (18, 31)  # 30 is one of the other lines
    assert rows.stop - rows.start == 32  # of all rows the most that are used
    rows, columns = scans.calibration_region(np.pad(np.ones((7, 5)), ((21, 20), (22, 21))))
    assert (rows, columns) == (slice(21, 28), slice(22, 27))  # around DC, 24


def test_coil_maps_are_found_from_12_calibration_lines():
    found = scans.espirit(_masked(_scan(), _lines()).values[0], _lines())
    inside = _picture() > 0.06
    assert (1 - _alike(found, _maps())[inside]).mean() < 1e-3
    np.testing.assert_allclose((np.abs(found) ** 2).sum(axis=2), 1, atol=1e-5)


@pytest.mark.oracle
def test_coil_maps_equal_sigpys():
    app = pytest.importorskip("sigpy.mri.app")
    kspace = _scan().values[0] / SCALE
    mask = np.zeros((N, N))
    mask[18:30, 18:30] = 1
    ours = scans.espirit(kspace * mask[..., None], mask)
    options = {"calib_width": 12, "thresh": 0.02, "kernel_width": 6, "crop": 0, "show_pbar": False}
    theirs = app.EspiritCalib(np.moveaxis(kspace, 2, 0), **options).run()
    np.testing.assert_allclose(ours, np.moveaxis(theirs, 0, 2), atol=1e-5)  # complex64; measured: 4e-7


def test_cropped_maps_are_0_where_there_is_no_signal():
    kspace = _scan(sigma=1e-3).values[0]
    shown = scans.espirit(kspace, np.ones((N, N)), crop=0.95)
    assert set(np.unique((np.abs(shown) ** 2).sum(axis=2).round(4))) <= {0.0, 1.0}


def test_without_calibration_lines_the_error_says_so():
    mask = np.zeros((N, N))
    mask[:, ::2] = 1
    with pytest.raises(scans.ScanError, match=r"32 x 1 points .* at least 4 x 4"):
        scans.espirit(_scan().values[0], mask)


@pytest.mark.parametrize("coils", [1, COILS])
def test_the_noise_level_is_found_beside_the_picture(coils):
    scan = _scan(coils, 0.02)
    assert scans.noise_level(scan) == pytest.approx(0.02 * SCALE, rel=0.15)
    assert scans.noise_level(_masked(scan, _lines())) == pytest.approx(0.02 * SCALE, rel=0.15)


@pytest.mark.parametrize(("coils", "sigma"), [(1, 0.005), (1, 0.05), (COILS, 0.005)])
def test_sharp_edges_are_not_taken_for_noise(coils, sigma, rng):
    rows, columns = np.mgrid[:64, :64] - 32
    picture = (np.hypot(rows + 1, columns - 1) < 19).astype(float)
    maps = np.asarray(rd.coil_maps(coils, (64, 64))) if coils > 1 else np.ones((64, 64, 1))
    images = np.fft.ifftshift(picture[..., None] * maps, (0, 1))
    z = np.fft.fftshift(np.fft.fft2(images, axes=(0, 1), norm="ortho"), (0, 1))
    noisy = z + sigma * (rng.normal(size=z.shape) + 1j * rng.normal(size=z.shape))
    for values in (noisy, noisy.swapaxes(0, 1)):
        values = values.copy()
        values[:, 1::3][:, np.r_[:9, 13:21]] = 0  # lines that were left out
        found = scans.noise_level(scans.KSpace(values[None].astype(np.complex64)))
        assert found == pytest.approx(sigma, rel=0.25)  # the median of the corners: 5.1, 1.1, 2.1 times


def test_of_a_tiny_scan_the_corners_tell_the_noise(rng):
    noise = rng.normal(size=(1, 8, 8, 1)) + 1j * rng.normal(size=(1, 8, 8, 1))
    assert scans.noise_level(scans.KSpace(noise.astype(np.complex64))) == pytest.approx(1, rel=0.5)  # 40 points


def test_prewhitened_noise_is_independent_and_of_level_1(rng):
    mixing = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    noise = (rng.normal(size=(5000, 3)) + 1j * rng.normal(size=(5000, 3))) @ mixing.T
    scan = scans.KSpace(random_kspace(1, 8, 8, 3) @ mixing.T, noise=noise)
    whitened = scans.prewhitened(scan)
    covariance = whitened.noise.T @ np.conj(whitened.noise) / (2 * 5000)
    np.testing.assert_allclose(covariance, np.eye(3), atol=1e-4)  # complex64
    assert scans.noise_level(whitened) == pytest.approx(1, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("coils", [1, COILS])
def test_the_truth_explains_the_posed_problem(coils, real):
    scan = _scan(coils)
    posed = scans.pose_mri(_masked(scan, _lines(20)), real=real, sigma=1e-9)
    truth = SCALE * _picture()
    zero_filled = to_images(scan.values[0])
    z = scans.sense(zero_filled, scans.espirit(scan.values[0], np.ones((N, N)))) if coils > 1 else zero_filled[..., 0]
    if real:
        x = jnp.asarray(2 * truth / posed.white - 1)[..., None]
        # The phase of the middle lines is nearly that of the picture.
        assert float(posed.problem.rms_residual(x)) < 0.1
        np.testing.assert_allclose(np.abs(posed.image(x)), truth, rtol=1e-4)
    else:
        x = jnp.stack([jnp.asarray(z.real), jnp.asarray(z.imag)], -1) / posed.white
        assert float(posed.problem.rms_residual(x)) < (0.02 if coils > 1 else 1e-4)
        np.testing.assert_allclose(posed.image(x), z, rtol=1e-4)


def test_the_scale_of_a_scan_does_not_matter():
    scan = _masked(_scan(), _lines())
    one, other = (scans.pose_mri(scans.KSpace(factor * scan.values)) for factor in (1, 1e4))
    np.testing.assert_allclose(other.problem.y, one.problem.y, atol=1e-3)  # float32, through eigenvectors
    assert other.white == pytest.approx(1e4 * one.white, rel=1e-4)
    np.testing.assert_allclose(other.problem.noise.sigma_y, one.problem.noise.sigma_y, rtol=1e-3)


def test_partial_fourier_is_filled_by_the_phase_of_its_middle():
    mask = np.zeros((N, N), np.float32)
    mask[:, N // 2 - 8 :] = 1
    posed = scans.pose_mri(_masked(_scan(), mask), sigma=1e-9)
    x = jax.jit(lambda p: p.operator.pinv(p.y))(posed.problem)
    restored = np.abs(posed.image(x))
    zero_filled = scans.root_sum_of_squares(to_images(_scan().values[0] * mask[..., None]))
    reference = SCALE * _picture()
    error, before = (float(rd.metrics.nmse(each[None], reference[None])) for each in (restored, zero_filled))
    assert error < 0.6 * before


def test_sense_and_the_root_of_squares_agree_for_normalised_maps():
    images = _picture()[..., None] * _maps()
    np.testing.assert_allclose(scans.root_sum_of_squares(images), _picture(), rtol=1e-5)
    np.testing.assert_allclose(scans.sense(images, _maps()), _picture(), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": np.ones((COILS, N, N))}, r"the coils last: np\.moveaxis\(maps, 0, 2\)"),
        ({"mask": np.ones((5, 5))}, r"mask has shape \(5, 5\) but must be \(48, 48\)"),
        ({"mask": 1 - np.fft.fftshift(_lines())}, "Is it another scan's, or not shifted"),
    ],
)
def test_wrong_maps_and_masks_are_one_line(options, message):
    with pytest.raises(scans.ScanError, match=message):
        scans.pose_mri(_masked(_scan(), _lines()), **options)


def test_a_scan_without_noise_scan_is_not_whitened():
    with pytest.raises(scans.ScanError, match="no noise scan"):
        scans.prewhitened(_scan())
