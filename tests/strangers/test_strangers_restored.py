"""`restore` with strangers' pictures and masks: what comes in goes out, and what was decided is said and kept."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.jobs.planning import load, make_plan
from reddiff_jax.masks import Hole

SIZE = 16
DENOISE = {"task": "denoise", "sigma": 0.1, "changes": {"num_steps": 2}, "batch_size": 8}


@pytest.fixture(scope="module")
def prior():
    return rd.gaussian_prior(np.zeros((SIZE, SIZE, 3), np.float32), 1.0, rd.schedules.linear())


def save(path, values, **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def restore(inputs, prior, out, **options):
    events = []
    outcome = jobs.restore(
        [inputs], prior, out=out, options=jobs.Options(**{**DENOISE, **options}), report=events.append
    )
    return outcome, events


def entries(out):
    return jobs.Manifest(out / "manifest.jsonl").entries


# ---- what comes in goes out


@pytest.fixture(scope="module")
def restored(prior, tmp_path_factory):
    """A folder of pictures of one size and many forms, and where it was restored."""
    folder, rng = tmp_path_factory.mktemp("forms"), np.random.default_rng(0)
    deep = rng.integers(0, 65536, (SIZE, SIZE, 3), dtype=np.uint16)
    eight = (deep >> 8).astype(np.uint8)
    exif = Image.Exif()
    exif[274], exif[0x010F] = 6, "A camera"
    save(folder / "in" / "plain.png", eight)
    save(folder / "in" / "gray.png", eight[..., 0])
    save(folder / "in" / "alpha.png", np.concatenate([eight, eight[..., :1]], axis=2))
    save(folder / "in" / "turned.jpg", eight, exif=exif, quality=95)
    save(folder / "in" / "gray16.png", deep[..., 0])
    tifffile.imwrite(folder / "in" / "deep.tif", deep, photometric="rgb")
    outcome, _ = restore(folder / "in", prior, folder / "out")
    assert outcome.failures == []
    return folder


@pytest.mark.parametrize(
    ("name", "bits", "gray", "alpha"),
    [
        ("plain.png", 8, False, False),
        ("gray.png", 8, True, False),
        ("alpha.png", 8, False, True),
        ("turned.jpg", 8, False, False),
        ("gray16.png", 16, True, False),
        ("deep.tif", 16, False, False),
    ],
)
def test_a_picture_comes_out_as_it_came_in(restored, name, bits, gray, alpha):
    stem = name.split(".")[0]
    form = pictures.look(restored / "out" / f"{stem}.png")
    assert (form.bits, form.gray, form.alpha) == (bits, gray, alpha)
    assert entries(restored / "out")[stem]["settings"]["bits"] == bits
    y, x = (pictures.read_picture(path) for path in (restored / "in" / name, restored / "out" / f"{stem}.png"))
    assert y.shape == x.shape
    # A Gaussian prior shrinks all pixels alike: the result is the picture, a little grayer.
    assert np.corrcoef(y.ravel(), x.ravel())[0, 1] > 0.98


def test_a_photo_s_exif_comes_out_upright(restored):
    with Image.open(restored / "out" / "turned.png") as image:
        assert (image.getexif()[0x010F], image.getexif().get(274)) == ("A camera", None)


def test_alpha_comes_out_unchanged(restored):
    alphas = [pictures.read(restored / part / "alpha.png").alpha for part in ("in", "out")]
    np.testing.assert_array_equal(*alphas)


def test_floats_come_out_as_floats_of_their_scale(prior, tmp_path, rng):
    values = (1000 * rng.random((SIZE, SIZE, 3))).astype(np.float32)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "x.tif", values, photometric="rgb")
    outcome, _ = restore(tmp_path / "in", prior, tmp_path / "out", white=1000.0)
    assert outcome.failures == []
    found = tifffile.imread(tmp_path / "out" / "x.tif")
    assert found.dtype == np.float32
    assert abs(found - values).mean() < 30  # of 1000; sigma is 50
    assert entries(tmp_path / "out")["x"]["settings"]["white"] == 1000


def test_other_bits_can_be_asked_for(prior, tmp_path, rng):
    path = save(tmp_path / "x.png", rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    outcome, _ = restore(path, prior, tmp_path / "out", bits=32)
    assert outcome.done == ["x"]
    assert pictures.look(tmp_path / "out" / "x.tif").bits == 32
    plan = make_plan(jobs.Options(**DENOISE, bits=16), "", 3, jobs.Item(path, "x"))
    assert (plan.outputs, plan.record["bits"]) == (("x.png",), 16)


def test_a_page_can_be_chosen(prior, tmp_path, rng):
    pages = rng.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    save(tmp_path / "x.tif", pages[0], save_all=True, append_images=[Image.fromarray(pages[1])])
    outcome, _ = restore(tmp_path / "x.tif", prior, tmp_path / "out")
    assert "choose one with --page" in outcome.failures[0].reason
    plan = make_plan(jobs.Options(**DENOISE, page=2), "", 3, jobs.Item(tmp_path / "x.tif", "x"))
    np.testing.assert_array_equal(load(jobs.Options(**DENOISE, page=2), 3, plan).y, pages[1] / np.float32(127.5) - 1)


# ---- masks


def plan_of(tmp_path, photo, **options):
    options = jobs.Options(**{**DENOISE, "task": "inpaint", **options})
    options.check()
    plan = make_plan(options, "", 3, jobs.Item(photo, "x"))
    return plan, load(options, 3, plan)


@pytest.fixture
def photo(tmp_path, rng):
    return save(tmp_path / "photo.png", rng.integers(0, 256, (SIZE, 2 * SIZE, 3), dtype=np.uint8))


@pytest.fixture
def hole():
    missing = np.zeros((SIZE, 2 * SIZE), bool)
    missing[5:8, 10:15] = True
    return missing


def test_what_was_decided_about_a_mask_is_said_and_kept(tmp_path, photo, hole):
    path = save(tmp_path / "mask.png", 255 * hole.astype(np.uint8))
    plan, measurement = plan_of(tmp_path, photo, mask=path, grow=1)
    assert plan.said == f"{path}: white marks the hole, 2.9 % of pixels missing, 6.1 % when grown by 1 px"
    assert {name: plan.record[name] for name in ("hole", "missing", "grow")} == {
        "hole": "white",
        "missing": 2.93,
        "grow": 1,
    }
    grown = rd.masks.grow((~hole)[..., None].astype(np.float32), 1)
    np.testing.assert_array_equal(measurement.arrays["mask"], np.broadcast_to(grown, (SIZE, 2 * SIZE, 3)))
    assert (measurement.y[grown[..., 0] == 0] == 0).all()


@pytest.mark.parametrize(("name", "growth"), [("mask.png", jobs.GROWTH), ("mask.npy", 0)])
def test_painted_masks_are_grown_and_arrays_are_not(tmp_path, photo, hole, name, growth):
    if name.endswith(".npy"):
        np.save(tmp_path / name, ~hole)
    else:
        save(tmp_path / name, 255 * (~hole).astype(np.uint8))
    plan, _ = plan_of(tmp_path, photo, mask=tmp_path / name)
    assert plan.record["grow"] == growth


def test_scattered_pixels_are_not_grown(tmp_path, photo, rng):
    path = save(tmp_path / "mask.png", 255 * (rng.random((SIZE, 2 * SIZE)) < 0.5).astype(np.uint8))
    plan, _ = plan_of(tmp_path, photo, mask=path, hole=Hole.BLACK)
    assert plan.record["grow"] == 0


def test_a_transparent_photo_is_its_own_mask(tmp_path, photo, hole):
    with Image.open(photo) as image:
        layers = np.concatenate([np.asarray(image), np.where(hole, 0, 255)[..., None]], axis=2).astype(np.uint8)
    plan, measurement = plan_of(tmp_path, save(tmp_path / "erased.png", layers), grow=0)
    assert plan.record["hole"] == "transparent"
    assert not plan.form.alpha  # what is filled in is not transparent
    np.testing.assert_array_equal(measurement.arrays["mask"][..., 0], ~hole)
    np.testing.assert_array_equal(measurement.y[~hole], pictures.read_picture(photo)[~hole])


def test_a_photo_with_a_mask_of_its_own_keeps_its_alpha(tmp_path, photo, hole):
    with Image.open(photo) as image:
        layers = np.concatenate([np.asarray(image), np.full((SIZE, 2 * SIZE, 1), 128)], axis=2).astype(np.uint8)
    path = save(tmp_path / "mask.png", 255 * hole.astype(np.uint8))
    plan, _ = plan_of(tmp_path, save(tmp_path / "glass.png", layers), mask=path)
    assert plan.form.alpha


def test_a_turned_photo_and_its_turned_mask_fit(tmp_path, photo, hole):
    exif = Image.Exif()
    exif[274] = 8
    with Image.open(photo) as image:
        turned = save(tmp_path / "turned.png", np.asarray(image), exif=exif)
    mask = save(tmp_path / "mask.png", 255 * hole.astype(np.uint8), exif=exif)
    plan, measurement = plan_of(tmp_path, turned, mask=mask, grow=0)
    assert plan.header.in_shape == (2 * SIZE, SIZE, 3)
    np.testing.assert_array_equal(measurement.arrays["mask"][..., 0], np.rot90(~hole))


@pytest.mark.parametrize(
    ("missing", "options", "said"),
    [
        (0.0, {}, "black marks the hole, and nothing is missing"),
        (0.0, {"hole": Hole.BLACK}, "black marks the hole, and nothing is missing"),
        (0.0, {"hole": Hole.WHITE}, "white marks the hole, and everything is missing"),
        (0.1, {"grow": 99}, "and everything when it is grown by 99 px; lower --grow"),
    ],
)
def test_a_mask_that_hides_nothing_or_everything_stops(tmp_path, photo, missing, options, said):
    values = np.full((SIZE, 2 * SIZE), 255, np.uint8)
    values[:, : round(2 * SIZE * missing)] = 0
    with pytest.raises(jobs.JobError, match=said):
        plan_of(tmp_path, photo, mask=save(tmp_path / "mask.png", values), **options)


def test_more_than_90_percent_must_be_asked_for(tmp_path, photo, hole):
    with Image.open(photo) as image:
        layers = np.concatenate([np.asarray(image), np.where(hole, 255, 0)[..., None]], axis=2).astype(np.uint8)
    erased = save(tmp_path / "erased.png", layers)
    with pytest.raises(jobs.JobError, match=r"97 % of pixels are missing; erase what is to be filled in, or .* --mask"):
        plan_of(tmp_path, erased)
    mask = save(tmp_path / "mask.png", 255 * hole.astype(np.uint8))
    plan, _ = plan_of(tmp_path, photo, mask=mask, hole=Hole.BLACK, grow=0)
    assert plan.record["missing"] == 97.07


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hole": Hole.WHITE}, "hole is white but there is no mask"),
        ({"grow": -1}, "grow is -1 but must be at least 0"),
        ({"task": "denoise", "grow": 1}, "denoise takes no mask; leave --grow out"),
        ({"white": 0.0}, "white is 0.0 but must be a finite number above 0"),
        ({"bits": 12}, "bits is 12 but must be 8, 16, or 32"),
        ({"page": 0}, "page is 0 but pages are counted from 1"),
        ({}, "to know which pixels are missing: --mask FILE, or a picture that is transparent"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, photo, options, said):
    with pytest.raises(jobs.JobError, match=said):
        plan_of(tmp_path, photo, **options)


@pytest.mark.parametrize("change", [{"grow": 2}, {"hole": Hole.WHITE}])
def test_another_mask_or_growth_is_another_setting(tmp_path, photo, hole, change):
    path = save(tmp_path / "mask.png", 255 * (~hole).astype(np.uint8))
    records = [
        plan_of(tmp_path, photo, mask=path, **options)[0].record for options in ({"grow": 0}, {"grow": 0, **change})
    ]
    assert records[0] != records[1]
    save(path, 255 * (~np.roll(hole, 1)).astype(np.uint8))
    assert plan_of(tmp_path, photo, mask=path, grow=0)[0].record != records[0]


def test_one_mask_of_many_pictures_is_said_once(prior, tmp_path, rng):
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[4:6, 4:6] = 0
    mask = save(tmp_path / "mask.png", mask)
    _, events = restore(tmp_path / "in", prior, tmp_path / "out", task="inpaint", solver="reddiff", mask=mask, grow=1)
    said = [event.detail for event in events if event.kind == "decided"]
    assert said == [f"{mask}: black marks the hole, 1.6 % of pixels missing, 4.7 % when grown by 1 px"]
    assert json.dumps(entries(tmp_path / "out")["a"]["settings"]["hole"]) == '"black"'


def test_a_colourised_gray_picture_has_colours(tmp_path, rng):
    gray = save(tmp_path / "x.png", rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8))
    plan = make_plan(jobs.Options(task="colorize", sigma=0.1), "", 3, jobs.Item(gray, "x"))
    assert not plan.form.gray


def test_measuring_keeps_sixteen_bits(tmp_path, rng):
    values = rng.integers(0, 65536, (SIZE, SIZE, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb")
    outcome = jobs.measure_pictures([tmp_path / "x.tif"], task="denoise", sigma=0.0, out=tmp_path / "out")
    assert outcome.done == ["x"]
    reference = pictures.read_raw(tmp_path / "out" / "reference" / "x.png").values
    np.testing.assert_array_equal(reference, values)
    y = rd.read_picture(tmp_path / "x.tif")
    np.testing.assert_allclose(np.load(tmp_path / "out" / "x.npz")["y"], y, atol=1e-6)
