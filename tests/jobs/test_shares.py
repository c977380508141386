"""Which inputs are whose, of several processes."""

import jax
import pytest

from reddiff_jax import jobs


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_share_that_is_none(index, count):
    with pytest.raises(jobs.JobError, match="must be from 0"):
        jobs.Share(index, count)


def test_a_process_of_slurm_finds_its_share(monkeypatch):
    step = {"JOB_ID": 7, "STEP_NODELIST": "a[1-2]", "NTASKS": 4, "PROCID": 3, "LOCALID": 1, "STEP_NUM_NODES": 2}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    updates = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)
    assert jobs.detect_share() == jobs.Share(3, 4)
    assert updates["jax_cuda_visible_devices"] == "1"


def test_without_a_cluster_the_share_is_the_whole():
    assert jobs.detect_share() == jobs.Share(0, 1)
