"""Jobs of scans keep the promises of jobs of pictures: manifest, resume, other settings, logs, locks."""

import json

import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax.jobs import JobError
from reddiff_jax.jobs.manifest import MANIFEST, Manifest
from reddiff_jax.jobs.scanning import ScanOptions, restore_scans, solving

N, STEPS = 8, 6
VOLUME = ScanOptions("denoise", sigma=0.2, batch_size=2, solver="noise_aware", changes={"num_steps": STEPS})
COUPLED = ScanOptions("denoise", sigma=0.2, batch_size=2, lam_z=0.5, changes={"num_steps": STEPS, "num_runs": 1})


class _Killed(BaseException):
    pass


def _gaussian(x_t, t, cond):
    """The noise that a prior N(0, 0.3 I) of any shape predicts."""
    alpha_t, sigma_t = rd.schedules.linear()(t)
    return sigma_t / (0.3 * alpha_t**2 + sigma_t**2) * x_t


PRIOR = rd.prior(_gaussian, rd.schedules.linear())


@pytest.fixture
def volume(tmp_path, rng):
    np.save(tmp_path / "a.npy", rng.normal(size=(5, N, N)).astype(np.float32))
    return tmp_path / "a.npy"


def _restore(path, out, options=VOLUME, **more):
    return restore_scans([path], PRIOR, out=out, options=options, channels=1, **more)


def _killed_at(count):
    """A report that kills the job at its count-th step."""
    seen = []

    def report(event):
        seen.extend([event] if event.kind == "step" else [])
        if len(seen) == count:
            raise _Killed

    return report


def _steps(events):
    return [event for event in events if event.kind == "step"]


def test_a_volume_that_is_continued_slice_by_slice_has_the_same_bits(volume, tmp_path):
    events = []
    _restore(volume, tmp_path / "whole", report=events.append)
    with pytest.raises(_Killed):
        _restore(volume, tmp_path / "out", report=_killed_at(2))  # of three batches
    again = []
    assert _restore(volume, tmp_path / "out", report=again.append).done == ["a.npy"]
    assert (len(_steps(events)), len(_steps(again))) == (3, 2)
    assert (tmp_path / "out" / "a.npy").read_bytes() == (tmp_path / "whole" / "a.npy").read_bytes()
    assert not list((tmp_path / "out").glob(".*.parts"))


@pytest.mark.parametrize("num_runs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_coupled_volume_that_is_continued_within_its_steps_has_the_same_bits(volume, tmp_path, monkeypatch, num_runs):
    options = ScanOptions(**{**vars(COUPLED), "changes": {"num_steps": STEPS, "num_runs": num_runs}})
    monkeypatch.setattr(solving, "steps_per_call", lambda num_steps: 2)
    monkeypatch.setattr(solving, "_SECONDS_BETWEEN", 0.0)
    _restore(volume, tmp_path / "whole", options)
    with pytest.raises(_Killed):
        _restore(volume, tmp_path / "out", options, report=_killed_at(3))
    again = []
    assert _restore(volume, tmp_path / "out", options, report=again.append).done == ["a.npy"]
    assert len(_steps(again)) == 1  # of three calls
    assert (tmp_path / "out" / "a.npy").read_bytes() == (tmp_path / "whole" / "a.npy").read_bytes()


@pytest.mark.parametrize("options", [VOLUME, COUPLED], ids=["slices", "coupled"])
def test_a_job_that_is_asked_to_stop_leaves_its_scan_and_continues(volume, tmp_path, monkeypatch, options):
    monkeypatch.setattr(solving, "steps_per_call", lambda num_steps: 2)
    events = []
    outcome = _restore(volume, tmp_path / "out", options, report=events.append, stop=lambda: len(_steps(events)) > 1)
    assert outcome.left == ["a.npy"]
    assert Manifest(tmp_path / "out" / MANIFEST).entries["a.npy"]["status"] == "started"
    assert _restore(volume, tmp_path / "out", options).done == ["a.npy"]


@pytest.mark.parametrize("damage", [b"", b"no zip of arrays"])
def test_damaged_parts_are_done_again(volume, tmp_path, damage):
    _restore(volume, tmp_path / "whole")
    with pytest.raises(_Killed):
        _restore(volume, tmp_path / "out", report=_killed_at(2))
    for part in (tmp_path / "out").glob(".*.parts/*.npz"):
        part.write_bytes(damage)
    _restore(volume, tmp_path / "out")
    assert (tmp_path / "out" / "a.npy").read_bytes() == (tmp_path / "whole" / "a.npy").read_bytes()


def test_the_manifest_says_how_a_scan_was_restored(volume, tmp_path):
    _restore(volume, tmp_path / "out", prior_name="some-prior")
    entry = Manifest(tmp_path / "out" / MANIFEST).entries["a.npy"]
    assert (entry["status"], entry["outputs"], entry["attempts"]) == ("restored", ["a.npy"], 1)
    settings = entry["settings"]
    assert {
        "prior": "some-prior",
        "sigma": 0.2,
        "solver": "noise_aware",
        "num_steps": STEPS,
    }.items() <= settings.items()
    assert entry["sha256"].keys() == {"a.npy"}
    assert 0 < entry["residual"][0] < 1


def test_a_finished_scan_is_kept_unread(volume, tmp_path, monkeypatch):
    _restore(volume, tmp_path / "out")
    monkeypatch.setattr("reddiff_jax.jobs.scanning.planning.pose_scan", None)
    assert _restore(volume, tmp_path / "out").skipped == ["a.npy"]


def test_other_settings_are_refused_and_overwrite_does_all_again(volume, tmp_path):
    _restore(volume, tmp_path / "out")
    other = ScanOptions(**{**vars(VOLUME), "sigma": 0.3})
    with pytest.raises(JobError, match=r"holds a\.npy restored with other settings \(sigma 0\.2 -> 0\.3\)"):
        _restore(volume, tmp_path / "out", other)
    assert _restore(volume, tmp_path / "out", ScanOptions(**{**vars(other), "overwrite": True})).done == ["a.npy"]


def test_a_scan_that_changed_is_done_again(volume, tmp_path):
    _restore(volume, tmp_path / "out")
    np.save(volume, np.load(volume)[::-1])
    events = []
    assert _restore(volume, tmp_path / "out", report=events.append).done == ["a.npy"]
    assert [event.detail for event in events if event.kind == "changed"] == ["its picture changed"]


def test_results_that_are_not_ours_or_were_edited_stay(volume, tmp_path):
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out" / "a.npy", np.zeros(3))
    (failure,) = _restore(volume, tmp_path / "out").failures
    assert "is none of this folder's restorations" in failure.reason
    _restore(volume, tmp_path / "other")
    np.save(tmp_path / "other" / "a.npy", np.zeros(3))
    (failure,) = _restore(volume, tmp_path / "other").failures
    assert "is not what was written (damaged or edited)" in failure.reason


def test_a_scan_is_not_written_over_itself(volume, tmp_path):
    (failure,) = _restore(volume, tmp_path).failures
    assert "would be overwritten by a result; choose another --out" in failure.reason


def test_two_scans_of_one_name_are_not_one_result(volume, tmp_path):
    (tmp_path / "b").mkdir()
    np.save(tmp_path / "b" / "a.npy", np.load(volume))
    outcome = restore_scans(
        [volume, tmp_path / "b"], PRIOR, out=tmp_path / "out", options=VOLUME, channels=1, stop=lambda: True
    )
    assert ["would be written as a.npy" in failure.reason for failure in outcome.failures] == [True]


@pytest.mark.parametrize("options", [VOLUME, COUPLED], ids=["slices", "coupled"])
def test_the_log_has_a_line_for_each_step(volume, tmp_path, options):
    _restore(volume, tmp_path / "out", options, log=tmp_path / "log.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [(line["name"], line["sample"], line.get("slice"), line["step"]) for line in lines]
    of_slices = [None] if options.lam_z else range(5)
    assert sorted(steps) == sorted(("a.npy", 0, k, step + 1) for k in of_slices for step in range(STEPS))
    assert all(len(line) > 4 for line in lines)


def test_the_log_is_no_input(volume, tmp_path):
    with pytest.raises(JobError, match="is one of the inputs"):
        _restore(volume, tmp_path / "out", log=volume)


def test_another_process_is_waited_for(volume, tmp_path):
    from reddiff_jax.jobs.locking import LOCK, holding

    (tmp_path / "out").mkdir()
    with holding(tmp_path / "out" / LOCK), pytest.raises(JobError, match="is in use by"):
        _restore(volume, tmp_path / "out")


def test_tuned_settings_serve(tmp_path):
    tuned = rd.settings.SettingsFile(tmp_path / "tuned.json", "some-prior")
    chosen = rd.settings.NoiseAwareSettings(num_steps=3)
    tuned.add({"task": "denoise", "sigma": 0.2, "solver": "noise_aware"}, {}, "grid", None, [(chosen, 1.0)])
    options = ScanOptions("denoise", tuned=tuned)
    problem = rd.problem(np.zeros((N, N, 1), np.float32), rd.denoising((N, N, 1)), rd.gaussian(0.2))
    assert options.settings(problem) == chosen
    assert options.asked()["tuned"] == str(tmp_path / "tuned.json")
