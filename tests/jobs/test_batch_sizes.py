"""`--batch-size auto`: what is measured, when it stops, and that it is remembered."""

import jax
import numpy as np
import pytest
import restoring_jobs

import reddiff_jax as rd
from reddiff_jax import batching, jobs, pictures
from reddiff_jax.jobs import batch_sizes


class Timed:
    """A batch solver of known time and memory."""

    def __init__(self, size, seconds, memory):
        self.batch_size, self.seconds, self.memory = size, seconds, memory

    def seconds_per_call(self, problem):
        return self.seconds


def found(seconds, at_most=64, memory=lambda size: 0, fits=64):
    tried = []

    def make(size):
        if size > fits:
            raise batching.OutOfMemoryError("too much")
        tried.append(size)
        return Timed(size, seconds(size), memory(size))

    return batch_sizes.find_batch_size(make, None, at_most).batch_size, tried


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(batch_sizes, "device_memory", lambda: 1000)


def test_the_batch_grows_while_each_picture_gets_faster():
    assert found(lambda size: 1 + size**2 / 64) == (8, [1, 2, 4, 8, 16])


def test_the_batch_is_no_larger_than_there_are_pictures():
    assert found(lambda size: 1, at_most=5)[0] == 8


def test_the_batch_fits_into_memory():
    assert found(lambda size: 1, memory=lambda size: 100 * size) == (8, [1, 2, 4, 8])
    assert found(lambda size: 1, fits=4) == (4, [1, 2, 4])


def test_a_size_is_remembered_for_its_shape_prior_and_solver(tmp_path):
    sizes = batch_sizes.RememberedSizes(tmp_path / "new")
    sizes.put(16, "prior", (8, 8, 3))
    again = batch_sizes.RememberedSizes(tmp_path / "new")
    assert again.get("prior", (8, 8, 3)) == 16
    assert again.get("prior", (16, 8, 3)) is None
    (tmp_path / "new" / "batch_sizes.json").write_text('{"cut')
    assert again.get("prior", (8, 8, 3)) is None


@pytest.mark.slow
def test_a_continued_job_keeps_the_batch_size_it_found(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for i in range(4):
        pictures.write_picture(tmp_path / "photos" / f"{i}.png", np.random.default_rng(i).uniform(-1, 1, (8, 12, 3)))
    monkeypatch.undo()
    asked = []

    def find(make, problem, at_most):
        asked.append(at_most)
        return make(2)

    monkeypatch.setattr("reddiff_jax.jobs.groups.find_batch_size", find)
    options = jobs.Options(**{**vars(restoring_jobs.OPTIONS), "batch_size": None})
    arguments = {"out": tmp_path / "out", "options": options}
    prior = rd.prior(restoring_jobs.predict, rd.schedules.linear())
    jobs.restore([tmp_path / "photos"], prior, **arguments)
    before = (tmp_path / "out" / "1.png").read_bytes()
    (tmp_path / "out" / "1.png").unlink()
    jobs.restore([tmp_path / "photos"], prior, **arguments)
    assert asked == [4]
    assert (tmp_path / "out" / "1.png").read_bytes() == before
    assert jobs.Manifest(tmp_path / "out" / "manifest.jsonl").entries["1"]["batch_size"] == 2
