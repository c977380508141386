"""What is no picture in [-1, 1], or no place for one, is refused in one line before anything is written."""

import numpy as np
import pytest
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import pictures

H, W = 6, 9
X = np.zeros((H, W, 3), np.float32)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((H, W, 3), np.uint8), r"type uint8 .*; pictures\.to_float\(x\) converts uint8"),
        (X + 0j, "type complex64 but must be floating-point"),
        (X.astype(int), "type int64 but must be floating-point"),
        (X.astype(str), "type <U32 but must be floating-point"),
        (np.full_like(X, np.nan), "values that are not finite; replace them"),
        (np.full_like(X, np.inf), "values that are not finite; replace them"),
        (
            np.linspace(0, 255, X.size).reshape(X.shape),
            r"values from 0 to 255 .*; convert it, such as by x / 127.5 - 1",
        ),
        (X[:0], r"shape \(0, 9, 3\)"),
    ],
)
def test_what_is_no_image_in_the_range(tmp_path, x, said):
    with pytest.raises(ValueError, match=said) as caught:
        rd.write_picture(tmp_path / "x.png", x)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_noisy_measurement_is_cut(tmp_path, rng):
    x = 1.5 * rng.standard_normal((40, 40, 1))
    assert abs(x).max() > 4
    rd.write_picture(tmp_path / "x.png", x)
    assert (pictures.read_uint8(tmp_path / "x.png", channels=1) == pictures.to_uint8(x)).all()


@pytest.mark.parametrize(("name", "said"), [("x.gif", "the suffix .gif"), ("x", "no suffix"), ("x.npy", "suffix .npy")])
def test_an_unknown_suffix_names_those_that_there_are(tmp_path, name, said):
    with pytest.raises(ValueError, match=rf"{said}; name it \.bmp, \.jpeg, \.jpg, \.png, \.tif, \.tiff, \.webp"):
        rd.write_picture(tmp_path / name, X)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*gone does not exist; make it first"):
        rd.write_picture(tmp_path / "gone" / "x.png", X)
    (tmp_path / "x.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"x\.png is a folder"):
        rd.write_picture(tmp_path / "x.png", X)


@pytest.mark.parametrize("like", [X, Image.new("RGB", (W, H))])
def test_a_picture_to_be_like_is_a_file(tmp_path, like):
    with pytest.raises(TypeError, match=r"like is of type \w+ but must be a picture's file"):
        rd.write_picture(tmp_path / "x.png", X, like=like)


@pytest.mark.parametrize("bits", ["16", "float", 12])
def test_bits_are_a_number(tmp_path, bits):
    with pytest.raises(ValueError, match=f"bits is {bits!r} but must be 8, 16, or 32 for floating-point"):
        rd.write_picture(tmp_path / "x.tif", X, bits=bits)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"white": "1"}, "white is '1' but must be a number"),
        ({"white": True}, "white is True but must be a number"),
        ({"page": 2.0}, r"page is 2\.0 but must be a whole number"),
        ({"page": "2"}, "page is '2' but must be a whole number"),
    ],
)
def test_wrong_types_of_options_are_named(tmp_path, options, said):
    rd.write_picture(tmp_path / "x.png", X)
    with pytest.raises(TypeError, match=said):
        rd.read_picture(tmp_path / "x.png", **options)


def test_an_array_is_not_read():
    with pytest.raises(TypeError, match="path is of type ndarray but must be a picture's file") as caught:
        rd.read_picture(X)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 100
