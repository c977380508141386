"""Files are written as a whole or not at all, and never through what somebody put in their place."""

import os
import random
import subprocess
import sys
import textwrap
import time

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("hypothesis")
from mutations import flipped, is_one_line

import reddiff_jax as rd
from reddiff_jax import _files, exporting, measurements
from reddiff_jax._files import replacing
from reddiff_jax.settings import DpsSettings, Kind, SettingsFile

SHAPE = (4, 4, 1)


def test_a_file_takes_its_place_when_it_is_complete(tmp_path):
    (tmp_path / "a").write_text("old")
    with replacing(tmp_path / "a") as partial:
        partial.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "new")]


def test_after_an_error_nothing_is_left(tmp_path):
    def fail():
        with replacing(tmp_path / "a") as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    path = tmp_path / ("a" * 255)
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_two_that_write_one_file_do_not_mix(tmp_path):
    with replacing(tmp_path / "a") as first:
        first.write_text("first")
        with replacing(tmp_path / "a") as second:
            second.write_text("second")
        assert (tmp_path / "a").read_text() == "second"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(_files.secrets, "token_hex", lambda _: "known")
    (tmp_path / ".known.partial").symlink_to(victim)
    with pytest.raises(FileExistsError), replacing(tmp_path / "a"):
        raise AssertionError("it was opened")
    assert victim.read_text() == "mine"


def test_a_link_at_the_files_own_name_is_replaced_and_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a").symlink_to(victim)
    with replacing(tmp_path / "a") as partial:
        partial.write_text("new")
    assert (victim.read_text(), (tmp_path / "a").read_text()) == ("mine", "new")


@pytest.fixture
def other_process(tmp_path):
    """A process that is in the middle of writing a file."""
    code = """
    import sys
    from pathlib import Path
    from reddiff_jax._files import replacing
    with replacing(Path(sys.argv[1]) / "other") as partial:
        partial.write_text("half")
        print("writing", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def write(path):
    _files._remove_left_overs.cache_clear()  # as a new process would
    with replacing(path) as partial:
        partial.write_text("new")


def test_what_another_process_writes_is_left_alone(other_process, tmp_path):
    write(tmp_path / "a")
    other_process.communicate("")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "other": "half"}


def test_what_a_killed_process_left_is_removed(other_process, tmp_path):
    other_process.kill()
    other_process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_without_locks_only_what_is_old_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "fcntl", None)
    old, fresh = tmp_path / ".0011.partial", tmp_path / ".0022.partial"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (time.time() - 10_000,) * 2)
    write(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0022.partial", "a"]


def test_a_planted_left_over_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".0011.partial").symlink_to(victim)
    write(tmp_path / "a")
    assert victim.read_text() == "mine"


# ---- everything that this package writes goes that way


def _settings(path):
    key = {"task": "sr4", "sigma": 0.05, "solver": "dps"}
    SettingsFile(path, "tiny").add(key, {}, "random_search", Kind.SUPER_RESOLUTION, [(DpsSettings(), 1.0)])


def _measurement(path):
    measurement = measurements.make_measurement("sr4", 0.1, np.zeros((8, 8, 3)), (32, 32, 3), {}, 0)
    measurements.write_measurement(path, measurement)


def _solver():
    return rd.reddiff(rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear()), num_steps=2)


def _run(path):
    problem = rd.problem(jnp.zeros(SHAPE), rd.denoising(SHAPE), rd.gaussian(0.1))
    exporting.export_run(path, _solver(), problem, batch_size=1, platforms=("cpu",))


@pytest.mark.parametrize("write", [_settings, _measurement, _run])
def test_a_write_that_fails_leaves_the_old_file(write, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_text("old")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(_files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.npz", "old")]


# ---- exported runs


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "run.npz"
    _run(path)
    return path


def test_an_exported_run_comes_back(exported):
    loaded = rd.load_run(exported)
    x = loaded.solve(np.array([3]), loaded.problem, loaded.solver)
    assert x.shape == (1, *SHAPE)
    assert loaded.versions.keys() == {"reddiff_jax", "jax", "jaxlib"}


def test_no_flipped_bit_of_an_exported_run_changes_it(exported, tmp_path):
    content, rng, sound = exported.read_bytes(), random.Random(0), rd.load_run(exported)
    refused = 0
    for _ in range(100):
        (tmp_path / "a.npz").write_bytes(flipped(content, rng))
        try:
            loaded = rd.load_run(tmp_path / "a.npz")
        except ValueError as error:
            assert is_one_line(error)  # noqa: PT017
            refused += 1
        else:  # a date in the zip
            assert all(np.array_equal(loaded.solver[name], sound.solver[name]) for name in sound.solver)
            assert all(np.array_equal(loaded.problem[name], sound.problem[name]) for name in sound.problem)
    assert refused > 80


@pytest.mark.parametrize("change", ["swapped", "missing", "more", "no meta", "no json"])
def test_an_exported_run_of_other_arrays_is_refused(change, exported, tmp_path):
    with np.load(exported) as file:
        arrays = dict(file)
    match change:
        case "swapped":
            arrays["solver.lam"] = arrays["solver.lam"] + 1
        case "missing":
            del arrays["solver.lam"]
        case "more":
            arrays["solver.more"] = np.zeros(2)
        case "no meta":
            del arrays["meta"]
        case "no json":
            arrays["meta"] = np.asarray("{")
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"is no exported run .*; write it again with export_run") as error:
        rd.load_run(tmp_path / "a.npz")
    assert is_one_line(error.value)
