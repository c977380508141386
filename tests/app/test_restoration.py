"""A restoration of the page: the command line's files, its errors, and an end when it is wanted."""

import os
import threading
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import jobs, pictures
from reddiff_jax.app.forms import Form
from reddiff_jax.app.painting import write_mask
from reddiff_jax.app.restoration import Loaded, Restoration

PRIOR = rd.gaussian_prior(jnp.zeros((1, 1, 1)), 0.3, rd.schedules.linear())
pytestmark = pytest.mark.usefixtures("compilations_are_kept")


@pytest.fixture
def photo(tmp_path, rng):
    pictures.write_picture(tmp_path / "a photo.png", rng.uniform(-1, 1, (16, 16, 3)).astype(np.float32))
    return tmp_path / "a photo.png"


def _done(form, seconds=600.0):
    restoration = Restoration(form, Loaded(PRIOR), seconds=seconds)
    return restoration, list(restoration.events())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["inpaint", "denoise"])
def test_its_files_are_those_of_the_command_line_bit_for_bit(task, photo, tmp_path, rng):
    form = Form(photo, task, sigma="0.1", samples=2, seed=3)
    if task == "inpaint":
        write_mask(tmp_path / "mask.png", rng.uniform(size=(16, 16)) < 0.2)
        form = replace(form, mask=tmp_path / "mask.png", painted=True)
    restoration, events = _done(form)
    assert restoration.error == ""
    assert {"compiled", "step", "restored"} <= {event.kind for event in events}
    jobs.restore([photo], PRIOR, out=tmp_path / "out", options=form.options())
    names = [file.name for file in restoration.files]
    assert names == [f"a photo_{part}.png" for part in ("0", "1", "mean", "panel", "std")]
    for file in restoration.files:
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()
    restoration.remove()
    assert not restoration.folder.exists()


def test_errors_are_the_jobs_in_one_line_without_paths_of_the_server(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    restoration, _ = _done(Form(tmp_path / "broken.png", "denoise", sigma="0.1"))
    assert restoration.error.startswith("broken.png")
    assert str(tmp_path) not in restoration.error
    assert "\n" not in restoration.error
    assert restoration.files == []


def test_options_that_make_no_sense_are_an_error(photo):
    restoration, _ = _done(Form(photo, "denoise", sigma="0.1", steps=9))
    assert "steps is 9 but must be from 1 to 8" in restoration.error
    restoration, _ = _done(Form(photo, "inpaint", sigma="0.1"))
    assert "mask" in restoration.error


@pytest.mark.slow
def test_it_ends_when_it_is_stopped_and_when_nobody_listens(photo):
    restoration = Restoration(Form(photo, "denoise", sigma="0.1"), Loaded(PRIOR), seconds=600)
    events = restoration.events()
    next(events)
    restoration.stop()
    list(events)
    assert restoration.error == "stopped."
    restoration = Restoration(Form(photo, "denoise", sigma="0.1"), Loaded(PRIOR), seconds=600)
    events = restoration.events()
    next(events)
    events.close()
    for thread in threading.enumerate():
        if thread.name.startswith("restoration"):
            thread.join(60)
    assert restoration.error == "stopped."


def test_it_ends_when_its_time_is_over(photo):
    restoration, _ = _done(Form(photo, "denoise", sigma="0.1"), seconds=0.0)
    assert "it took longer than 0 s and was stopped" in restoration.error


def test_files_of_one_visitor_are_not_those_of_another(photo):
    first, second = (Restoration(Form(photo, "denoise"), Loaded(PRIOR), seconds=60) for _ in range(2))
    assert first.folder != second.folder
    assert os.stat(first.folder).st_mode & 0o077 == 0  # nobody else on the machine reads them
    first.remove()
    assert second.folder.exists()
    second.remove()
