"""Kernels as people draw and save them: the right weights, or the line that helps."""

import numpy as np
import pytest
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import jobs


@pytest.fixture
def drawn() -> np.ndarray:
    """A stroke, uint8 (15, 15), white on black."""
    kernel = np.asarray(rd.kernels.line(11, np.pi / 6, size=15))
    return np.round(255 * kernel / kernel.max()).astype(np.uint8)


def saved(path, values):
    np.save(path, values) if path.suffix == ".npy" else Image.fromarray(values).save(path)
    return path


def refusal(path) -> str:
    with pytest.raises(jobs.JobError) as caught:
        jobs.read_kernel(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_kernel_black_on_white_is_refused(tmp_path, drawn):
    assert "bright at its border" in refusal(saved(tmp_path / "k.png", 255 - drawn))
    assert "invert it" in refusal(tmp_path / "k.png")


def test_a_photo_is_no_kernel(tmp_path, rng):
    photo = rng.integers(40, 256, (24, 32, 3), dtype=np.uint8)
    assert "bright at its border" in refusal(saved(tmp_path / "k.png", photo))


@pytest.mark.parametrize("colour", [0, 90, 255])
def test_a_kernel_on_a_transparent_layer_is_its_opacity(tmp_path, drawn, colour):
    layers = np.stack([np.full_like(drawn, colour), drawn], axis=2)
    found = jobs.read_kernel(saved(tmp_path / "k.png", layers))
    np.testing.assert_allclose(found, drawn / drawn.sum(dtype=float), rtol=1e-5)


def test_a_kernel_of_several_colours_is_laid_over_black(tmp_path, drawn):
    layers = np.stack([np.maximum(drawn, 1), np.where(drawn > 0, 255, 0).astype(np.uint8)], axis=2)
    layers[0] = (255, 0)  # white where nothing is seen
    found = jobs.read_kernel(saved(tmp_path / "k.png", layers))
    np.testing.assert_allclose(found, drawn / drawn.sum(dtype=float), rtol=1e-5)


LEGAL = {
    "tight loop": np.array(
        [[7, 35, 43, 46, 1], [65, 0, 0, 79, 92], [45, 1, 0, 64, 35], [30, 52, 0, 255, 192], [9] * 5]
    ),
    "box": np.full((9, 9), 255),
    "small": np.full((3, 3), 200),
    "narrow": np.linspace(100, 255, 15)[None],
    "line": 255 * (np.arange(9)[:, None] == 4) * np.ones(9),
    "cut Gaussian": 255 * np.asarray(rd.kernels.gaussian(5, 1.5)) / np.asarray(rd.kernels.gaussian(5, 1.5)).max(),
    "tight disk": 255 * np.asarray(rd.kernels.defocus(4)) / np.asarray(rd.kernels.defocus(4)).max(),
}


@pytest.mark.parametrize("name", LEGAL)
def test_kernels_that_reach_their_border_are_read(tmp_path, name):
    values = np.round(LEGAL[name]).astype(np.uint8)
    found = jobs.read_kernel(saved(tmp_path / "k.png", values))
    np.testing.assert_allclose(found, values / values.sum(dtype=float), rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((3, 3), "a"), "type <U1; give real numbers"),
        (np.ones((3, 3), complex), "type complex128; give real numbers"),
        (np.ones((0, 3)), r"shape \(0, 3\); give one kernel of two axes"),
        (np.ones((3, 3, 3)), r"shape \(3, 3, 3\); give one kernel of two axes"),
        (np.zeros((3, 3)), "not only zeros"),
        (np.full((3, 3), np.inf), "finite values"),
        (-np.ones((3, 3)), "at least 0"),
    ],
)
def test_arrays_that_are_no_kernel_are_refused(tmp_path, values, said):
    with pytest.raises(jobs.JobError, match=said):
        jobs.read_kernel(saved(tmp_path / "k.npy", values))


def test_numbers_whose_sum_is_not_finite_are_scaled(tmp_path):
    found = jobs.read_kernel(saved(tmp_path / "k.npy", np.full((3, 3), 1e308)))
    np.testing.assert_allclose(found, 1 / 9, rtol=1e-6)


def test_one_of_several_arrays_must_be_named(tmp_path):
    np.savez(tmp_path / "k.npz", a=np.ones((3, 3)), b=np.ones((5, 5)))
    assert "holds a, b; name one array kernel" in refusal(tmp_path / "k.npz")


def test_a_moving_kernel_is_told_to_be_split(tmp_path, drawn):
    frames = [Image.fromarray(drawn), Image.fromarray(drawn[::-1])]
    frames[0].save(tmp_path / "k.tif", save_all=True, append_images=frames[1:])
    assert "save the one that is meant alone" in refusal(tmp_path / "k.tif")
    assert "--page" not in refusal(tmp_path / "k.tif")
