"""Estimates of noise levels: what they find in pictures whose noise is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import estimating

VARIANCE = 0.01
PRIOR = rd.gaussian_prior(jnp.zeros((1, 1, 1)), VARIANCE, rd.schedules.linear())
estimate = jax.jit(rd.estimate_sigma)


@jax.jit
def by_prior(prior, y, observed):
    return rd.estimate_sigma(y, observed, prior=prior)


def smooth(channels=3, side=64):
    rows, columns = np.mgrid[:side, :side] / side
    return np.stack([0.5 * np.sin(3 * rows + 2 * columns + c) for c in range(channels)], axis=-1)


def noisy(sigma, channels=3, side=64):
    noise = np.random.default_rng(0).normal(size=(side, side, channels))
    return jnp.asarray(smooth(channels, side) + sigma * noise, jnp.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_the_noise_of_a_smooth_picture(sigma, channels):
    # The median of some 4000 details, each of which overlaps with its neighbours, is right to a few per cent.
    np.testing.assert_allclose(estimate(noisy(sigma, channels)), sigma, rtol=0.06)


def test_no_noise_is_no_noise():
    assert estimate(jnp.zeros((16, 16, 1))) == 0
    assert by_prior(PRIOR, jnp.zeros((16, 16, 1)), jnp.ones((16, 16))) == 0


def test_an_outlier_of_many_is_not_noise():
    y = noisy(0.05).at[:, ::16].set(1.5)
    np.testing.assert_allclose(estimate(y), 0.05, rtol=0.5)
    assert jnp.std(y - smooth()) > 0.3


def test_what_a_mask_hides_does_not_count(rng):
    mask = jnp.ones((64, 64)).at[:, 20:60].set(0.0)
    y = noisy(0.05)
    spoilt = jnp.where(mask[..., None] == 1, y, 7 * jnp.asarray(rng.normal(size=y.shape)))
    assert estimate(y, mask) == estimate(spoilt, mask)
    np.testing.assert_allclose(estimate(y, mask), 0.05, rtol=0.1)


@pytest.mark.parametrize("keep", [0.5, 0.15])
def test_scattered_pixels_tell_the_noise_too(rng, keep):
    mask = jnp.asarray(rng.uniform(size=(64, 64)) < keep, jnp.float32)
    # Few pairs of neighbours are left, and a slope adds to their differences.
    np.testing.assert_allclose(estimate(noisy(0.1), mask), 0.1, rtol=0.2)


def test_noise_that_a_file_has_cut_is_not_taken_for_less():
    y = noisy(0.1).at[:40].add(2.0)
    np.testing.assert_allclose(estimate(jnp.clip(y, -1, 1)), 0.1, rtol=0.1)


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_an_area_that_is_half_cut_tells_the_noise(sigma):
    """White paper with a spot in it: without the paper only the spot would be looked at."""
    x = np.ones((64, 64, 1))
    x[24:44, 24:44] = 0.5 * np.random.default_rng(1).uniform(-1, 1, (20, 20, 1))
    y = jnp.asarray(np.clip(x + sigma * np.random.default_rng(2).normal(size=x.shape), -1, 1), jnp.float32)
    spot = estimating._uncut(y, jnp.ones(y.shape, bool))
    assert spot[:20].mean() < 0.01
    paper = rd.gaussian_prior(jnp.ones((1, 1, 1)), 1e-6, rd.schedules.linear())
    found = by_prior(paper, y, jnp.ones((64, 64)).at[22:46, 22:46].set(0.0))
    # Some 1700 pixels are left.
    np.testing.assert_allclose(found, sigma, rtol=0.06)


@pytest.mark.parametrize("sigma", [0.05, 0.1])
def test_the_prior_tells_white_pictures_from_white_noise(sigma):
    """A Gaussian prior of variance c: what is likeliest is known, r^2 = mean y^2 - c, and no filter can know it."""
    x = VARIANCE**0.5 * np.random.default_rng(1).normal(size=(64, 64, 1))
    y = jnp.asarray(x + sigma * np.random.default_rng(2).normal(size=x.shape), jnp.float32)
    y = y / jnp.sqrt(jnp.mean(y**2)) * jnp.sqrt(VARIANCE + sigma**2)
    assert estimate(y) > 1.3 * sigma
    # Five steps of the secant method, from up to twice too high.
    np.testing.assert_allclose(by_prior(PRIOR, y, jnp.ones((64, 64))), sigma, rtol=0.05)


def test_a_prior_of_known_pictures_changes_little():
    """Of smooth pictures the filter is right, and a prior that expects them agrees."""
    flat = rd.gaussian_prior(jnp.asarray(smooth(), jnp.float32), 1e-6, rd.schedules.linear())
    np.testing.assert_allclose(by_prior(flat, noisy(0.1), jnp.ones((64, 64))), 0.1, rtol=0.01)


@pytest.mark.slow
def test_a_batch_is_a_vmap_and_jit_changes_nothing():
    ys = jnp.stack([noisy(0.05), noisy(0.2)])
    batch = jax.vmap(rd.estimate_sigma)(ys)
    np.testing.assert_allclose(batch, [estimate(y) for y in ys], rtol=1e-5)  # float32


def test_the_part_that_is_looked_at_is_neither_the_flattest_nor_the_roughest():
    sigmas = (0.01, 0.1, 0.4)
    y = jnp.concatenate([noisy(sigma, 1, 128) for sigma in sigmas], axis=1)
    seen = jnp.ones(y.shape, bool)
    part, seen = estimating._part(y, seen, (y, seen))
    assert part.shape == (128, 128, 1)
    assert seen.all()
    assert 0.05 < estimate(part) < 0.2


@pytest.mark.parametrize(
    ("y", "observed", "said"),
    [
        (np.zeros((4, 8, 8, 3)), None, "one real picture (H, W, C); batches go through jax.vmap"),
        (np.zeros((8, 8)), None, "shape (8, 8)"),
        (np.zeros((8, 8, 1), complex), None, "complex"),
        (np.zeros((8, 8, 3)), np.ones((8, 9)), "observed has shape (8, 9, 1) but y has (8, 8, 3)"),
    ],
)
def test_what_is_no_picture_is_refused(y, observed, said):
    with pytest.raises(ValueError, match="estimate_sigma: ") as error:
        rd.estimate_sigma(y, observed)
    assert said in str(error.value)


# ---- JPEG


@pytest.mark.parametrize("quality", [60, 75, 90])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_error_of_a_jpeg_file(rng, tmp_path, quality, mode):
    """Details of a Laplace distribution, as the estimate has it."""
    coefficients = rng.laplace(size=(128, 128)) * 300 / (1 + np.hypot(*np.mgrid[:128, :128])) ** 0.8
    plane = np.cos(np.pi * (np.arange(128)[:, None] + 0.5) * np.arange(128) / 128) / 8  # (pixels, frequencies)
    gray = np.clip(128 + plane @ coefficients @ plane.T, 0, 255).astype(np.uint8)
    image = Image.fromarray(gray).convert(mode)
    image.save(tmp_path / "a.jpg", quality=quality, subsampling=0)
    read = np.asarray(Image.open(tmp_path / "a.jpg").convert(mode), float)
    error = np.sqrt(np.mean((read - np.asarray(image, float)) ** 2)) / 127.5
    # RGB of a gray picture is without chroma, of which the file says nothing: only a bound is known.
    np.testing.assert_allclose(rd.estimate_jpeg_sigma(tmp_path / "a.jpg"), error, rtol=0.3 if mode == "L" else 1.5)


def test_files_of_other_kinds_have_no_error_of_jpeg(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    assert rd.estimate_jpeg_sigma(tmp_path / "a.png") == 0


def test_a_jpeg_file_of_less_than_a_block(tmp_path):
    Image.new("RGB", (5, 3), "red").save(tmp_path / "a.jpg")
    assert 0 < rd.estimate_jpeg_sigma(tmp_path / "a.jpg") < 0.2


@pytest.mark.parametrize(
    ("y", "observed", "error", "words"),
    [
        (np.zeros((16, 16, 3), np.uint8), None, ValueError, "y has dtype uint8 but must be floating-point.* / 127"),
        (Image.new("RGB", (16, 16)), None, TypeError, "y is an Image but must be an array"),
        (np.full((16, 16, 1), np.nan), None, ValueError, "256 of the 256 entries of y are not finite"),
        (np.zeros((0, 16, 1)), None, ValueError, r"y has shape \(0, 16, 1\)"),
        (
            np.zeros((16, 16, 1)),
            np.zeros((16, 16)),
            ValueError,
            "observed is 0 everywhere, so that nothing was observed",
        ),
        (np.zeros((16, 16, 1)), np.full((16, 16), 255), ValueError, "observed has values from 255 to 255 but must be"),
        (np.zeros((16, 16, 1)), Image.new("L", (16, 16)), TypeError, "observed is an Image but must be an array"),
    ],
)
def test_what_is_no_picture_or_mask_is_refused(y, observed, error, words):
    with pytest.raises(error, match=words):
        rd.estimate_sigma(y, observed)


@pytest.mark.parametrize(("scale", "words"), [(127.5, r"y / 127\.5 - 1"), (0.5, r"as pictures in \[0, 1\] do")])
def test_a_picture_of_another_range_is_warned_of(scale, words):
    y = scale * (1 + np.linspace(-1, 1, 256).reshape(16, 16, 1))
    with pytest.warns(UserWarning, match=words) as caught:
        rd.estimate_sigma(y)
    assert caught[0].filename == __file__
