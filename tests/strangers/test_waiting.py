"""Nobody waits without a word: help at once, mistakes before dear work, and how long the rest will take."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.console import Console

import reddiff_jax as rd
from reddiff_jax import _bars, jobs, masks, tasks
from reddiff_jax.cli import _names
from reddiff_jax.jobs.inputs import needs_own_mask
from reddiff_jax.settings import SETTINGS
from reddiff_jax.tasks.catalogue import NUMBERED

HEAVY = ("jax", "flax", "optax", "orbax", "numpy", "PIL")


def loaded_by(*args: str) -> tuple[int, set[str], str]:
    """Exit status of a command in a process of its own, the heavy packages that it loads, and what it prints."""
    code = (
        "import sys\n"
        "from reddiff_jax.cli import app\n"
        "try: app(prog_name='reddiff-jax')\n"
        f"finally: print('loaded', *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    *said, loaded = done.stderr.splitlines()
    assert loaded.startswith("loaded")
    return done.returncode, set(loaded.split()[1:]), done.stdout + "\n".join(said)


@pytest.mark.parametrize("args", [("--help",), ("restore", "--help"), ("train", "-h")], ids=" ".join)
def test_help_loads_nothing_heavy(args):
    status, loaded, _ = loaded_by(*args)
    assert (status, loaded) == (0, set())


def test_the_version_is_told():
    assert loaded_by("--version") == (0, set(), f"reddiff-jax {rd.__version__}\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("restore", ".", "--task", "denoize", "--out", "o"), "unknown task 'denoize'; did you mean denoise?"),
        (("restore", ".", "--solver", "noise-aware", "--out", "o"), "did you mean noise_aware?"),
        (("restore", "nowhere.png", "--task", "sr3", "--out", "o"), "nowhere.png does not exist"),
        (("restore", ".", "--settings", "nowhere.json", "--out", "o"), "nowhere.json does not exist"),
        (("restore", ".", "--batch-size", "few", "--out", "o"), "must be a whole number or auto"),
        (("train", "nowhere", "--out", "o"), "nowhere does not exist"),
        (("measure", ".", "--task", "blur", "--out", "o"), "unknown task 'blur'"),
        (("restore", ".", "--steps", "many", "--out", "o"), "--steps"),
        (("restore", ".", "--task", "denoise", "--sigma", "many", "--out", "o"), "sigma is 'many' but must be"),
        (("restore", ".", "--task", "denoise", "--hole", "grey", "--out", "o"), "--hole is 'grey' but must be one of"),
        (("restore", ".", "--task", "deblur", "--border", "grey", "--out", "o"), "border is 'grey' but must be one of"),
        (("restore", ".", "--task", "denoise", "--bits", "12", "--out", "o"), "--bits is '12' but must be 8, 16"),
        (("restore", ".", "--task", "denoise", "--samples", "0", "--out", "o"), "samples is 0 but must be at least 1"),
        (("measure", ".", "--task", "denoise", "--sigma", "25", "--out", "o"), "sigma is 25 but pixels are in [-1, 1]"),
    ],
)
def test_mistakes_are_told_before_anything_heavy_is_loaded(args, said):
    status, loaded, printed = loaded_by(*args)
    assert (status, loaded) == (2, set())
    assert said in printed
    assert printed.startswith("error: ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--task", "denoise", "--sigma", "25"), "sigma is 25 but pixels are in [-1, 1]"),
        (("--task", "inpaint", "--mask", "nowhere.png"), "mask nowhere.png does not exist"),
        (("--task", "sr2", "--mask", "a.png"), "sr2 takes no mask"),
        (("--task", "inpaint"), "needs to know which pixels are missing"),
        (("--task", "denoise", "--page", "0"), "pages are counted from 1"),
    ],
)
def test_what_is_wrong_with_a_picture_is_told_without_jax(args, said, tmp_path):
    rd.write_picture(tmp_path / "a.png", np.zeros((8, 8, 3)))
    status, loaded, printed = loaded_by("restore", str(tmp_path / "a.png"), *args, "--out", str(tmp_path / "o"))
    assert (status, loaded & {"jax", "flax"}) == (2, set())
    assert said in printed
    assert not (tmp_path / "o").exists()


def test_a_broken_picture_is_told_without_jax(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    status, loaded, printed = loaded_by(
        "restore", str(tmp_path / "a.png"), "--task", "sr2", "--out", str(tmp_path / "o")
    )
    assert (status, loaded & {"jax", "flax"}) == (2, set())
    assert str(tmp_path / "a.png") in printed


def test_the_names_known_without_jax_are_those_of_the_tasks_and_solvers():
    assert list(tasks.TASKS) == _names.TASKS
    assert list(NUMBERED) == _names.NUMBERED
    assert sorted(SETTINGS) == sorted(_names.solver_names())
    assert [each.value for each in masks.Hole] == _names.HOLES
    assert list(jobs.Border) == _names.BORDERS


def test_what_is_known_of_tasks_without_jax_is_what_they_say():
    masked = {name: needs_own_mask(task) for name, task in tasks.TASKS.items() if task.needs == "mask"}
    assert [name for name, own in masked.items() if own] == _names.MASKED
    assert [name for name, own in masked.items() if not own] == _names.CENTERED
    assert all(task.is_picture != name.startswith(_names.NOT_PICTURES) for name, task in tasks.TASKS.items())


# ---- bars


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(_bars, "SECONDS_BETWEEN_LINES", 0.02)
    monkeypatch.setattr(_bars, "_SECONDS_BETWEEN_REDRAWINGS", 0.02)


def shown(**console) -> str:
    """What is written while something is done in six parts of 30 ms."""
    file = io.StringIO()
    with _bars.progress("restoring", Console(file=file, **console)) as update:
        for done in range(1, 7):
            time.sleep(0.03)
            update(done / 6, "a[/b].png")
        time.sleep(0.05)
    return file.getvalue()


def test_without_a_terminal_a_plain_line_comes_every_few_seconds(often):
    lines = shown(force_terminal=False).splitlines()
    assert lines[0].startswith("restoring: ")
    assert any("left: a[/b].png" in line for line in lines)
    assert lines[-1].startswith("restoring: 100 %")


def test_a_notebook_has_a_line_that_is_written_over(often, capsys):
    shown(force_jupyter=True)
    written = capsys.readouterr().out
    assert written.count("\n") == 1
    assert written.split("\r")[-1].startswith(f"[{'#' * 30}] restoring: 100 %")


def test_a_terminal_has_a_bar_that_shows_names_as_they_are():
    assert "a[/b].png" in shown(force_terminal=True, width=100)


def test_what_the_work_says_is_left_counts():
    state = _bars._Progress("restoring")
    state.update(0.1, "", left=40.0)
    assert state.left() == pytest.approx(40, abs=1)
    assert "about 40 s left" in state.line()


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (7.4, "7 s"), (43, "40 s"), (200, "3 min"), (8000, "2 h")])
def test_times_are_said_in_one_number(seconds, said):
    assert _bars.duration(seconds) == said
