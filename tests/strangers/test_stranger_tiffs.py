"""TIFF files of instruments and programs: signed and wide numbers, channels that are no colour, and what they say."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from refusals import refusal

import reddiff_jax as rd
from reddiff_jax import pictures

H, W = 6, 9


@pytest.fixture
def rgb(rng) -> np.ndarray:
    return rng.integers(0, 256, (H, W, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.uint64])
@pytest.mark.parametrize("channels", [1, 3])
def test_whole_numbers_do_not_wrap_round(tmp_path, rng, dtype, channels):
    info = np.iinfo(dtype)
    values = rng.integers(max(info.min, -(2**31)), min(info.max, 2**32 - 1), (H, W, channels), dtype)
    tifffile.imwrite(tmp_path / "x.tif", values.squeeze(), photometric="rgb" if channels == 3 else "minisblack")
    assert "without a scale" in refusal(tmp_path / "x.tif")
    white = float(info.max)
    x = rd.read_picture(tmp_path / "x.tif", channels=channels, white=white)
    np.testing.assert_allclose(x, values / white * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float32])
def test_numbers_without_a_scale_are_not_turned_round(tmp_path, rng, dtype):
    tifffile.imwrite(tmp_path / "x.tif", rng.integers(0, 100, (H, W)).astype(dtype), photometric="miniswhite")
    assert "its 0 is white" in refusal(tmp_path / "x.tif", white=100)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_channel_that_is_no_alpha_is_refused(tmp_path, rng, dtype, channels):
    values = rng.integers(0, 255, (H, W, channels)).astype(dtype)
    photometric = "rgb" if channels == 4 else "minisblack"
    tifffile.imwrite(
        tmp_path / "x.tif", values, photometric=photometric, planarconfig="contig", extrasamples=["unspecified"]
    )
    assert "neither a colour nor said to be alpha; save it as gray or RGB" in refusal(tmp_path / "x.tif")


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}])
def test_the_layout_of_an_array_is_no_description(tmp_path, rgb, photometric, options):
    values = rgb if photometric == "rgb" else rgb[..., 0]
    tifffile.imwrite(tmp_path / "x.tif", values, photometric=photometric, **options)
    assert pictures.look(tmp_path / "x.tif").exif is None


def test_a_date_goes_into_deep_tiffs(tmp_path):
    exif = Image.Exif()
    exif[0x0132] = "2024:05:06 07:08:09"
    form = pictures.Form(H, W, 16, exif=exif.tobytes())
    rd.write_picture(tmp_path / "y.tif", np.zeros((H, W, 3)), like=pictures.Picture(np.zeros((H, W, 3)), None, form))
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        assert file.pages[0].tags.valueof(0x0132) == "2024:05:06 07:08:09"


def test_our_own_gray_floats_say_their_scale(tmp_path, rng):
    x = rng.uniform(-1, 1, (H, W, 1)).astype(np.float32)
    rd.write_picture(tmp_path / "x.tif", x, bits=32)
    picture = pictures.read(tmp_path / "x.tif")
    np.testing.assert_allclose(picture.pixels, x, atol=1e-6)
    assert picture.form.exif is None
