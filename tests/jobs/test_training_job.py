"""Training as a job: what it refuses before any work, and what the card tells of a run."""

import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import io, jobs, pictures, training
from reddiff_jax.jobs.training import _begin, _curve, _seconds

CONFIG = training.TrainingConfig(steps=2, crops=(8,))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    pictures.write_picture(tmp_path / "photos" / "a.png", np.random.default_rng(0).uniform(-1, 1, (16, 16, 3)))
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (CONFIG, {"validation": "nowhere"}, "nowhere does not exist"),
        (CONFIG, {"credits": "nowhere"}, "nowhere does not exist"),
        (training.TrainingConfig(crops=(9,)), {}, "crop 9 must be a positive multiple of 8, the network's stride"),
    ],
    ids=["validation", "credits", "crop"],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(photos, tmp_path, config, options, said):
    with pytest.raises(jobs.JobError, match=said):
        jobs.train_prior(photos, out=tmp_path / "run", config=config, start=jobs.UNetArchitecture(), **options)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_refused(photos, tmp_path):
    (tmp_path / "run" / "prior").mkdir(parents=True)
    with pytest.raises(jobs.JobError, match="that run is complete"):
        jobs.train_prior(photos, out=tmp_path / "run", config=CONFIG, start=jobs.UNetArchitecture())


def test_pytorch_refuses_a_prior_of_another_network(photos, tmp_path):
    with pytest.raises(jobs.JobError, match="is a UNet, and PyTorch trains residual UNets only"):
        jobs.train_prior(
            photos, out=tmp_path / "run", config=CONFIG, start=io.find_prior("emoji64"), engine=training.torch_engine
        )


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(jobs.JobError, match="no pictures in"):
        jobs.train_prior(tmp_path, out=tmp_path / "run", config=CONFIG, start=jobs.UNetArchitecture())


def test_the_time_of_a_continued_run_is_that_of_all_its_parts():
    steps_and_seconds = [(20, 5.0), (40, 9.0), (20, 4.0), (40, 8.0), (60, 12.0), (80, 13.0)]  # killed at 40, or after
    log = [{"step": float(step), "seconds": seconds} for step, seconds in steps_and_seconds]
    assert _seconds(log) == 9.0 + 13.0


def test_a_curve_takes_the_last_of_updates_done_twice():
    log = [{"step": step, "loss": loss} for step, loss in [(20, 3.0), (40, 2.0), (40, 1.0), (60, 0.5)]]
    assert _curve(log, "loss", points=2) == {40: 2.0, 60: 0.5}


@pytest.mark.parametrize(
    ("to_eps", "schedule"),
    [(rd.from_v, rd.schedules.linear()), (rd.from_velocity, rd.schedules.rectified_flow())],
    ids=["v", "velocity"],
)
def test_a_new_network_has_the_schedule_of_what_it_predicts(to_eps, schedule):
    begun = _begin(jobs.UNetArchitecture(), to_eps, 3)
    np.testing.assert_array_equal(begun.schedule.sigmas, schedule.sigmas)
    assert begun.to_eps is to_eps
