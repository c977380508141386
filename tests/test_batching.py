"""Batches of one size: filling, devices, calls of a few steps, memory; many problems; progress that changes nothing."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from masked_problems import PRIOR, ROUNDING, SHAPE, SHORT, equal, masked_problem

import reddiff_jax as rd
from reddiff_jax import batching, schedules
from reddiff_jax.batching import compiled, many

LINEAR = schedules.linear()


@pytest.fixture(scope="module")
def problems():
    return [masked_problem(i) for i in range(8)]


# ---- a batch


def _posed(count, own_masks):
    masks = [jax.random.bernoulli(jax.random.key(i if own_masks else 0), 0.5, SHAPE[:2]) for i in range(count)]
    return [
        rd.problem(mask[:, :, None] * (0.1 * i + jnp.zeros(SHAPE)), rd.inpainting(mask)) for i, mask in enumerate(masks)
    ]


@cache
def _solutions(own_masks):
    return [rd.run(jax.random.key(i), SHORT, problem).x for i, problem in enumerate(_posed(3, own_masks))]


@cache
def _batch_solver(own_masks, steps_per_call, num_devices=1):
    return batching.BatchSolver(
        SHORT,
        _posed(1, own_masks)[0],
        batch_size=4,
        shared_operator=not own_masks,
        shared_noise=True,
        steps_per_call=steps_per_call,
        mesh=batching.local_mesh(num_devices),
    )


@pytest.mark.parametrize("own_masks", [True, False])
@pytest.mark.parametrize("steps_per_call", [None, 2, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("num_devices", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_batch_gives_what_run_gives(own_masks, steps_per_call, num_devices):
    if jax.local_device_count() % num_devices:
        pytest.skip("needs 4 devices")
    posed = _posed(3, own_masks)
    batch = _batch_solver(own_masks, steps_per_call, num_devices)
    xs = batch([jax.random.key(i) for i in range(3)], posed).x
    residuals = batch.rms_residuals(posed, xs)
    assert xs.shape == (4, *SHAPE)
    assert batch.num_devices == num_devices
    for problem, x, residual, expected in zip(posed, xs[:3], residuals[:3], _solutions(own_masks), strict=True):
        np.testing.assert_allclose(x, expected, atol=1e-5)  # float32 sums in another order, over 6 steps
        np.testing.assert_allclose(residual, problem.rms_residual(expected), atol=1e-5)


def test_empty_slots_leave_the_others_as_they_are():
    posed, keys = _posed(3, True), [jax.random.key(i) for i in range(3)]
    full = _batch_solver(True, 2)(keys, posed)
    gaps = _batch_solver(True, 2)([None, keys[1], None], [None, posed[1], None])
    assert np.array_equal(gaps.x[1], full.x[1])


def test_progress_of_a_batch_ends_with_the_last_step():
    seen = []
    _batch_solver(False, 2)([jax.random.key(0)], _posed(1, False), lambda step, *_: seen.append(step))
    assert seen == [2, 4, 6]


def test_the_estimate_of_a_slot_after_the_last_step_is_its_result():
    seen = []
    posed, keys = _posed(2, True), [jax.random.key(i) for i in range(2)]
    xs = _batch_solver(True, 2)(keys, posed, lambda step, scalars, estimate: seen.append(estimate(1))).x
    assert np.array_equal(seen[-1], xs[1])


@pytest.mark.slow
def test_the_residual_of_a_complex_measurement_counts_real_numbers(key):
    shape = (8, 8, 2)
    solver = rd.reddiff(rd.gaussian_prior(jnp.zeros(shape), 0.25, LINEAR), num_steps=6)
    problem = rd.measure(key, rd.mri(np.ones(shape[:2]), shape), rd.gaussian(0.1), jnp.zeros(shape))
    batch = batching.BatchSolver(solver, problem, batch_size=2, shared_operator=True, shared_noise=True)
    xs = batch([key], [problem]).x
    np.testing.assert_allclose(batch.rms_residuals([problem], xs)[0], problem.rms_residual(xs[0]), rtol=1e-5)


def test_memory_of_a_batch_is_known_and_grows_with_it():
    problem = rd.problem(jax.numpy.zeros((8, 12, 3)), rd.denoising((8, 12, 3)))
    compiled = [
        jax.jit(jax.vmap(lambda x: x * 2 + problem.y)).lower(jax.numpy.zeros((size, 8, 12, 3))).compile()
        for size in (1, 64)
    ]
    small, large = map(batching.memory_of, compiled)
    assert large - small >= 2 * 63 * 8 * 12 * 3 * 4
    assert 1e6 < batching.device_memory() < 1e16


def test_a_batch_that_does_not_fit_is_known_before_it_is_begun(problems, monkeypatch):
    monkeypatch.setattr(compiled, "device_memory", lambda num_devices: 1000)
    with pytest.raises(batching.OutOfMemoryError, match=r"GB are needed but there are 0\.0 GB; take a smaller batch"):
        next(rd.run_many(jax.random.key(5), SHORT, problems, batch_size=2))


@pytest.mark.parametrize(("steps", "at_most", "expected"), [(100, 20, 20), (97, 20, 1), (30, 20, 15), (3, 20, 3)])
def test_steps_of_a_call_divide_the_run(steps, at_most, expected):
    assert batching.steps_per_call(steps, at_most) == expected


@pytest.mark.parametrize("steps_per_call", [4, 7, 0])
def test_calls_that_would_leave_a_run_unfinished_are_an_error(steps_per_call):
    with pytest.raises(ValueError, match=f"steps_per_call is {steps_per_call} but must"):
        batching.BatchSolver(SHORT, _posed(1, True)[0], batch_size=2, steps_per_call=steps_per_call)


@pytest.mark.parametrize("count", [0, 5])
def test_a_batch_of_too_many_or_no_problems_is_an_error(count):
    keys = [jax.random.key(i) for i in range(count)]
    with pytest.raises(ValueError, match=f"a batch has 1 to 4 problems but {count} slots came"):
        _batch_solver(True, None)(keys, _posed(count, True))


# ---- tracing and compiling


@pytest.fixture
def counted():
    """A solver, and a list that grows when its prior is traced."""
    traces = []

    def fn(x_t, t, cond):
        traces.append(1)
        return 0.5 * x_t

    return rd.reddiff(rd.prior(fn, LINEAR), num_steps=3, sigma_x0=0.1), traces


@pytest.fixture
def compilations():
    """A list that grows with every program that XLA compiles."""
    compiled = []

    def listen(event, seconds, **details):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("progress", [False, True])
def test_solving_ever_more_problems_compiles_once(counted, compilations, problems, progress):
    solver, traces = counted

    def solve(count):
        return list(rd.run_many(jax.random.key(0), solver, problems[:count], batch_size=2, progress=progress))

    solve(3)
    assert len(traces) == 1
    assert compilations
    compilations.clear()
    solve(5)
    assert (len(traces), compilations) == (1, [])


def test_progress_comes_in_steps_and_is_traced_once(problems, counted, monkeypatch):
    (solver, traces), shown, key = counted, [], jax.random.key(0)
    monkeypatch.setattr(many, "describe_step", lambda step, num_steps, scalars: shown.append(step) or "")
    monkeypatch.setattr(many, "steps_per_call", lambda num_steps: 1)
    for _ in range(2):
        rd.run_with_progress(key, solver, problems[0])
    assert shown == 2 * list(range(1, solver.num_steps + 1))
    assert len(traces) == 1


# ---- many problems


@pytest.fixture(scope="module")
def singles(problems):
    key = jax.random.key(5)
    return [rd.run(jax.random.fold_in(key, i), SHORT, problem) for i, problem in enumerate(problems[:5])]


@pytest.mark.parametrize("batch_size", [2, 8])
def test_streamed_solutions_are_single_runs_whatever_the_batch_size(batch_size, problems, singles):
    streamed = list(rd.run_many(jax.random.key(5), SHORT, problems[:5], batch_size=batch_size))
    assert len(streamed) == 5
    for ours, single in zip(streamed, singles, strict=True):
        np.testing.assert_allclose(ours.x, single.x, atol=ROUNDING)


def test_of_streamed_problems_a_nan_spoils_and_flags_its_own_only(problems):
    problems = problems[:5]
    broken = [p.replace(y=p.y.at[0, 0].set(jnp.nan)) if i == 2 else p for i, p in enumerate(problems)]
    found, clean = (list(rd.run_many(jax.random.key(5), SHORT, each, batch_size=2)) for each in (broken, problems))
    assert [bool(solution.finite) for solution in found] == [True, True, False, True, True]
    assert all(np.array_equal(found[i].x, clean[i].x) for i in (0, 1, 3, 4))


def test_a_streamed_solution_is_shaped_like_a_single_one(problems, singles):
    first = next(rd.run_many(jax.random.key(5), SHORT, problems[:1], batch_size=2))
    assert jax.tree.map(jnp.shape, first) == jax.tree.map(jnp.shape, singles[0])


def test_problems_are_read_a_batch_at_a_time(problems):
    read = []

    def source():
        for i, problem in enumerate(problems[:6]):
            read.append(i)
            yield problem

    next(rd.run_many(jax.random.key(5), SHORT, source(), batch_size=2))
    assert read == [0, 1]


def test_no_problems_no_solutions():
    assert list(rd.run_many(jax.random.key(5), SHORT, [], batch_size=2)) == []


@pytest.mark.parametrize("source", [list, iter], ids=["list", "iterator"])
def test_a_progress_bar_changes_nothing(source, problems, singles, capsys):
    streamed = list(rd.run_many(jax.random.key(5), SHORT, source(problems[:3]), batch_size=2, progress=True))
    np.testing.assert_allclose(streamed[2].x, singles[2].x, atol=ROUNDING)
    np.testing.assert_allclose(streamed[2].info.residual, singles[2].info.residual, atol=ROUNDING)
    assert "step 6/6, residual" in capsys.readouterr().out


def test_a_run_with_progress_is_the_run_bit_for_bit(problems, monkeypatch, capsys):
    monkeypatch.setattr(many, "steps_per_call", lambda num_steps: 2)
    key = jax.random.key(1)
    assert equal(rd.run_with_progress(key, SHORT, problems[1]), rd.run(key, SHORT, problems[1]))
    assert "step 6/6, residual" in capsys.readouterr().out


def test_a_batch_size_below_one_is_an_error_of_the_call(problems):
    with pytest.raises(ValueError, match="batch_size is 0"):
        rd.run_many(jax.random.key(5), SHORT, problems, batch_size=0)


def test_problems_of_different_shape_are_an_error(problems):
    small = rd.problem(jnp.zeros((4, 4, 3)), rd.inpainting(np.ones((4, 4))))
    with pytest.raises(ValueError, match="item 1 differs from item 0"):
        list(rd.run_many(jax.random.key(5), SHORT, [problems[0], small], batch_size=2))


def test_later_problems_of_another_shape_are_an_error(problems):
    small = rd.problem(jnp.zeros((4, 4, 3)), rd.inpainting(np.ones((4, 4))))
    with pytest.raises(ValueError, match=r"a later problem.* the first problem"):
        list(rd.run_many(jax.random.key(5), SHORT, [problems[0], small], batch_size=1))


def test_what_a_user_gave_outlives_the_calls_which_reuse_memory(problems, key):
    solver = rd.reddiff(PRIOR, num_steps=6, init=rd.solvers.init_given)
    problem = problems[0].replace(init=jnp.ones(SHAPE))
    x = rd.run_with_progress(key, solver, problem).x
    list(rd.run_many(key, solver, [problem], batch_size=1, progress=True))
    assert np.array_equal(problem.init, np.ones(SHAPE))
    assert np.isfinite(x).all()
