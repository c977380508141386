"""`tune`, and `restore` with tuned settings and other solvers."""

import json

import jax
import numpy as np
import pytest
from cli_outputs import entries, pixels
from test_errors import assert_one_line

import reddiff_jax as rd
from reddiff_jax import measurements, pictures, tuning
from reddiff_jax.settings import SETTINGS, DpsSettings, Kind, SettingsFile


@pytest.fixture
def tune(invoke, prior_folder, photos, tmp_path):
    def run(*args, **changes):
        options = {"task": "sr4", "sigma": 0.05, "steps": 2, "budget": 4, "size": 16, "prior": prior_folder}
        options |= {"out": tmp_path / "settings.json"} | changes
        return invoke("tune", *(args or [photos]), *(part for name in options for part in (f"--{name}", options[name])))

    return run


# ---- mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--solver", "ddrm", "--lam", "1"), "ddrm has no setting lam; its settings are eta, eta_b, steps"),
        (("--solver", "dps", "--set", "scale"), "'scale' is no setting; give its name and value"),
        (("--solver", "dps", "--set", "scale=high"), "scale is 'high' but must be a number"),
        (("--solver", "dps", "--set", "eta=2"), "eta is 2.0 but must be from 0 to 1"),
        (("--solver", "ddrm", "--task", "hdr"), "ddrm cannot do hdr"),
        (("--settings", "nowhere.json"), "nowhere.json does not exist"),
    ],
)
def test_bad_options_of_restore(invoke, prior_folder, photos, tmp_path, options, said):
    common = ("--task", "denoise", "--sigma", 0.1, "--prior", prior_folder, "--out", tmp_path / "out")
    assert_one_line(invoke("restore", photos, *common, *options), said)
    assert not (tmp_path / "out").exists()


def test_settings_of_another_prior_are_refused(invoke, prior_folder, photos, tmp_path):
    key = {"task": "sr4", "sigma": 0.05, "solver": "dps"}
    file = SettingsFile(tmp_path / "p.json", "other-2")
    file.add(key, {}, "random_search", Kind.SUPER_RESOLUTION, [(DpsSettings(), 20.0)])
    common = ("--task", "denoise", "--sigma", 0.1, "--prior", prior_folder, "--out", tmp_path / "out")
    said = ("was tuned with the prior other-2", "tune for this one")
    assert_one_line(invoke("restore", photos, *common, "--settings", tmp_path / "p.json"), *said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"solver": "magic"}, "unknown solver 'magic'; choose one of noise_aware, red, reddiff"),
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


def test_info_lists_the_solvers(invoke):
    for args in (("info",), ("info", "solvers")):
        printed = invoke(*args).stdout
        assert all(name in printed for name in SETTINGS)


# ---- from end to end


@pytest.mark.slow
def test_tuned_settings_are_written_continued_and_used(tune, invoke, measured, prior_folder, tmp_path, monkeypatch):
    path = tmp_path / "settings.json"
    result = tune(solver="dps")
    assert result.exit_code == 0, result.output
    assert "present settings" in result.stdout
    (row,) = json.loads(path.read_text())["settings"]
    assert (row["task"], row["kind"], row["solver"], row["search"]) == (
        "sr4",
        "super_resolution",
        "dps",
        "random_search",
    )
    scores = [score for _, score in row["trials"]]
    assert (len(scores), row["score"]) == (4, max(scores))
    assert dict(row["trials"][0][0]) == vars(DpsSettings(num_steps=2))
    # Once more, with a larger budget: only what is new is run.
    run, chunks = tuning._Sweep.__call__, []
    monkeypatch.setattr(tuning._Sweep, "__call__", lambda self, tried: chunks.append(len(tried)) or run(self, tried))
    assert tune(solver="dps", budget=6).exit_code == 0
    assert chunks == [0, 2]
    (again,) = json.loads(path.read_text())["settings"]
    assert again["trials"][:4] == row["trials"]

    options = ("--prior", prior_folder, "--solver", "dps", "--settings", path)
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
    solver = SETTINGS[name](num_steps=4, **dict([setting])).solver(rd.load_prior(prior_folder))
    problem = measurements.read_measurement(measured / "a.npz").problem()
    x = rd.run(jax.random.fold_in(rd.masks.key_of("a", 0), 0), solver, problem).x
    difference = abs(pixels(tmp_path / "out" / "a.png") - pictures.to_uint8(np.asarray(x)).astype(int))
    assert difference.max() <= 1  # 8-bit rounding
