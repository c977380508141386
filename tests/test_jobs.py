"""Jobs below the command line: batches, inputs, the manifest, panels."""

import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import jobs, panels, pictures
from reddiff_jax.settings import ReddiffSettings

SHAPE = (8, 12, 3)


def problems(count, own_masks):
    masks = [jax.random.bernoulli(jax.random.key(i if own_masks else 0), 0.5, SHAPE[:2]) for i in range(count)]
    return [
        rd.problem(mask[:, :, None] * (0.1 * i + jnp.zeros(SHAPE)), rd.inpainting(mask)) for i, mask in enumerate(masks)
    ]


@cache
def solver():
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    return ReddiffSettings(num_steps=6).solver(prior)


@cache
def solutions(own_masks):
    return [rd.run(jax.random.key(i), solver(), problem).x for i, problem in enumerate(problems(3, own_masks))]


@cache
def batch_solver(own_masks, steps_per_call):
    return jobs.BatchSolver(
        solver(), problems(1, own_masks)[0], batch_size=4, shared_operator=not own_masks, steps_per_call=steps_per_call
    )


@pytest.mark.parametrize("own_masks", [True, False])
@pytest.mark.parametrize("steps_per_call", [None, 2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_batch_gives_what_run_gives(own_masks, steps_per_call):
    posed = problems(3, own_masks)
    xs, residuals = batch_solver(own_masks, steps_per_call)([jax.random.key(i) for i in range(3)], posed)
    assert xs.shape == (3, *SHAPE)
    for problem, x, residual, expected in zip(posed, xs, residuals, solutions(own_masks), strict=True):
        np.testing.assert_allclose(x, expected, atol=1e-5)  # float32 sums in another order, over 6 steps
        np.testing.assert_allclose(residual, jnp.sqrt(jnp.mean(problem.residual(expected) ** 2)), atol=1e-5)


def test_progress_of_a_batch_ends_with_the_last_step():
    seen = []
    batch_solver(False, 2)([jax.random.key(0)], problems(1, False), lambda step, *_: seen.append(step))
    assert seen == [2, 4, 6]


def test_the_last_manifest_line_of_a_name_holds(tmp_path):
    manifest = jobs.Manifest(tmp_path / "manifest.jsonl")
    for status in ("writing", "restored"):
        manifest.add({"name": "a", "status": status, "outputs": ("a.png",)})
    read = jobs.Manifest(tmp_path / "manifest.jsonl").entries
    assert read == manifest.entries
    assert {**read["a"], "time": 0} == {"name": "a", "status": "restored", "outputs": ["a.png"], "time": 0}


def test_a_manifest_line_cut_short_is_passed_over(tmp_path):
    path = tmp_path / "manifest.jsonl"
    jobs.Manifest(path).add({"name": "a", "status": "restored"})
    with path.open("a") as file:
        file.write('{"name": "a", "sta')
    manifest = jobs.Manifest(path)
    assert manifest.entries["a"]["status"] == "restored"
    manifest.add({"name": "b", "status": "writing"})
    assert json.loads(path.read_text().splitlines()[-1]) == manifest.entries["b"]


def test_the_output_folder_is_no_input(tmp_path):
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "out" / "a.png"):
        pictures.write_picture(path, np.zeros(SHAPE))
    items, failures = jobs.find_inputs([tmp_path], out=tmp_path / "out")
    assert [item.name for item in items] == ["a"]
    assert failures == []


def test_one_file_given_twice_is_one_input(tmp_path):
    pictures.write_picture(tmp_path / "a.png", np.zeros(SHAPE))
    items, _ = jobs.find_inputs([tmp_path / "a.png", tmp_path])
    assert len(items) == 1


def test_fingerprint_tells_priors_apart(tmp_path):
    for name, content in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(content)
    first, second = (jobs.fingerprint(tmp_path / name) for name in ("one", "two"))
    assert first.startswith("one-")
    assert first.split("-")[1] != second.split("-")[1]


def test_a_kernel_from_a_picture_sums_to_one(tmp_path):
    pictures.write_picture(tmp_path / "kernel.png", np.linspace(-1, 1, 35).reshape(5, 7, 1))
    kernel = jobs.read_kernel(tmp_path / "kernel.png")
    assert kernel.shape == (5, 7)
    assert kernel.sum() == pytest.approx(1)


def test_panel_shows_pixels_enlarged_by_a_whole_factor():
    x = np.linspace(-1, 1, 16 * 16 * 3).reshape(16, 16, 3)
    sheet = panels.panel([[x, x[:8, :8]]], columns=("large", "small"), rows=("one",), min_cell=64)
    shown = pictures.to_uint8(x).repeat(4, axis=0).repeat(4, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, shown.shape)
    assert (windows == shown).all(axis=(-3, -2, -1)).any()
