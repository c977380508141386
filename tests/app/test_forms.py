"""What a visitor chose: the job's options, and the command that has the same."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from reddiff_jax import cli, io, jobs, pictures
from reddiff_jax.app.forms import TASKS, Form
from reddiff_jax.jobs import Outcome

FORMS = {
    "denoise": Form(Path("noisy photo.png"), "denoise"),
    "denoise, all told": Form(Path("a.png"), "denoise", sigma="25/255", samples=3, seed=4, solver="ddrm", steps=7),
    "painted": Form(Path("a.png"), "inpaint", mask=Path("mask.png"), painted=True),
    "own mask": Form(Path("a.png"), "inpaint", mask=Path("mask.png"), grow=3),
    "deblur": Form(Path("a.png"), "deblur", kernel="motion:7@30", sigma="0.02"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_command_has_the_options_of_the_form(name, tmp_path, monkeypatch):
    form, found = FORMS[name], []
    monkeypatch.chdir(tmp_path)
    for file in ("noisy photo.png", "a.png"):
        pictures.write_picture(file, np.zeros((16, 16, 3), np.float32))
    pictures.write_picture("mask.png", np.eye(16, dtype=np.float32)[..., None])
    monkeypatch.setattr(cli.restore.__globals__["load_prior"], "__code__", (lambda folder: (None, 3, "")).__code__)
    monkeypatch.setattr(jobs, "restore", lambda *_, options, **__: found.append(options) or Outcome(done=["a"]))
    program, *words = shlex.split(form.command())
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    assert program == "reddiff-jax"
    assert found == [form.options()]


def test_a_noise_level_that_is_none_is_one_line():
    with pytest.raises(ValueError, match=r"sigma is 'a little' but must be a number like 0\.1"):
        Form(Path("a.png"), "denoise", sigma="a little").options()


def test_every_task_of_the_page_is_one_of_the_command_line():
    from reddiff_jax import tasks

    assert [tasks.by_name(name).help for name in TASKS.values()]
    assert io.bundled_priors()
