"""Two processes never work on one folder, shares do, and no lock outlives its process."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import _files, io, jobs, pictures
from reddiff_jax.jobs import locking, manifest
from reddiff_jax.jobs.locking import LOCK, holding

PRIOR = rd.gaussian_prior(np.zeros((8, 8, 3)), 1.0, rd.schedules.linear())
OPTIONS = jobs.Options(task="denoise", sigma=0.1)
ROOT = Path(io.__file__).parents[1]


@pytest.fixture(autouse=True)
def nobody_waits_long(monkeypatch):
    monkeypatch.setattr(locking, "_PAUSE", 0.001)


def share(folder, index, count):
    return folder / jobs.Share(index, count).file(LOCK)


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(tmp_path):
    said = rf"in use by process {os.getpid()} on {socket.gethostname()}, since .*; wait for it, stop it, or choose"
    with holding(tmp_path / LOCK):
        with pytest.raises(jobs.JobError, match=said) as error, holding(tmp_path / LOCK):
            raise AssertionError("both hold it")
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_after_an_error_nothing_is_held_or_left(tmp_path):
    with pytest.raises(RuntimeError), holding(tmp_path / LOCK):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with holding(tmp_path / LOCK):
        pass


def test_shares_of_one_job_hold_a_lock_each(tmp_path):
    with holding(share(tmp_path, 0, 3), count=3), holding(share(tmp_path, 2, 3), count=3):
        assert len(list(tmp_path.iterdir())) == 2
        with pytest.raises(jobs.JobError, match="in use"), holding(share(tmp_path, 2, 3), count=3):
            raise AssertionError("two processes are the same share")


@pytest.mark.parametrize(("first", "second"), [((0, 1), (1, 2)), ((1, 2), (0, 1)), ((0, 2), (1, 3))])
def test_shares_and_a_whole_job_and_shares_among_others_exclude_one_another(tmp_path, first, second):
    with holding(share(tmp_path, *first), count=first[1]):
        with pytest.raises(jobs.JobError, match="in use"), holding(share(tmp_path, *second), count=second[1]):
            raise AssertionError("they overlap")
        assert len(list(tmp_path.iterdir())) == 1  # of the first one only
    with holding(share(tmp_path, *second), count=second[1]):
        pass


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the lock of the folder; it takes the lock as ``holding`` does, but loads no JAX."""
    code = """
    import json, os, sys
    from pathlib import Path
    from reddiff_jax._files import lock, open_log
    descriptor = open_log(Path(sys.argv[1]))
    assert lock(descriptor, wait=False)
    os.write(descriptor, json.dumps({"process": os.getpid(), "host": "h", "count": 1, "began": "now"}).encode())
    print("held", flush=True)
    sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path / LOCK]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_killed_process_holds_nothing(other_process, tmp_path):
    with pytest.raises(jobs.JobError, match=f"process {other_process.pid} "), holding(tmp_path / LOCK):
        raise AssertionError("both hold it")
    other_process.kill()
    other_process.wait()
    assert (tmp_path / LOCK).exists()
    with holding(tmp_path / LOCK):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"process": "\\u001b[2J"}', b"\xff"])
def test_what_a_lock_says_is_not_trusted(tmp_path, content):
    with holding(tmp_path / LOCK):
        (tmp_path / LOCK).write_bytes(content)
        with pytest.raises(jobs.JobError, match="in use by another process"), holding(tmp_path / LOCK):
            raise AssertionError("both hold it")


def test_without_locks_of_the_file_system_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "fcntl", None)
    with holding(tmp_path / LOCK), holding(tmp_path / LOCK):
        assert (tmp_path / LOCK).is_file()


def restore(photo, out, **options):
    jobs.restore([photo], PRIOR, out=out, options=OPTIONS, **options)


def measure(photo, out):
    jobs.measure_pictures([photo], task="denoise", sigma=0.1, out=out)


@pytest.mark.parametrize("work", [restore, measure])
def test_commands_refuse_a_folder_in_use(tmp_path, work):
    pictures.write_picture(tmp_path / "a.png", np.zeros((8, 8, 3)))
    (tmp_path / "out").mkdir()
    with holding(tmp_path / "out" / LOCK), pytest.raises(jobs.JobError, match=r"out is in use by process"):
        work(tmp_path / "a.png", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


# ---- links and pipes in the place of what is written


def hold(path):
    with holding(path):
        raise AssertionError("held")


def note(path):
    jobs.Manifest(path).add({"name": "a", "status": "restored"})


@pytest.mark.parametrize(
    ("name", "write"), [(LOCK, hold), ("manifest.jsonl", note), ("log.jsonl", jobs.watching.ScalarLog)]
)
@pytest.mark.parametrize("what", ["link", "link to nothing", "pipe", "folder"])
def test_what_somebody_planted_is_not_written_to(tmp_path, name, write, what):
    victim = tmp_path / "victim"
    if what == "link":
        victim.write_text("mine")
    path = tmp_path / "out" / name
    path.parent.mkdir()
    {
        "link": lambda: path.symlink_to(victim),
        "link to nothing": lambda: path.symlink_to(victim),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[what]()
    with pytest.raises(jobs.JobError, match=rf"cannot write .*{name} \(.*\); choose another folder"):
        write(path)
    assert victim.read_text() == "mine" if what == "link" else not victim.exists()


def test_looking_whether_a_folder_can_be_written_follows_no_link(tmp_path):
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    (out / ".writable").symlink_to(victim)
    jobs.outputs.prepare_folder(out)
    assert not victim.exists()


def test_folders_that_are_written_have_names_that_nobody_knows(tmp_path):
    (tmp_path / ".prior.partial").symlink_to(tmp_path / "victim")
    with _files.replacing_folder(tmp_path / "prior") as partial:
        (partial / "a").write_text("new")
    assert (tmp_path / "prior" / "a").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".prior.partial", "prior"]


def write_folder(folder, meanwhile):
    with _files.replacing_folder(folder) as partial:
        (partial / "a").write_text("new")
        meanwhile()


def test_of_two_that_write_one_folder_the_first_stays(tmp_path):
    def first():
        write_folder(tmp_path / "prior", lambda: None)
        (tmp_path / "prior" / "a").write_text("first")

    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "prior", first)
    assert (tmp_path / "prior" / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["prior"]


def test_folders_that_a_kill_has_left_are_removed_and_others_left_alone(tmp_path):
    (tmp_path / ".0011.partial" / "weights").mkdir(parents=True)
    with _files.replacing_folder(tmp_path / "one") as partial:
        write_folder(tmp_path / "prior", lambda: None)
        assert {path.name for path in tmp_path.iterdir()} == {partial.name, "prior"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "prior"]


def test_without_locks_only_folders_that_are_old_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "fcntl", None)
    for name, age in ((".0011.partial", 10_000), (".0022.partial", 10)):
        (tmp_path / name / "weights").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    write_folder(tmp_path / "prior", lambda: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0022.partial", "prior"]


# ---- clocks


@pytest.mark.parametrize("clock", [0, 4e9, 1e11])
def test_a_line_of_another_time_does_not_override_a_later_one(tmp_path, monkeypatch, clock):
    other = jobs.Manifest(tmp_path / "manifest-00001.jsonl")
    monkeypatch.setattr(manifest.time, "time", lambda: clock)
    other.add({"name": "a", "status": "started"})
    monkeypatch.setattr(manifest.time, "time", lambda: 1e9)
    jobs.Manifest(tmp_path / "manifest.jsonl").add({"name": "a", "status": "restored"})
    assert jobs.Manifest(tmp_path / "manifest.jsonl").entries["a"]["status"] == "restored"
    assert jobs.Manifest(tmp_path / "manifest-00001.jsonl").entries["a"]["status"] == "restored"


def test_a_planted_line_of_the_future_does_not_override(tmp_path):
    jobs.Manifest(tmp_path / "manifest.jsonl").add({"name": "a", "status": "restored"})
    (tmp_path / "manifest-00001.jsonl").write_text('{"name": "a", "status": "waiting", "time": 9e10}\n')
    assert jobs.Manifest(tmp_path / "manifest.jsonl").entries["a"]["status"] == "restored"


def test_an_order_beyond_all_bounds_is_no_entry(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"name": "a", "status": "waiting", "order": 1e300}\n')
    assert jobs.Manifest(tmp_path / "manifest.jsonl").entries == {}
