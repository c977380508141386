"""What a visitor chose: the job's options, and the command that has the same."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from reddiff_jax import cli, io, jobs, pictures
from reddiff_jax.app.forms import TASKS, Form, painted_name, whole_in_words
from reddiff_jax.jobs import Outcome

FORMS = {
    "denoise": Form(Path("noisy photo.png"), "denoise"),
    "denoise, all told": Form(Path("a.png"), "denoise", sigma="25/255", samples=3, seed=4, solver="ddrm", steps=7),
    "painted": Form(Path("a.png"), "inpaint", mask=Path("mask.png"), painted=True),
    "own mask": Form(Path("a.png"), "inpaint", mask=Path("mask.png"), grow=3),
    "a name like an option": Form(Path("-rf.png"), "inpaint", mask=Path("-m.png")),
    "painted over a mask": Form(Path("mask.png"), "inpaint", mask=Path(painted_name(Path("mask.png"))), painted=True),
    "deblur": Form(Path("a.png"), "deblur", kernel="motion:7@30", sigma="0.02"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_command_has_the_options_of_the_form(name, tmp_path, monkeypatch):
    form, found = FORMS[name], []
    monkeypatch.chdir(tmp_path)
    for file in ("noisy photo.png", "a.png", "-rf.png", "mask.png"):
        pictures.write_picture(file, np.zeros((16, 16, 3), np.float32))
    for file in ("mask.png", "mask_mask.png", "-m.png"):
        pictures.write_picture(file, np.eye(16, dtype=np.float32)[..., None])
    monkeypatch.setattr(
        cli.restore.__globals__["load_prior"], "__code__", (lambda folder, of_latents=False: (None, 3, "")).__code__
    )
    monkeypatch.setattr(jobs, "restore", lambda *_, options, **__: found.append(options) or Outcome(done=["a"]))
    program, *words = shlex.split(form.command())
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    assert program == "reddiff-jax"
    assert found == [form.options()]


def test_a_noise_level_that_is_none_is_one_line():
    with pytest.raises(ValueError, match=r"sigma is 'a little' but must be a number like 0\.1"):
        Form(Path("a.png"), "denoise", sigma="a little").options()


def test_a_picture_and_a_mask_of_one_name_are_told_apart():
    form = Form(Path("x/a.png"), "inpaint", mask=Path("y/a.png"))
    assert "restore a.png --task inpaint --mask masks/a.png" in form.command()


@pytest.mark.parametrize("kernel", ["/etc/shadow", "kernel.npy", "gaussian:/etc/shadow", "~/k.png", "gaussian"])
def test_a_blur_is_never_a_file_of_the_server(kernel):
    with pytest.raises(ValueError, match="describes no blur; say gaussian:SIGMA"):
        Form(Path("a.png"), "deblur", kernel=kernel).options()


def test_whole_numbers_are_whole_or_not_said():
    assert [whole_in_words("Steps", text) for text in ("", " 7 ", "-3")] == [None, 7, -3]
    for text in ("2.5", "many", "1e3", "nan"):
        with pytest.raises(ValueError, match=r"Steps is '.*' but must be a whole number, or empty"):
            whole_in_words("Steps", text)


def test_every_task_of_the_page_is_one_of_the_command_line():
    from reddiff_jax import tasks

    assert [tasks.by_name(name).help for name in TASKS.values()]
    assert io.bundled_priors()
