"""Pictures in frames of few sizes: the measurement and its data term stay exactly the picture's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import restoring_jobs

import reddiff_jax as rd
from reddiff_jax import jobs, measurements, pictures, tasks
from reddiff_jax.jobs.framing import frame_header, framed
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
