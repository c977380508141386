import hashlib

import numpy as np
import pytest
from PIL import Image

import reddiff_jax as rd


@pytest.fixture
def masks(rng) -> np.ndarray:
    return rng.random((3, 16, 20)) > 0.3  # True = observed


@pytest.fixture
def published(tmp_path, masks):
    rows = np.repeat(masks[:, None], 3, axis=1).reshape(3, -1)  # (n, 3 H W), channels first
    np.savez(tmp_path / "20ff.npz", m=np.packbits(rows), shape=np.array(rows.shape))
    return tmp_path / "20ff.npz"


@pytest.fixture
def palette(tmp_path, rng):
    holes = rng.random((2, 256, 256)) > 0.75  # True = missing
    np.savez(tmp_path / "p.npz", **{"10-20% freeform": np.packbits(~holes), "20-30% freeform": np.packbits(holes)})
    return tmp_path / "p.npz", holes


def test_published_masks_keep_where_the_bit_is_set(published, masks):
    np.testing.assert_array_equal(rd.masks.load(published, (16, 20, 3), index=1)[:, :, 0], masks[1])


def test_published_masks_may_be_unpacked_or_start_within_a_byte(tmp_path, rng):
    rows = rng.random((2, 3 * 3 * 3)) > 0.5
    for name, m in {"bits": np.packbits(rows), "bytes": rows}.items():
        np.savez(tmp_path / f"{name}.npz", m=m, shape=np.array(rows.shape))
        mask = rd.masks.load(tmp_path / f"{name}.npz", (3, 3), index=1)
        np.testing.assert_array_equal(mask, np.moveaxis(rows[1].reshape(3, 3, 3), 0, 2))


def test_palette_masks_miss_where_the_bit_is_set(palette):
    path, holes = palette
    mask = rd.masks.load(path, (256, 256), entry="20-30% freeform", index=1)
    np.testing.assert_array_equal(mask[:, :, 0], ~holes[1])


def test_palette_files_need_an_entry(palette):
    with pytest.raises(ValueError, match=r"entry is None but .* has \['10-20% freeform', '20-30% freeform'\]"):
        rd.masks.load(palette[0], (256, 256), index=0)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_plain_arrays_keep_where_they_are_not_zero(suffix, tmp_path, masks):
    path = tmp_path / f"mask.{suffix}"
    (np.save if suffix == "npy" else np.savez)(path, masks[0])
    np.testing.assert_array_equal(rd.masks.load(path, (16, 20))[:, :, 0], masks[0])


@pytest.mark.parametrize("bright", [1, 255])
def test_pictures_keep_where_they_are_bright(bright, tmp_path, masks):
    Image.fromarray(masks[0].astype(np.uint8) * bright).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(rd.masks.load(tmp_path / "mask.png", (16, 20))[:, :, 0], masks[0])


def test_invert_swaps_observed_and_missing(tmp_path, masks):
    np.save(tmp_path / "mask.npy", masks[0])
    np.testing.assert_array_equal(rd.masks.load(tmp_path / "mask.npy", (16, 20), invert=True)[:, :, 0], ~masks[0])


def test_a_name_chooses_by_its_hash_and_not_by_its_place(published, masks):
    chosen = int(hashlib.sha256(b"cat.png").hexdigest(), 16) % 3
    np.testing.assert_array_equal(rd.masks.load(published, (16, 20), name="cat.png")[:, :, 0], masks[chosen])


def test_another_seed_chooses_other_masks(published):
    names = [f"{i}.png" for i in range(20)]
    by_seed = [[rd.masks.load(published, (16, 20), name=name, seed=seed) for name in names] for seed in (0, 1, 1)]
    changed = [bool((a != b).any()) for a, b in zip(by_seed[0], by_seed[1], strict=True)]
    assert any(changed)
    np.testing.assert_array_equal(by_seed[1], by_seed[2])


def test_masks_can_be_enlarged_for_larger_pictures(published, masks):
    mask = rd.masks.load(published, (32, 40), index=1, enlarge=2)
    np.testing.assert_array_equal(mask[:, :, 0], masks[1].repeat(2, axis=0).repeat(2, axis=1))


def test_enlarging_to_a_fraction_of_a_pixel_is_refused(published):
    with pytest.raises(ValueError, match="enlarge is 3 but must divide the picture's 40 x 32 pixels"):
        rd.masks.load(published, (32, 40), index=1, enlarge=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has 3 masks. Say which: index=..., or name="),
        ({"index": 3}, "index is 3 but .* has 3 masks, counted from 0"),
        ({"index": 0, "name": "cat.png"}, "give one of them"),
    ],
)
def test_unclear_choices_are_refused(options, message, published):
    with pytest.raises(ValueError, match=message):
        rd.masks.load(published, (16, 20), **options)


def test_wrong_sizes_are_refused_with_both(published, palette, tmp_path, masks):
    np.save(tmp_path / "mask.npy", masks[0])
    with pytest.raises(ValueError, match="has 20 x 16 pixels but 32 x 32 are needed"):
        rd.masks.load(tmp_path / "mask.npy", (32, 32))
    with pytest.raises(ValueError, match="320 pixels each but 32 x 32 are needed"):
        rd.masks.load(published, (32, 32), index=0)
    with pytest.raises(ValueError, match="has 256 x 256 pixels but 32 x 32 are needed"):
        rd.masks.load(palette[0], (32, 32), entry="20-30% freeform", index=0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((4, 6), "a"), "type <U1; give numbers or truth values"),
        (np.ones((4, 6), complex), "type complex128; give numbers or truth values"),
        (np.ones((0, 6)), "without pixels; give a mask"),
        (np.ones(6), "masks are"),
    ],
)
def test_arrays_that_are_no_mask_are_refused(tmp_path, values, said):
    np.save(tmp_path / "mask.npy", values)
    with pytest.raises(ValueError, match=said):
        rd.masks.load(tmp_path / "mask.npy", (4, 6))


def test_a_gray_picture_has_no_mask_for_each_channel(tmp_path):
    values = np.ones((4, 6, 3), np.uint8)
    values[1, 2, 0] = 0
    np.save(tmp_path / "mask.npy", values)
    assert rd.masks.load(tmp_path / "mask.npy", (4, 6, 3)).shape == (4, 6, 3)
    with pytest.raises(ValueError, match=r"mask\.npy has another mask for each channel but the picture is gray"):
        rd.masks.load(tmp_path / "mask.npy", (4, 6, 1))


def test_a_moving_mask_is_told_to_be_split(tmp_path):
    frames = [Image.new("L", (6, 4), colour) for colour in (0, 255)]
    frames[0].save(tmp_path / "mask.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"mask\.gif has several pages or moves; save the one that is meant alone"):
        rd.masks.load(tmp_path / "mask.gif", (4, 6))
