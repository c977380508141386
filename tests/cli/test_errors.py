"""What a user does wrong gives one line that says what to do and exit status 2, or 1 if the rest was done."""

import errno
import json

import numpy as np
import pytest
from cli_outputs import pixels

from reddiff_jax import io, measurements, pictures


def assert_one_line(result, *parts, status=2):
    assert result.exit_code == status, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.output
    for part in parts:
        assert str(part) in result.stderr


@pytest.fixture
def denoise(restore, tmp_path):
    def run(*args):
        return restore(*args, "--task", "denoise", "--sigma", 0.1, "--out", tmp_path / "out")

    return run


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sigma", "-0.1"), "sigma is -0.1 but must be a finite number of at least 0"),
        (("--sigma", "nan"), "sigma is nan"),
        (("--steps", "0"), "steps is 0 but must be a whole number from 1 to 1000"),
        (("--steps", "1001"), "steps is 1001"),
        (("--steps", "many"), "--steps"),
        (("--solver", "noise_aware", "--lam", "-1"), "lam is -1.0"),
        (("--solver", "reddiff", "--lr", "0"), "lr is 0.0"),
        (("--lam", "1"), "tweedie has no setting lam; its settings are steps"),
        (("--steps", "9"), "steps is 9 but must be from 1 to 8: denoising takes one step for each mirrored view"),
        (
            ("--solver", "noise_aware", "--lr", "0.1"),
            "noise_aware has no setting lr; its settings are lam, sigma_max, sigma_min, sample, steps",
        ),
        (("--samples", "0"), "samples is 0"),
        (("--batch-size", "0"), "batch-size is 0"),
        (("--tile", "8"), "tile is 8"),
        (("--seed", "-1"), "seed is -1"),
        (("--task", "sharpen"), "unknown task 'sharpen'. To fill in: inpaint. To enlarge: bicubic4"),
        (("--solver", "magic"), "unknown solver 'magic'; choose one of noise_aware, red, reddiff"),
        (("--mask", "nowhere.png"), "denoise takes no mask"),
        (("--task", "inpaint", "--mask", "nowhere.png"), "mask nowhere.png does not exist"),
        (("--border", "reflect"), "border is reflect but denoise undoes no blur of a kernel; leave --border out"),
        (("--flavour", "sweet"), "--flavour"),
        (("--task", "inpaint", "--hole", "grey"), "--hole is 'grey' but must be one of auto, black"),
        (("--task", "inpaint", "--hole", "white"), "hole is white but there is no mask"),
        (("--grow", "2"), "denoise takes no mask; leave --grow out"),
        (("--bits", "12"), "--bits is '12' but must be 8, 16 or float"),
        (("--white", "-1"), "white is -1.0 but must be a finite number above 0"),
        (("--page", "0"), "page is 0 but pages are counted from 1"),
    ],
)
def test_bad_options(invoke, prior_folder, photos, tmp_path, options, said):
    common = ("--task", "denoise", "--sigma", 0.1, "--prior", prior_folder, "--out", tmp_path / "out")
    assert_one_line(invoke("restore", photos, *common, *options), said)


def test_a_missing_file(denoise, tmp_path):
    assert_one_line(denoise(tmp_path / "nowhere.png"), tmp_path / "nowhere.png", "does not exist")


def test_an_empty_folder(denoise, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_one_line(denoise(tmp_path / "empty"), "holds no pictures")


def test_an_unreadable_picture(denoise, tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    assert_one_line(denoise(tmp_path / "a.png"), "a.png cannot be read as a picture")


def test_a_file_of_another_kind(denoise, tmp_path):
    (tmp_path / "a.txt").write_text("not a picture")
    assert_one_line(denoise(tmp_path / "a.txt"), "neither a picture nor a measurement file")


def test_files_of_other_kinds_alone_are_told_before_a_prior_is_looked_for(denoise, tmp_path):
    (tmp_path / "a.txt").write_text("not a picture")
    result = denoise(tmp_path / "a.txt", "--prior", tmp_path / "nowhere")
    assert_one_line(result, "neither a picture nor a measurement file")


@pytest.mark.slow
def test_one_bad_file_among_good_ones(denoise, photos, tmp_path):
    out = tmp_path / "out"
    assert denoise(photos).exit_code == 0
    unspoilt = pixels(out.rename(tmp_path / "unspoilt") / "a.png")
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:200])
    result = denoise(photos)
    assert_one_line(result, "b.png cannot be read as a picture", status=1)
    assert "2 restored" in result.stdout
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "c.png"]
    assert abs(pixels(out / "a.png") - unspoilt).max() <= 1  # 8-bit rounding of float32 sums in another order


def test_two_inputs_of_one_name(denoise, photos, tmp_path):
    (tmp_path / "more").mkdir()
    pictures.write_picture(tmp_path / "more" / "a.png", np.zeros((8, 8, 3)))
    assert_one_line(denoise(photos / "a.png", tmp_path / "more" / "a.png"), "rename one", status=1)


def test_a_mask_of_the_wrong_size(restore, photos, tmp_path):
    pictures.write_picture(tmp_path / "mask.png", np.ones((16, 16, 1)))
    result = restore(photos / "a.png", "--task", "inpaint", "--mask", tmp_path / "mask.png", "--out", tmp_path / "out")
    assert_one_line(result, "16 x 16 pixels but 32 x 32 are needed")


def test_a_mask_that_is_none(restore, photos, tmp_path):
    (tmp_path / "mask.png").write_text("not a mask")
    result = restore(photos / "a.png", "--task", "inpaint", "--mask", tmp_path / "mask.png", "--out", tmp_path / "out")
    assert_one_line(result, "mask.png cannot be used as a mask")


def test_a_kernel_that_is_none(restore, photos, tmp_path):
    np.save(tmp_path / "kernel.npy", np.zeros((3, 3)))
    options = ("--task", "deblur_motion", "--kernel", tmp_path / "kernel.npy", "--out", tmp_path / "out")
    assert_one_line(restore(photos / "a.png", *options), "kernel.npy cannot be used as a kernel")


@pytest.mark.parametrize(("task", "said"), [("inpaint", "--mask"), ("deblur_motion", "--kernel")])
def test_what_a_task_needs_is_said(restore, photos, tmp_path, task, said):
    assert_one_line(restore(photos / "a.png", "--task", task, "--out", tmp_path / "out"), said)


def test_a_picture_without_a_task(restore, photos, tmp_path):
    assert_one_line(restore(photos / "a.png", "--out", tmp_path / "out"), "--task, one of denoise")


@pytest.mark.parametrize("content", [None, "{", '{"format": 7}', "[]"])
def test_a_folder_that_is_no_prior(invoke, photos, tmp_path, content):
    (tmp_path / "prior").mkdir()
    if content is not None:
        (tmp_path / "prior" / "card.json").write_text(content)
    options = ("--task", "denoise", "--sigma", 0.1, "--out", tmp_path / "out", "--prior", tmp_path / "prior")
    assert_one_line(invoke("restore", photos, *options), tmp_path / "prior")


def test_a_prior_without_weights(invoke, prior_folder, photos, tmp_path):
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "card.json").write_text((prior_folder / "card.json").read_text())
    options = ("--task", "denoise", "--sigma", 0.1, "--out", tmp_path / "out", "--prior", tmp_path / "prior")
    assert_one_line(invoke("restore", photos, *options), "no prior could be loaded")


def test_an_output_folder_that_is_a_file(restore, photos, tmp_path):
    (tmp_path / "out").write_text("")
    result = restore(photos, "--task", "denoise", "--sigma", 0.1, "--out", tmp_path / "out")
    assert_one_line(result, "cannot write", "choose another folder")


def test_a_full_disk(denoise, photos, monkeypatch):
    def full(path, x, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pictures, "write_picture", full)
    assert_one_line(denoise(photos), "No space left on device", "free some space")


def test_an_interruption(denoise, photos, monkeypatch):
    def interrupt(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(io, "load_prior", interrupt)
    assert_one_line(denoise(photos), "interrupted", status=130)


def _spoil_nothing(path):
    path.write_bytes(b"")


def _spoil_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _spoil_pickle(path):
    np.savez(path, y=np.array([{}], dtype=object), meta="{}")


def _spoil_keys(path):
    np.savez(path, x=np.zeros(3))


def _spoil_meta(path, **changes):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["meta"] = np.asarray(json.dumps({**json.loads(str(arrays["meta"])), **changes}))
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "spoil",
    [
        _spoil_nothing,
        _spoil_half,
        _spoil_pickle,
        _spoil_keys,
        lambda path: _spoil_meta(path, format=9),
        lambda path: _spoil_meta(path, task="sharpen"),
        lambda path: _spoil_meta(path, sigma="nan"),
        lambda path: _spoil_meta(path, in_shape=[64, 64, 3]),
        lambda path: _spoil_meta(path, array_shapes={"mask": [32, 32, 1]}),
    ],
    ids=["empty", "half", "pickle", "keys", "format", "task", "sigma", "in_shape", "arrays"],
)
def test_a_corrupted_measurement_file(restore, tmp_path, spoil):
    measurement = measurements.make_measurement("sr4", 0.1, np.zeros((8, 8, 3)), (32, 32, 3), {}, 0)
    measurements.write_measurement(tmp_path / "a.npz", measurement)
    spoil(tmp_path / "a.npz")
    result = restore(tmp_path / "a.npz", "--out", tmp_path / "out")
    assert_one_line(result, "a.npz cannot be read as a measurement file")


def test_a_measurement_of_another_task(restore, tmp_path):
    measurement = measurements.make_measurement("sr4", 0.1, np.zeros((8, 8, 3)), (32, 32, 3), {}, 0)
    measurements.write_measurement(tmp_path / "a.npz", measurement)
    result = restore(tmp_path / "a.npz", "--task", "sr2", "--out", tmp_path / "out")
    assert_one_line(result, "was measured for sr4, not sr2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--task", "sr4", "--size", 30), "multiple of 4"),
        (("--task", "sr4", "--size", 64), "has no 64 x 64 crop"),
        (("--task", "inpaint"), "--mask FILE"),
        (("--task", "sr4", "--sigma", "-1"), "sigma is -1.0"),
        (("--task", "sharpen"), "unknown task"),
    ],
)
def test_measuring_what_cannot_be(invoke, photos, tmp_path, options, said):
    assert_one_line(invoke("measure", photos / "a.png", *options, "--out", tmp_path / "out"), said)


def test_evaluating_pictures_of_other_sizes(invoke, photos, tmp_path):
    pictures.write_picture(tmp_path / "a.png", np.zeros((16, 16, 3)))
    result = invoke("evaluate", tmp_path / "a.png", "--reference", photos)
    assert result.exit_code == 2
    assert "has 16 x 16 pixels but its original" in result.stderr


def test_evaluating_names_what_has_no_counterpart(invoke, photos, tmp_path):
    (tmp_path / "restored").mkdir()
    for name in ("a", "z"):
        pictures.write_picture(tmp_path / "restored" / f"{name}.png", np.zeros((32, 32, 3)))
    result = invoke("evaluate", tmp_path / "restored", "--reference", photos)
    assert result.exit_code == 1
    for path in ("restored/z.png has no original", "b.png has no restored", "c.png has no restored"):
        assert path in result.stderr


def test_a_demo_of_an_impossible_size(invoke, prior_folder, tmp_path):
    assert_one_line(invoke("demo", "--size", 33, "--prior", prior_folder, "--out", tmp_path / "out"), "size is 33")


def test_info_of_no_prior(invoke, tmp_path):
    assert_one_line(invoke("info", tmp_path), "is no prior")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("restore", "", "--task", "denoise", "--out", "o"), "an input name is empty"),
        (("restore", "a.png", "", "--task", "denoise", "--out", "o"), "an input name is empty"),
        (("restore", "a.png", "--task", "denoise", "--out", ""), "what follows --out is empty"),
        (("measure", "a.png", "--task", "denoise", "--out="), "what follows --out is empty"),
        (("evaluate", "", "b.png"), "an input name is empty"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(invoke, args, said):
    assert_one_line(invoke(*args), said)


def test_inputs_are_no_place_to_write_and_that_is_told_before_a_prior_is_loaded(invoke, photos, tmp_path):
    options = ("--task", "denoise", "--prior", tmp_path / "none")
    result = invoke("restore", photos, *options, "--out", photos, "--overwrite")
    assert_one_line(result, "a.png would be overwritten by a result; choose another --out")
    before = (photos / "a.png").read_bytes()
    for log, said in ((photos / "a.png", "is one of the inputs"), (photos, "is a folder but must be a file")):
        assert_one_line(invoke("restore", photos, *options, "--out", tmp_path / "out", "--log", log), "log", said)
    assert (photos / "a.png").read_bytes() == before


def test_a_folder_that_holds_a_prior_names_it(invoke, prior_folder):
    assert_one_line(invoke("info", prior_folder.parent), f"did you mean {prior_folder}?")
