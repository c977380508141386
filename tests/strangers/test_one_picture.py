"""One picture in memory: what comes in comes out, and what cannot be right is one line."""

import io
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageCms

import reddiff_jax as rd
from reddiff_jax import jobs, masks, pictures
from reddiff_jax.jobs.in_memory import mask_file, picture_file
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        (lambda x: x.astype(np.int32), "type int32 but must be uint8"),
        (lambda x: x[None], r"shape \(1, 16, 16, 3\) but must be .* each picture of a batch"),
        (lambda x: np.where(x == x.max(), np.nan, x / 127.5 - 1), "of the 768 values of picture are not finite; repl"),
        (lambda x: x[:0], r"shape \(0, 16, 3\) but must have pixels"),
        (lambda x: None, "picture is None but must be a file, a PIL image, or an array"),
        (lambda x: Image.fromarray(x[:0]), "picture has 16 x 0 pixels"),
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
        (lambda mask: mask | True, "mask is 1 everywhere but must be 0 where pixels are missing"),
        (lambda mask: mask.astype(str), "mask is an array <U5.* but must be a file, a PIL image, or an array"),
        (lambda mask: np.where(mask, 1, np.nan), "must be of 0 .missing. and 1"),
        (lambda mask: mask[:0], r"mask has shape \(0, 16\)"),
    ],
)
def test_masks_of_another_convention_are_refused(photo, mask, change, words):
    with pytest.raises(ValueError, match=words):
        rd.restore(photo, mask=change(mask), **GIVEN)


def test_what_cannot_be_restored_is_one_line_without_a_temporary_path(photo):
    with pytest.raises(ValueError, match="inpaint needs to know which pixels are missing") as caught:
        rd.restore(photo, **GIVEN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sigma": "auto"}, r"sigma is 'auto' .* but must be None, to estimate it, .*=2 \* 25 / 255"),
        ({"sigma": "25/255"}, r"sigma is '25/255' .*=2 \* 25 / 255"),
        ({"hole": "black"}, r"hole is 'black' .* rd\.masks\.Hole\.BLACK"),
        ({"hole": "white"}, r"hole is 'white' .* rd\.masks\.Hole\.WHITE"),
        ({"seed": jax.random.key(0)}, "seed is a PRNG key but must be a whole number, such as seed=0"),
        ({"task": 3}, "task is 3 .* must be a task's name"),
        ({"prior": 3}, "prior is 3 .* must be a prior"),
        ({"changes": 3}, "changes is 3 .* must be fields and their values"),
        ({"grow": "x"}, "grow is 'x' .* must be None or a whole number"),
        ({"kernel": np.array(["a"])}, "kernel is an array <U1.* must be a file, an array"),
        ({"white": 255}, "white is 255.0 but arrays are uint8"),
        ({"page": 1}, "page is 1 but only files have pages"),
    ],
)
def test_arguments_of_another_kind_are_one_line(photo, given, words):
    with pytest.raises(ValueError, match=words) as caught:
        rd.restore(photo, **{**GIVEN, **given})
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused_before_a_prior_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"picture is the folder .* but must be one file"):
        rd.restore(tmp_path, task="denoise", prior=tmp_path / "no prior")
    with pytest.raises(ValueError, match="picture is ''"):
        rd.restore("", task="denoise")


def test_a_pil_image_is_turned_upright_and_keeps_its_exif_and_profile(photo, tmp_path):
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[274], exif[271] = 6, "a maker"
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif, icc_profile=profile)
    given = {**GIVEN, "task": "denoise", "changes": {"num_steps": 2}}
    from_path = rd.restore(tmp_path / "a.png", **given)
    x = rd.restore(Image.open(tmp_path / "a.png"), **given)
    assert (x.getexif()[271], x.getexif().get(274, 1)) == ("a maker", 1)
    assert x.info["icc_profile"] == profile
    np.testing.assert_array_equal(np.asarray(x), np.asarray(from_path))
    assert abs(np.float32(x) - np.rot90(photo, -1)).mean() < 64  # of another turn it is about 85


_MODES = (
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
    "I;16",
)


def as_mode(image, mode) -> Any:
    if mode == "LAB":
        return ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    if mode == "La":
        return image.convert("LA").convert("La")
    if mode == "RGBa":
        return image.convert("RGBA").convert("RGBa")
    if mode == "PA":
        return image.convert("P").convert("PA")
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


@pytest.mark.parametrize("mode", _MODES)
def test_each_mode_of_pillow_becomes_a_file_of_the_same_pixels(photo, tmp_path, mode):
    image = as_mode(Image.fromarray(photo), mode)
    white = 255.0 if mode in ("I", "F") else None
    path, white = picture_file(image, tmp_path / "a", white=white, page=None)
    y = pictures.read(path, channels=3, white=white).pixels
    straight = {"La": "LA", "RGBa": "RGBA"}.get(mode)
    expected = image.convert(straight).convert("RGB") if straight else as_mode(Image.fromarray(photo), mode)
    if mode in ("I", "F"):
        expected = expected.convert("L")
    if mode == "I;16":
        expected = Image.fromarray(photo).convert("L")
    if mode == "LAB":
        expected = Image.fromarray(photo)
    # 8 bits of Lab hold fewer colours than sRGB, and the luma of F is not rounded.
    tolerance = {"LAB": 0.2, "F": 1 / 127}.get(mode, 1e-6)
    np.testing.assert_allclose(y, pictures.to_float(np.asarray(expected.convert("RGB"))), atol=tolerance)


@pytest.mark.parametrize("mode", _MODES)
def test_a_mask_may_have_each_mode_of_pillow(mask, tmp_path, mode):
    path = mask_file(as_mode(painted(mask).convert("RGB"), mode), tmp_path / "mask", None)
    read = masks.load(path, mask.shape, hole=Hole.BLACK)
    np.testing.assert_array_equal(read[..., 0], mask)


def test_white_of_a_floating_point_image_can_be_said(photo, mask):
    image = Image.fromarray(np.float32(photo[..., 0]))
    with pytest.raises(ValueError, match=r"white=\d+ in Python"):
        rd.restore(image, mask=painted(mask), **GIVEN)
    x = rd.restore(image, mask=painted(mask), grow=0, white=255, **GIVEN)
    np.testing.assert_allclose(np.asarray(x)[mask], photo[..., 0][mask], atol=1e-3)


@pytest.mark.slow
def test_the_page_of_a_file_can_be_said(photo, mask, tmp_path):
    other = Image.fromarray(255 - photo)
    Image.fromarray(photo).save(tmp_path / "a.tif", save_all=True, append_images=[other])
    x = rd.restore(tmp_path / "a.tif", mask=painted(mask), grow=0, page=2, **GIVEN)
    np.testing.assert_array_equal(np.asarray(x)[mask], np.asarray(other)[mask])


def unit(photo, noise=0.0):
    ramp = np.linspace(0, 1, SIZE * SIZE).reshape(SIZE, SIZE, 1) * np.ones(3)
    return ramp + noise * (photo / 127.5 - 1)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_an_array_that_looks_like_unit_range_is_warned_of(photo, tmp_path, noise):
    with pytest.warns(UserWarning, match=r"as pictures in \[0, 1\] do, .* 2 \* picture - 1") as caught:
        picture_file(unit(photo, noise), tmp_path / "a", white=None, page=None)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda x: 0 * x,
        lambda x: 0.2 + 0.8 * x,
        lambda x: 2 * x - 1,
        lambda x: np.where(x > 0.1, 0.9, -0.5),
        lambda x: 0 * x + 1,
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_arrays_in_range_are_not_warned_of(photo, tmp_path, change, noise):
    x = change(unit(photo)) + noise * (photo / 127.5 - 1)
    path, white = picture_file(x, tmp_path / "a", white=None, page=None)  # a warning is an error here
    assert (path.is_file(), white) == (True, 1.0)


def test_a_single_hot_pixel_does_not_refuse_an_array(photo, tmp_path):
    x = pictures.to_float(photo)
    x[3, 3, 0] = 7
    path, white = picture_file(x, tmp_path / "a", white=None, page=None)
    assert (path.is_file(), white) == (True, 1.0)
