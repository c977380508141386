"""Folders as strangers have them: one bad file stops nothing but itself, and the usual loop goes on."""

import os
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from instant import Instant
from typer.testing import CliRunner

import reddiff_jax as rd
from reddiff_jax import io, jobs, measurements, pictures, training
from reddiff_jax.batching import OutOfMemoryError
from reddiff_jax.cli import app
from reddiff_jax.jobs import groups
from reddiff_jax.jobs.finding import find_inputs
from reddiff_jax.jobs.planning import make_plan
from reddiff_jax.jobs.resuming import changed_inputs, is_finished
from reddiff_jax.jobs.training import _find_pictures
from reddiff_jax.jobs.tuning import _read
from reddiff_jax.masks import Hole

SHAPE = (8, 12, 3)
LATIN_1 = os.fsdecode(b"caf\xe9.png")  # not UTF-8
LONG = 250 * "a" + ".png"  # 254 bytes of the 255 that file systems allow


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(groups, "BatchSolver", Instant)


def write(path: Path, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures.write_picture(path, np.random.default_rng(seed).uniform(-1, 1, shape))
    return path


def write_measurement(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    measurement = measurements.make_measurement("sr2", 0.1, np.zeros((4, 6, 3)), SHAPE, {}, 0)
    measurements.write_measurement(path, measurement)
    return path


def names(*inputs: Path, **options) -> dict[str, str]:
    """Name -> file, of what is found."""
    return {item.name: item.path.name for item in find_inputs(inputs, **options)[0]}


def reasons(*inputs: Path, **options) -> str:
    return "\n".join(failure.reason for failure in find_inputs(inputs, **options)[1])


# ---- names


def test_files_of_one_stem_get_names_of_their_own(tmp_path):
    for name in ("cat.jpg", "cat.png", "dog.png"):
        write(tmp_path / name)
    assert names(tmp_path) == {"cat_jpg": "cat.jpg", "cat_png": "cat.png", "dog": "dog.png"}


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({"cat": "old/cat.jpg"}, {"cat": "cat.jpg", "cat_png": "cat.png"}),
        ({"cat": "cat.png"}, {"cat": "cat.png", "cat_jpg": "cat.jpg"}),
        ({"cat_jpg": "cat.jpg"}, {"cat_jpg": "cat.jpg", "cat_png": "cat.png"}),
        ({"cat": "cat.webp"}, {"cat_jpg": "cat.jpg", "cat_png": "cat.png"}),
    ],
)
def test_a_file_with_results_keeps_its_name_when_the_folder_grows(tmp_path, recorded, expected):
    for name in ("cat.jpg", "cat.png"):
        write(tmp_path / name)
    assert names(tmp_path, recorded=recorded) == expected


def test_a_file_left_alone_keeps_the_name_of_its_results(tmp_path):
    write(tmp_path / "cat.jpg")
    assert names(tmp_path, recorded={"cat_jpg": "cat.jpg", "cat_png": "cat.png"}) == {"cat_jpg": "cat.jpg"}


def test_a_name_that_another_file_has_is_not_given_twice(tmp_path):
    for name in ("cat.jpg", "cat.png", "cat_jpg.png"):
        write(tmp_path / name)
    assert names(tmp_path) == {"cat_jpg": "cat_jpg.png", "cat_jpg_": "cat.jpg", "cat_png": "cat.png"}


def test_random_numbers_depend_on_the_file_s_stem_whatever_the_results_are_called(tmp_path):
    write(tmp_path / "cat.jpg"), write(tmp_path / "cat.png")
    assert {item.stem for item in find_inputs([tmp_path])[0]} == {"cat"}


def test_two_files_of_one_name_in_two_folders_are_one_input_and_one_failure(tmp_path):
    one, other = write(tmp_path / "one" / "a.png"), write(tmp_path / "other" / "a.png")
    assert names(one, other) == {"a": "a.png"}
    assert f"{other} would be written as 'a' as {one} is" in reasons(one, other)


# ---- what a folder holds beside pictures


def test_a_stray_measurement_file_hides_no_picture(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "b.npz").write_bytes(b"something else")
    assert names(tmp_path) == {"a": "a.png", "b": "b.npz"}


def test_a_broken_measurement_file_does_not_hide_the_picture_of_its_name(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "a.npz").write_bytes(b"something else")
    assert names(tmp_path) == {"a_npz": "a.npz", "a_png": "a.png"}


def test_a_picture_beside_its_measurement_is_its_preview(tmp_path):
    write(tmp_path / "a.png"), write(tmp_path / "b.png"), write_measurement(tmp_path / "a.npz")
    for folder in ("preview", "reference"):
        write(tmp_path / folder / "a.png")
    assert names(tmp_path) == {"a": "a.npz", "b": "b.png"}
    assert names(tmp_path / "reference") == {"a": "a.png"}  # named, it is an input


def test_a_folder_of_the_user_s_that_is_called_reference_is_searched(tmp_path):
    write(tmp_path / "reference" / "a.png")
    assert names(tmp_path) == {"reference/a": "a.png"}


def test_the_results_of_another_job_are_no_inputs_and_that_is_said(tmp_path):
    write(tmp_path / "a.png"), write(tmp_path / "out" / "a.png")
    jobs.Manifest(tmp_path / "out" / "manifest.jsonl").add({"name": "a", "source": "a.png", "status": "restored"})
    said = []
    assert names(tmp_path, out=tmp_path / "out2", say=said.append) == {"a": "a.png"}
    assert said == [
        f"{tmp_path / 'out'} is passed over: it holds the results of another job. To work on them, name it."
    ]
    assert names(tmp_path / "out") == {"a": "a.png"}


def test_what_a_job_wrote_beside_its_inputs_is_no_input(tmp_path):
    write(tmp_path / "a.jpg"), write(tmp_path / "a.png")
    entry = {"name": "a", "source": "a.jpg", "status": "restored", "outputs": ["a.png"]}
    jobs.Manifest(tmp_path / "manifest.jsonl").add(entry)
    assert names(tmp_path, out=tmp_path, recorded={"a": "a.jpg"}) == {"a": "a.jpg"}


def test_hidden_folders_and_files_are_passed_over(tmp_path):
    for name in ("a.png", ".b.png", ".thumbnails/a.png"):
        write(tmp_path / name)
    assert names(tmp_path) == {"a": "a.png"}


def _pipe(path):
    os.mkfifo(path)


def _link_to_nothing(path):
    path.symlink_to("nowhere.png")


def _link_to_itself(path):
    path.symlink_to(path)


def _device(path):
    path.symlink_to("/dev/zero")


ODD = [(_pipe, "a pipe"), (_link_to_nothing, "a link to nothing"), (_link_to_itself, "link"), (_device, "a device")]


@pytest.mark.parametrize(("make", "said"), [*ODD, (Path.mkdir, "is a folder without pictures")])
@pytest.mark.parametrize("suffix", [".png", ".npz"])
def test_what_is_no_file_is_a_failure_of_its_own(tmp_path, make, said, suffix):
    write(tmp_path / "a.png")
    make(tmp_path / f"x{suffix}")
    assert names(tmp_path) == {"a": "a.png"}
    assert said in reasons(tmp_path)
    assert f"x{suffix}" in reasons(tmp_path)


@pytest.mark.parametrize(("make", "said"), ODD)
def test_what_is_no_file_is_told_where_it_is_named(tmp_path, make, said):
    make(tmp_path / "x.png")
    assert names(write(tmp_path / "a.png"), tmp_path / "x.png") == {"a": "a.png"}
    assert said in reasons(tmp_path / "x.png")


def test_a_folder_called_like_a_picture_is_a_folder(tmp_path):
    write(tmp_path / "holiday.png" / "a.png")
    assert names(tmp_path) == {"holiday.png/a": "a.png"}
    assert reasons(tmp_path) == ""


@pytest.mark.parametrize("name", ["nowhere.png", 300 * "a", "file.png/a.png"])
def test_what_does_not_exist_is_a_failure_of_its_own(tmp_path, name):
    good = write(tmp_path / "file.png")
    assert names(good, tmp_path / name) == {"file": "file.png"}
    assert ("does not exist" in reasons(tmp_path / name)) or ("too long" in reasons(tmp_path / name))


def test_a_mask_that_is_a_device_is_refused_before_it_is_read(tmp_path):
    options = jobs.Options(task="inpaint", mask="/dev/zero")
    with pytest.raises(jobs.JobError, match="mask /dev/zero is no file"):
        make_plan(options, "p", 3, jobs.Item(write(tmp_path / "a.png"), "a"))


# ---- commands


@cache
def prior():
    return rd.prior(lambda x_t, t, cond: x_t / (1 + x_t.mean() ** 2), rd.schedules.linear())


def restore(photos: Path, out: Path, report=lambda event: None, **changes):
    given = {"task": "denoise", "sigma": 0.1, "changes": {"num_steps": 2}, "batch_size": 2, "exact_sizes": True}
    return jobs.restore([photos], prior(), out=out, options=jobs.Options(**given | changes), report=report)


def spoilt(folder: Path) -> Path:
    """Good pictures among all that can be wrong with a file."""
    for index, name in enumerate(("a.png", "b.png", "b.jpg", LATIN_1, LONG, "[bold]x.png", "new\nline.png")):
        write(folder / name, index)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04")
    _pipe(folder / "pipe.png")
    _device(folder / "zero.png")
    (folder / "folder.npz").mkdir()
    return folder


GOOD = {"a", "b_jpg", "b_png", Path(LATIN_1).stem, Path(LONG).stem, "[bold]x", "new\nline"}
BAD = {"broken", "broken_npz", "empty", "text", "pipe", "zero", "folder"}


def names_of(failures) -> set[str]:
    return {Path(failure.name).stem for failure in failures}


@pytest.mark.slow
def test_restore_does_all_that_can_be_done(tmp_path):
    photos = spoilt(tmp_path / "photos")
    outcome = restore(photos, tmp_path / "out")
    assert set(outcome.done) == GOOD
    assert len(outcome.failures) == len(BAD)
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == GOOD
    again = restore(photos, tmp_path / "out")
    assert set(again.skipped) == GOOD
    assert again.done == []


def test_measure_does_all_that_can_be_done(tmp_path):
    photos = spoilt(tmp_path / "photos")
    outcome = jobs.measure_pictures([photos], task="denoise", sigma=0.1, out=tmp_path / "out")
    assert set(outcome.done) == GOOD
    assert len(outcome.failures) == len(BAD) - 2  # measurement files do not count
    assert {path.stem for path in (tmp_path / "out").glob("*.npz")} == GOOD


def test_evaluate_does_all_that_can_be_done(tmp_path):
    pairs = jobs.pair(spoilt(tmp_path / "photos"), spoilt(tmp_path / "originals"))
    scores, failures = jobs.score(pairs.pairs)
    assert {name for name, _ in scores} == GOOD
    assert len(failures) + len(pairs.failures) == 3 + 2 * 2  # three broken pairs; pipe and device on either side


def test_evaluate_shows_and_writes_names_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("reddiff_jax.metrics.load_lpips", raise_import_error)
    for name in ("[bold]x.png", LATIN_1):
        write(tmp_path / "photos" / name)
    args = ["evaluate", tmp_path / "photos", "--reference", tmp_path / "photos", "--csv", tmp_path / "scores.csv"]
    result = CliRunner().invoke(app, [str(each) for each in args])
    assert result.exit_code == 0, result.output
    assert "[bold]x" in result.stdout
    assert b"caf\xe9," in (tmp_path / "scores.csv").read_bytes()


def raise_import_error():
    raise ImportError


def test_tune_takes_the_pictures_that_are_large_enough(tmp_path):
    photos, failures = spoilt(tmp_path / "photos"), []
    write(photos / "small.png", shape=(4, 4, 3))
    assert _read([photos], 8, 3, failures.append).shape == (len(GOOD), 8, 8, 3)
    assert any("has no 8 x 8 crop" in failure.reason for failure in failures)
    assert len(failures) == len(BAD) - 2 + 1


def test_tune_without_any_usable_picture_says_why(tmp_path):
    with pytest.raises(jobs.JobError, match="has no 8 x 8 crop"):
        _read([write(tmp_path / "small.png", shape=(4, 4, 3))], 8, 3, lambda failure: None)


def test_training_passes_over_what_cannot_be_read_and_names_it(tmp_path):
    photos = spoilt(tmp_path / "photos")
    whole = (photos / "a.png").read_bytes()
    (photos / "late.png").write_bytes(whole[:-40])  # its header is whole
    paths, failures = _find_pictures(photos)
    assert {Path(failure.name).name for failure in failures} == {"pipe.png", "zero.png"}
    crops = training.Crops(paths, min_size=8)
    batch = crops.batch(0, 8, 64)
    assert batch.shape == (64, 8, 8, 3)
    assert {path.name for path in crops.unreadable} == {"broken.png", "empty.jpg", "text.png", "late.png"}
    again = training.Crops(paths, min_size=8)
    again.batch(3, 8, 4)
    assert (again.batch(0, 8, 64) == batch).all()  # whatever was read before


def test_training_on_broken_pictures_only_says_so(tmp_path):
    whole = write(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:-40])
    with pytest.raises(ValueError, match=r"none of the 1 pictures can be read: .*a.png"):
        training.Crops((tmp_path / "a.png",), min_size=8).batch(0, 8, 1)


# ---- the usual loop: look, change something, repeat


@pytest.fixture
def loop(tmp_path):
    """A restored picture with its mask, of which only the manifest's line and a file are made."""
    picture, mask, out = write(tmp_path / "a.png"), tmp_path / "mask.png", tmp_path / "out"
    paint(mask, 4)
    manifest = jobs.Manifest(out / "manifest.jsonl")

    def plan(**changes):
        options = jobs.Options(**{"task": "inpaint", "mask": mask, "hole": Hole.BLACK, "batch_size": 1} | changes)
        return make_plan(options, "tiny", 3, jobs.Item(picture, "a"))

    first = plan()
    write(out / "a.png")
    about = {"name": "a", "source": str(picture), "outputs": first.outputs, "settings": first.record}
    manifest.add({**about, "options": first.asked, "status": "restored"})
    return picture, mask, out, manifest, plan


def paint(mask: Path, width: int) -> None:
    drawn = np.ones((*SHAPE[:2], 1))
    drawn[2:6, 2 : 2 + width] = -1
    pictures.write_picture(mask, drawn)


def finished(loop, **changes):
    _, _, out, manifest, plan = loop
    return is_finished(plan(**changes), manifest, out, overwrite=False)


def test_what_is_as_it_was_is_finished(loop):
    assert finished(loop)


def test_an_edited_mask_has_its_picture_done_again(loop):
    paint(loop[1], 5)
    assert changed_inputs(loop[4](), loop[3]) == ["mask"]
    assert not finished(loop)


def test_an_edited_mask_may_change_the_settings_that_follow_from_it(loop, rng):
    pictures.write_picture(loop[1], np.where(rng.random((*SHAPE[:2], 1)) < 0.3, -1.0, 1.0))
    assert loop[4]().record["sigma_max"] != loop[3].entries["a"]["settings"]["sigma_max"]
    assert not finished(loop)


def test_an_edited_picture_is_done_again(loop):
    write(loop[0], 7)
    assert changed_inputs(loop[4](), loop[3]) == ["picture"]
    assert not finished(loop)


@pytest.mark.parametrize("edit", [False, True])
def test_other_options_are_refused_whether_a_mask_was_edited_or_not(loop, edit):
    if edit:
        paint(loop[1], 5)
    with pytest.raises(jobs.JobError, match=r"restored with other settings \(.*seed.* 3.*use --overwrite"):
        finished(loop, seed=3)


def test_a_result_of_another_file_is_not_replaced(loop, tmp_path):
    other = write(tmp_path / "other" / "a.png", 3)
    outcome = jobs.restore([other], prior(), out=loop[2], options=jobs.Options(task="denoise", sigma=0.1))
    assert "is of" in outcome.failures[0].reason
    assert f"not of {other}" in outcome.failures[0].reason


@pytest.mark.slow
def test_an_edited_picture_is_said_to_be_done_again_and_the_others_are_kept(tmp_path):
    photos, events = tmp_path / "photos", []
    for index, name in enumerate(("a.png", "b.png")):
        write(photos / name, index)
    restore(photos, tmp_path / "out")
    write(photos / "b.png", 5)
    outcome = restore(photos, tmp_path / "out", events.append)
    assert (outcome.skipped, outcome.done) == (["a"], ["b"])
    assert [event.detail for event in events if event.kind == "changed"] == ["its picture changed"]


@pytest.mark.slow
def test_a_repaired_picture_is_done_again(tmp_path):
    photos = tmp_path / "photos"
    whole = write(photos / "a.png").read_bytes()
    restore(photos, tmp_path / "out")
    (photos / "a.png").write_bytes(whole[:60])
    assert len(restore(photos, tmp_path / "out").failures) == 1
    (photos / "a.png").write_bytes(whole)
    assert restore(photos, tmp_path / "out").done == ["a"]


@pytest.mark.slow
def test_an_interrupted_overwriting_continues(tmp_path):
    photos = tmp_path / "photos"
    for index in range(4):
        write(photos / f"{index}.png", index)
    out = tmp_path / "out"
    assert len(restore(photos, out).done) == 4

    def interrupt(event):
        if event.kind == "restored" and event.name == "1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(photos, out, interrupt, overwrite=True)
    outcome = restore(photos, out, overwrite=True)
    assert (outcome.skipped, outcome.done) == (["0", "1"], ["2", "3"])
    assert len(restore(photos, out, overwrite=True).done) == 4  # another time all of it


# ---- memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."),
        OutOfMemoryError("8 GB are needed but there are 4 GB."),
    ],
    ids=["Python", "JAX", "known"],
)
@pytest.mark.parametrize("command", ["demo", "restore"])
def test_lack_of_memory_is_one_line_with_a_remedy(tmp_path, monkeypatch, command, error):
    def load(*args, **options):
        raise error

    monkeypatch.setattr(io, "load_prior", load)
    args = ["demo"] if command == "demo" else ["restore", str(write(tmp_path / "a.png")), "--task", "denoise"]
    result = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "out"), *(["--sigma", "0.1"] * (len(args) > 1))])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: not enough memory; ")
    assert result.stderr.count("\n") == 1


# ---- what goes wrong with one picture is its own


class Particular(Instant):
    """Cannot solve pictures of another size."""

    def __init__(self, solver, problem, **options):
        if problem.y.shape != SHAPE:
            raise TypeError("dot_general requires contracting dimensions to have the same shape.\nMore.")
        super().__init__(solver, problem, **options)


@pytest.mark.slow
def test_a_size_that_cannot_be_solved_leaves_the_others_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "BatchSolver", Particular)
    write(tmp_path / "in" / "a.png"), write(tmp_path / "in" / "b.png", shape=(16, 16, 3))
    outcome = restore(tmp_path / "in", tmp_path / "out")
    assert outcome.done == ["a"]
    (failure,) = outcome.failures
    assert failure.reason.endswith("b.png: dot_general requires contracting dimensions to have the same shape.")


@pytest.mark.slow
def test_a_result_that_vanishes_while_it_is_written_is_one_failure(tmp_path, monkeypatch):
    write_picture = pictures.write_picture

    def remove(path, *arguments, **options):
        write_picture(path, *arguments, **options)
        if path.stem == "a":
            path.unlink()

    write(tmp_path / "in" / "a.png"), write(tmp_path / "in" / "b.png")
    monkeypatch.setattr(pictures, "write_picture", remove)
    outcome = restore(tmp_path / "in", tmp_path / "out")
    assert outcome.done == ["b"]
    assert "is not there as it was written" in outcome.failures[0].reason


@pytest.mark.slow
def test_a_result_that_cannot_be_read_is_one_failure(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        write(tmp_path / "in" / name)
    restore(tmp_path / "in", tmp_path / "out")
    sha256_of = jobs.outputs.sha256_of

    def refuse(path):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        return sha256_of(path)

    monkeypatch.setattr(jobs.outputs, "sha256_of", refuse)
    outcome = restore(tmp_path / "in", tmp_path / "out")
    assert (outcome.skipped, [failure.name for failure in outcome.failures]) == (["b"], ["a"])
    assert "Permission denied" in outcome.failures[0].reason


def test_only_what_a_run_does_is_told(tmp_path):
    for index, name in enumerate(("a.png", "b.png")):
        write(tmp_path / "in" / name, index)
    told = []
    restore(tmp_path / "in", tmp_path / "out", sigma=None)
    (tmp_path / "out" / "b.png").unlink()
    restore(tmp_path / "in", tmp_path / "out", told.append, sigma=None)
    assert [event.name for event in told if event.kind == "noise"] == ["b"]
    (group,) = (event for event in told if event.kind == "settings")
    assert " to " not in group.name
    assert group.detail == "1 of 12 x 8"


def test_a_measurement_keeps_its_name_when_the_folder_grows(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name, earlier in (("cat.jpg", []), ("cat.png", ["cat.npz"])):
        write(folder / name), write(folder / LATIN_1)
        assert sorted(path.name for path in out.glob("cat*.npz")) == earlier
        jobs.measure_pictures([folder], task="denoise", sigma=0.1, out=out)
    found = {path.name: measurements.read_measurement(path).header.source for path in out.glob("*.npz")}
    assert found == {"cat.npz": "cat.jpg", "cat_png.npz": "cat.png", LATIN_1.replace(".png", ".npz"): LATIN_1}
