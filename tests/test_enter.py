"""Solvers of others in benchmarks/enter.py: how they are told apart, what is wrong with them, and their rows."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

pytest.importorskip("benchmarks.enter")

from benchmarks import _entries, enter

FILE = Path(__file__).with_name("entered.py")
SHAPE = (4, 1, 1)


@pytest.fixture
def prior():
    return rd.gaussian_prior(jnp.full(SHAPE, 0.2), jnp.full(SHAPE, 0.25), rd.schedules.linear())


@pytest.fixture
def problems(key):
    operator = rd.matrix_operator(np.eye(4)[:2], SHAPE)
    draws = jax.random.normal(key, (3, *SHAPE))
    return [rd.measure(jax.random.fold_in(key, i), operator, rd.gaussian(0.1), draws[i]) for i in range(3)]


def _contestant(name: str, prior: rd.Prior, said: list[str]) -> _entries.Contestant:
    return _entries.Contestant(_entries.load(f"{FILE}:{name}"), prior, said.append)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["by_the_package", pytest.param("by_a_function", marks=pytest.mark.slow)])
def test_each_form_is_a_run_of_the_solver_with_the_same_keys(name, prior, problems, key):
    keys, said = jax.random.split(key, 3), []
    restored = _contestant(name, prior, said).restore(keys, problems)
    expected = [rd.run(k, rd.ddrm(prior, num_steps=3), p).x for k, p in zip(keys, problems, strict=True)]
    np.testing.assert_allclose(restored, np.stack(expected), atol=1e-6)  # float32, batched or not
    assert said == []


@pytest.mark.slow
def test_a_class_with_the_four_parts_runs_as_if_it_were_a_solver(prior, problems, key):
    keys = jax.random.split(key, 3)
    restored = _contestant("OfItsOwn", prior, []).restore(keys, problems)
    expected = [rd.run(k, rd.ddrm(prior, num_steps=2), p).x for k, p in zip(keys, problems, strict=True)]
    np.testing.assert_allclose(restored, np.stack(expected), atol=1e-6)  # float32, batched or not


@pytest.mark.slow
def test_what_cannot_be_compiled_is_called_in_python_and_that_is_said_once(prior, problems, key):
    keys, said = jax.random.split(key, 3), []
    contestant = _contestant("in_numpy", prior, said)
    restored = [contestant.restore(keys, problems) for _ in range(2)]
    expected = np.stack([p.operator.pinv(p.y) for p in problems])
    np.testing.assert_allclose(restored, np.stack([expected, expected]), atol=1e-6)  # float32
    assert len(said) == 1
    assert "cannot be compiled and batched (TracerArrayConversionError)" in said[0]


@pytest.mark.slow
def test_samples_differ_by_their_keys_and_not_without_one(prior, problems, key):
    keys = jax.random.split(key, 5)
    drawn = _contestant("by_a_function", prior, []).draw(keys, problems[0])
    assert drawn.std(0).min() > 0
    same = _contestant("pinv", prior, []).draw(keys, problems[0])
    assert same.shape == (5, *SHAPE)
    assert (same == same[0]).all()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("by_the_package", 3),
        pytest.param("by_a_function", 3, marks=pytest.mark.slow),
        pytest.param("OfItsOwn", 2, marks=pytest.mark.slow),
        ("pinv", 0),
    ],
)
def test_evaluations_of_the_network_are_counted(name, count, prior, problems):
    entry = _entries.load(f"{FILE}:{name}")
    assert _entries.count_evaluations(entry, problems[0], prior.schedule) == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pinv", r"'pinv' is no MODULE:NAME. Say the module and what is in it, such as mine:solver."),
        ("nowhere.at_all:x", r"there is no module 'nowhere.at_all'. Run this where it is, or give a file"),
        ("nowhere.py:x", r"there is no file nowhere.py."),
        (f"{FILE}:missing", r"has no 'missing'. It has pinv, by_the_package,"),
        (f"{FILE}:READY", r"is a \w+, but must be a function .* Give a function of prior that makes it"),
        (f"{FILE}:unnamed", r"asks for \(x, y\). The names decide: it must be a function of prior"),
    ],
)
def test_what_is_no_entry_is_told_in_one_line(text, message):
    with pytest.raises(_entries.EntryError, match=message) as told:
        _entries.load(text)
    assert "\n" not in str(told.value)


def test_a_module_that_does_not_import_is_told_in_one_line(tmp_path):
    for code, message in (("1 / 0", "raises ZeroDivisionError: division"), ("import nowhere_at_all", "not installed")):
        file = tmp_path / "broken.py"
        file.write_text(code)
        with pytest.raises(_entries.EntryError, match=message):
            _entries.load(f"{file}:x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Incomplete", r"returned a Incomplete without num_steps, step, estimate. A solver has"),
        ("of_the_measurement", r"returned the shape \(3, 3\), but the picture has the shape \(4, 1, 1\)"),
        pytest.param("a_solution", r"returned a Solution, .* Return its x.", marks=pytest.mark.slow),
        ("complex_numbers", r"returned numbers of type complex64, but pictures are real"),
        ("failing", r"raises RuntimeError: it is Sunday$"),
    ],
)
def test_what_an_entry_does_wrong_is_told_in_one_line(name, message, prior, problems, key):
    with pytest.raises(_entries.EntryError, match=message):
        _contestant(name, prior, []).restore(jax.random.split(key, 3), problems)


def test_the_command_refuses_before_anything_is_measured(capsys, tmp_path):
    assert enter.main([f"{FILE}:Incomplete", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("enter: ")
    assert list(tmp_path.iterdir()) == []


FEW = ["--tables", "posterior", "--dims", "--repeats", "2", "--samples", "20"]


@pytest.mark.slow
def test_posterior_rows_are_kept_and_printed_beside_the_committed_ones(capsys, tmp_path):
    command = [f"{FILE}:pinv", *FEW, "--out", str(tmp_path)]
    assert enter.main(command) == 0
    first = capsys.readouterr().out
    assert enter.main(command) == 0
    again = capsys.readouterr().out
    assert first.splitlines()[0].startswith("| Gaussian diagonal | 4 |")
    assert again == first[first.index("\nSamples") :]  # nothing is measured twice
    lines = again.splitlines()
    assert f"| {FILE}:pinv | " in lines[5]
    assert lines[6].startswith("| exact | 0.06 |")
    assert "a look, not a comparison" in lines[-1]
    (stored,) = tmp_path.rglob("posterior.json")
    rows = json.loads(stored.read_text())["rows"]
    assert [row["evaluations"] for row in rows] == [0, 0]


def test_what_is_not_finite_is_left_out_and_said(capsys, tmp_path):
    assert enter.main([f"{FILE}:not_finite", *FEW, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out == "nothing was measured\n"
    assert "Gaussian full, 4 measured: left out" in told.err


@pytest.mark.slow
def test_the_pseudo_inverse_enters_with_its_committed_figures(capsys, tmp_path):
    quality = ["--tables", "quality", "--tasks", "sr4", "--sigmas", "0.05"]
    assert enter.main([f"{FILE}:pinv", *quality, "--out", str(tmp_path)]) == 0
    (stored,) = tmp_path.rglob("quality.json")
    (row,) = json.loads(stored.read_text())["rows"]
    committed = [
        each
        for each in enter._committed("quality")["rows"]
        if (each["task"], each["sigma"], each["method"]) == ("sr4", 0.05, "A+y")
    ]
    # The same keys give the same measurement; the rest is rounding of float32 and of the stored figures.
    assert row["PSNR"] == pytest.approx(committed[0]["PSNR"], abs=2e-3)
    assert row["LPIPS"] == pytest.approx(committed[0]["LPIPS"], abs=2e-3)
    assert "| sr4 | 0.05 | 22.29 |" in capsys.readouterr().out
