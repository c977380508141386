"""Figures: what is drawn where, the numbers that titles tell, and one line for what cannot be drawn."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import reddiff_jax as rd

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

SHAPE = (6, 8, 3)


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    pyplot.close("all")


@pytest.fixture
def x(rng):
    return rng.uniform(-1, 1, SHAPE).astype(np.float32)


def _titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def _shown(axis):
    return np.asarray(axis.images[0].get_array())


def test_a_panel_shows_pictures_as_they_are_in_their_order(x):
    gray, eight_bits = x[..., :1], np.full((6, 8, 3), 200, np.uint8)
    figure = rd.plot.panel({"colour": x, "gray": gray, "eight bits": eight_bits, "mask": x[..., 0] > 0})
    assert _titles(figure) == ["colour", "gray", "eight bits", "mask"]
    np.testing.assert_allclose(_shown(figure.axes[0]), (x + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(_shown(figure.axes[1]), (gray[..., 0] + 1) / 2, atol=1e-6)
    np.testing.assert_array_equal(_shown(figure.axes[2]), eight_bits)
    assert figure.axes[1].images[0].get_clim() == (0, 1)  # not stretched to what the picture holds
    assert figure.axes[2].images[0].get_clim() == (0, 255)


def test_a_panels_range_and_columns_are_the_callers(x):
    figure = rd.plot.panel({str(i): x[..., 0] for i in range(7)}, columns=3, low=0, high=0.5)
    np.testing.assert_allclose(_shown(figure.axes[0]), np.clip(x[..., 0] / 0.5, 0, 1), atol=1e-6)
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (3, 3)
    assert not figure.axes[8].axison  # places without a picture are empty


def test_pil_images_are_shown(x):
    image = pytest.importorskip("PIL.Image").fromarray(np.full((4, 5), 7, np.uint8))
    assert _shown(rd.plot.panel({"PIL": image}).axes[0]).tolist() == [[7] * 5] * 4


def test_a_measurement_of_another_shape_is_stretched_into_its_cell(x):
    figure = rd.plot.panel({"truth": x, "record": np.zeros((300, 6)), "restored": x})
    assert figure.axes[1].get_aspect() == "auto"
    assert figure.axes[0].get_aspect() == 1
    assert figure.get_figheight() < 4


def test_rows_stand_under_one_another_with_their_names(x):
    figure = rd.plot.rows({"measured": [x, -x], "restored": np.stack([x, x])}, titles=["one", "two"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["measured", "", "restored", ""]
    assert _titles(figure) == ["one", "two"]
    np.testing.assert_allclose(_shown(figure.axes[1]), (1 - x) / 2, atol=1e-6)


def test_a_film_has_its_last_picture_and_tells_the_steps(x):
    images = np.linspace(0, 1, 10)[:, None, None, None] * x
    figure = rd.plot.film(images, steps=range(5, 55, 5), num=4)
    assert _titles(figure) == ["step 5", "step 20", "step 35", "step 50"]
    np.testing.assert_allclose(_shown(figure.axes[3]), (x + 1) / 2, atol=1e-6)


def test_samples_show_mean_spread_error_and_coverage(x, rng):
    draws = x + 0.1 * rng.normal(size=(19, *SHAPE)).astype(np.float32)
    figure = rd.plot.samples(draws, x, measured=x[..., :1])
    decibels = rd.metrics.psnr(draws.mean(0), x)
    assert _titles(figure)[0] == "measured"
    assert f"mean, {decibels:.1f} dB" in _titles(figure)
    spread, error = figure.axes[3], figure.axes[4]
    assert spread.get_title() == f"spread of the samples, to {spread.images[0].get_clim()[1]:.2g}"
    np.testing.assert_allclose(_shown(spread), draws.std(0, ddof=1).mean(-1), rtol=1e-5)
    np.testing.assert_allclose(_shown(error), np.abs(draws.mean(0) - x).mean(-1), atol=1e-6)
    assert spread.images[0].get_clim() == error.images[0].get_clim()
    levels, inside = figure.axes[5].lines[1].get_data()
    np.testing.assert_allclose(levels, np.arange(1, 10) / 10)
    np.testing.assert_allclose(inside, rd.diagnostics.coverage(x, draws, levels=list(levels)), atol=1e-6)


def test_the_coverage_beside_samples_has_its_frame_and_labels(x, rng):
    figure = rd.plot.samples(x + 0.1 * rng.normal(size=(9, *SHAPE)).astype(np.float32), x)
    (axis,) = [axis for axis in figure.axes if axis.get_title() == "coverage"]
    assert axis.axison
    assert axis.get_xlabel() == "interval's level"


def test_samples_without_the_truth_show_what_is_known(x, rng):
    draws = x + 0.1 * rng.normal(size=(3, *SHAPE)).astype(np.float32)
    assert _titles(rd.plot.samples(draws))[:2] == ["a sample", "mean"]


def test_coverage_counts_the_pixels_that_it_is_told(x, rng):
    draws = x + 0.1 * rng.normal(size=(9, *SHAPE)).astype(np.float32)
    truth, where = x.copy(), np.zeros(SHAPE[:2])
    where[:2] = 1
    truth[2:] = 9.0  # never inside
    levels, inside = rd.plot.coverage(truth, draws, where=where).axes[0].lines[1].get_data()
    assert max(levels) == 0.8  # nine samples have no wider interval
    np.testing.assert_allclose(inside, rd.diagnostics.coverage(x[:2], draws[:, :2], levels=list(levels)), atol=1e-6)


def test_curves_are_those_of_a_run(key):
    prior = rd.gaussian_prior(np.zeros((4, 4, 1), np.float32), 0.25, rd.schedules.linear())
    problem = rd.measure(key, rd.denoising((4, 4, 1)), rd.gaussian(0.1), np.zeros((4, 4, 1), np.float32))
    info = rd.run(key, rd.noise_aware(prior, num_steps=5), problem).info
    figure = rd.plot.curves(info)
    assert "residual" in _titles(figure)
    axis = figure.axes[_titles(figure).index("residual")]
    np.testing.assert_array_equal(axis.lines[0].get_data(), [np.arange(1, 6), info.residual])
    assert axis.get_yscale() == "log"
    many = rd.plot.curves({"gain": np.array([[0.0, 1.0], [2.0, 3.0]])}, x=[10, 20], xlabel="evaluations")
    assert len(many.axes[0].lines) == 2
    assert (many.axes[0].get_xlabel(), many.axes[0].get_yscale()) == ("evaluations", "linear")


def test_lines_of_one_label_look_alike_in_every_chart():
    charts = {"one": {"a": ([1, 2], [3, 4]), "b": ([1, 2], [5, 6])}, "other": {"b": (np.arange(1, 31), np.ones(30))}}
    figure = rd.plot.lines(charts, xlabel="steps", xlog=True, bold="b")
    assert _titles(figure) == ["one", "other"]
    first, second = figure.axes
    np.testing.assert_array_equal(first.lines[1].get_data(), [[1, 2], [5, 6]])
    assert first.lines[1].get_color() == second.lines[0].get_color() != first.lines[0].get_color()
    assert [line.get_linewidth() for line in first.lines] == [1, 2.5]
    assert (first.get_xscale(), first.get_yscale(), second.lines[0].get_marker()) == ("log", "linear", "None")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_figures_are_drawn_into_parts_of_another(x):
    whole = pyplot.figure(layout="constrained")
    left, right = whole.subfigures(1, 2)
    assert rd.plot.lines({"chart": {"a": ([1, 2], [3, 4])}}, figure=left) is whole
    assert rd.plot.panel({"x": x, "again": x}, figure=right) is whole
    assert [len(part.axes) for part in (left, right)] == [1, 2]
    assert [text.get_text() for text in left.axes[0].get_legend().get_texts()] == ["a"]


def test_points_are_drawn_over_those_behind():
    cloud, behind = np.arange(6.0).reshape(3, 2), np.zeros((4, 2))
    figure = rd.plot.points({"ours": cloud, "theirs": cloud + 1, "third": cloud}, behind=behind, columns=2)
    assert _titles(figure)[:3] == ["ours", "theirs", "third"]
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 2, 0]
    np.testing.assert_array_equal(figure.axes[1].lines[1].get_xydata(), cloud + 1)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xydata(), behind)
    assert not figure.axes[3].get_visible()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda x: rd.plot.panel({}), "pictures is empty"),
        (lambda x: rd.plot.panel({"batch": x[None]}), "of a batch take one, or use plot.rows"),
        (lambda x: rd.plot.panel({"k-space": x[..., 0] * 1j}), r"complex; show its magnitude, abs\(x\)"),
        (lambda x: rd.plot.panel({"file": "x.png"}), r"must be \(H, W\)"),
        (lambda x: rd.plot.panel({"x": x}, columns=0), "columns is 0"),
        (lambda x: rd.plot.rows({"a": [x], "b": [x, x]}), "every name must have as many"),
        (lambda x: rd.plot.rows({}), "every name must have as many"),
        (lambda x: rd.plot.film(x), r"recorded pictures \(T, H, W, C\)"),
        (lambda x: rd.plot.film(x[None], steps=[1, 2]), "steps has 2 numbers"),
        (lambda x: rd.plot.samples(x), "two at least"),
        (lambda x: rd.plot.samples(np.stack([x, x]), x[:3]), "truth has shape"),
        (lambda x: rd.plot.coverage(x, x[None, :2]), "put draws first"),
        (lambda x: rd.plot.coverage(x, x[None]), "draw more"),
        (lambda x: rd.plot.curves({}), "must have numbers"),
        (lambda x: rd.plot.lines({}), "charts is empty"),
        (lambda x: rd.plot.lines({"a chart": {"a": ([1, 2], [1])}}), "'a' has 2 x but 1 y"),
        (lambda x: rd.plot.points({}), "clouds is empty"),
        (lambda x: rd.plot.points({"ours": x[..., 0]}), r"'ours' has shape .* must be points \(N, 2\)"),
        (lambda x: rd.plot.points({"ours": x[0, :, :2]}, behind=x), r"'behind' has shape"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(draw, said, x):
    with pytest.raises(ValueError, match=said) as error:
        draw(x)
    assert "\n" not in str(error.value)


def test_without_matplotlib_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None; import numpy, reddiff_jax as rd\n"
        "rd.plot.panel({'x': numpy.zeros((4, 4))})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'ImportError: reddiff_jax.plot draws with matplotlib; pip install "reddiff_jax[plot]".' in result.stderr


def test_a_figure_is_drawn_to_a_file(x, tmp_path):
    rd.plot.panel({"x": jax.numpy.asarray(x)}).savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 500
