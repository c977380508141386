"""Photos of which little is missing: the holes are filled in, and every other pixel comes back bit for bit."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.jobs import Item
from reddiff_jax.jobs.planning import make_plan

SIZE = (180, 150)  # width and height
PRIOR = rd.gaussian_prior(jnp.zeros((1, 1, 1)), 0.25, rd.schedules.linear())
STEPS = {"num_steps": 2, "num_runs": 1}


def write(folder, name, *, dots=((40, 30), (150, 120)), scratch=False, size=SIZE):
    """Writes a photo of smooth colours and noise in which holes are painted red, and its mask."""
    rows, columns = np.mgrid[: size[1], : size[0]] / 30
    noise = np.random.default_rng(0).integers(0, 20, (*rows.shape, 3))
    x = (100 + 60 * np.stack([np.sin(rows + c) + np.cos(columns) for c in range(3)], axis=-1) / 2 + noise).astype(
        np.uint8
    )
    image, mask = Image.fromarray(x), Image.new("L", size, 255)
    for picture, colour in ((image, (255, 0, 0)), (mask, 0)):
        draw = ImageDraw.Draw(picture)
        for left, top in dots:
            draw.ellipse([left, top, left + 6, top + 6], fill=colour)
        if scratch:
            draw.line([(0, 20), (size[0], 60)], fill=colour, width=4)
    image.save(folder / f"{name}.png")
    mask.save(folder / f"{name}_mask.png")
    return x


def options(folder, name="a", **changes):
    given = {
        "task": "inpaint",
        "mask": folder / f"{name}_mask.png",
        "changes": STEPS,
        "grow": 0,
        "sigma": 0.0,
        **changes,
    }
    return jobs.Options(**given)


def plan_of(folder, name="a", **changes):
    return make_plan(options(folder, name, **changes), "", 3, Item(folder / f"{name}.png", name))


def restore(folder, out, name="a", **changes):
    outcome = jobs.restore([folder / f"{name}.png"], PRIOR, out=folder / out, options=options(folder, name, **changes))
    assert not outcome.failures
    return outcome


def pixels(path):
    return np.asarray(Image.open(path))


def entry(folder, out):
    return json.loads((folder / out / "manifest.jsonl").read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos: with two dots, with one of them, with a scratch, and a small one; the first restored into ``out``."""
    made = tmp_path_factory.mktemp("photos")
    write(made, "a")
    write(made, "scratched", scratch=True)
    write(made, "small", dots=((20, 10),), size=(44, 40))
    restore(made, "out")
    return made


def hole(folder, name="a"):
    return pixels(folder / f"{name}_mask.png") == 0


@pytest.mark.slow
def test_every_pixel_that_was_seen_comes_back_bit_for_bit(folder):
    given, restored = pixels(folder / "a.png"), pixels(folder / "out" / "a.png")
    np.testing.assert_array_equal(restored[~hole(folder)], given[~hole(folder)])


@pytest.mark.slow
def test_holes_are_filled_in(folder):
    original = write(folder, "again")
    restored = pixels(folder / "out" / "a.png")[hole(folder)].astype(int)
    assert abs(restored - original[hole(folder)]).mean() < 25  # they were red: 110 away


def test_the_manifest_says_the_number_of_regions(folder):
    said = entry(folder, "out")
    assert said["regions"] == 2
    assert said["settings"]["frame"] == [48, 48]


@pytest.mark.slow
def test_a_region_does_not_depend_on_the_others(folder):
    (folder / "one").mkdir()
    write(folder / "one", "a", dots=((40, 30),))
    restore(folder / "one", "out")
    assert entry(folder / "one", "out")["regions"] == 1
    alone, beside = (pixels(each / "out" / "a.png")[25:45, 35:55].astype(int) for each in (folder / "one", folder))
    assert abs(alone - beside).max() <= 1  # 8-bit rounding of sums in another order


@pytest.mark.slow
def test_a_scratch_is_filled_in_by_pieces(folder):
    restore(folder, "scratched_out", "scratched")
    assert entry(folder, "scratched_out")["regions"] > 3
    given, restored = pixels(folder / "scratched.png"), pixels(folder / "scratched_out" / "scratched.png")
    missing = hole(folder, "scratched")
    np.testing.assert_array_equal(restored[~missing], given[~missing])
    assert (restored[missing][:, 0].astype(int) - restored[missing][:, 1]).max() < 150  # nothing stays red


@pytest.mark.slow
def test_a_continued_run_gives_the_same_bits(folder):
    before = (folder / "out" / "a.png").read_bytes()
    assert restore(folder, "out").skipped == ["a"]
    (folder / "out" / "a.png").unlink()
    assert restore(folder, "out").done == ["a"]
    assert (folder / "out" / "a.png").read_bytes() == before


@pytest.mark.slow
def test_samples_differ_in_holes_only(folder):
    restore(folder, "samples", samples=2)
    first, second, std = (pixels(folder / "samples" / f"a_{end}.png") for end in ("0", "1", "std"))
    np.testing.assert_array_equal(first[~hole(folder)], second[~hole(folder)])
    assert (first[hole(folder)] != second[hole(folder)]).any()
    assert std[~hole(folder)].max() == 0
    assert std[hole(folder)].max() == 255


@pytest.mark.slow
def test_a_small_picture_is_restored_whole_and_keeps_its_pixels(folder):
    restore(folder, "small_out", "small")
    assert "regions" not in entry(folder, "small_out")
    given, restored = pixels(folder / "small.png"), pixels(folder / "small_out" / "small.png")
    np.testing.assert_array_equal(restored[~hole(folder, "small")], given[~hole(folder, "small")])


def test_exact_sizes_are_whole_pictures(folder):
    plan = plan_of(folder, exact_sizes=True)
    assert not plan.in_regions
    assert plan.keeps_seen
    assert plan.frame.in_shape[:2] == SIZE[::-1]


def test_noise_is_removed_from_all_of_the_picture(folder):
    plan = plan_of(folder, sigma=0.1)
    assert not plan.in_regions
    assert not plan.keeps_seen
    assert plan_of(folder, sigma=pictures.ROUNDING_SIGMA).in_regions


@pytest.mark.slow
def test_other_solvers_restore_regions_too(folder):
    plan = plan_of(folder, solver="ddnm", changes={})
    assert len(plan.regions) == 2
    assert plan.frame.in_shape[:2] == (48, 48)


@pytest.mark.slow
def test_a_log_says_the_region(folder):
    jobs.restore([folder / "a.png"], PRIOR, out=folder / "with_log", options=options(folder), log=folder / "log.jsonl")
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {tuple(row["region"]) for row in rows} == {(region.top, region.left) for region in plan_of(folder).regions}


@pytest.mark.slow
def test_regions_have_half_the_runs_unless_their_number_is_said(folder):
    assert (
        plan_of(folder, changes={}).settings.num_runs
        == plan_of(folder, changes={}, exact_sizes=True).settings.num_runs // 2
    )
    assert plan_of(folder, changes={"num_runs": 3}).settings.num_runs == 3
    assert plan_of(folder, changes={}, samples=2).settings.num_steps == 100
