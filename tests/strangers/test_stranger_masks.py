"""Masks as people paint them: the right hole, or the line that helps."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

import reddiff_jax as rd
from reddiff_jax.masks import Hole

H, W = 24, 40


@pytest.fixture
def hole() -> np.ndarray:
    """A box of 6 x 10 pixels, True = missing."""
    missing = np.zeros((H, W), bool)
    missing[4:10, 20:30] = True
    return missing


def strokes(size=(W, H)) -> np.ndarray:
    """Part of each pixel that an antialiased stroke covers."""
    large = Image.new("L", (8 * size[0], 8 * size[1]))
    ImageDraw.Draw(large).line([(30, 20), (200, 160), (290, 60)], fill=255, width=20)
    return np.asarray(large.resize(size, Image.Resampling.BOX)) / 255


def save(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


def missing(path, hole=Hole.AUTO, **options):
    read = rd.masks.read(path, (H, W), hole=hole, **options)
    return np.asarray(read.mask[..., 0] == 0), read.hole


@pytest.mark.parametrize("name", ["mask.png", "mask.npy", "mask.tif", "mask.bmp"])
@pytest.mark.parametrize("largest", [1, 255])
@pytest.mark.parametrize("white", [False, True])
def test_the_smaller_share_is_the_hole(tmp_path, hole, name, largest, white):
    path = save(tmp_path / name, ((hole == white) * largest).astype(np.uint8))
    found, decided = missing(path)
    assert decided is (Hole.WHITE if white else Hole.BLACK)
    np.testing.assert_array_equal(found, hole)


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.float32, np.int8])
def test_arrays_of_any_numbers(tmp_path, hole, dtype):
    values = np.where(hole, -1, 1).astype(dtype) if dtype is np.int8 else (~hole).astype(dtype)
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.npy", values))[0], hole)


def test_a_named_hole_may_be_the_larger_share(tmp_path, hole):
    path = save(tmp_path / "mask.png", (255 * hole).astype(np.uint8))
    np.testing.assert_array_equal(missing(path, Hole.BLACK)[0], ~hole)
    np.testing.assert_array_equal(missing(path, Hole.WHITE)[0], hole)


@pytest.mark.parametrize("name", ["mask.png", "mask.npy"])
@pytest.mark.parametrize("white", [False, True])
def test_antialiased_paint_counts_as_hole_in_pictures_and_arrays_alike(tmp_path, name, white):
    cover = strokes()
    level = cover if white else 1 - cover
    path = save(tmp_path / name, np.round(255 * level).astype(np.uint8))
    np.testing.assert_array_equal(missing(path)[0], cover > 1 / 8)


@pytest.mark.parametrize("white", [False, True])
def test_a_mask_saved_as_jpeg(tmp_path, white):
    cover = strokes()
    level = np.round(255 * (cover if white else 1 - cover)).astype(np.uint8)
    Image.fromarray(level).save(tmp_path / "mask.jpg", quality=75)
    found = missing(tmp_path / "mask.jpg")[0]
    assert found[cover > 0.4].all()
    far = np.asarray(rd.masks.grow((cover == 0)[:, :, None].astype(np.float32), 3))[..., 0] == 1
    assert not found[far].any()


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
def test_strokes_on_a_transparent_layer(tmp_path, colour):
    cover = strokes()
    layers = np.concatenate([np.broadcast_to(colour, (H, W, 3)), np.round(255 * cover)[:, :, None]], axis=2)
    found, decided = missing(save(tmp_path / "mask.png", layers.astype(np.uint8)))
    assert decided is Hole.PAINT
    np.testing.assert_array_equal(found, cover > 1 / 8)


@pytest.mark.parametrize(("colour", "named"), [(0, Hole.BLACK), (255, Hole.WHITE)])
def test_strokes_of_a_named_colour_on_a_transparent_layer(tmp_path, colour, named):
    cover = strokes()
    layers = np.stack([np.full((H, W), colour), np.round(255 * cover)], axis=2).astype(np.uint8)
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.png", layers), named)[0], cover > 1 / 8)


def test_what_was_erased_is_the_hole(tmp_path, hole, rng):
    layers = rng.integers(0, 256, (H, W, 4), dtype=np.uint8)
    layers[..., 3] = np.where(hole, 0, 255)
    found, decided = missing(save(tmp_path / "mask.png", layers))
    assert decided is Hole.TRANSPARENT
    np.testing.assert_array_equal(found, hole)


def test_an_opaque_alpha_channel_says_nothing(tmp_path, hole):
    layers = np.stack([255 * hole, np.full((H, W), 255)], axis=2).astype(np.uint8)
    found, decided = missing(save(tmp_path / "mask.png", layers))
    assert decided is Hole.WHITE
    np.testing.assert_array_equal(found, hole)


@pytest.mark.parametrize("background", [0, 255])
def test_red_strokes(tmp_path, hole, background):
    values = np.full((H, W, 3), background, np.uint8)
    values[hole] = (255, 0, 0)
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.png", values))[0], hole)


COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "yellow": (255, 255, 0), "blue": (0, 0, 255)}


@pytest.mark.parametrize(
    ("ground", "first", "second"),
    [
        ("white", "black", "yellow"),
        ("black", "white", "blue"),
        ("yellow", "black", "blue"),
        ("white", "yellow", "blue"),
    ],
)
def test_strokes_of_two_colours(tmp_path, hole, ground, first, second):
    values = np.full((H, W, 3), COLOURS[ground], np.uint8)
    values[hole] = COLOURS[first]
    values[15:18, 3:9] = COLOURS[second]
    expected = hole.copy()
    expected[15:18, 3:9] = True
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.png", values))[0], expected)


def test_blue_on_black_is_bright(tmp_path, hole):
    values = np.where(hole[:, :, None], COLOURS["blue"], COLOURS["black"]).astype(np.uint8)
    found, decided = missing(save(tmp_path / "mask.png", values))
    assert decided is Hole.WHITE
    np.testing.assert_array_equal(found, hole)


@pytest.mark.parametrize("name", ["mask.png", "mask.npy"])
@pytest.mark.parametrize("how", [Hole.AUTO, Hole.WHITE])
def test_a_label_that_is_nearly_as_the_ground_is_not_left_out(tmp_path, hole, name, how):
    values = np.where(hole, 255, 0).astype(np.uint8)
    values[15:18, 3:9] = 1
    with pytest.raises(ValueError, match=r"has the values 0, 1, 255, of which some .*; give a mask of two values"):
        missing(save(tmp_path / name, values), how)


def test_a_soft_brush_is_no_label(tmp_path, hole):
    distance = np.hypot(*(np.mgrid[:H, :W] - np.array([12, 20])[:, None, None]))
    cover = np.clip(1.05 - distance / 10, 0, 1)
    layers = np.stack([np.zeros((H, W)), np.round(255 * cover)], axis=2).astype(np.uint8)
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.png", layers))[0], layers[..., 1] > 255 / 8)


def test_red_strokes_saved_as_jpeg(tmp_path):
    cover = strokes()[:, :, None]
    values = 255 * (1 - cover * np.array([0, 1, 1]))
    Image.fromarray(np.round(values).astype(np.uint8)).save(tmp_path / "mask.jpg", quality=90)
    found = missing(tmp_path / "mask.jpg")[0]
    assert found[cover[..., 0] > 0.4].all()
    far = np.asarray(rd.masks.grow((cover == 0).astype(np.float32), 3))[..., 0] == 1
    assert not found[far].any()


def test_black_strokes_on_yellow_paper_saved_as_jpeg(tmp_path):
    cover = strokes()[:, :, None]
    values = np.round((1 - cover) * np.array([255, 250, 200])).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "mask.jpg", quality=90)
    found = missing(tmp_path / "mask.jpg")[0]
    assert found[cover[..., 0] > 0.4].all()
    far = np.asarray(rd.masks.grow((cover == 0).astype(np.float32), 3))[..., 0] == 1
    assert not found[far].any()


def test_labels_that_differ_enough_are_all_missing(tmp_path, hole):
    values = hole.astype(np.uint8)
    values[15:18, 3:9] = 2
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.png", values))[0], values > 0)


@pytest.mark.parametrize("white", [False, True])
def test_a_transparent_pixel_does_not_outvote_black_and_white(tmp_path, hole, white):
    layers = np.stack([255 * (hole == white), np.full((H, W), 255)], axis=2).astype(np.uint8)
    layers[20, 3] = 0
    with pytest.raises(ValueError, match="has black, white and transparent pixels; say what marks the hole: --hole"):
        missing(save(tmp_path / "mask.png", layers))
    found = missing(tmp_path / "mask.png", Hole.WHITE if white else Hole.BLACK)[0]
    np.testing.assert_array_equal(found, hole)


def test_a_palette(tmp_path, hole):
    image = Image.fromarray(hole.astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "mask.png")
    found, decided = missing(tmp_path / "mask.png")
    assert decided is Hole.BLACK
    np.testing.assert_array_equal(found, hole)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_mask_needs_no_scale(tmp_path, hole, dtype):
    tifffile.imwrite(tmp_path / "mask.tif", (1000 * hole).astype(dtype))
    np.testing.assert_array_equal(missing(tmp_path / "mask.tif")[0], hole)


def test_a_mask_is_turned_as_its_photo(tmp_path, hole):
    exif = Image.Exif()
    exif[274] = 6
    stored = np.rot90(hole)  # what a viewer turns back, clockwise
    Image.fromarray((255 * stored).astype(np.uint8)).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(missing(tmp_path / "mask.png")[0], hole)


@pytest.mark.parametrize(
    ("paint", "said"),
    [
        (
            lambda rows, columns, rng: rows < H // 2,
            r"either way \(50% and 50%\); say what marks the hole: --hole black",
        ),
        (lambda rows, columns, rng: rng.random((H, W)) < 0.3, "single pixels.*--hole black or --hole white"),
        (lambda rows, columns, rng: columns / W, "half-tones, as photos have"),
    ],
)
def test_what_cannot_be_decided_is_asked(tmp_path, rng, paint, said):
    rows, columns = np.mgrid[:H, :W]
    values = np.round(255.0 * paint(rows, columns, rng)).astype(np.uint8)
    with pytest.raises(ValueError, match=said):
        missing(save(tmp_path / "mask.png", values))
    missing(tmp_path / "mask.png", Hole.BLACK)  # named, it is taken


def test_specks_of_dust_are_decided(tmp_path):
    dust = np.zeros((H, W), bool)
    dust[3, 4] = dust[10, 30] = dust[20, 11] = True
    np.testing.assert_array_equal(missing(save(tmp_path / "mask.png", (255 * dust).astype(np.uint8)))[0], dust)


def test_transparency_that_is_not_there_is_refused(tmp_path, hole):
    with pytest.raises(ValueError, match="has no transparent pixels; say what marks the hole"):
        missing(save(tmp_path / "mask.png", (255 * hole).astype(np.uint8)), Hole.TRANSPARENT)


def test_packed_masks_have_their_own_convention(tmp_path, hole):
    rows = np.repeat(~hole[None], 3, axis=0).reshape(1, -1)
    np.savez(tmp_path / "mask.npz", m=np.packbits(rows), shape=np.array(rows.shape))
    found, decided = missing(tmp_path / "mask.npz")
    assert decided is None
    np.testing.assert_array_equal(found, hole)
    with pytest.raises(ValueError, match="say themselves what is missing; leave --hole white out"):
        missing(tmp_path / "mask.npz", Hole.WHITE)


def test_a_mask_on_its_side_says_so(tmp_path, hole):
    with pytest.raises(ValueError, match=f"has {H} x {W} pixels but {W} x {H} are needed. It lies on its side"):
        missing(save(tmp_path / "mask.png", hole.T))


@pytest.mark.parametrize("pixels", [0, 1, 2.5, 4, 60])
def test_holes_grow_by_a_distance(hole, pixels):
    grown = rd.masks.grow((~hole)[:, :, None].astype(np.float32), pixels)[..., 0] == 0
    rows, columns = np.mgrid[:H, :W]
    squares = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in np.argwhere(hole)]
    np.testing.assert_array_equal(grown, np.min(squares, axis=0) <= pixels**2)


def test_a_negative_growth_is_refused(hole):
    with pytest.raises(ValueError, match="pixels is -1 but must be at least 0"):
        rd.masks.grow((~hole)[:, :, None].astype(np.float32), -1)
