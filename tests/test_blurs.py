"""Blurs found from a picture's spectrum: pictures whose spectrum is known, and photos."""

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import tasks
from reddiff_jax.blurs import Blur

KINDS = rd.BlurKind


def field(seed: int, side: int = 96) -> np.ndarray:
    """A Gaussian random picture whose power falls by 2.6 powers of the frequency, (side, side, 3)."""
    white = np.random.default_rng(seed).normal(size=(side, side, 3))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    gain = np.where(frequency > 0, np.maximum(frequency, 1 / side) ** -1.3, 0)
    x = np.fft.ifft2(np.fft.fft2(white, axes=(0, 1)) * gain[..., None], axes=(0, 1)).real
    return 0.4 * x / x.std()


def blurred(blur: Blur, sigma: float, seed: int = 0) -> np.ndarray:
    x = field(seed)
    y = np.asarray(rd.blur(blur.kernel, x.shape)(jnp.asarray(x)))
    return y + sigma * np.random.default_rng(seed + 1).normal(size=y.shape)


@pytest.mark.parametrize("sigma", [0.01, pytest.param(0.05, marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [1.0, 1.5, 2.0])
def test_the_width_of_a_gaussian_is_within_ten_percent(width, sigma):
    found = rd.estimate_blur(blurred(Blur(KINDS.GAUSSIAN, width), sigma), kinds=[KINDS.GAUSSIAN])
    assert abs(found.pixels / width - 1) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("radius", [2.0, 4.0])
def test_the_radius_of_a_lens_is_within_ten_percent(radius):
    found = rd.estimate_blur(blurred(Blur(KINDS.DEFOCUS, radius), 0.01))
    assert found.kind is KINDS.DEFOCUS
    assert abs(found.pixels / radius - 1) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("length", "degrees"), [(7.0, 30), (15.0, 100)])
def test_a_motion_is_found_with_its_direction(length, degrees):
    found = rd.estimate_blur(blurred(Blur(KINDS.MOTION, length, np.deg2rad(degrees)), 0.01))
    assert found.kind is KINDS.MOTION
    assert abs(found.pixels / length - 1) < 0.1
    assert abs(np.rad2deg(found.angle) - degrees) < 6


def test_a_known_noise_level_is_kept():
    y = blurred(Blur(KINDS.GAUSSIAN, 1.5), 0.05)
    found = rd.estimate_blur(y, sigma=0.05, kinds=[KINDS.GAUSSIAN])
    assert abs(found.pixels / 1.5 - 1) < 0.1


@pytest.mark.parametrize(
    "blur", [Blur(KINDS.GAUSSIAN, 1.5), Blur(KINDS.DEFOCUS, 4.0), Blur(KINDS.MOTION, 9.0, np.pi / 6)]
)
def test_the_words_of_a_blur_are_those_of_the_command_line(blur):
    mine, said = blur.kernel, tasks.kernel_in_words(str(blur))
    reach = (mine.shape[0] - said.shape[0]) // 2
    np.testing.assert_allclose(mine[reach : len(mine) - reach, reach : len(mine) - reach], said, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y: {"y": y[:16]},
            r"y has shape \(16, 96, 3\) .* must be one real picture .* of at least 32 x 32",
        ),
        (lambda y: {"y": np.full_like(y, np.nan)}, "finite"),
        (lambda y: {"y": y, "sigma": -1.0}, "sigma"),
        (lambda y: {"y": y, "kinds": ["gaussian"]}, r"kinds is \['gaussian'\] but must be some of rd.BlurKind"),
        (lambda y: {"y": y, "kinds": []}, "rd.BlurKind"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        rd.estimate_blur(**change(field(0)))
