"""Chunks of a batch: the results of the whole, the work of what is wanted; and the runs dealt out to devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from masked_problems import PRIOR, ROUNDING, SHAPE, SHORT, equal, masked_problem

import reddiff_jax as rd
from reddiff_jax import _chunks, batching
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax.batching import Slots

AVERAGED = rd.averaged(rd.noise_aware(PRIOR, num_steps=4), 3)
PIXELS = SHAPE[0] * SHAPE[1]


def affine(x, shared, tree):
    return {"sum": shared["scale"] * x + tree["shift"], "none": None}


ARGUMENTS = (
    jnp.arange(14.0).reshape(7, 2),
    {"scale": jnp.float32(3), "none": None},
    {"shift": jnp.arange(7.0), "n": 2.0},
)
AXES = 0, None, {"shift": 0, "n": None}


@pytest.mark.parametrize("at_once", [None, 1, 2, 3, 6, 7, 8])
def test_a_map_in_chunks_is_vmap(at_once):
    expected = jax.vmap(affine, AXES)(*ARGUMENTS)
    assert equal(map_in_chunks(affine, AXES, at_once)(*ARGUMENTS), expected)
    assert equal(map_in_chunks(affine, AXES, at_once, masked=True)(jnp.ones(7, bool), *ARGUMENTS), expected)


def test_chunks_of_which_nothing_is_wanted_are_passed_over():
    computed = []

    def fn(x):
        jax.debug.callback(lambda x: computed.append(float(x)), x)
        return x + 1, jax.random.key(0)

    wanted = jnp.asarray([False, False, True, False, False])
    result, _ = jax.jit(map_in_chunks(fn, (0,), 2, masked=True))(wanted, jnp.arange(5.0))
    jax.effects_barrier()
    assert result[2] == 3
    assert sorted(set(computed)) == [2, 3]


def test_a_chunk_is_of_about_as_many_pixels_on_a_cpu_and_of_all_images_elsewhere(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    sizes = [images_at_once((side, side, 3)) for side in (32, 64, 128, 256, 1024)]
    assert sizes == [16, 4, 1, 1, 1]
    for platform in ("gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert images_at_once((1024, 1024, 3)) is None


# ---- batches


@pytest.fixture
def two_at_once(monkeypatch):
    monkeypatch.setitem(_chunks._PIXELS_AT_ONCE, jax.default_backend(), 2 * PIXELS)


@pytest.mark.slow
@pytest.mark.usefixtures("two_at_once")
@pytest.mark.parametrize("steps_per_call", [None, 2])
def test_a_batch_in_chunks_gives_what_run_gives_and_is_traced_once(steps_per_call):
    traces = []

    def fn(x_t, t, cond):
        traces.append(1)
        return 0.5 * x_t

    solver = rd.reddiff(rd.prior(fn, PRIOR.schedule), num_steps=4)
    problems, keys = [masked_problem(i) for i in range(4)], [jax.random.key(i) for i in range(4)]
    batch = batching.BatchSolver(solver, problems[0], batch_size=5, steps_per_call=steps_per_call)
    found = batch(keys, problems)
    assert len(traces) == 1
    for i, (key, problem) in enumerate(zip(keys, problems, strict=True)):
        expected = rd.run(key, solver, problem)
        np.testing.assert_allclose(found.x[i], expected.x, atol=ROUNDING)
        np.testing.assert_allclose(found.info.residual[i], expected.info.residual, atol=ROUNDING)


@pytest.mark.slow
@pytest.mark.usefixtures("two_at_once")
def test_what_empty_places_share_a_batch_with_is_the_same_bits():
    problems, keys = [masked_problem(i) for i in range(5)], [jax.random.key(i) for i in range(5)]
    batch = batching.BatchSolver(SHORT, problems[0], batch_size=5, steps_per_call=3)
    full = batch(keys, problems)
    gaps = batch([None, None, None, keys[3]], [None, None, None, problems[3]])
    assert np.array_equal(gaps.x[3], full.x[3])


@pytest.mark.usefixtures("two_at_once")
@pytest.mark.slow
def test_the_mean_of_runs_in_chunks_is_that_of_all_at_once():
    problem, key = masked_problem(1), jax.random.key(3)
    chunked = rd.mean_of(key, SHORT, problem, 5)
    whole = jax.vmap(rd.run, (0, None, None))(
        jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(5)), SHORT, problem
    )
    np.testing.assert_allclose(chunked[0], whole.x.mean(axis=0), atol=ROUNDING)


# ---- runs


@pytest.mark.parametrize(("problems", "runs", "devices"), [(1, 1, 1), (4, 1, 2), (1, 4, 2), (3, 5, 4), (2, 3, 8)])
def test_each_run_has_a_slot_of_its_own_and_devices_have_equally_many(problems, runs, devices):
    slots = Slots(problems, runs, devices)
    assert slots.places.shape == (problems, runs)
    assert len(set(slots.places.flat)) == problems * runs
    assert slots.num_slots % devices == 0
    assert slots.is_empty.sum() == slots.num_slots - problems * runs < devices
    for problem, places in enumerate(slots.places):
        assert (slots.problems[places] == problem).all()
        assert list(slots.runs[places]) == list(range(runs))
        # However many problems there are, no device has two runs more to do than another.
        busy = slots.places[: problem + 1].reshape(-1) // (slots.num_slots // devices)
        assert np.ptp(np.bincount(busy, minlength=devices)) <= 1


def test_no_more_devices_are_taken_than_make_an_end_sooner(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    monkeypatch.setattr(jax, "local_devices", lambda: [jax.devices()[0]] * 8)
    sizes = {count: mesh.size if (mesh := batching.local_mesh(count)) else 1 for count in (1, 2, 8, 9, 16, 17)}
    assert sizes == {1: 1, 2: 2, 8: 8, 9: 5, 16: 8, 17: 6}


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps_per_call", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_runs_divided_among_devices_give_what_their_mean_gives(num_devices, steps_per_call):
    if jax.local_device_count() % num_devices:
        pytest.skip(f"needs {num_devices} devices")
    problems, keys = [masked_problem(i + 1) for i in range(2)], [jax.random.key(i) for i in range(2)]
    mesh = batching.local_mesh(num_devices)
    batch = batching.BatchSolver(AVERAGED, problems[0], batch_size=3, steps_per_call=steps_per_call, mesh=mesh)
    seen = []
    found = batch(keys, problems, lambda step, scalars, estimate: seen.append((scalars["residual"], estimate(1))))
    assert batch.num_devices == num_devices
    for i, (key, problem) in enumerate(zip(keys, problems, strict=True)):
        expected = rd.run(key, AVERAGED, problem)
        ours = jax.tree.map(lambda leaf, i=i: leaf[i], found)
        assert jax.tree.structure(ours) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=ROUNDING)
    scalars, estimate = seen[-1]
    np.testing.assert_allclose(scalars[:2, -1], found.info.residual[:2, -1], atol=ROUNDING)
    np.testing.assert_allclose(estimate, found.x[1], atol=ROUNDING)
    residuals = batch.rms_residuals(problems, found.x)
    np.testing.assert_allclose(residuals[0], problems[0].rms_residual(found.x[0]), atol=ROUNDING)


def test_a_run_that_is_not_finite_spoils_the_mean_of_its_problem_alone():
    problems = [masked_problem(1), dataclasses.replace(masked_problem(2), y=jnp.full(SHAPE, jnp.nan))]
    batch = batching.BatchSolver(AVERAGED, problems[0], batch_size=2, mesh=batching.local_mesh(2))
    assert list(batch([jax.random.key(0)] * 2, problems).finite) == [True, False]
