"""Asked to stop a command finishes what is under way, notes it, says how to go on, and ends with status 143."""

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from instant import Instant
from typer.testing import CliRunner

import reddiff_jax as rd
from reddiff_jax import _files, jobs, pictures
from reddiff_jax.cli import _stopping, app
from reddiff_jax.jobs import groups, manifest, noise_levels

PRIOR = rd.gaussian_prior(np.zeros((8, 12, 3), np.float32), 1.0, rd.schedules.linear())
ROOT = Path(rd.__file__).parents[1]
OPTIONS = {"task": "denoise", "sigma": 0.5, "exact_sizes": True, "batch_size": 2}


class Signalled(Instant):
    """Is sent SIGTERM during one of its batches."""

    batches, at = 0, 2

    def __call__(self, *arguments):
        type(self).batches += 1
        if self.batches == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)  # the thread that hears it prints a line
        return super().__call__(*arguments)


@pytest.fixture
def solver(monkeypatch):
    monkeypatch.setattr(Signalled, "batches", 0)
    monkeypatch.setattr(groups, "BatchSolver", Signalled)
    monkeypatch.setattr(noise_levels.NoiseEstimator, "doubt", lambda *_: "")  # nothing is compiled
    monkeypatch.setattr(
        sys.modules["reddiff_jax.cli.restore"], "load_prior", lambda folder, of_latents: (PRIOR, 3, "some-prior")
    )
    return Signalled


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(6):
        pictures.write_picture(folder / f"{i}.png", np.random.default_rng(i).uniform(-1, 1, (8, 12, 3)))
    return folder


def invoke(photos, *options):
    given = [
        "--task",
        "denoise",
        "--sigma",
        "0.1",
        "--batch-size",
        "2",
        "--exact-sizes",
        "--out",
        photos.parent / "out",
    ]
    return CliRunner().invoke(app, ["restore", str(photos), *map(str, given), *options])


def restore(photos, **options):
    others = {name: options.pop(name) for name in ("stop", "report") if name in options}
    return jobs.restore(
        [photos], PRIOR, out=photos.parent / "out", options=jobs.Options(**OPTIONS, **options), **others
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


# ---- a stop that is asked for


@pytest.mark.parametrize("samples", [1, 2])
def test_what_is_under_way_is_finished_and_noted_and_the_same_call_continues(photos, solver, samples):
    solver.at = -1
    outcome = restore(photos, samples=samples, stop=lambda: solver.batches == 2)
    done = [str(i) for i in range(4 // samples)]
    assert (outcome.done, outcome.skipped, outcome.failures) == (done, [], [])
    assert outcome.left == [str(i) for i in range(len(done), 6)]
    entries = jobs.Manifest(photos.parent / "out" / "manifest.jsonl").entries
    assert {name for name, entry in entries.items() if entry["status"] == "restored"} == set(done)
    again = restore(photos, samples=samples)
    assert (again.skipped, again.done, again.left) == (done, outcome.left, [])


def test_a_job_that_is_asked_to_stop_at_once_does_nothing(photos, solver):
    outcome = restore(photos, stop=lambda: True)
    assert (outcome.done, outcome.left, solver.batches) == ([], [str(i) for i in range(6)], 0)
    assert contents(photos.parent / "out") == {}


def test_an_overwriting_that_was_stopped_continues(photos, solver):
    solver.at = -1
    restore(photos)
    solver.batches = 0
    outcome = restore(photos, overwrite=True, stop=lambda: solver.batches == 1)
    assert outcome.done == ["0", "1"]
    again = restore(photos, overwrite=True)
    assert (again.skipped, again.done) == (["0", "1"], ["2", "3", "4", "5"])


# ---- SIGTERM


def test_sigterm_ends_after_the_batch_with_143_and_says_how_to_continue(photos, solver):
    solver.at = 2
    result = invoke(photos)
    assert result.exit_code == 143
    assert "4 restored into" in result.output
    assert "2 left" in result.output
    assert "stopping when what is under way is done" in result.stderr
    assert "error: stopped; the same command continues." in result.stderr
    assert len(contents(photos.parent / "out")) == 4
    result = invoke(photos)
    assert result.exit_code == 0
    assert re.search(r"2 restored into .*, 4 found done", result.output)


def test_sigterm_during_the_last_batch_is_no_failure(photos, solver):
    solver.at = 3
    assert invoke(photos).exit_code == 0


def test_afterwards_sigterm_is_what_it_was(photos, solver):
    before = signal.getsignal(signal.SIGTERM)
    invoke(photos)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_handler_of_the_caller_is_left_alone():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with _stopping.Stopping() as stopping:
            os.kill(os.getpid(), signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            assert not stopping.asked()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_sigterm_ends_at_once_even_within_one_instruction():
    code = """
    import hashlib
    from reddiff_jax.cli._stopping import Stopping
    with Stopping():
        print("ready", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**30)  # as XLA does, it lets other threads run
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert "a second SIGTERM ends it now" in process.stderr.readline()
        process.terminate()
        assert process.wait(10) == 143


# ---- a disk that is full, and clocks


@pytest.mark.parametrize("written", [0, 10])
def test_a_line_that_does_not_fit_leaves_nothing_of_itself(tmp_path, monkeypatch, written):
    path, write = tmp_path / "manifest.jsonl", os.write
    jobs.Manifest(path).add({"name": "a", "status": "restored"})
    before, calls = path.read_bytes(), []

    def full(descriptor, content):
        if calls or not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        calls.append(1)
        return write(descriptor, bytes(content[:written]))

    monkeypatch.setattr(_files.os, "write", full)
    with pytest.raises(jobs.JobError, match=r"No space left on device.*free some space and repeat"):
        jobs.Manifest(path).add({"name": "b", "status": "restored"})
    monkeypatch.undo()
    assert path.read_bytes() == before


@pytest.mark.parametrize("full", [1, 2, 3, 4])
def test_a_disk_that_is_full_at_a_manifest_line_loses_no_picture(photos, solver, monkeypatch, full):
    solver.at, lines, append = -1, [], _files.append

    def fail(path, content, **options):
        lines.append(content)
        if len(lines) == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(path, content, **options)

    monkeypatch.setattr(manifest, "append", fail)
    with pytest.raises(jobs.JobError, match="free some space and repeat"):
        restore(photos)
    outcome = restore(photos)
    assert sorted([*outcome.skipped, *outcome.done]) == [str(i) for i in range(6)]
    assert outcome.failures == []
    assert len(contents(photos.parent / "out")) == 6


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_makes_nothing_be_done_again(photos, solver, monkeypatch, jump):
    solver.at, clock = -1, time.time
    restore(photos, stop=lambda: solver.batches == 1)
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    assert restore(photos).skipped == ["0", "1"]
    monkeypatch.undo()
    monkeypatch.setattr(groups, "BatchSolver", Signalled)
    assert restore(photos).skipped == [str(i) for i in range(6)]
