"""`tune`, files of presets, and `restore` with other solvers."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from cli_outputs import entries, pixels
from test_errors import assert_one_line

import reddiff_jax as rd
from reddiff_jax import jobs, measurements, pictures, tasks, tuning
from reddiff_jax.tuning import Trial, Tuned

KEY = {"task": "sr4", "sigma": 0.05, "solver": "dps"}
HOW = {"seed": 0}
DPS = tasks.METHODS["dps"]


def tuned_file(path: Path, prior: str = "tiny-1", **settings) -> jobs.PresetFile:
    file = jobs.PresetFile(path, prior)
    best = DPS(**settings)
    file.add(KEY, HOW, "random_search", Tuned(best, 20.0, (Trial(DPS(), -np.inf), Trial(best, 20.0))))
    return file


@pytest.fixture
def tune(invoke, prior_folder, photos, tmp_path):
    def run(*args, **changes):
        options = {"task": "sr4", "sigma": 0.05, "steps": 2, "budget": 4, "size": 16, "prior": prior_folder}
        options |= {"out": tmp_path / "presets.json"} | changes
        return invoke("tune", *(args or [photos]), *(part for name in options for part in (f"--{name}", options[name])))

    return run


# ---- the file


def test_a_file_gives_back_what_was_put_in(tmp_path):
    written = tuned_file(tmp_path / "p.json", scale=0.3)
    read = jobs.read_presets(tmp_path / "p.json", "tiny-1")
    assert read == written
    assert read.known(KEY, HOW) == {DPS(): -np.inf, DPS(scale=0.3): 20.0}
    assert read.known(KEY, {"seed": 1}) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_presets_of_a_file_serve_the_task_its_family_and_other_noise_levels(tmp_path):
    file = tuned_file(tmp_path / "p.json", scale=0.3)
    other = DPS(scale=0.5, num_steps=40)
    file.add({**KEY, "sigma": 0.15}, HOW, "random_search", Tuned(other, 20.0, (Trial(other, 20.0),)))
    for task in ("sr4", "bicubic8"):
        assert file.preset(task, 0.05, "dps") == DPS(scale=0.3)
        assert file.preset(task, 0.0, "dps") == DPS(scale=0.3)
        assert file.preset(task, 0.11, "dps") == DPS(scale=0.42, num_steps=40)
    assert file.preset("denoise", 0.05, "dps") is None
    assert file.preset("sr4", 0.05, "ddrm") is None


def test_without_a_solver_a_file_serves_by_the_default_or_else_by_what_it_has(tmp_path):
    file = tuned_file(tmp_path / "p.json", scale=0.3)
    assert file.preset("sr4", 0.05, None) == DPS(scale=0.3)
    best = tasks.METHODS["noise_aware"](lam=0.2)
    file.add({**KEY, "solver": "noise_aware"}, HOW, "random_search", Tuned(best, 20.0, ()))
    assert file.preset("sr4", 0.05, None) == best
    assert file.preset("denoise", 0.05, None) is None


def test_a_row_is_replaced_and_the_others_are_kept(tmp_path):
    file = tuned_file(tmp_path / "p.json", scale=0.3)
    file.add({**KEY, "sigma": 0.0}, HOW, "random_search", Tuned(DPS(), 1.0, ()))
    file.add(KEY, HOW, "random_search", Tuned(DPS(scale=0.7), 21.0, ()))
    read = jobs.read_presets(tmp_path / "p.json", "tiny-1")
    assert {(row["sigma"], row["settings"]["scale"]) for row in read.rows} == {(0.0, 0.5), (0.05, 0.7)}


@pytest.mark.slow
def test_a_preset_tuned_for_one_operator_takes_the_form_that_serves_another(tmp_path):
    file = jobs.PresetFile(tmp_path / "p.json", "tiny-1")
    best = tasks.METHODS["pigdm"]()
    key = {"task": "deblur_gauss61", "sigma": 0.05, "solver": "pigdm"}
    file.add(key, HOW, "random_search", Tuned(best, 20.0, ()))
    assert file.preset("deblur_gauss61", 0.05, "pigdm").noisy
    assert not file.preset("deblur_motion", 0.05, "pigdm").noisy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no file of presets"),
        ("[]", "is no file of presets"),
        ('{"version": 2, "prior": "tiny-1", "presets": []}', "has version 2"),
        ('{"version": 1, "prior": "tiny-1", "presets": [{"task": "sr4"}]}', "is no file of presets"),
        ('{"version": 1, "prior": "other-2", "presets": []}', "was tuned with the prior other-2, not tiny-1"),
        (None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_say_what_to_do(tmp_path, content, said):
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(jobs.JobError, match=said):
        jobs.read_presets(path, "tiny-1")


def test_records_of_red_diff_are_what_they_were():
    settings = jobs.Settings(task="denoise", sigma=0.1, solver="reddiff")
    preset = settings.preset("denoise", 0.1)
    assert preset == tasks.TASKS["denoise"].preset(0.1)
    names = {"lam", "learning_rate", "lr_schedule", "num_steps", "start_timestep", "weighting", "init"}
    assert vars(preset).keys() == names


# ---- mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--solver", "ddrm", "--lam", "1"), "ddrm has no setting lam; its settings are eta, eta_b, steps"),
        (("--solver", "dps", "--set", "scale"), "'scale' is no setting; give its name and value"),
        (("--solver", "dps", "--set", "scale=high"), "scale is 'high' but must be a number"),
        (("--solver", "dps", "--set", "eta=2"), "eta is 2.0 but must be from 0 to 1"),
        (("--solver", "ddrm", "--task", "hdr"), "ddrm cannot do hdr"),
        (("--presets", "nowhere.json"), "nowhere.json cannot be read"),
    ],
)
def test_bad_options_of_restore(invoke, prior_folder, photos, tmp_path, options, said):
    common = ("--task", "denoise", "--sigma", 0.1, "--prior", prior_folder, "--out", tmp_path / "out")
    assert_one_line(invoke("restore", photos, *common, *options), said)
    assert not (tmp_path / "out").exists()


def test_presets_of_another_prior_are_refused(invoke, prior_folder, photos, tmp_path):
    tuned_file(tmp_path / "p.json", prior="other-2")
    common = ("--task", "denoise", "--sigma", 0.1, "--prior", prior_folder, "--out", tmp_path / "out")
    said = ("was tuned with the prior other-2", "tune for this one")
    assert_one_line(invoke("restore", photos, *common, "--presets", tmp_path / "p.json"), *said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"solver": "magic"}, "unknown solver 'magic'; choose one of reddiff"),
        ({"task": "sharpen"}, "unknown task 'sharpen'"),
        ({"task": "hdr", "solver": "ddrm"}, "ddrm cannot do hdr"),
        ({"sigma": -1}, "sigma is -1"),
        ({"budget": 0}, "budget is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"search": "luck"}, "luck"),
        ({"vary": "scale"}, "noise_aware is not searched over scale; choose among lam"),
        ({"search": "grid"}, "the budget is 4; raise it"),
        ({"size": 64}, "has no 64 x 64 crop"),
        ({"out": "."}, "is a folder"),
    ],
)
def test_bad_options_of_tune(tune, changes, said):
    assert_one_line(tune(**changes), said)


def test_no_pictures(tune, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_one_line(tune(tmp_path / "empty"), "holds no pictures")


def test_info_lists_the_solvers(invoke, prior_folder):
    printed = invoke("info", prior_folder).stdout
    assert all(name in printed for name in tasks.METHODS)


# ---- from end to end


@pytest.mark.slow
def test_tuned_settings_are_written_continued_and_used(tune, invoke, measured, prior_folder, tmp_path, monkeypatch):
    path = tmp_path / "presets.json"
    result = tune(solver="dps")
    assert result.exit_code == 0, result.output
    assert "present settings" in result.stdout
    (row,) = json.loads(path.read_text())["presets"]
    assert (row["task"], row["family"], row["solver"], row["search"]) == (
        "sr4",
        "super_resolution",
        "dps",
        "random_search",
    )
    scores = [score for _, score in row["trials"]]
    assert (len(scores), row["score"]) == (4, max(scores))
    assert dict(row["trials"][0][0]) == vars(DPS(num_steps=2))
    # Once more, with a larger budget: only what is new is run.
    run, chunks = tuning._Sweep.__call__, []
    monkeypatch.setattr(
        tuning._Sweep, "__call__", lambda self, presets: chunks.append(len(presets)) or run(self, presets)
    )
    assert tune(solver="dps", budget=6).exit_code == 0
    assert chunks == [0, 2]
    (again,) = json.loads(path.read_text())["presets"]
    assert again["trials"][:4] == row["trials"]

    options = ("--prior", prior_folder, "--solver", "dps", "--presets", path)
    restored = invoke("restore", measured / "a.npz", *options, "--out", tmp_path / "out")
    assert restored.exit_code == 0, restored.output
    assert f"--set scale={again['settings']['scale']}" in restored.stdout
    entry = entries(tmp_path / "out")["a"]
    assert {name: entry["settings"][name] for name in again["settings"]} == again["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddrm", "red"])
def test_restore_with_another_solver_equals_the_library_call(restore, measured, prior_folder, tmp_path, name):
    setting = {"ddrm": ("eta", 0.7), "red": ("lam", 0.3)}[name]
    options = ("--solver", name, "--set", f"{setting[0]}={setting[1]}", "--out", tmp_path / "out")
    result = restore(measured / "a.npz", *options)
    assert result.exit_code == 0, result.output
    solver = tasks.METHODS[name](num_steps=4, **dict([setting])).solver(rd.load_prior(prior_folder))
    problem = measurements.read_measurement(measured / "a.npz").problem()
    x = rd.run(jax.random.fold_in(rd.masks.key_of("a", 0), 0), solver, problem).x
    difference = abs(pixels(tmp_path / "out" / "a.png") - pictures.to_uint8(np.asarray(x)).astype(int))
    assert difference.max() <= 1  # 8-bit rounding
