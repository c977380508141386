"""Pictures in frames of few sizes: the measurement and its data term stay exactly the picture's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import restoring_jobs

import reddiff_jax as rd
from reddiff_jax import jobs, measurements, pictures, tasks
from reddiff_jax.jobs.framing import corner, frame_header, framed, reach
from reddiff_jax.settings import Kind, NoiseAwareSettings, kind_of
from reddiff_jax.solvers._proximal import proximal

pytestmark = pytest.mark.slow

LOCAL = ["denoise", "inpaint_random", "sr2", "colorize", "demosaic", "hdr", "quant2"]


def measured(task, shape=(18, 22, 3)):
    """A measurement, the picture, and the problem in its frame."""
    x = jax.random.uniform(jax.random.key(0), shape, minval=-0.9, maxval=0.9)
    arrays = tasks.by_name(task).simulate(jax.random.key(1), shape)
    y = tasks.by_name(task).operator(shape, arrays)(x)
    measurement = measurements.make_measurement(task, 0.1, np.asarray(y), shape, arrays)
    return measurement, x, framed(measurement, frame_header(measurement.header))


def test_the_local_tasks_are_those_tested():
    def kinds(names):
        return {kind_of(tasks.example(name, draw=True).operator) for name in names}

    local = [name for name, task in tasks.TASKS.items() if task.local]
    assert kinds(local) == kinds(LOCAL) | {Kind.INPAINT_HOLES}


@pytest.mark.parametrize("task", LOCAL)
def test_what_lies_in_the_frame_beyond_the_picture_has_no_influence(task):
    measurement, x, problem = measured(task)
    h, w, _ = x.shape
    in_frame = jnp.full(problem.operator.in_shape, 0.3).at[:h, :w].set(x)
    assert in_frame.shape[:2] == (20, 24)
    a, b, _ = measurement.y.shape
    np.testing.assert_array_equal(problem.operator(in_frame)[:a, :b], measurement.y)
    assert float(problem.misfit(in_frame)) == 0
    other = in_frame.at[:h, :w].multiply(0.5)
    gradient = problem.misfit_gradient(other)
    np.testing.assert_allclose(gradient[:h, :w], measurement.problem().misfit_gradient(0.5 * x), atol=1e-6)  # float32
    assert float(jnp.abs(gradient[h:]).max()) == float(jnp.abs(gradient[:, w:]).max()) == 0


@pytest.mark.parametrize("task", LOCAL)
def test_the_pinv_in_the_frame_is_the_pictures_and_its_mirror(task):
    measurement, x, problem = measured(task)
    start = problem.operator.pinv(problem.y)
    expected = measurement.problem().operator.pinv(jnp.asarray(measurement.y))
    h, w, _ = x.shape
    np.testing.assert_allclose(start[:h, :w], expected, atol=1e-6)  # float32
    if tasks.by_name(task).factor == 1:
        np.testing.assert_allclose(start[h, :w], expected[h - 2], atol=1e-6)


def test_a_framed_adjoint_is_the_transpose():
    _, _, problem = measured("sr2")
    x = jax.random.normal(jax.random.key(2), problem.operator.in_shape)
    y = jax.random.normal(jax.random.key(3), problem.y.shape)
    products = jnp.vdot(problem.operator(x), y), jnp.vdot(x, problem.operator.adjoint(y))
    np.testing.assert_allclose(*products, atol=1e-4)  # float32 sums of 800 terms


@pytest.mark.parametrize("task", [task for task in LOCAL if task not in ("hdr", "quant2")])
def test_a_proximal_step_in_the_frame_is_exact(task):
    _, _, problem = measured(task)
    v, kappa = jax.random.normal(jax.random.key(2), problem.operator.in_shape), 0.01
    x = proximal(problem, v, kappa, NoiseAwareSettings().num_cg)
    gradient = problem.misfit_gradient(x) + kappa * (x - v)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)  # float32


@pytest.mark.parametrize("task", ["deblur_gauss61", "bicubic2", "jpeg20", "cs4"])
def test_what_is_not_local_has_no_frame(task):
    header = measurements.Header(task, 0.1, (14, 22, 3), (14, 22, 3))
    assert frame_header(header) == header


KERNELS = {
    "motion": np.asarray(rd.kernels.line(7, 0.6)),
    "even": np.outer([1.0, 2, 3, 1], [2.0, 1]).astype(np.float32) / 21,
    "off its centre": np.eye(9, dtype=np.float32)[:1].T @ np.eye(9, dtype=np.float32)[:1],
    "larger than the picture": np.asarray(rd.kernels.defocus(14)),
}


def blurred_crop(kernel, task="deblur", size=(19, 23), margin=30):
    """The measurement of a part of a blurred picture, the whole picture, and the header of the part's frame."""
    h, w = size
    scene = jax.random.uniform(jax.random.key(0), (h + 2 * margin, w + 2 * margin, 3), minval=-0.9, maxval=0.9)
    blurred = tasks.by_name(task).operator(scene.shape, {"kernel": kernel})(scene)
    y = np.asarray(blurred)[margin : margin + h, margin : margin + w]
    measurement = measurements.make_measurement(task, 0.1, y, y.shape, {"kernel": kernel})
    return measurement, scene, frame_header(measurement.header, kernel)


@pytest.mark.parametrize("task", ["deblur", "deblur_saturated"])
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_blurred_part_is_explained_by_what_lay_around_it(kernel, task):
    measurement, scene, frame = blurred_crop(kernel, task)
    problem = framed(measurement, frame)
    (top, bottom), (left, right) = reach(kernel)
    h, w, _ = measurement.y.shape
    assert corner(measurement, frame) == (top, left)
    assert frame.in_shape[0] >= h + top + bottom
    assert frame.in_shape[1] >= w + left + right
    around = jnp.zeros(frame.in_shape).at[: h + top + bottom, : w + left + right]
    x = around.set(scene[30 - top : 30 + h + bottom, 30 - left : 30 + w + right])
    # All that is left out of the kernel is 1e-4 on each of four sides, of pixels of size 1; the camera's response
    # is steep where it is dark.
    assert float(jnp.abs(problem.residual(x)).max()) < (1e-3 if task == "deblur" else 1e-2)


def test_a_blurs_initial_image_begins_at_the_pictures_corner():
    measurement, _, frame = blurred_crop(KERNELS["motion"])
    problem, (top, left), (h, w, _) = framed(measurement, frame), corner(measurement, frame), measurement.y.shape
    np.testing.assert_array_equal(problem.y[top : top + h, left : left + w], measurement.y)
    start = problem.operator.pinv(problem.y)

    def left_over(x):
        # The mirror image is not what lay there: near the border it explains nothing.
        inside = problem.residual(x)[top : top + h, left : left + w][7:-7, 7:-7]
        return float(jnp.abs(inside).max())

    elsewhere = [left_over(jnp.roll(start, shift, (0, 1))) for shift in ((0, 2), (2, 0), (-2, -2))]
    assert left_over(start) < 0.2 * min(elsewhere)


def test_kernels_of_all_sizes_share_the_frames():
    shape = (20, 20, 3)
    header = measurements.Header("deblur", 0.1, shape, shape, (("kernel", (7, 7)),))
    frames = {frame_header(header, np.asarray(rd.kernels.defocus(radius))) for radius in (4.0, 5.0, 6.0)}
    assert {frame.in_shape for frame in frames} == {(28, 28, 3), (32, 32, 3)}
    assert len(frames) == 2
    assert frame_header(header, np.ones((5, 5)), exact=True).in_shape == (24, 24, 3)


def test_what_reaches_no_further_than_its_rounding_does_not_count():
    assert reach(np.asarray(rd.kernels.gaussian(61, 3.0))) == ((11, 11), (11, 11))
    assert reach(np.ones((4, 1))) == ((1, 2), (0, 0))


def test_frames_are_few_and_at_most_a_quarter_longer():
    def side(size):
        return frame_header(measurements.Header("denoise", 0.1, (size, size, 3), (size, size, 3))).in_shape[0]

    sides = {size: side(size) for size in range(8, 1025)}
    assert all(size <= framed_size <= 1.25 * size + 1 for size, framed_size in sides.items())
    assert len(set(sides.values())) == 4 * 7 + 1
    assert all(side(size) == size for size in (64, 256, 320, 512, 1024))


@pytest.mark.slow
def test_fifty_sizes_are_not_fifty_compilations(tmp_path, compilations_are_kept):
    sizes = [(33 + i % 10, 41 + i // 10) for i in range(50)]
    (tmp_path / "photos").mkdir()
    for i, size in enumerate(sizes):
        x = np.random.default_rng(i).uniform(-1, 1, (*size, 3))
        pictures.write_picture(tmp_path / "photos" / f"{i:02}.png", x)
    events = []
    options = jobs.Options(task="denoise", sigma=0.1, changes={"num_steps": 2}, batch_size=8)
    prior = rd.prior(restoring_jobs.predict, rd.schedules.linear())
    outcome = jobs.restore([tmp_path / "photos"], prior, out=tmp_path / "out", options=options, report=events.append)
    assert len(outcome.done) == 50
    for i, size in enumerate(sizes):
        assert pictures.picture_size(tmp_path / "out" / f"{i:02}.png") == size
    assert sum(event.kind == "compiled" for event in events) <= 8
