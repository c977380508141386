"""Pictures from outside whose noise nobody has told: what is taken for it, and what is said of a wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.cli import app
from reddiff_jax.cli._common import parse_sigma
from reddiff_jax.cli._told import Told
from reddiff_jax.jobs.noise_levels import ESTIMATED, GIVEN, OF_JPEG, OF_ROUNDING, NoiseEstimator, binned
from reddiff_jax.jobs.planning import make_plan

SIDE = 48


def smoothed(x, sigma, cond):
    """The mean of 5 x 5 pixels: as a denoiser it expects smooth pictures, and takes the rest for noise."""
    total = jax.lax.reduce_window(
        jnp.pad(x, ((2, 2), (2, 2), (0, 0)), "edge"), 0.0, jax.lax.add, (5, 5, 1), (1, 1, 1), "VALID"
    )
    return total / 25


PRIOR = rd.edm_prior(smoothed, rd.schedules.linear())
ESTIMATOR = NoiseEstimator(PRIOR, 3)


def write(path, sigma, *, channels=3, side=SIDE, **options):
    rows, columns = np.mgrid[:side, :side] / side
    x = 0.4 * np.stack([np.sin(3 * rows + 2 * columns + c) for c in range(channels)], axis=-1)
    y = pictures.to_uint8(x + sigma * np.random.default_rng(0).normal(size=x.shape))
    Image.fromarray(y[..., 0] if channels == 1 else y).save(path, **options)
    return path


def plan(path, task="denoise", noted=None, **options):
    return make_plan(
        jobs.Options(task=task, **options), "prior", 3, jobs.Item(path, "a"), estimator=ESTIMATOR, noted=noted
    )


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.2])
def test_the_noise_of_a_picture_without_sigma(tmp_path, sigma):
    noise = plan(write(tmp_path / "a.png", sigma)).noise
    assert noise.source == ESTIMATED
    np.testing.assert_allclose(noise.sigma, sigma, rtol=0.15)


@pytest.mark.parametrize("task", ["inpaint_center", "sr2", "deblur_gauss61", "hdr"])
def test_it_is_estimated_on_what_was_measured(tmp_path, task):
    noise = plan(write(tmp_path / "a.png", 0.1), task).noise
    np.testing.assert_allclose(noise.sigma, 0.1, rtol=0.15)


@pytest.mark.parametrize("task", ["colorize", "demosaic"])
def test_of_a_gray_measurement_of_a_colour_picture_too(tmp_path, task):
    noise = plan(write(tmp_path / "a.png", 0.1, channels=1), task).noise
    # A gray picture goes through a prior of RGB with noise of three times the variance beside its own.
    np.testing.assert_allclose(noise.sigma, 0.1, rtol=0.25)


def test_a_thumbnail_of_jpeg_has_the_error_of_its_tables_or_the_noise_that_they_have_left(tmp_path):
    coarse, fine = (plan(write(tmp_path / f"{q}.jpg", 0.1, quality=q), "sr4").noise for q in (30, 75))
    assert (coarse.source, fine.source) == (OF_JPEG, ESTIMATED)
    assert 0.02 < coarse.sigma < 0.3
    np.testing.assert_allclose(fine.sigma, 0.1, rtol=0.15)


def test_noise_whose_chroma_jpeg_has_reduced_has_the_level_of_its_luma(tmp_path):
    """Of white noise of colours 4:2:0 keeps that of the luma, which is to be removed, and a quarter of the rest."""
    path = write(tmp_path / "a.jpg", 0.1, side=64, quality=95, subsampling=2)
    np.testing.assert_allclose(plan(path).noise.sigma, 0.1, rtol=0.15)


def test_an_even_picture_has_the_noise_of_rounding(tmp_path):
    Image.new("RGB", (SIDE, SIDE), "gray").save(tmp_path / "a.png")
    assert plan(tmp_path / "a.png").noise.sigma == pictures.ROUNDING_SIGMA


@pytest.mark.parametrize("task", ["jpeg20", "quant2"])
def test_what_is_rounded_by_the_task_itself_hides_its_noise(tmp_path, task):
    noise = plan(write(tmp_path / "a.png", 0.1), task).noise
    assert (noise.sigma, noise.source) == (pictures.ROUNDING_SIGMA, OF_ROUNDING)


@pytest.mark.parametrize("sigma", [0.02, 0.5])
def test_a_level_far_from_the_estimate_is_doubted(tmp_path, sigma):
    noise = plan(write(tmp_path / "a.png", 0.1), sigma=sigma).noise
    assert noise.sigma == sigma
    assert noise.doubt.startswith(f"sigma {sigma:g} is far from the 0.")
    assert "leave --sigma out" in noise.doubt
    assert "\n" not in noise.doubt


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_a_level_near_the_estimate_is_not(tmp_path, sigma):
    noise = plan(write(tmp_path / "a.png", 0.1), sigma=sigma).noise
    assert (noise.sigma, noise.source, noise.doubt) == (sigma, GIVEN, "")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gray_picture_is_measured_in_one_channel(tmp_path, channels):
    path = write(tmp_path / "a.png", 0.1, channels=1)
    if channels == 3:
        with Image.open(path) as image:
            image.convert("RGB").save(path)
    found = plan(path)
    assert found.header.y_shape[2] == 1
    np.testing.assert_allclose(found.noise.sigma, 0.1, rtol=0.15)


def test_an_estimate_that_was_noted_is_kept(tmp_path):
    path = write(tmp_path / "a.png", 0.1)
    record = {**plan(path).record, "sigma": 0.123}
    assert plan(path, noted={"a": {"settings": record}}).noise.sigma == 0.123
    assert plan(path, noted={"a": {"settings": {**record, "picture": "another"}}}).noise.sigma != 0.123
    assert plan(path, noted={"a": {"settings": record}}, sigma=0.1).noise.sigma == 0.1


def test_levels_that_differ_little_have_one_setting():
    assert {binned(sigma) for sigma in (0.09, 0.1, 0.104)} == {0.088}
    assert len({binned(sigma) for sigma in np.geomspace(0.0023, 2, 500)}) <= 21


@pytest.mark.slow
def test_a_folder_of_different_noise_is_one_compilation(tmp_path):
    (tmp_path / "in").mkdir()
    sigmas = (0.05, 0.1, 0.2)
    for i, sigma in enumerate(sigmas):
        write(tmp_path / "in" / f"{i}.png", sigma, side=32)
    events = []
    options = jobs.Options(task="denoise", changes={"num_steps": 2}, batch_size=1)

    def restore():
        return jobs.restore([tmp_path / "in"], PRIOR, out=tmp_path / "out", options=options, report=events.append)

    assert len(restore().done) == 3
    assert [event.kind for event in events].count("compiled") == 1
    said = [event.detail for event in events if event.kind == "noise"]
    entries = jobs.Manifest(tmp_path / "out" / "manifest.jsonl").entries
    noted = [entries[f"{i}"]["settings"] for i in range(3)]
    np.testing.assert_allclose([each["sigma"] for each in noted], sigmas, rtol=0.15)
    assert said == [f"sigma {each['sigma']:g} (estimated)" for each in noted]
    assert {each["sigma_from"] for each in noted} == {ESTIMATED}
    assert len(restore().skipped) == 3


# ---- the words of the command line


@pytest.mark.parametrize(
    ("text", "sigma"),
    [("0.1", 0.1), ("25/255", 50 / 255), ("0.5/255", 1 / 255), ("0.05/1", 0.1), ("257/65535", 2 / 255)],
)
def test_a_level_of_a_range_is_twice_it(text, sigma, capsys):
    np.testing.assert_allclose(parse_sigma(text), sigma)
    assert ("/" in text) == ("for pixels in [-1, 1]" in capsys.readouterr().err)


@pytest.mark.parametrize("text", ["strong", "25/", "/255", "25/0", "25/nan", "25/-255", "25 / 255 / 2", ""])
def test_what_is_no_level_is_refused(text):
    with pytest.raises(ValueError, match=r"must be a number like 0\.1, or gray levels of a range like 25/255"):
        parse_sigma(text)


@pytest.mark.parametrize("command", ["restore", "measure"])
@pytest.mark.parametrize(
    ("sigma", "said"),
    [
        ("25", "for 25 gray levels of 255 give 0.196 (--sigma 25/255)"),
        ("-0.1", "sigma is -0.1 but must be a finite number of at least 0"),
        ("-25/255", "must be a finite number of at least 0"),
        ("nan", "sigma is nan"),
        ("inf", "sigma is inf"),
    ],
)
def test_a_level_that_makes_no_sense_is_refused(tmp_path, command, sigma, said):
    write(tmp_path / "a.png", 0.1)
    args = [command, str(tmp_path / "a.png"), "--task", "denoise", f"--sigma={sigma}", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_level_below_half_a_gray_level_is_not_doubted(tmp_path):
    path = write(tmp_path / "a.png", 0.1)
    y = pictures.read(path).pixels
    assert NoiseEstimator().doubt(0.0023, "denoise", path, y) == ""
    assert "is far from" in NoiseEstimator().doubt(0.01, "denoise", path, y)


class _Bar:
    def __init__(self):
        self.texts = []

    def __call__(self, fraction, text, left=None):
        self.texts.append(text)


@pytest.mark.parametrize(("sigma", "said"), [(None, "a, estimating the noise level"), (0.1, "a, reading")])
def test_what_is_done_before_the_first_step_is_said(tmp_path, sigma, said):
    write(tmp_path / "a.png", 0.1)
    bar = _Bar()
    jobs.restore(
        [tmp_path / "a.png"],
        rd.gaussian_prior(jnp.zeros((1, 1, 3)), 0.1, rd.schedules.linear()),
        out=tmp_path / "out",
        options=jobs.Options(task="inpaint", sigma=sigma),  # without a mask nothing is restored
        report=Told(bar),
    )
    assert bar.texts[0] == said
