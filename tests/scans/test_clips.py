"""Clips are read and written with their rate, size and colours."""

import importlib
from fractions import Fraction

import numpy as np
import pytest

from reddiff_jax import scans

pytest.importorskip("av")


def _frames(height: int, width: int, count: int = 4) -> np.ndarray:
    """Smooth frames (T, H, W, 3), in colours that change."""
    t, rows, columns = np.mgrid[:count, :height, :width]
    waves = [np.sin((rows + 3 * t) / 7), np.cos((columns + 2 * t) / 9), np.sin((rows + columns) / 11)]
    return (0.7 * np.stack(waves, axis=-1)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".webm"])
def test_a_clip_comes_back_as_it_was_written(tmp_path, suffix):
    frames = _frames(32, 48)
    scans.write_clip(tmp_path / f"a{suffix}", scans.Clip(frames, Fraction(25)))
    clip = scans.read_clip(tmp_path / f"a{suffix}")
    assert (clip.values.shape, clip.rate) == (frames.shape, 25)
    assert np.sqrt(np.mean((clip.values - frames) ** 2)) < 0.05  # colours are kept at half the size


def test_odd_sizes_and_broken_rates_stay(tmp_path):
    frames = _frames(33, 47)
    scans.write_clip(tmp_path / "a.mp4", scans.Clip(frames, Fraction(30000, 1001)))
    clip = scans.read_clip(tmp_path / "a.mp4")
    assert (clip.values.shape, clip.rate) == (frames.shape, Fraction(30000, 1001))


def test_a_gray_clip_has_one_channel(tmp_path):
    frames = np.repeat(_frames(32, 32)[..., :1], 3, axis=3)
    scans.write_clip(tmp_path / "a.mp4", scans.Clip(frames, Fraction(10)))
    assert scans.read_clip(tmp_path / "a.mp4").values.shape == (4, 32, 32, 1)


def test_a_clip_written_twice_is_the_same_file(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        scans.write_clip(tmp_path / name, scans.Clip(_frames(32, 32), Fraction(10)))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "does not exist; check the name"),
        ("a.mp4", b"no film at all" * 50, r"a\.mp4 cannot be read as a clip"),
        ("a.mp4", b"", r"a\.mp4 cannot be read as a clip"),
    ],
)
def test_what_is_no_clip_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(scans.ScanError, match=message) as caught:
        scans.read_clip(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_library_names_the_extra(monkeypatch, tmp_path):
    (tmp_path / "a.mp4").touch()

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(scans.ScanError, match=r"need av: pip install 'reddiff-jax\[video\]'"):
        scans.read_clip(tmp_path / "a.mp4")


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 8, 8, 2), (0, 8, 8, 3)])
def test_other_arrays_are_no_clip(shape):
    with pytest.raises(scans.ScanError, match="a clip is"):
        scans.Clip(np.zeros(shape), Fraction(1))
