"""Files of tuned settings."""

import numpy as np
import pytest
from posed_tasks import posed

from reddiff_jax.settings import (
    DpsSettings,
    Kind,
    NoiseAwareSettings,
    PigdmSettings,
    SettingsFile,
    SettingsFileError,
    read_settings,
)

KEY = {"task": "sr4", "sigma": 0.05, "solver": "dps"}
HOW = {"seed": 0}
SR = Kind.SUPER_RESOLUTION


def tuned_file(path, prior="tiny-1", **values):
    file = SettingsFile(path, prior)
    file.add(KEY, HOW, "random_search", SR, [(DpsSettings(), -np.inf), (DpsSettings(**values), 20.0)])
    return file


def found(file, task, sigma, solver=None):
    return file.find(posed(task, sigma), task=task, solver=solver)


def test_a_file_gives_back_what_was_put_in(tmp_path):
    written = tuned_file(tmp_path / "p.json", scale=0.3)
    read = read_settings(tmp_path / "p.json", "tiny-1")
    assert read == written
    assert read.known(KEY, HOW) == {DpsSettings(): -np.inf, DpsSettings(scale=0.3): 20.0}
    assert read.known(KEY, {"seed": 1}) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_settings_of_a_file_serve_the_task_its_kind_and_other_noise_levels(tmp_path):
    file = tuned_file(tmp_path / "p.json", scale=0.3)
    other = DpsSettings(scale=0.5, num_steps=40)
    file.add({**KEY, "sigma": 0.15}, HOW, "random_search", SR, [(other, 20.0)])
    for task in ("sr4", "bicubic8"):
        assert found(file, task, 0.05, "dps") == DpsSettings(scale=0.3)
        assert found(file, task, 0.0, "dps") == DpsSettings(scale=0.3)
        assert found(file, task, 0.11, "dps") == DpsSettings(scale=0.42, num_steps=40)
    assert found(file, "denoise", 0.05, "dps") is None
    assert found(file, "sr4", 0.05, "ddrm") is None


def test_without_a_solver_a_file_serves_by_the_default_or_else_by_what_it_has(tmp_path):
    file = tuned_file(tmp_path / "p.json", scale=0.3)
    assert found(file, "sr4", 0.05) == DpsSettings(scale=0.3)
    best = NoiseAwareSettings(lam=0.2)
    file.add({**KEY, "solver": "noise_aware"}, HOW, "random_search", SR, [(best, 20.0)])
    assert found(file, "sr4", 0.05) == best
    assert found(file, "denoise", 0.05) is None


def test_of_tasks_that_measure_the_same_the_nearest_noise_level_serves_alone(tmp_path):
    file = SettingsFile(tmp_path / "p.json", "tiny-1")
    for task, rows in {"sr4": [(0.0, 0.1), (0.2, 0.5)], "bicubic4": [(0.0, 0.9), (0.1, 0.7)]}.items():
        for sigma, scale in rows:
            trials = [(DpsSettings(scale=scale), 20.0)]
            file.add({"task": task, "sigma": sigma, "solver": "dps"}, HOW, "random_search", SR, trials)
    # Of a third task of the kind: rows of two tasks are not mixed, and equal sigmas do not replace each other.
    assert [found(file, "bicubic8", sigma, "dps").scale for sigma in (0.0, 0.05, 0.1, 0.2)] == [0.1, 0.2, 0.7, 0.5]
    assert found(file, "bicubic4", 0.0, "dps").scale == 0.9


def test_a_file_is_readable_however_many_trials_it_holds(tmp_path):
    assert repr(tuned_file(tmp_path / "p.json")) == f"SettingsFile(path={tmp_path / 'p.json'!r}, prior='tiny-1')"


def test_a_row_is_replaced_and_the_others_are_kept(tmp_path):
    file = tuned_file(tmp_path / "p.json", scale=0.3)
    file.add({**KEY, "sigma": 0.0}, HOW, "random_search", SR, [(DpsSettings(), 1.0)])
    file.add(KEY, HOW, "random_search", SR, [(DpsSettings(scale=0.7), 21.0)])
    read = read_settings(tmp_path / "p.json", "tiny-1")
    assert {(row["sigma"], row["settings"]["scale"]) for row in read.rows} == {(0.0, 0.5), (0.05, 0.7)}


@pytest.mark.slow
def test_settings_tuned_for_one_operator_take_the_form_that_serves_another(tmp_path):
    file = SettingsFile(tmp_path / "p.json", "tiny-1")
    best = PigdmSettings()
    key = {"task": "deblur_gauss61", "sigma": 0.05, "solver": "pigdm"}
    file.add(key, HOW, "random_search", Kind.DEBLUR, [(best, 20.0)])
    assert found(file, "deblur_gauss61", 0.05, "pigdm").noisy
    assert not found(file, "deblur_motion", 0.05, "pigdm").noisy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no file of settings"),
        ("[]", "is no file of settings"),
        ('{"version": 1, "prior": "tiny-1", "presets": []}', "has version 1"),
        ('{"version": 2, "prior": "tiny-1", "settings": [{"task": "sr4"}]}', "is no file of settings"),
        ('{"version": 2, "prior": "other-2", "settings": []}', "was tuned with the prior other-2, not tiny-1"),
        (None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_say_what_to_do(tmp_path, content, said):
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsFileError, match=said):
        read_settings(path, "tiny-1")
