"""Photos are rarely square: every one is denoised, by as many views as its shape has."""

import json

import numpy as np
import pytest
import restoring_jobs

import reddiff_jax as rd
from reddiff_jax import jobs, pictures


@pytest.mark.parametrize(
    ("size", "views"),
    [
        ((24, 40), 4),
        pytest.param((33, 32), 4, marks=pytest.mark.slow),
        pytest.param((64, 64), 8, marks=pytest.mark.slow),
    ],
)
def test_a_photo_of_any_shape_is_denoised(tmp_path, size, views):
    pictures.write_picture(tmp_path / "photo.png", np.random.default_rng(0).uniform(-1, 1, (*size, 3)))
    prior, out = rd.prior(restoring_jobs.predict, rd.schedules.linear()), tmp_path / "out"
    outcome = jobs.restore([tmp_path / "photo.png"], prior, out=out, options=jobs.Options(task="denoise", sigma=0.1))
    assert list(outcome.done) == ["photo"]
    assert pictures.picture_size(out / "photo.png") == size
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    (settings,) = [row["settings"] for row in rows if row.get("status") == "restored"]
    assert (settings["solver"], settings["num_steps"]) == ("tweedie", views)
