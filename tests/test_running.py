"""The loop: batches, resuming, records, tracing, sharding; and how a call reads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from masked_problems import PRIOR, ROUNDING, SHAPE, SHORT, equal, masked_problem

import reddiff_jax as rd
from reddiff_jax import schedules

LINEAR = schedules.linear()
SOLVER = rd.reddiff(PRIOR, num_steps=200)


runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


@pytest.fixture(scope="module")
def batch():
    problems = [masked_problem(i) for i in range(8)]
    keys = jax.random.split(jax.random.key(0), 8)
    return keys, problems, rd.stack(problems)


@pytest.fixture(scope="module")
def solved(batch):
    keys, _, stacked = batch
    return runs(keys, SOLVER, stacked)


# ---- batches


@pytest.mark.parametrize("i", range(8))
def test_item_of_a_batch_is_its_single_run(i, batch, solved):
    keys, problems, _ = batch
    single = rd.run(keys[i], SOLVER, problems[i])
    np.testing.assert_allclose(solved.x[i], single.x, atol=ROUNDING)


def test_item_of_a_batch_does_not_depend_on_its_neighbours(batch, solved):
    keys, problems, _ = batch
    others = rd.stack([problems[0]] + [problem.replace(y=-3 * problem.y) for problem in problems[1:]])
    assert np.array_equal(runs(keys, SOLVER, others).x[0], solved.x[0])


def test_particles_of_one_measurement_are_runs_with_their_keys(batch):
    keys, problems, _ = batch
    particles = jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))(keys[:3], SHORT, problems[2])
    for i in range(3):
        np.testing.assert_allclose(particles.x[i], rd.run(keys[i], SHORT, problems[2]).x, atol=ROUNDING)


@pytest.mark.slow
def test_each_sample_may_have_its_own_prior_weight(key):
    with jax.enable_x64(True):
        solver = rd.reddiff(rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, schedules.linear()), num_steps=6)
        problem, lams = masked_problem(2), jnp.asarray([0.1, 1.0, 10.0])
        sweep = jax.jit(jax.vmap(lambda lam: rd.run(key, solver.replace(lam=lam), problem).x))(lams)
        for lam, x in zip(lams, sweep, strict=True):
            # float64; in float32 the same runs are 4e-5 apart.
            np.testing.assert_allclose(x, rd.run(key, solver.replace(lam=float(lam)), problem).x, atol=1e-12)


def test_nan_in_one_item_flags_it_only(batch):
    keys, problems, _ = batch
    broken = rd.stack([p.replace(y=p.y.at[0, 0].set(jnp.nan)) if i == 3 else p for i, p in enumerate(problems)])
    assert runs(keys, SHORT, broken).finite.tolist() == [i != 3 for i in range(8)]


def test_nan_in_one_item_leaves_its_neighbours_as_they_are(batch):
    keys, problems, stacked = batch
    broken = rd.stack([p.replace(y=p.y.at[0, 0].set(jnp.nan)) if i == 3 else p for i, p in enumerate(problems)])
    others = np.arange(8) != 3
    assert np.array_equal(runs(keys, SHORT, broken).x[others], runs(keys, SHORT, stacked).x[others])


# ---- keys


def test_same_key_same_bits(batch):
    keys, problems, _ = batch
    assert equal(rd.run(keys[0], SHORT, problems[0]), rd.run(keys[0], SHORT, problems[0]))


def test_another_key_another_result(batch):
    keys, problems, _ = batch
    difference = rd.run(keys[0], SHORT, problems[0]).x - rd.run(keys[1], SHORT, problems[0]).x
    assert float(jnp.abs(difference).max()) > 1e-3


def _from_the_top(total: int, n: int) -> np.ndarray:
    return total - 1 - np.arange(n)


def test_first_steps_do_not_depend_on_how_many_follow(batch):
    keys, problems, _ = batch
    few, many = (rd.reddiff(PRIOR, num_steps=n, spacing=_from_the_top) for n in (6, 9))
    states = [rd.run(keys[0], solver, problems[0], num_steps=5).state for solver in (few, many)]
    assert np.array_equal(states[0].mu, states[1].mu)


# ---- resuming


def test_a_resumed_run_is_the_whole_run_bit_for_bit(batch):
    keys, problems, _ = batch
    whole = rd.run(keys[1], SOLVER, problems[1])
    first = rd.run(keys[1], SOLVER, problems[1], num_steps=120)
    second = rd.run(keys[1], SOLVER, problems[1], state=first.state, num_steps=80)
    info = jax.tree.map(lambda *parts: jnp.concatenate(parts), first.info, second.info)
    assert equal((second.x, second.state, info), (whole.x, whole.state, whole.info))


def test_a_batch_resumes(batch):
    keys, _, stacked = batch
    first = jax.jit(jax.vmap(functools.partial(rd.run, num_steps=4), in_axes=(0, None, 0)))(keys, SHORT, stacked)
    rest = jax.jit(jax.vmap(functools.partial(rd.run, num_steps=2), in_axes=(0, None, 0)))
    np.testing.assert_allclose(
        rest(keys, SHORT, stacked, state=first.state).x, runs(keys, SHORT, stacked).x, atol=ROUNDING
    )


def test_number_of_steps_done_is_counted(batch):
    keys, problems, _ = batch
    assert rd.run(keys[0], SHORT, problems[0], num_steps=4).state.step == 4


# ---- records


def test_every_step_is_reported(batch):
    keys, problems, _ = batch
    assert rd.run(keys[0], SHORT, problems[0]).info.t.tolist() == SHORT.levels.timesteps.ravel().tolist()


def _mu_and_t(state, info):
    return state.mu, info.t, state.step


@pytest.mark.slow
def test_record_sees_every_state(batch):
    keys, problems, _ = batch
    mus, _, _ = rd.run(keys[0], SHORT, problems[0], record=_mu_and_t).record
    expected = [rd.run(keys[0], SHORT, problems[0], num_steps=n).state.mu for n in (1, 3, 6)]
    np.testing.assert_allclose(mus[np.array([0, 2, 5])], expected, atol=ROUNDING)


@pytest.mark.parametrize("every", [2, 6])
def test_record_is_taken_after_every_so_many_steps(every, batch):
    keys, problems, _ = batch
    _, ts, steps = rd.run(keys[0], SHORT, problems[0], record=_mu_and_t, record_every=every).record
    expected = np.arange(every, 7, every)
    assert steps.tolist() == expected.tolist()
    assert ts.tolist() == SHORT.levels.timesteps.ravel()[expected - 1].tolist()


def test_recording_changes_neither_result_nor_info(batch):
    keys, problems, _ = batch
    plain = rd.run(keys[0], SHORT, problems[0])
    recorded = rd.run(keys[0], SHORT, problems[0], record=_mu_and_t, record_every=2)
    for a, b in zip(jax.tree.leaves((plain.x, plain.info)), jax.tree.leaves((recorded.x, recorded.info)), strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING)


# ---- tracing


@pytest.fixture(scope="module")
def traced(batch):
    """A solver that has run, and a list that grows when its prior is traced again."""
    traces = []

    def fn(x_t, t, cond):
        traces.append(1)
        return 0.5 * x_t

    solver = rd.reddiff(rd.prior(fn, LINEAR), num_steps=3, sigma_x0=0.1)
    rd.run(batch[0][0], solver, batch[1][0])
    assert len(traces) == 1
    return solver, traces


@pytest.fixture
def untraced(traced):
    """The solver; fails where the test traces its prior again."""
    solver, traces = traced
    before = len(traces)
    yield solver
    assert len(traces) == before


@pytest.mark.parametrize(
    "change", [{"lam": 0.5}, {"obs_weight": 2.0}, {"sigma_x0": 0.3}, {"lam": 0.7, "obs_weight": 0.1}], ids=str
)
def test_replacing_a_number_traces_nothing_anew(change, untraced, batch):
    rd.run(batch[0][0], untraced.replace(**change), batch[1][0])


def test_other_keys_and_measurements_trace_nothing_anew(untraced, batch):
    for key, problem in zip(batch[0], batch[1], strict=True):
        rd.run(key, untraced, problem)


@pytest.mark.parametrize("lam", [0.1, 1, np.float64(0.3)], ids=repr)
def test_solvers_built_apart_share_a_compilation(lam, untraced, batch):
    rd.run(batch[0][0], rd.reddiff(untraced.prior, lam=lam, num_steps=3, sigma_x0=0.2), batch[1][0])


def test_a_sweep_by_vmap_is_traced_once(traced, batch):
    (solver, traces), (keys, problems, _) = traced, batch
    before = len(traces)
    sweep = jax.jit(jax.vmap(lambda lam: rd.run(keys[0], solver.replace(lam=lam), problems[0]).x))
    sweep(jnp.asarray([0.1, 0.2]))
    sweep(jnp.asarray([0.3, 0.4]))
    assert len(traces) == before + 1


# ---- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 7}, "num_steps is 7 but the solver has 6"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"record": _mu_and_t, "record_every": 4}, "record_every is 4 but must divide the 6 steps"),
        ({"record": _mu_and_t, "record_every": 0}, "record_every is 0"),
    ],
    ids=["many", "none", "indivisible", "record_none"],
)
def test_numbers_of_steps_that_do_not_fit_are_an_error(options, message, batch):
    with pytest.raises(ValueError, match=message):
        rd.run(batch[0][0], SHORT, batch[1][0], **options)


def test_resuming_without_saying_how_far_is_an_error(batch):
    keys, problems, _ = batch
    state = rd.run(keys[0], SHORT, problems[0], num_steps=4).state
    with pytest.raises(ValueError, match="must be told how far"):
        rd.run(keys[0], SHORT, problems[0], state=state)


def test_more_steps_than_are_left_are_an_error(batch):
    keys, problems, _ = batch
    state = rd.run(keys[0], SHORT, problems[0], num_steps=4).state
    with pytest.raises(ValueError, match="num_steps is 3 but the state has 4 of the solver's 6 steps; 2 are left"):
        rd.run(keys[0], SHORT, problems[0], state=state, num_steps=3)


def test_a_batch_without_vmap_is_an_error_that_says_what_to_do(batch):
    keys, _, stacked = batch
    with (
        jax.numpy_rank_promotion("allow"),  # as users have it
        pytest.raises(ValueError, match=r"vmap|init returned shape"),
    ):
        rd.run(keys[0], SHORT, stacked)


# ---- sharding


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices")
def test_a_sharded_batch_is_the_unsharded_one(batch, solved):
    keys, _, stacked = batch
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    over_batch = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    sharded = runs(
        jax.device_put(keys, over_batch), jax.device_put(SOLVER, everywhere), jax.device_put(stacked, over_batch)
    )
    assert len(sharded.x.sharding.device_set) == 8
    np.testing.assert_allclose(sharded.x, solved.x, atol=ROUNDING)


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices")
def test_a_sharded_run_communicates_nothing(batch):
    keys, _, stacked = batch
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    over_batch = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    compiled = runs.lower(
        jax.device_put(keys, over_batch), jax.device_put(SHORT, everywhere), jax.device_put(stacked, over_batch)
    ).compile()
    assert not any(word in compiled.as_text() for word in ("all-reduce", "all-gather", "all-to-all", "collective"))


# ---- how a call reads


def test_the_call_of_the_readme_works(key):
    y, mask, prior = jnp.zeros(SHAPE), np.ones(SHAPE[:2]), PRIOR
    problem = rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))
    solver = rd.reddiff(prior, optax.adam(0.1, b2=0.99), lam=0.25, num_steps=100)
    x = rd.run(jax.random.key(0), solver, problem).x
    assert x.shape == SHAPE
    eps, mu, t = jax.random.normal(key, SHAPE), x, 10
    grad, _ = rd.reddiff_gradient(eps, prior, problem, mu, t, lam=0.25)
    assert grad.shape == SHAPE
