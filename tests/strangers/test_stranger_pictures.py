"""Pictures as paint programs, phones, scanners and instruments write them: the right pixels, or the line that helps."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from refusals import refusal

import reddiff_jax as rd
from reddiff_jax import pictures

H, W = 6, 9
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.fixture
def rgb(rng) -> np.ndarray:
    return rng.integers(0, 256, (H, W, 3), dtype=np.uint8)


@pytest.fixture
def rgb16(rng) -> np.ndarray:
    return rng.integers(0, 65536, (H, W, 3), dtype=np.uint16)


def numbers(x, white):
    return np.round((x.astype(np.float64) + 1) * white / 2).astype(int)


# ---- modes of Pillow


def test_eight_bits_of_colour_are_as_they_ever_were(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "x.png")
    assert (rd.read_picture(tmp_path / "x.png") == rgb.astype(np.float32) / 127.5 - 1).all()


def test_gray_of_colours_is_pillow_s_luma_to_the_bit(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "x.png")
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    assert (pictures.read_uint8(tmp_path / "x.png", channels=1)[..., 0] == luma).all()


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_gray_pictures_stay_gray_or_are_repeated(tmp_path, rgb, channels):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "x.png")
    x = rd.read_picture(tmp_path / "x.png", channels=channels)
    assert x.shape == (H, W, channels or 1)
    assert (numbers(x, 255) == rgb[..., :1]).all()


def test_one_bit_is_black_and_white(tmp_path, rgb):
    Image.fromarray(rgb[..., 0] > 127).save(tmp_path / "x.png")
    picture = pictures.read(tmp_path / "x.png")
    assert picture.form.gray
    assert (picture.pixels[..., 0] == np.where(rgb[..., 0] > 127, 1, -1)).all()


@pytest.mark.parametrize("gray", [False, True])
def test_palettes_are_looked_up(tmp_path, rgb, gray):
    palette = np.repeat(rgb[0, :4, :1], 3, axis=1) if gray else rgb[0, :4]
    indices = rgb[..., 1] % 4
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "x.png")
    assert pictures.look(tmp_path / "x.png").gray == gray
    assert (pictures.read_uint8(tmp_path / "x.png") == palette[indices]).all()


def test_a_palette_s_transparent_colour_is_alpha(tmp_path, rgb):
    image = Image.fromarray(rgb[..., 1] % 4)
    image.putpalette(rgb[0, :4].tobytes())
    image.save(tmp_path / "x.png", transparency=2)
    picture = pictures.read(tmp_path / "x.png")
    assert (picture.alpha[..., 0] == (rgb[..., 1] % 4 != 2)).all()
    assert (picture.pixels[picture.alpha[..., 0] == 0] == 1).all()


def test_a_transparent_colour_of_rgb_is_alpha(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "x.png", transparency=tuple(int(v) for v in rgb[2, 3]))
    assert np.argwhere(pictures.read(tmp_path / "x.png").alpha[..., 0] == 0).tolist() == [[2, 3]]


@pytest.mark.parametrize("channels", [1, 3])
def test_half_transparent_pixels_keep_their_own_colour(tmp_path, rgb, channels):
    alpha = np.full((H, W, 1), 128, np.uint8)
    layers = np.concatenate([rgb[..., :channels], alpha], axis=2)
    Image.fromarray(layers).save(tmp_path / "x.png")
    picture = pictures.read(tmp_path / "x.png")
    assert (numbers(picture.pixels, 255) == rgb[..., :channels]).all()
    np.testing.assert_allclose(picture.alpha, 128 / 255, rtol=1e-6)


def test_inks_are_converted(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    assert (pictures.read_uint8(tmp_path / "x.tif") == (255, 0, 0)).all()


def test_lab_is_converted_to_srgb(tmp_path):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    colours = Image.fromarray(np.array([[[200, 90, 60], [90, 120, 180]]], np.uint8))
    ImageCms.profileToProfile(colours, srgb, lab, outputMode="LAB").save(tmp_path / "x.tif")
    found = pictures.read_uint8(tmp_path / "x.tif").astype(int)
    assert abs(found - np.asarray(colours)).max() <= 3  # Lab has 8 bits a channel


def test_ycbcr_is_converted(tmp_path):
    Image.new("YCbCr", (16, 16), (76, 85, 255)).save(tmp_path / "x.jpg", quality=100)
    assert abs(pictures.read_uint8(tmp_path / "x.jpg").astype(int) - (254, 0, 0)).max() <= 3  # JPEG


# ---- 16 bits


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_come_in_and_go_out(tmp_path, rgb16, suffix, channels, alpha):
    values = rgb16[..., :channels]
    opaque = np.clip(rgb16[..., 1:2].astype(np.float32) / 65535, 0.01, 1) if alpha else None
    form = pictures.Form(H, W, 16, channels == 1, alpha, 65535.0)
    x = values.astype(np.float32) / 32767.5 - 1
    rd.write_picture(tmp_path / f"x.{suffix}", x, like=pictures.Picture(x, opaque, form))
    picture = pictures.read(tmp_path / f"x.{suffix}")
    assert picture.form == form
    assert (numbers(picture.pixels, 65535) == values).all()
    if alpha:
        assert abs(picture.alpha - opaque).max() < 1e-5  # 1 / 65535 is 1.5e-5


def test_our_sixteen_bit_png_is_what_others_read(tmp_path, rgb16):
    rd.write_picture(tmp_path / "x.png", rgb16.astype(np.float32) / 32767.5 - 1, bits=16)
    with Image.open(tmp_path / "x.png") as image:
        image.verify()
    with Image.open(tmp_path / "x.png") as image:
        assert (np.asarray(image) == rgb16 >> 8).all()  # Pillow keeps the upper byte


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_colours_of_sixteen_bits_in_a_tiff(tmp_path, rgb16, options):
    stored = np.moveaxis(rgb16, -1, 0) if "planarconfig" in options else rgb16
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", **options)
    assert (numbers(rd.read_picture(tmp_path / "x.tif"), 65535) == rgb16).all()


@pytest.mark.parametrize(("photometric", "turn"), [("minisblack", False), ("miniswhite", True)])
def test_gray_of_sixteen_bits_in_a_tiff(tmp_path, rgb16, photometric, turn):
    values = rgb16[..., 0]
    tifffile.imwrite(tmp_path / "x.tif", 65535 - values if turn else values, photometric=photometric)
    assert (numbers(rd.read_picture(tmp_path / "x.tif", channels=1), 65535)[..., 0] == values).all()


def test_lzw_with_sixteen_bits(tmp_path, rgb16):
    Image.fromarray(rgb16[..., 0]).save(tmp_path / "x.tif", compression="tiff_lzw")
    assert (numbers(rd.read_picture(tmp_path / "x.tif", channels=1), 65535)[..., 0] == rgb16[..., 0]).all()


def test_twelve_bits_in_sixteen_ask_for_their_scale(tmp_path, rgb16):
    Image.fromarray(rgb16[..., 0] >> 4).save(tmp_path / "x.png")
    assert "--white 4095" in refusal(tmp_path / "x.png")
    x = rd.read_picture(tmp_path / "x.png", channels=1, white=4095)
    assert (numbers(x, 4095)[..., 0] == rgb16[..., 0] >> 4).all()
    dark = rd.read_picture(tmp_path / "x.png", channels=1, white=65535)
    assert dark.max() < -0.8


def test_a_tiff_that_names_its_white_is_believed(tmp_path, rgb16):
    tifffile.imwrite(tmp_path / "x.tif", rgb16[..., 0] >> 4, extratags=[(281, 3, 1, 4095, True)])
    picture = pictures.read(tmp_path / "x.tif")
    assert picture.form.white == 4095
    assert (numbers(picture.pixels, 4095)[..., 0] == rgb16[..., 0] >> 4).all()
    rd.write_picture(tmp_path / "y.png", picture.pixels, like=picture)
    with Image.open(tmp_path / "y.png") as image:
        assert (np.asarray(image) == rgb16[..., 0] >> 4).all()


# ---- 32 bits


@pytest.mark.parametrize("shape", [(H, W), (H, W, 3)])
@pytest.mark.parametrize("white", [1.0, 1000.0])
def test_floats_are_read_on_the_scale_that_is_named(tmp_path, rng, shape, white):
    values = (white * rng.random(shape)).astype(np.float32)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb" if len(shape) == 3 else None)
    assert "--white" in refusal(tmp_path / "x.tif")
    with pytest.raises(pictures.PictureError, match="without a scale; save it with 8 or 16 bits"):
        pictures.picture_size(tmp_path / "x.tif")
    picture = pictures.read(tmp_path / "x.tif", white=white)
    np.testing.assert_allclose(picture.pixels, values.reshape(H, W, -1) / white * 2 - 1, atol=1e-6)
    rd.write_picture(tmp_path / "y.tif", picture.pixels, like=picture)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "y.tif"), values, rtol=1e-5, atol=1e-6 * white)


def test_our_own_floats_are_read_without_naming_the_scale(tmp_path, rng):
    x = rng.uniform(-1.5, 1.5, (H, W, 3)).astype(np.float32)  # values outside the range are kept
    rd.write_picture(tmp_path / "x.tif", x, bits=32)
    np.testing.assert_allclose(rd.read_picture(tmp_path / "x.tif"), x, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16, np.float64, np.float16])
def test_other_numbers_ask_for_their_scale(tmp_path, rng, dtype):
    values = rng.integers(0, 1001, (H, W)).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", values)
    assert "without a scale" in refusal(tmp_path / "x.tif")
    x = rd.read_picture(tmp_path / "x.tif", channels=1, white=1000)
    np.testing.assert_allclose(x[..., 0], values.astype(float) / 500 - 1, atol=1e-6)


def test_a_scale_that_is_far_too_small_is_refused(tmp_path, rng):
    tifffile.imwrite(tmp_path / "x.tif", (1000 * rng.random((H, W))).astype(np.float32))
    assert "most of them above the white of 1" in refusal(tmp_path / "x.tif", white=1.0)


def test_numbers_that_are_none_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.full((H, W), np.nan, np.float32))
    assert "not finite" in refusal(tmp_path / "x.tif", white=1.0)


# ---- rotation, pages, colours, other files


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "lzw", "float"])
def test_the_camera_s_rotation(tmp_path, rgb, kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.repeat(rgb[:, :, :1], 3, axis=2) if kind == "jpg" else rgb
    path = tmp_path / f"x.{kind if kind in ('jpg', 'png') else 'tif'}"
    options, white, error = {}, 255, 0
    if kind == "float":
        stored, white = rgb.astype(np.float32), 255
        tifffile.imwrite(path, stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
        options = {"white": white}
    else:
        more = {"jpg": {"quality": 100}, "lzw": {"compression": "tiff_lzw"}}.get(kind, {})
        error = 2 if kind == "jpg" else 0
        Image.fromarray(stored).save(path, exif=exif, **more)
    expected = TURNS[orientation](stored)
    form = pictures.look(path)
    assert (form.height, form.width) == expected.shape[:2]
    picture = pictures.read(path, **options)
    assert picture.pixels.shape == expected.shape
    assert abs(numbers(picture.pixels, white) - expected).max() <= error


def test_several_pages_are_not_cut_to_the_first(tmp_path, rgb):
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    assert "it has 2 pages; choose one with --page" in refusal(tmp_path / "x.tif")
    assert (numbers(rd.read_picture(tmp_path / "x.tif", page=2), 255) == 255 - rgb).all()
    assert "page is 3 but it has 2" in refusal(tmp_path / "x.tif", page=3)


def test_pages_of_floats_and_of_sixteen_bits(tmp_path, rgb16):
    for name, stack, white in [("f", rgb16.astype(np.float32), 65535), ("i", rgb16, None)]:
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, np.stack([stack, stack[::-1]]), photometric="rgb")
        assert "has 2 pages" in refusal(path)
        assert (numbers(rd.read_picture(path, page=2, white=white), 65535) == rgb16[::-1]).all()


def test_a_preview_within_a_tiff_is_no_page(tmp_path, rgb):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(rgb, photometric="rgb")
        file.write(rgb[::2, ::2], photometric="rgb", subfiletype=1)
    assert (pictures.read_uint8(tmp_path / "x.tif") == rgb).all()


def test_a_moving_picture_is_several_pages(tmp_path, rgb):
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert "has 2 pages" in refusal(tmp_path / "x.webp")


@pytest.mark.parametrize("bits", [8, 16])
def test_profile_exif_and_alpha_go_out_as_they_came_in(tmp_path, rgb, bits):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274], exif[0x010F] = 6, "A camera"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09"}
    layers = np.concatenate([rgb, rgb[..., :1]], axis=2)
    Image.fromarray(layers).save(tmp_path / "x.png", icc_profile=profile, exif=exif)
    picture = pictures.read(tmp_path / "x.png")
    rd.write_picture(tmp_path / "y.png", picture.pixels, like=picture, bits=bits)
    with Image.open(tmp_path / "y.png") as image:
        found = image.getexif()
        assert image.info["icc_profile"] == profile
        assert (found[0x010F], found.get(274)) == ("A camera", None)
        assert found.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    again = pictures.read(tmp_path / "y.png")
    assert abs(again.alpha - picture.alpha).max() < 1e-5
    assert abs(again.pixels - picture.pixels).max() < 1e-4  # 8 bits in 16


def test_a_tiff_s_description_goes_out_and_its_layout_does_not(tmp_path, rgb):
    tifffile.imwrite(tmp_path / "x.tif", rgb, photometric="rgb", description="my scan", metadata=None)
    rd.write_picture(tmp_path / "y.png", rd.read_picture(tmp_path / "x.tif"), like=tmp_path / "x.tif")
    with Image.open(tmp_path / "y.png") as image:
        assert set(image.getexif()) == {270}
        assert image.getexif()[270] == "my scan"


def test_gray_in_is_gray_out(tmp_path, rgb, rng):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "x.png")
    x = rng.uniform(-1, 1, (H, W, 3))
    rd.write_picture(tmp_path / "y.png", x, like=tmp_path / "x.png")
    with Image.open(tmp_path / "y.png") as image:
        assert image.mode == "L"
        assert (np.asarray(image) == pictures.to_uint8(x.mean(axis=2))).all()


def test_alpha_is_enlarged_with_the_picture(tmp_path, rgb):
    alpha = np.ones((H, W, 1), np.float32)
    picture = pictures.Picture(np.zeros((H, W, 3)), alpha, pictures.Form(H, W, alpha=True))
    rd.write_picture(tmp_path / "x.png", np.zeros((4 * H, 4 * W, 3)), like=picture)
    assert (pictures.read(tmp_path / "x.png").alpha == 1).all()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("x.jpg", {"bits": 16}, "name it .png or .tif"),
        ("x.png", {"bits": 32}, "name it .tif"),
        ("x.png", {"bits": 12}, "bits is 12 but must be 8, 16, or 32"),
    ],
)
def test_a_format_that_cannot_hold_the_bits_is_refused(tmp_path, name, options, said):
    with pytest.raises(ValueError, match=said):
        rd.write_picture(tmp_path / name, np.zeros((H, W, 3)), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no picture", b"II*\0 broken", b"ftypheic", b"\x89PNG\r\n\x1a\n broken"])
def test_what_cannot_be_read_names_the_formats(tmp_path, content):
    (tmp_path / "x.heic").write_bytes(content)
    assert "give a PNG, JPEG, WebP, BMP or TIFF file" in refusal(tmp_path / "x.heic")


def test_a_missing_file_is_no_other_format(tmp_path):
    assert refusal(tmp_path / "x.png").endswith("does not exist; check the name.")


# ---- folders of several kinds of files, and what describes a picture


def test_a_white_belongs_to_files_that_do_not_say_theirs(tmp_path, rgb, rgb16):
    """A folder of floating-point TIFFs, 16-bit and 8-bit PNGs has one --white."""
    values = rgb.astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "float.tif", values, photometric="rgb")
    full = np.maximum(rgb16, 5000)
    pictures.write_picture(tmp_path / "deep.png", full / np.float32(32767.5) - 1, bits=16)
    Image.fromarray(rgb).save(tmp_path / "usual.png")
    pictures.write_picture(tmp_path / "own.tif", values * 2 - 1, like=pictures.read(tmp_path / "float.tif", white=4.0))
    for name, white in (("float.tif", 1.0), ("deep.png", 65535.0), ("usual.png", 255.0), ("own.tif", 4.0)):
        assert pictures.read(tmp_path / name, white=1.0).form.white == white
    assert abs(numbers(rd.read_picture(tmp_path / "deep.png", white=1.0), 65535) - full).max() <= 1


def test_a_white_of_few_bits_in_sixteen_is_taken_where_it_can_be(tmp_path, rgb):
    array = (rgb.astype(np.uint16) * 16383) // 255
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb")
    assert pictures.read(tmp_path / "x.tif", white=16383).form.white == 16383


@pytest.mark.parametrize("bits", [16, 32])
def test_what_describes_a_picture_goes_into_tiffs(tmp_path, rgb, bits):
    exif = Image.Exif()
    exif[0x010F], exif[0x013B], exif[0x010E] = "A camera", "M\u00fcller", "A sea"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(rgb).save(tmp_path / "x.png", icc_profile=profile, exif=exif)
    x = rd.read_picture(tmp_path / "x.png")
    rd.write_picture(tmp_path / "y.tif", x, like=tmp_path / "x.png", bits=bits)
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        tags = file.pages[0].tags
        assert tags.valueof(0x010F) == "A camera"
        assert tags.valueof(0x013B) == "M?ller"
        assert tags.valueof(34675) == profile
        assert bits == 32 or tags.valueof(0x010E) == "A sea"  # where the scale of floating-point numbers stands
    rd.write_picture(tmp_path / "z.tif", x, like=tmp_path / "y.tif")
    with tifffile.TiffFile(tmp_path / "z.tif") as file:
        assert file.pages[0].tags.valueof(0x010F) == "A camera"
