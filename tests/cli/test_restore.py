"""`measure` and `restore`: what is written, and that it depends on nothing but the input, the settings and the seed."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest
from cli_outputs import entries, pixels
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import jobs, measurements, pictures, tasks
from reddiff_jax.settings import default_settings

OPTIONS = ("--seed", 3, "--batch-size", 2)


@dataclass(frozen=True)
class Run:
    """What a command wrote and printed."""

    out: Path
    stdout: str

    def copy(self, folder: Path) -> Path:
        return shutil.copytree(self.out, folder)


@pytest.fixture(scope="module")
def restored(restore, measured, tmp_path_factory) -> Run:
    """The three measurements restored, two at a time; only to be read."""
    out = tmp_path_factory.mktemp("restored") / "out"
    result = restore(measured, "--out", out, *OPTIONS)
    assert result.exit_code == 0, result.output
    return Run(out, result.stdout)


def test_measure_writes_measurements_previews_and_references(measured, photos):
    read = measurements.read_measurement(measured / "a.npz")
    assert read.y.shape == (8, 8, 3)
    assert read.header.sigma == 0.05
    assert pixels(measured / "preview" / "a.png").shape == (8, 8, 3)
    assert (pixels(measured / "reference" / "a.png") == pixels(photos / "a.png")).all()


def test_measure_of_one_picture_does_not_depend_on_the_others(invoke, measured, photos, tmp_path):
    invoke("measure", photos / "b.png", "--task", "sr4", "--sigma", 0.05, "--out", tmp_path / "one")
    one = measurements.read_measurement(tmp_path / "one" / "b.npz")
    assert (one.y == measurements.read_measurement(measured / "b.npz").y).all()


@pytest.mark.slow
def test_restore_takes_task_and_sigma_from_measurement_files(restored):
    assert "sr4, sigma 0.05" in restored.stdout
    assert "--solver noise_aware --steps 4 --set lam=0.35" in restored.stdout
    assert sorted(path.name for path in restored.out.glob("*.png")) == ["a.png", "b.png", "c.png"]
    assert pixels(restored.out / "a.png").shape == (32, 32, 3)


@pytest.mark.slow
def test_restore_equals_the_library_call(restored, prior_folder, measured):
    solver = default_settings(tasks.example("sr4")).changed({"num_steps": 4}).solver(rd.load_prior(prior_folder))
    for name in "abc":
        problem = measurements.read_measurement(measured / f"{name}.npz").problem()
        x = rd.run(jax.random.fold_in(rd.masks.key_of(name, 3), 0), solver, problem).x
        expected = pictures.to_uint8(np.asarray(x)).astype(int)
        assert abs(pixels(restored.out / f"{name}.png") - expected).max() <= 1  # 8-bit rounding


@pytest.mark.slow
def test_pictures_do_not_depend_on_batch_size_or_order(restore, restored, measured, tmp_path):
    for name in "cb":
        restore(measured / f"{name}.npz", "--out", tmp_path / "alone", *OPTIONS, "--batch-size", 1)
        difference = abs(pixels(restored.out / f"{name}.png") - pixels(tmp_path / "alone" / f"{name}.png"))
        assert difference.max() <= 1  # 8-bit rounding of float32 sums in another order


def test_a_continued_run_gives_the_same_pictures(restore, restored, measured, tmp_path):
    out = restored.copy(tmp_path / "out")
    (out / "b.png").unlink()
    result = restore(measured, "--out", out, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "2 found done" in result.stdout
    for name in "abc":
        assert (out / f"{name}.png").read_bytes() == (restored.out / f"{name}.png").read_bytes()


def test_an_interrupted_run_continues(restore, restored, measured, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write, written = pictures.write_picture, []

    def interrupted(path, x, **options):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, x)

    monkeypatch.setattr(pictures, "write_picture", interrupted)
    result = restore(measured, "--out", out, *OPTIONS)
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted; the same command continues.\n"
    assert [path.name for path in out.glob("*.png")] == ["a.png"]
    monkeypatch.undo()
    result = restore(measured, "--out", out, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "2 restored" in result.stdout
    for name in "abc":
        assert (out / f"{name}.png").read_bytes() == (restored.out / f"{name}.png").read_bytes()


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(restore, restored, measured, tmp_path):
    out = restored.copy(tmp_path / "out")
    other = (measured / "a.npz", "--out", out, *OPTIONS, "--lam", 0.7)
    result = restore(*other)
    assert result.exit_code == 2
    assert "lam 0.35 -> 0.7" in result.stderr
    assert "--overwrite or another --out" in result.stderr
    assert restore(*other, "--overwrite").exit_code == 0


def test_a_foreign_picture_is_not_overwritten(restore, measured, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    assert restore(measured / "a.npz", "--out", out).exit_code == 2
    assert (out / "a.png").read_bytes() == b"mine"


def test_an_input_is_never_overwritten(restore, photos):
    result = restore(photos, "--task", "denoise", "--sigma", 0.1, "--out", photos, "--overwrite")
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr


@pytest.mark.slow
def test_several_samples_are_draws_from_the_posterior_where_there_is_a_way(restore, measured, tmp_path):
    result = restore(measured / "a.npz", "--out", tmp_path / "out", *OPTIONS, "--samples", 2)
    assert result.exit_code == 0, result.output
    assert "--set sample=true" in result.stdout
    drawn = entries(tmp_path / "out")["a"]["settings"]
    assert (drawn["solver"], drawn["sample"], drawn["num_runs"], drawn["lam"]) == ("noise_aware", True, 1, 1.0)
    of_two = jobs.Options(samples=2)
    assert of_two.settings(tasks.example("hdr"), "hdr").sample
    assert of_two.settings(tasks.example("phase_retrieval"), "phase_retrieval").name == "reddiff"


def test_samples_differ_and_the_first_is_the_single_one(restore, restored, measured, tmp_path):
    options = (*OPTIONS, "--samples", 3, "--set", "sample=false")
    result = restore(measured / "a.npz", "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["a_0.png", "a_1.png", "a_2.png", "a_mean.png", "a_panel.png", "a_std.png"]
    samples = [pixels(tmp_path / "out" / f"a_{k}.png") for k in range(3)]
    assert (samples[0] != samples[1]).any()
    assert abs(samples[0] - pixels(restored.out / "a.png")).max() <= 1  # 8-bit rounding, other neighbours
    assert abs(np.mean(samples, axis=0) - pixels(tmp_path / "out" / "a_mean.png")).max() <= 1
    white = entries(tmp_path / "out")["a"]["std_white"]
    with Image.open(tmp_path / "out" / "a_std.png") as image:
        assert image.info["Comment"] == f"standard deviation of pixels in [-1, 1]: black 0, white {white:.6g}"
    spread = np.std([sample / 127.5 for sample in samples], axis=0, ddof=1).mean(axis=-1)
    # Samples are 8-bit: their standard deviation is off by at most one step of 2 / 255.
    assert abs(pixels(tmp_path / "out" / "a_std.png")[..., 0] / 255 * white - spread).max() < 2 / 255


@pytest.mark.slow
def test_what_an_own_mask_hides_has_no_influence(restore, photos, tmp_path):
    mask = np.ones((32, 32, 1), np.float32)
    mask[8:16, 8:16] = -1
    pictures.write_picture(tmp_path / "mask.png", mask)
    scribbled = pixels(photos / "a.png").astype(np.uint8)
    scribbled[8:16, 8:16] = 255
    (photos / "scribbled").mkdir()
    pictures.write_picture(photos / "scribbled" / "a.png", pictures.to_float(scribbled))
    out = tmp_path / "out"
    result = restore(
        photos, "--task", "inpaint", "--sigma", 0, "--mask", tmp_path / "mask.png", "--batch-size", 1, "--out", out
    )
    assert result.exit_code == 0, result.output
    assert entries(out)["a"]["settings"]["task"] == "inpaint"
    assert "mask.png: black marks the hole, 6.2 % of pixels missing" in result.stdout
    assert (out / "a.png").read_bytes() == (out / "scribbled" / "a.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "taken"),
    [(("--sigma", 0), 0.0023), pytest.param(("--sigma", 0.1), 0.1, marks=pytest.mark.slow)],
)
def test_a_picture_has_at_least_the_noise_of_its_rounding(restore, photos, tmp_path, said, taken):
    result = restore(photos / "a.png", "--task", "sr2", *said, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"sr2, sigma {taken}" in result.stdout
    assert entries(tmp_path / "out")["a"]["settings"]["sigma"] == taken


@pytest.mark.slow
def test_motion_blur_with_an_own_kernel_of_each_picture(invoke, restore, photos, tmp_path):
    (tmp_path / "kernels").mkdir()
    for i, name in enumerate("abc"):
        np.save(tmp_path / "kernels" / f"{name}.npy", np.eye(5) + i)
    args = ("--task", "deblur_motion", "--kernel", tmp_path / "kernels", "--out")
    assert restore(photos, *args, tmp_path / "out").exit_code == 0
    assert invoke("measure", photos, *args, tmp_path / "measured").exit_code == 0
    assert restore(tmp_path / "measured", "--out", tmp_path / "again").exit_code == 0


@pytest.mark.slow
def test_large_pictures_go_in_tiles(restore, photos, tmp_path):
    pictures.write_picture(photos / "a.png", np.zeros((72, 80, 3), np.float32))
    result = restore(photos / "a.png", "--task", "denoise", "--sigma", 0.1, "--tile", 64, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "out" / "a.png").shape == (72, 80, 3)
    assert entries(tmp_path / "out")["a"]["settings"]["tile"] == 64


@pytest.mark.slow
def test_pictures_of_several_shapes_and_sub_folders(restore, photos, tmp_path):
    (photos / "deep").mkdir()
    pictures.write_picture(photos / "deep" / "a.png", np.zeros((36, 20, 3), np.float32))
    result = restore(photos, "--task", "denoise", "--sigma", 0.1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "out" / "deep" / "a.png").shape == (36, 20, 3)
    assert pixels(tmp_path / "out" / "a.png").shape == (32, 32, 3)


@pytest.mark.slow
def test_a_turned_photo_is_restored_upright(restore, tmp_path):
    from PIL import Image

    turned = Image.fromarray(np.zeros((20, 36, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    result = restore(tmp_path / "turned.jpg", "--task", "denoise", "--sigma", 0.1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "out" / "turned.png").shape == (36, 20, 3)


def test_manifest_says_how_each_picture_was_made(restored):
    entry = entries(restored.out)["b"]
    assert entry["settings"]["seed"] == 3
    assert entry["settings"]["num_steps"] == 4
    assert entry["settings"]["prior"].startswith("tiny-")
    assert entry["residual"][0] > 0
    assert entry["seconds"] > 0
    assert json.dumps(entry)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "channels"), [("mri4_coils", 1), ("cs4", 3)])
def test_what_is_no_picture_is_measured_and_restored(invoke, restore, photos, tmp_path, task, channels):
    measured, out = tmp_path / "measured", tmp_path / "out"
    assert invoke("measure", photos, "--task", task, "--sigma", 0.05, "--out", measured).exit_code == 0
    assert pixels(measured / "preview" / "a.png").ndim == 3
    result = restore(measured, "--out", out, "--batch-size", 2)
    assert result.exit_code == 0, result.output
    assert pictures.read_picture(measured / "reference" / "a.png", channels=channels).shape == (32, 32, channels)
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png", "c.png"]


def test_a_picture_for_a_task_that_measures_none_is_refused(restore, photos, tmp_path):
    result = restore(photos / "a.png", "--task", "ct60", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "measurement file" in result.stderr
