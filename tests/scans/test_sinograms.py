"""CT scans of other programs' conventions, and what is done to them before they are restored."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize

import reddiff_jax as rd
from reddiff_jax import scans

DEGREES = np.linspace(0, 180, 60, endpoint=False)


@functools.cache
def _phantom(size: int) -> np.ndarray:
    """In the circle around pixel (size // 2, size // 2)."""
    x = resize(shepp_logan_phantom(), (size, size), anti_aliasing=True).astype(np.float32)
    offset = np.arange(size) - size // 2
    return np.where(offset[:, None] ** 2 + offset[None, :] ** 2 <= (size // 2) ** 2, x, 0)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(1 / np.mean((a - b) ** 2)))


@functools.cache
def _scan(size: int, center: float, turn: float = 180.0, views: int = 40, **fan: float) -> scans.Sinogram:
    """Of the phantom by our projector, whose detector sees the axis off its middle."""
    angles = np.deg2rad(np.linspace(0, turn, views, endpoint=False))
    detectors = 2 * size
    options = {"num_detectors": detectors, "center": center, "scale": 1.0}
    operator = rd.fan_ct((size, size, 1), angles, **options, **fan) if fan else None
    operator = operator or rd.parallel_ct((size, size, 1), angles, **options)
    values = np.asarray(jax.jit(lambda o, x: o(x))(operator, jnp.asarray(_phantom(size))[:, :, None]))[:, :, 0]
    spacing = operator.detector_spacing
    return scans.Sinogram(values[None], angles, (size, size), center, operator.axis, spacing, **fan)


@pytest.mark.parametrize(("size", "circle"), [(48, True), (49, True), (48, False), (49, False)])
def test_filtered_back_projection_equals_scikit_image_on_its_own_phantom(size, circle):
    x = _phantom(size)
    sinogram = radon(x, DEGREES, circle=circle)
    theirs = iradon(sinogram, DEGREES, circle=circle, output_size=size)
    (ours,) = scans.from_scikit_image(sinogram, DEGREES, circle=circle, size=size).fbp()
    assert abs(_psnr(ours, x) - _psnr(theirs, x)) < 0.2  # measured: 0.03


def test_scikit_images_default_angles_and_size_are_the_readers():
    scan = scans.from_scikit_image(np.zeros((30, 7)))
    np.testing.assert_allclose(scan.angles, np.deg2rad(np.linspace(0, 180, 7, endpoint=False)))
    assert scan.shape == (30, 30)
    sinogram = radon(_phantom(31), DEGREES[:5], circle=False)
    expected = iradon(sinogram, DEGREES[:5], circle=False).shape
    assert scans.from_scikit_image(sinogram, DEGREES[:5], circle=False).shape == expected


def test_astras_parallel_geometry_is_ours_by_its_own_definition():
    # parallel_vec of ASTRA's manual: the detector's axis is (cos, sin), to the right and up; rows go down.
    angles = np.array([0.3, 1.2])
    scan = scans.from_astra(np.zeros((2, 31)), angles, shape=(21, 21))
    x = np.zeros((21, 21, 1), np.float32)
    x[4, 15] = 1.0  # at (5, 6)
    seen = np.asarray(scan.operator()(jnp.asarray(x)))[:, :, 0]
    middles = (seen * np.arange(31)).sum(axis=1) / seen.sum(axis=1)
    np.testing.assert_allclose(middles - 15, 5 * np.cos(angles) + 6 * np.sin(angles), atol=0.1)  # interpolated


def test_astras_fan_has_its_source_below_at_angle_0():
    scan = scans.from_astra(np.zeros((1, 41)), [0.0], source_distance=100.0, detector_distance=50.0, shape=(21, 21))
    x = np.zeros((21, 21, 1), np.float32)
    x[0, 15] = 1.0  # at (5, 10), seen from (0, -100) on a detector 150 away
    seen = np.asarray(scan.operator()(jnp.asarray(x)))[0, :, 0]
    assert (seen * np.arange(41)).sum() / seen.sum() - 20 == pytest.approx(5 / 110 * 150, abs=0.1)


def test_tomopys_order_of_axes_is_turned_to_slices_first(rng):
    projections = rng.random((5, 3, 16))  # angles, slices, columns
    angles = np.linspace(0, np.pi, 5, endpoint=False)
    scan = scans.from_tomopy(projections, angles, center=7.25)
    np.testing.assert_allclose(scan.values[1], projections[:, 1], rtol=1e-6)
    assert scan.center == 7.25
    again = scans.from_tomopy(np.moveaxis(projections, 0, 1), angles, sinogram_order=True)
    np.testing.assert_allclose(again.values, scan.values)
    assert again.center == 7.5


@pytest.mark.slow
@pytest.mark.parametrize("center", [31.0, 33.7])
@pytest.mark.parametrize("fan", [{}, {"source_distance": 80.0, "detector_distance": 10.0}])
def test_a_detector_that_is_off_restores_like_one_that_is_not(center, fan):
    x = _phantom(32)
    off, middle = (_scan(32, each, 360.0, **fan).fbp()[0] for each in (center, 31.5))
    assert _psnr(off, x) > _psnr(middle, x) - 0.5


@pytest.mark.parametrize(
    ("turn", "views", "fan"),
    [(360.0, 40, {}), (180.0, 40, {}), (360.0, 41, {}), (360.0, 40, {"source_distance": 80.0})],
)
def test_the_center_is_found(turn, views, fan):
    scan = _scan(32, 33.7, turn, views, **fan)
    found = scans.find_center(scan.values[0], scan.angles, fan=bool(fan))
    assert found == pytest.approx(33.7, abs=0.1)


def test_the_center_is_found_in_noise(rng):
    scan = _scan(32, 33.7, 360.0)
    noisy = scan.values[0] + rng.normal(0, 0.3, scan.values[0].shape)  # of integrals up to 10
    assert scans.find_center(noisy, scan.angles) == pytest.approx(33.7, abs=0.15)


def test_a_found_center_restores_what_the_middle_blurs():
    scan, x = _scan(32, 33.7, 360.0), _phantom(32)
    mistaken = scan.centered(31.5)
    assert _psnr(mistaken.centered().fbp()[0], x) > _psnr(mistaken.fbp()[0], x) + 3


def test_counts_become_line_integrals(rng):
    integrals = rng.uniform(0, 3, (4, 9))
    dark, flat = np.full(9, 20.0), rng.uniform(800, 1000, (3, 9))
    counts = dark + (flat.mean(0) - dark) * np.exp(-integrals)
    np.testing.assert_allclose(scans.line_integrals(counts, flat, dark), integrals, atol=1e-5)  # float32


def test_dead_detector_elements_take_the_mean_of_their_neighbours():
    flat = np.full(11, 100.0)
    flat[4] = 0.0
    counts = np.outer(np.exp(-np.arange(2.0)), flat)
    np.testing.assert_allclose(scans.line_integrals(counts, flat)[1], 1.0, atol=1e-6)


def test_a_stripe_is_removed_and_the_rest_kept(rng):
    clean = rng.uniform(4, 6, (40, 1)) * np.cos(np.linspace(-1, 1, 64))[None, :]
    striped = clean.copy()
    striped[:, 30] += 0.5
    # The median of 9 cuts the top of the cosine by 4^2 / 2 steps of 2 / 63 squared, times 6.
    assert np.abs(scans.remove_rings(striped) - clean)[:, 8:-8].max() < 0.05


def test_the_noise_level_is_estimated(rng):
    scan = _scan(32, 31.5)
    noisy = scan.values + rng.normal(0, 0.2, scan.values.shape).astype(np.float32)
    level = scans.Sinogram(noisy, scan.angles, scan.shape, scan.center, scan.axis).noise_level()
    assert level == pytest.approx(0.2, rel=0.3)


def test_a_problem_measures_the_slice_scaled_to_its_white():
    scan, x = _scan(32, 31.5), _phantom(32)
    problem = scan.problem(white=1.0, sigma=0.01)
    truth = jnp.asarray(2 * x - 1)[:, :, None]
    assert float(problem.rms_residual(truth)) < 1e-4  # float32
    np.testing.assert_allclose(scan.to_attenuation(truth, 1.0), x, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scans.from_scikit_image(np.zeros((30, 7)), DEGREES), "60 angles came for 7 views"),
        (lambda: scans.from_astra(np.zeros((30, 7)), np.arange(7)), "7 angles came for 30 views.*Transpose"),
        (lambda: scans.from_astra(np.zeros((60, 7)), DEGREES), r"must be radians.*np\.deg2rad"),
        (lambda: scans.from_tomopy(np.zeros((60, 7)), DEGREES), r"\(A, S, D\) are needed"),
        (lambda: scans.from_scikit_image(np.full((4, 2), np.nan)), "8 of the line integrals are not finite"),
        (lambda: scans.line_integrals(np.ones((4, 9)), np.ones(8)), "flat has shape .* 9 detector elements"),
        (lambda: scans.line_integrals(np.ones((4, 9)), np.zeros(9), np.ones(9)), "Are they exchanged"),
        (lambda: scans.find_center(np.ones((4, 9)), np.arange(4) / 9), "degrees do not tell the center"),
        (lambda: scans.find_center(np.ones((4, 9)), np.arange(4) / 2, fan=True), "a whole turn of views only"),
        (lambda: rd.parallel_ct((8, 8, 1), [0.0], center=20.0), "center is 20.0 but must be an index of the 11"),
        (lambda: rd.parallel_ct((8, 8, 1), [0.0], axis=(9.0, 4.0)), "axis is .* row and the column"),
        (lambda: scans.from_astra(np.zeros((2, 5)), [0, 1]).white(), "Are these line integrals, not counts"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
