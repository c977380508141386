"""One picture in memory: what comes in comes out, and what cannot be right is one line."""

import io
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.masks import Hole

SIZE = 16
PRIOR = rd.gaussian_prior(jnp.zeros((SIZE, SIZE, 3)), 0.1, rd.schedules.linear())
GIVEN = {"task": "inpaint", "sigma": 0.0, "prior": PRIOR, "changes": {"num_steps": 3, "num_runs": 1}}


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def mask():
    """Observed but for a square."""
    mask = np.ones((SIZE, SIZE), bool)
    mask[4:8, 4:8] = False
    return mask


def painted(mask):
    return Image.fromarray(np.uint8(255 * mask))


def test_an_array_of_bytes_is_one_again_and_what_was_seen_is_kept(photo, mask):
    x = rd.restore(photo, mask=mask, **GIVEN)
    assert (x.dtype, x.shape) == (np.uint8, photo.shape)
    np.testing.assert_array_equal(x[mask], photo[mask])
    assert (x[~mask] != photo[~mask]).any()


class _Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("seen", [True, False])
def test_what_was_decided_is_said_where_somebody_sees_it(photo, mask, monkeypatch, seen):
    screen = _Screen() if seen else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    rd.restore(Image.fromarray(photo), mask=painted(mask), **GIVEN)
    said = screen.getvalue()
    assert ("mask.png: black marks the hole, 6.2 % of pixels missing" in said) == seen
    assert ("restoring" in said) == seen


@pytest.mark.slow
def test_floating_point_pixels_are_not_rounded(photo, mask):
    y = pictures.to_float(photo) * np.float32(0.777)
    x = rd.restore(y, mask=mask, **GIVEN)
    assert (x.dtype, x.shape) == (np.float32, photo.shape)
    np.testing.assert_allclose(x[mask], y[mask], atol=1e-6)  # float32 through the scale of a file, and back


def test_a_gray_array_stays_one(photo, mask):
    assert rd.restore(photo[..., 0], mask=mask, **GIVEN).shape == (SIZE, SIZE)


@pytest.mark.parametrize("mode", ["L", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("RGB", "RGBA"))])
def test_a_pil_image_is_one_again(photo, mask, mode):
    image = Image.fromarray(photo).convert(mode)
    x = rd.restore(image, mask=painted(mask), grow=0, **GIVEN)
    assert (x.mode, x.size) == (mode, image.size)
    np.testing.assert_array_equal(np.asarray(x)[mask], np.asarray(image)[mask])


@pytest.mark.slow
def test_a_file_is_a_pil_image(photo, mask, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a b.png")
    painted(mask).save(tmp_path / "mask.png")
    assert rd.restore(tmp_path / "a b.png", mask=tmp_path / "mask.png", **GIVEN).size == (SIZE, SIZE)


def test_it_is_what_the_command_line_restores(photo, mask, tmp_path):
    Image.fromarray(photo).save(tmp_path / "picture.png")
    painted(mask).save(tmp_path / "mask.png")
    options = {name: GIVEN[name] for name in ("task", "sigma", "changes")}
    jobs.restore(
        [tmp_path / "picture.png"],
        PRIOR,
        out=tmp_path / "out",
        options=jobs.Options(mask=tmp_path / "mask.png", **options),
    )
    x = rd.restore(Image.fromarray(photo), mask=painted(mask), **GIVEN)
    np.testing.assert_array_equal(np.asarray(x), np.asarray(Image.open(tmp_path / "out" / "picture.png")))


@pytest.mark.slow
def test_a_mask_of_white_holes_is_understood_or_said(photo, mask):
    given = {**GIVEN, "grow": 0}
    x, other = (
        rd.restore(photo, mask=painted(each), hole=hole, **given) for each, hole in ((mask, None), (~mask, Hole.WHITE))
    )
    np.testing.assert_array_equal(x, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.astype(np.float32), r"values from 0 to 255 but .* x / 127\.5 - 1"),
        (lambda x: x / 255, r"values from 0 to 1 but .* 2 \* x - 1"),
        (lambda x: x.astype(np.int32), "type int32 but must be uint8"),
        (lambda x: x[None], r"shape \(1, 16, 16, 3\) but must be .* each picture of a batch"),
        (lambda x: np.where(x == x.max(), np.nan, x / 127.5 - 1), "in \\[-1, 1\\]"),
    ],
)
def test_pixels_of_another_range_or_shape_are_refused(photo, mask, change, words):
    photo[0, 0], photo[0, 1] = 0, 255
    with pytest.raises(ValueError, match=words):
        rd.restore(change(photo), mask=mask, **GIVEN)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: ~mask, "94% of 0, which is missing; give 1 - mask"),
        (lambda mask: np.uint8(255 * mask), "values from 0 to 255 but must be of 0 .missing. and 1"),
        (lambda mask: mask | True, r"^mask\.npy: .*nothing is missing"),
    ],
)
def test_masks_of_another_convention_are_refused(photo, mask, change, words):
    with pytest.raises(ValueError, match=words):
        rd.restore(photo, mask=change(mask), **GIVEN)


def test_what_cannot_be_restored_is_one_line_without_a_temporary_path(photo):
    with pytest.raises(ValueError, match="inpaint needs to know which pixels are missing") as caught:
        rd.restore(photo, **GIVEN)
    assert "\n" not in str(caught.value)
