"""Clips are restored frame by frame or as one, in the format that came in."""

from fractions import Fraction

import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import scans
from reddiff_jax.cli import _scans
from reddiff_jax.jobs import JobError
from reddiff_jax.jobs.manifest import MANIFEST, Manifest
from reddiff_jax.jobs.scanning import ScanOptions, restore_scans
from reddiff_jax.jobs.scanning.posing import pose_scan
from reddiff_jax.masks import Hole
from reddiff_jax.scans import video

pytest.importorskip("av")
N = 16
CHANGES = {"num_steps": 4, "num_runs": 1}


def _gaussian(x_t, t, cond):
    """The noise that a prior N(0, 0.3 I) of any shape predicts."""
    alpha_t, sigma_t = rd.schedules.linear()(t)
    return sigma_t / (0.3 * alpha_t**2 + sigma_t**2) * x_t


PRIOR = rd.prior(_gaussian, rd.schedules.linear())


def _write(path, size=N, gray=False):
    """Writes a noisy clip of a pattern that moves; returns the clean frames."""
    t, rows, columns = np.mgrid[:4, :size, :size]
    waves = [np.sin((rows + t) / 3), np.sin((columns + t) / 4), np.sin((rows + columns) / 5)]
    clean = 0.6 * np.stack(waves[:1] * 3 if gray else waves, axis=-1)
    noise = np.random.default_rng(0).normal(0, 0.2, (*clean.shape[:3], 1 if gray else 3))
    scans.write_clip(path, scans.Clip((clean + noise).astype(np.float32), Fraction(12)))
    return clean


def _restore(path, out, options):
    outcome = restore_scans([path], PRIOR, out=out, options=options)
    assert not outcome.failures, outcome.failures
    return scans.read_clip(out / path.name)


def _error(clip, clean):
    return float(np.sqrt(np.mean((clip.values - clean) ** 2)))


def _flicker(clip, clean):
    return float(np.sqrt(np.mean(np.diff(clip.values - clean, axis=0) ** 2)))


@pytest.mark.parametrize("motion", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_coupled_frames_flicker_less(tmp_path, motion):
    clean = _write(tmp_path / "a.mp4")
    noisy = scans.read_clip(tmp_path / "a.mp4")
    options = ScanOptions("denoise", clips=True, sigma=0.2, lam_z=4.0, motion=motion, changes=CHANGES)
    clip = _restore(tmp_path / "a.mp4", tmp_path / "out", options)
    assert (clip.values.shape, clip.rate) == (clean.shape, 12)
    assert _flicker(clip, clean) < 0.6 * _flicker(noisy, clean)
    assert _error(clip, clean) < _error(noisy, clean)


@pytest.mark.slow
def test_clips_grow_by_super_resolution(tmp_path):
    _write(tmp_path / "a.mp4", size=8)
    options = ScanOptions("sr2", clips=True, sigma=0.1, changes=CHANGES)
    assert _restore(tmp_path / "a.mp4", tmp_path / "out", options).values.shape == (4, 16, 16, 3)


@pytest.mark.slow
def test_one_mask_serves_all_frames_of_a_gray_clip(tmp_path):
    _write(tmp_path / "a.mp4", gray=True)
    np.save(tmp_path / "mask.npy", np.random.default_rng(1).random((N, N)) > 0.3)
    options = ScanOptions(
        "inpaint", clips=True, sigma=0.2, mask=tmp_path / "mask.npy", hole=Hole.BLACK, changes=CHANGES
    )
    assert _restore(tmp_path / "a.mp4", tmp_path / "out", options).values.shape == (4, N, N, 1)
    entry = Manifest(tmp_path / "out" / MANIFEST).entries["a.mp4"]
    assert {"picture", "mask"} <= entry["settings"].keys()


@pytest.mark.slow
def test_the_noise_of_a_clip_is_estimated_for_denoising(tmp_path):
    _write(tmp_path / "a.mp4", size=48)
    posed = pose_scan(tmp_path / "a.mp4", ScanOptions("denoise", clips=True))
    assert 0.1 < posed.sigma < 0.3  # drawn with 0.2, and compressed
    assert "4 frames of 48 x 48, 12 a second, sigma" in posed.said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ScanOptions("sr4", clips=True), "the noise of clips is estimated for --task denoise alone; for sr4 give"),
        (ScanOptions("hdr", clips=True, sigma=0.1), "hdr is not for clips"),
        (ScanOptions("color", clips=True, sigma=0.1), "color is not for clips"),
        (ScanOptions("mri", motion=True, lam_z=1.0), "motion is of coupled frames"),
        (ScanOptions("denoise", clips=True, motion=True), "motion is of coupled frames: a clip, and --lam-z above 0"),
    ],
)
def test_options_that_do_not_suit_clips_are_refused(options, message):
    with pytest.raises(JobError, match=message):
        options.check()


def test_a_clip_without_its_mask_is_one_line(tmp_path):
    _write(tmp_path / "a.mp4")
    options = ScanOptions("inpaint", clips=True, sigma=0.1)
    (failure,) = restore_scans([tmp_path / "a.mp4"], PRIOR, out=tmp_path / "out", options=options).failures
    assert "needs to know which pixels are missing in all frames: --mask FILE" in failure.reason


def test_the_command_line_knows_clips_by_their_suffixes():
    assert _scans.CLIPS == video.SUFFIXES
