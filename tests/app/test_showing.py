"""What the page shows of files and jobs."""

import numpy as np
import pytest

from reddiff_jax import jobs, pictures
from reddiff_jax.app import showing
from reddiff_jax.app.forms import Form
from reddiff_jax.app.restoration import Loaded, Restoration
from reddiff_jax.jobs.results import output_names, result_of


@pytest.mark.parametrize(
    ("shape", "radius"), [((768, 1024), 15), ((256, 256), 4), ((48, 48), 2), ((8, 1024), 1), ((1, 1), 1)]
)
def test_a_brush_is_three_scratches_wide_and_a_quarter_of_the_picture_at_most(shape, radius):
    assert showing.brush_radius(*shape) == radius


def test_samples_have_captions_and_their_spread_its_scale_and_the_panel_is_not_among_them(tmp_path, rng):
    restoration = Restoration(Form(tmp_path / "a.png", "denoise", samples=2), Loaded(None), seconds=1, within=tmp_path)
    outputs = output_names("a", 2, 8)
    samples = rng.uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    result_of(samples).write(tmp_path, outputs, like=None, bits=8, channels=3)
    restoration.files = sorted(tmp_path / name for name in outputs)
    shown = showing.samples_of(restoration)
    assert [file.rpartition("/")[2] for file, _ in shown] == ["a_0.png", "a_1.png", "a_mean.png", "a_std.png"]
    captions = [caption for _, caption in shown]
    assert captions[:3] == ["sample 1", "sample 2", "their mean"]
    assert captions[3].startswith("their spread: black 0, white ")


def test_lines_are_shown_and_not_obeyed():
    event = jobs.Event("step", "a", 0.0, "<b>step 1</b>, residual 2", left=3.0)
    said = showing.progress(event, [])
    assert 'value="0.000"' in said
    assert "&lt;b&gt;step 1&lt;/b&gt;, about 3 s left" in said
    assert "<script>" not in showing.wrong("/tmp/x/<script>.png is broken")


def test_a_picture_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    from reddiff_jax.app.limits import Limits

    pictures.write_picture(tmp_path / "a.png", np.zeros((9, 12, 3), np.float32))
    with pytest.raises(ValueError, match=r"a.png has 12 x 9 pixels but the page takes 100 at most"):
        showing.opened(tmp_path / "a.png", Limits(pixels=100))
    x, said = showing.opened(tmp_path / "a.png", Limits())
    assert (x.shape, said) == ((9, 12, 3), "a.png: 12 x 9 pixels.")
