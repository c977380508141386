"""Picture files: what goes in comes out, and what is no picture says so."""

import numpy as np
import pytest
from PIL import Image

from reddiff_jax import pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_writing_and_reading_returns_the_8_bit_pixels(tmp_path, rng, channels):
    array = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    pictures.write_picture(tmp_path / "x.png", pictures.to_float(array))
    assert np.array_equal(pictures.read_uint8(tmp_path / "x.png", channels=channels), array)


def test_rounding_errs_by_its_sigma(rng):
    x = rng.uniform(-1, 1, 100_000)
    error = pictures.to_float(pictures.to_uint8(x)) - x
    np.testing.assert_allclose(np.std(error), pictures.ROUNDING_SIGMA, rtol=0.03)


def test_float_and_uint8_are_inverse():
    array = np.arange(256, dtype=np.uint8)
    assert np.array_equal(pictures.to_uint8(pictures.to_float(array)), array)


def test_values_outside_the_range_are_cut():
    assert np.array_equal(pictures.to_uint8(np.array([-3.0, 3.0])), [0, 255])


def test_transparent_pixels_are_read_over_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "x.png")
    assert (pictures.read_uint8(tmp_path / "x.png") == 255).all()


def test_sixteen_bit_pictures_keep_their_upper_byte(tmp_path):
    Image.fromarray(np.full((2, 2), 0x80FF, np.uint16)).save(tmp_path / "x.png")
    assert (pictures.read_uint8(tmp_path / "x.png", channels=1) == 0x80).all()


def test_the_camera_s_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "x.jpg", exif=exif)
    assert pictures.read_uint8(tmp_path / "x.jpg").shape == (4, 2, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(pictures.PictureError, match=r"x\.png cannot be read as a picture"):
        pictures.read_picture(tmp_path / "x.png")


def test_a_missing_picture_is_an_error_that_names_it(tmp_path):
    with pytest.raises(pictures.PictureError, match=r"gone\.png"):
        pictures.read_picture(tmp_path / "gone.png")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, path, format=None):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space"):
        pictures.write_picture(tmp_path / "x.png", np.zeros((2, 2, 3)))
    assert list(tmp_path.iterdir()) == []


def test_the_centre_crop_is_the_middle_square(rng):
    array = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    assert np.array_equal(pictures.center_crop(array, 8), array[:, 2:10])


def test_a_crop_larger_than_the_picture_is_an_error():
    with pytest.raises(ValueError, match="has no 16 x 16 crop"):
        pictures.center_crop(np.zeros((8, 12, 3), np.uint8), 16)
