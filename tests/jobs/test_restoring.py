"""A restoration job that loses nothing: killed, out of disk or memory, with broken inputs, on several machines."""

import errno
import json
import os
import sys
from functools import cache

import jax
import numpy as np
import pytest
import restoring_jobs
from job_server import Server
from PIL import Image

import reddiff_jax as rd
from reddiff_jax import batching, jobs, measurements, pictures
from reddiff_jax.jobs import groups
from reddiff_jax.masks import key_of

SIZES = [(8, 12)] * 9 + [(12, 8)] * 3


def write_photos(folder, sizes=SIZES):
    folder.mkdir()
    for i, size in enumerate(sizes):
        x = np.random.default_rng(i).uniform(-1, 1, (*size, 3))
        pictures.write_picture(folder / f"{i:02}.png", x)
    return folder


def contents(out):
    return {path.name: path.read_bytes() for path in out.glob("*.png")}


def statuses(out):
    return {name: entry["status"] for name, entry in jobs.Manifest(out / "manifest.jsonl").entries.items()}


@pytest.mark.slow
@pytest.mark.cpu_only
@pytest.mark.timeout(1200)  # on a machine with other work to do
def test_twenty_kills_change_not_a_bit(tmp_path):
    photos = write_photos(tmp_path / "photos")
    rng = np.random.default_rng(0)
    with Server(tmp_path / "programs") as server:
        unbroken = server.run(photos, tmp_path / "unbroken")
        assert len(unbroken["done"]) == len(SIZES)
        expected = contents(tmp_path / "unbroken")
        kills, folder = 0, 0
        while kills < 20:
            out = tmp_path / f"out{folder}"
            kill_at = int(rng.integers(1, unbroken["operations"] // 2))
            before = contents(out) if out.is_dir() else {}
            answer = server.run(photos, out, kill_at=kill_at)
            present = contents(out) if out.is_dir() else {}
            assert present.items() <= expected.items()
            assert before.items() <= present.items()
            if answer["status"]:
                assert answer["status"] == -9
                kills += 1
                continue
            # Only what was missing was done.
            assert set(answer["done"]) >= {name.removesuffix(".png") for name in expected.keys() - before.keys()}
            assert present == expected
            assert not [path for path in out.iterdir() if path.suffix not in (".png", ".jsonl")]
            folder += 1
        assert server.run(photos, out)["status"] == 0
        assert contents(out) == expected
        assert set(statuses(out).values()) == {"restored"}
    assert folder >= 1


@pytest.mark.slow
@pytest.mark.cpu_only
@pytest.mark.timeout(1200)
def test_of_two_processes_one_is_killed_and_the_other_finishes(tmp_path):
    photos, out = write_photos(tmp_path / "photos"), tmp_path / "out"
    with Server(tmp_path / "programs", devices=4) as one, Server(tmp_path / "programs2", devices=4) as other:
        whole = one.run(photos, tmp_path / "whole")
        assert whole["devices"] == restoring_jobs.OPTIONS.batch_size == 4  # a picture for each
        one.start(photos, out, share=(0, 2), kill_at=whole["operations"] // 3)
        other.start(photos, out, share=(1, 2))
        assert one.answer()["status"] == -9
        finished = other.answer()
        assert (finished["status"], finished["devices"]) == (0, 4)
        assert len(finished["done"]) == len(SIZES) / 2
        again = one.run(photos, out, share=(0, 2))
        assert {*again["done"], *again["skipped"]} == {f"{i:02}" for i in range(0, len(SIZES), 2)}
        assert other.run(photos, out, share=(1, 2))["done"] == []
        # Whoever reads the folder later reads all manifests.
        assert one.run(photos, out)["done"] == []
    assert sorted(path.name for path in out.glob("*.jsonl")) == ["manifest-00000.jsonl", "manifest-00001.jsonl"]
    for name in contents(tmp_path / "whole"):
        difference = pictures.read_picture(out / name) - pictures.read_picture(tmp_path / "whole" / name)
        assert abs(difference).max() <= 2.01 / 255  # 8-bit rounding, in other slots of other batches


# ---- in this process


@pytest.fixture(scope="module", autouse=True)
def programs_are_compiled_once(compilations_are_kept):
    return


@cache
def prior():
    def predict(x_t, t, cond):
        # What is white diverges.
        return jax.numpy.where(x_t.mean() > 0.7, jax.numpy.nan, restoring_jobs.predict(x_t, t, cond))

    return rd.prior(predict, rd.schedules.linear())


def restore(photos, out, **changes):
    options = {**vars(restoring_jobs.OPTIONS), "batch_size": 2, **changes}
    events = []
    others = {name: options.pop(name) for name in ("share", "log", "tensorboard", "film") if name in options}
    outcome = jobs.restore([photos], prior(), out=out, options=jobs.Options(**options), report=events.append, **others)
    return outcome, events


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Four pictures; only to be read."""
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", SIZES[:4])


@pytest.fixture(scope="module")
def restored(photos, tmp_path_factory):
    """The four restored, two at a time; only to be read."""
    out = tmp_path_factory.mktemp("restored") / "out"
    outcome, events = restore(photos, out)
    assert len(outcome.done) == 4
    # Without a log nothing but the step is told.
    assert {event.detail for event in events if event.kind == "step"} == {"step 6/6"}
    return contents(out)


@pytest.mark.slow
@pytest.mark.parametrize("room", [1, 3, 5])
def test_a_full_disk_leaves_nothing_half_written_and_the_job_continues(photos, restored, tmp_path, monkeypatch, room):
    out, calls, sync = tmp_path / "out", [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(jobs.JobError, match=r"No space left on device.*free some space and repeat"):
        restore(photos, out)
    monkeypatch.undo()
    assert contents(out).items() <= restored.items()
    assert {path.suffix for path in out.iterdir()} <= {".png", ".jsonl"}
    assert all(json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines())
    outcome, _ = restore(photos, out)
    assert len(outcome.done) + len(outcome.skipped) == 4
    assert contents(out) == restored


def test_a_continued_run_computes_in_the_slots_of_an_unbroken_one(photos, restored, tmp_path):
    out = tmp_path / "out"
    restore(photos, out)
    for name in ("01.png", "02.png"):
        (out / name).unlink()
    outcome, _ = restore(photos, out)
    assert outcome.done == ["01", "02"]
    assert contents(out) == restored
    assert jobs.Manifest(out / "manifest.jsonl").entries["01"]["attempts"] == 2


@pytest.mark.slow
def test_the_manifest_tells_the_residual_over_real_numbers_of_mri_too(photos, tmp_path):
    jobs.measure_pictures([photos / "00.png"], task="mri4", sigma=0.1, out=tmp_path / "measured", seed=3)
    options = {"task": None, "sigma": None}
    restore(tmp_path / "measured", tmp_path / "out", **options)
    problem = measurements.read_measurement(tmp_path / "measured" / "00.npz").problem()
    assert jax.numpy.iscomplexobj(problem.y)
    options = jobs.Options(**{**vars(restoring_jobs.OPTIONS), **options})
    solver = options.settings(problem, "mri4").solver(prior())
    x = rd.run(jax.random.fold_in(key_of("00", options.seed), 0), solver, problem).x
    (residual,) = jobs.Manifest(tmp_path / "out" / "manifest.jsonl").entries["00"]["residual"]
    assert residual == pytest.approx(float(problem.rms_residual(x)), rel=1e-4)  # float32, 6 steps in another program


class _Little:
    """A solver of batches on a device where only batches up to a size fit."""

    def __init__(self, fits):
        self.fits = fits

    def __call__(self, solver, problem, *, batch_size, **options):
        if batch_size > self.fits(problem):
            raise batching.OutOfMemoryError("too much")
        return batching.BatchSolver(solver, problem, batch_size=batch_size, **options)


def test_a_batch_that_does_not_fit_is_done_in_halves(photos, restored, tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "BatchSolver", _Little(lambda problem: 2))
    outcome, events = restore(photos, tmp_path / "out", batch_size=4)
    assert len(outcome.done) == 4
    assert [event.detail for event in events if event.kind == "retry"] == ["batches of 2: too much"]
    assert contents(tmp_path / "out") == restored
    entry = jobs.Manifest(tmp_path / "out" / "manifest.jsonl").entries["00"]
    assert (entry["batch_size"], entry["attempts"]) == (2, 2)


def test_what_does_not_even_fit_alone_is_noted_and_the_rest_done(restored, tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", [(8, 12), (8, 12), (16, 12), (16, 12)])
    monkeypatch.setattr(groups, "BatchSolver", _Little(lambda problem: 0 if problem.y.shape[0] == 16 else 2))
    outcome, _ = restore(photos, tmp_path / "out")
    assert [failure.name for failure in outcome.failures] == ["02", "03"]
    assert "not enough memory for a picture of 12 x 16; lower --tile" in outcome.failures[0].reason
    assert contents(tmp_path / "out").items() <= restored.items()
    assert statuses(tmp_path / "out") == {"00": "restored", "01": "restored", "02": "failed", "03": "failed"}


def test_a_picture_that_diverges_or_breaks_leaves_its_neighbours_alone(photos, restored, tmp_path):
    broken = write_photos(tmp_path / "photos", SIZES[:4])
    pictures.write_picture(broken / "01.png", np.ones((8, 12, 3)))
    (broken / "02.png").write_bytes((broken / "02.png").read_bytes()[:60])
    outcome, _ = restore(broken, tmp_path / "out")
    reasons = {failure.name: failure.reason for failure in outcome.failures}
    assert "diverged" in reasons["01"]
    assert "cannot be read" in reasons["02"]
    assert contents(tmp_path / "out") == {name: restored[name] for name in ("00.png", "03.png")}


def test_shares_together_are_the_whole(photos, restored, tmp_path):
    out = tmp_path / "out"
    done = [restore(photos, out, share=jobs.Share(index, 2))[0].done for index in range(2)]
    assert done == [["00", "02"], ["01", "03"]]
    assert restore(photos, out)[0].skipped == ["00", "01", "02", "03"]
    assert contents(out).keys() == restored.keys()


def test_a_log_and_a_film_tell_how_it_went(photos, restored, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    _, events = restore(photos, out, log=log, film=3)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(row["name"], row["step"]) for row in rows} == {(f"0{i}", step) for i in range(4) for step in range(1, 7)}
    last = next(row for row in rows if (row["name"], row["step"]) == ("00", 6))
    assert last.keys() >= {"sample", "t", "residual", "pull", "kappa"}
    details = [event.detail for event in events if event.kind == "step"]
    assert details[0].startswith("step 2/6, ")
    assert ", residual 0." in details[0]
    with Image.open(out / "00_film.gif") as film:
        assert film.n_frames == 3
        film.seek(2)
        frame = np.asarray(film.convert("RGB"), float)
    assert abs(frame - pictures.read_uint8(out / "00.png")).max() <= 32  # a palette of 256 colours
    assert pictures.picture_size(out / "00_film.png")[1] > 3 * 12
    assert contents(out).items() >= restored.items()
    assert [name for name, _, _ in jobs.pair(out, photos).pairs] == ["00", "01", "02", "03"]
    assert jobs.pair(out, photos).without_original == []


def event_files(folder):
    return sorted(folder.rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_a_run_for_tensorboard_has_an_event_for_each_step(photos, restored, tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    restore(photos, tmp_path / "out", tensorboard=tmp_path / "board")
    files = event_files(tmp_path / "board")
    assert [file.parent.name for file in files] == ["00", "01", "02", "03"]
    content, events = files[0].read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        events.append(event_pb2.Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]  # a length, its checksum, an event, its checksum
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[2:]] == [1, 2, 3, 4, 5, 6]
    assert {value.tag for value in events[-1].summary.value} >= {"t", "residual", "pull", "kappa"}


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # what TensorBoard is told by others
@pytest.mark.slow
def test_tensorboard_reads_what_the_log_says_of_the_last_attempt(photos, restored, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log, board = tmp_path / "log.jsonl", tmp_path / "board"
    for overwrite in (False, True):
        options = {"log": log, "tensorboard": board, "samples": 2, "overwrite": overwrite}
        restore(photos, tmp_path / "out", **options)
    assert len(event_files(board / "02_1")) == 2
    run = reader.EventAccumulator(str(board / "02_1")).Reload()
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    of_run = [row for row in logged if (row["name"], row["sample"]) == ("02", 1)][-6:]
    for tag in run.Tags()["scalars"]:
        scalars = run.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose([scalar.value for scalar in scalars], [row[tag] for row in of_run], rtol=1e-5)


def test_tensorboard_without_its_package_names_the_extra(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.proto", None)
    with pytest.raises(ImportError, match=r"pip install \"reddiff-jax\[tensorboard\]\""):
        restore(photos, tmp_path / "out", tensorboard=tmp_path / "board")
