"""Results that were damaged or edited after they were written: they do not count as done, and are not lost either."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import jobs, pictures

SHAPE = (8, 8, 3)
OPTIONS = {"task": "denoise", "sigma": 0.1, "changes": {"num_steps": 2}}


def restore(root, events=None, **changes):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    options = jobs.Options(**{**OPTIONS, "batch_size": 2, **changes})
    report = (lambda event: None) if events is None else events.append
    return jobs.restore([root / "photos"], prior, out=root / "out", options=options, report=report)


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    root = tmp_path_factory.mktemp("restored")
    (root / "photos").mkdir()
    for i in range(2):
        x = np.random.default_rng(i).uniform(-1, 1, SHAPE)
        pictures.write_picture(root / "photos" / f"{i}.png", x)
    assert sorted(restore(root).done) == ["0", "1"]
    return root


@pytest.fixture
def copied(restored, tmp_path):
    """The folder with pictures and results, to be broken."""
    root = shutil.copytree(restored, tmp_path / "copy")
    text = (root / "out" / "manifest.jsonl").read_text()
    (root / "out" / "manifest.jsonl").write_text(text.replace(str(restored), str(root)))
    return root


def _cut(path):
    path.write_bytes(path.read_bytes()[:100])


def _empty(path):
    path.write_bytes(b"")


def _edit(path):
    pictures.write_picture(path, np.zeros(SHAPE))


def _make_folder(path):
    path.unlink()
    path.mkdir()
    (path / "mine").touch()


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


DAMAGE = [_cut, _empty, _edit, _make_folder, _flip]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_result_does_not_count_as_done_and_is_not_overwritten(damage, copied):
    path = copied / "out" / "0.png"
    damage(path)
    before = sorted(each.name for each in path.iterdir()) if path.is_dir() else path.read_bytes()
    outcome = restore(copied)
    assert (outcome.done, outcome.skipped) == ([], ["1"])
    (failure,) = outcome.failures
    assert "0.png is not what was written (damaged or edited); move it away to restore it again" in failure.reason
    assert (sorted(each.name for each in path.iterdir()) if path.is_dir() else path.read_bytes()) == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", [_cut, _empty, _edit, _flip])
def test_overwrite_restores_a_damaged_result(damage, copied):
    path = copied / "out" / "0.png"
    before = path.read_bytes()
    damage(path)
    assert sorted(restore(copied, overwrite=True).done) == ["0", "1"]
    assert path.read_bytes() == before


def test_overwrite_finds_the_batch_size_anew(copied):
    (copied / "out" / "manifest.jsonl").write_text("")
    assert sorted(restore(copied, overwrite=True, batch_size=None).done) == ["0", "1"]


def test_a_result_that_was_moved_away_is_restored_again(copied):
    before = (copied / "out" / "0.png").read_bytes()
    (copied / "out" / "0.png").unlink()
    outcome = restore(copied)
    assert (outcome.done, outcome.skipped) == (["0"], ["1"])
    assert (copied / "out" / "0.png").read_bytes() == before


def test_the_manifest_names_the_versions(copied):
    entries = jobs.Manifest(copied / "out" / "manifest.jsonl").entries
    assert {tuple(entry["versions"]) for entry in entries.values()} == {("reddiff_jax", "jax", "jaxlib")}


def _as_of_another_jax(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["versions"] = {**line["versions"], "jax": "0.0.1"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_job_that_mixes_versions_says_so(copied):
    _as_of_another_jax(copied / "out" / "manifest.jsonl")
    (copied / "out" / "0.png").unlink()
    events = []
    restore(copied, events)
    notes = [event.name for event in events if event.kind == "note"]
    assert any("1 pictures found done are of other versions (jax 0.0.1, now " in note for note in notes)


def test_a_job_that_does_nothing_says_nothing_of_versions(copied):
    _as_of_another_jax(copied / "out" / "manifest.jsonl")
    events = []
    restore(copied, events)
    assert not [event for event in events if event.kind == "note"]
