"""Regions: windows that hold all that is missing, and of which only the holes are taken."""

import numpy as np
import pytest
import restoring_jobs
from PIL import Image, ImageDraw

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.jobs.regions import Region, find_regions, pasted, whole

SHAPE = (240, 320)
MARGIN = 8


def mask_of(draw, shape=SHAPE):
    """A mask (H, W, 1), 0 where something was drawn."""
    image = Image.new("L", shape[::-1], 255)
    draw(ImageDraw.Draw(image))
    return (np.asarray(image) > 0).astype(np.float32)[..., None]


MASKS = {
    "dots": mask_of(lambda d: [d.ellipse([x, y, x + 5, y + 5], fill=0) for x, y in ((40, 40), (60, 50), (250, 200))]),
    "scratch": mask_of(lambda d: d.line([(0, 10), (150, 120), (319, 100)], fill=0, width=5)),
    "vertical scratch at the border": mask_of(lambda d: d.line([(2, 0), (0, 239)], fill=0, width=3)),
    "box": mask_of(lambda d: d.rectangle([100, 80, 139, 119], fill=0)),
    "corner": mask_of(lambda d: d.rectangle([300, 220, 319, 239], fill=0)),
    "cross": mask_of(lambda d: [d.line([(0, 0), (319, 239)], fill=0, width=4), d.line([(0, 239), (319, 0)], fill=0)]),
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


@every_mask
def test_windows_of_one_size_hold_every_hole_with_its_margin(mask):
    regions = find_regions(mask)
    assert len({(region.height, region.width) for region in regions}) == 1
    seen_around = np.zeros(SHAPE, bool)
    for region in regions:
        assert 0 <= region.top <= SHAPE[0] - region.height
        assert 0 <= region.left <= SHAPE[1] - region.width
        top, left = (0 if start == 0 else start + MARGIN for start in (region.top, region.left))
        bottom, right = (
            end if end == side else end - MARGIN
            for end, side in zip((region.top + region.height, region.left + region.width), SHAPE, strict=True)
        )
        seen_around[top:bottom, left:right] = True
    assert (seen_around | (mask[..., 0] != 0)).all()


@every_mask
def test_windows_spare_most_of_the_picture(mask):
    assert sum(region.height * region.width for region in find_regions(mask)) < 0.7 * np.prod(SHAPE)


@every_mask
def test_the_windows_are_the_same_each_time(mask):
    assert find_regions(mask) == find_regions(mask.copy())


def test_wide_holes_have_wide_margins_and_are_not_cut():
    (region,) = find_regions(MASKS["box"])
    # 40 pixels, and on each side one and a half times the 20 from their middle to what was seen.
    assert (region.height, region.width) == (128, 128)
    assert region.top <= 80 - 30
    assert region.top + region.height >= 120 + 30


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((*SHAPE, 1)),
        np.random.default_rng(0).integers(0, 2, (*SHAPE, 1)),
        mask_of(lambda d: d.rectangle([60, 60, 260, 200], fill=0)),
        mask_of(lambda d: d.point([(3, 4)], fill=0), (30, 40)),
    ],
    ids=["nothing is missing", "pixels everywhere", "most of it", "a small picture"],
)
def test_otherwise_the_picture_is_restored_as_a_whole(mask):
    assert find_regions(mask) == (whole(mask.shape),)


def test_no_window_is_larger_than_the_largest_tile():
    assert find_regions(MASKS["box"], 100) == (whole(SHAPE),)
    assert find_regions(MASKS["scratch"], 64)[0].height <= 64


def test_what_is_missing_in_one_channel_is_a_hole():
    mask = np.ones((*SHAPE, 3))
    mask[100, 100, 1] = 0
    assert len(find_regions(mask)) == 1
    assert find_regions(mask)[0].of(mask).min() == 0


@every_mask
def test_seen_pixels_are_the_pictures_and_holes_the_windows(mask):
    rng, regions = np.random.default_rng(0), find_regions(mask)
    y, x = rng.uniform(-1, 1, (2, *SHAPE, 3)).astype(np.float32)
    image = pasted(y, mask, regions, [region.of(x) for region in regions])
    np.testing.assert_array_equal(image[mask[..., 0] != 0], y[mask[..., 0] != 0])
    np.testing.assert_allclose(image, np.where(mask != 0, y, x), atol=1e-6)  # float32 means of equal values


def test_where_windows_overlap_the_one_whose_border_is_near_counts_little():
    shape, regions = (64, 100), (Region(0, 0, 64, 64), Region(0, 36, 64, 64))
    xs = [np.full((64, 64, 1), value, np.float32) for value in (0.0, 1.0)]
    image = pasted(np.zeros((*shape, 1), np.float32), np.zeros((*shape, 1)), regions, xs)[:, :, 0]
    assert (np.diff(image, axis=1) >= 0).all()
    np.testing.assert_allclose(image[:, :40], 0, atol=1e-5)  # the other's weight at its border is 1e-6
    np.testing.assert_allclose(image[:, 60:], 1, atol=1e-5)
    np.testing.assert_allclose(image[:, 46:54], 0.5, atol=1e-6)


def test_the_time_left_counts_every_window_of_every_sample(tmp_path):
    pictures.write_picture(tmp_path / "photo.png", np.zeros((*SHAPE, 3)))
    mask = mask_of(lambda d: d.point([(10, 10), (310, 200)], fill=0))
    pictures.write_picture(tmp_path / "mask.png", 1 - 2 * mask)
    events: list[jobs.Event] = []
    options = jobs.Options(
        task="inpaint",
        mask=tmp_path / "mask.png",
        sigma=0.002,
        samples=2,
        changes={"num_steps": 1},
        batch_size=1,
    )
    prior = rd.prior(restoring_jobs.predict, rd.schedules.linear())
    jobs.restore([tmp_path / "photo.png"], prior, out=tmp_path / "out", options=options, report=events.append)
    left = [event.left for event in events if event.kind == "step"]
    assert len(left) == 4  # two windows, two samples
    assert [seconds > 0 for seconds in left] == [True, True, True, False]
