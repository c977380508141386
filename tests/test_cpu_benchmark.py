"""The benchmark of whole commands: what it runs, its estimate, its goals, and the network in PyTorch."""

import argparse
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

cpu = pytest.importorskip("benchmarks.cpu")
tables = pytest.importorskip("benchmarks._tables_speed")


def _args(**changed):
    return argparse.Namespace(**{"against": None, "rounds": 1, "steps": 20, **changed})


def test_it_is_thought_to_take_less_than_25_minutes():
    assert cpu.estimate(cpu.CELLS, _args(against=Path(".."))) < 25 * 60


def test_an_older_commit_takes_its_turn_in_its_own_folder(tmp_path):
    found = cpu.contestants(cpu.Cell("inpaint", 256, 16), _args(against=tmp_path))
    assert {each.name: each.root for each in found if each.cache == "REDDIFF_JAX_CACHE"} == {
        "ours": cpu.ROOT,
        "before": tmp_path,
    }


def test_a_command_is_timed_with_its_memory(tmp_path):
    found = cpu.timed([sys.executable, "-c", "x = bytearray(200_000_000)"], root=tmp_path, environment={})
    assert 0.2 < found["peak GB"] < 0.4
    assert found["seconds"] > 0


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="no such thing"):
        cpu.timed([sys.executable, "-c", "raise SystemExit('no such thing')"], root=tmp_path, environment={})


def test_what_was_measured_under_the_same_settings_is_known(tmp_path):
    path, rows = tmp_path / "cpu.json", [{"task": "denoise", "size": 32, "count": 1}]
    path.write_text(json.dumps({"environment": {"commit": "a"}, "settings": {"steps": 2}, "rows": rows}))
    assert cpu._known(path, {"commit": "a"}, {"steps": 2}) == rows
    assert cpu._known(path, {"commit": "b"}, {"steps": 2}) == []


def test_the_goals_are_held_against_what_was_measured():
    def turn(seconds, peak=0.5):
        return {"warm": {"seconds": seconds, "peak GB": peak}}

    cells = {
        ("inpaint", 256, 16): {"ours": turn(10), "before": turn(16), "PyTorch, eager": turn(20)},
        ("inpaint", 1024, 1): {"ours": turn(10, 1.3), "PyTorch, eager": turn(8)},
    }
    said = " ".join(tables._goals(cells))
    assert "no slower than PyTorch, warm: missed for 1 of 1024 (1.25)" in said
    assert "for 16 of 256: met, 1.60 times" in said
    assert "under 1.2 GB at 1024 x 1024: missed, 1.30 GB" in said


@pytest.mark.slow
def test_the_network_in_pytorch_is_the_bundled_one(tmp_path):
    torch = pytest.importorskip("torch")
    from benchmarks._cpu_inputs import torch_weights
    from benchmarks._torch_tasks import load

    prior = rd.load_prior()
    torch.save(torch_weights(prior), tmp_path / "net.pt")
    module, _ = load(tmp_path / "net.pt", compiled=False)
    x_t = np.random.default_rng(0).normal(size=(16, 32, 3)).astype(np.float32)
    predicted = module(torch.from_numpy(x_t).movedim(-1, 0)[None], torch.tensor([700]))[0].movedim(0, -1).numpy()
    # Float32 through some forty convolutions.
    np.testing.assert_allclose(predicted, prior.eps(jnp.asarray(x_t), jnp.int32(700)), atol=1e-4)
