"""Laws that every solver keeps; tests/cases.py lists the solvers."""

import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import SOLVERS

import reddiff_jax as rd
from reddiff_jax import solvers

SHAPE = (8, 6, 3)
every = pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


@functools.cache
def _prior() -> rd.Prior:
    return rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, rd.schedules.linear())


@functools.cache
def _solver(case) -> rd.Solver:
    return case.make(_prior())


def _problem(i: int) -> rd.Problem:
    mask = np.random.default_rng(i).random(SHAPE[:2]) > 0.2 + 0.1 * i
    x = jnp.asarray(0.5 * np.random.default_rng(10 + i).normal(size=SHAPE), jnp.float32)
    return rd.measure(jax.random.key(i), rd.inpainting(mask), rd.gaussian(0.05 * i), x)


def _keys(count: int) -> jax.Array:
    return jax.random.split(jax.random.key(7), count)


@functools.cache
def _solution(case) -> rd.Solution:
    return rd.run(_keys(3)[0], _solver(case), _problem(0))


@every
def test_a_run_returns_one_finite_image(case):
    solution = _solution(case)
    assert (solution.x.shape, solution.x.dtype, bool(solution.finite)) == (SHAPE, jnp.float32, True)


@every
def test_every_step_reports_scalars(case):
    assert {leaf.shape for leaf in jax.tree.leaves(_solution(case).info)} == {(_solver(case).num_steps,)}


@every
def test_items_of_a_batch_are_single_runs(case):
    batch = runs(_keys(3), _solver(case), rd.stack([_problem(i) for i in range(3)]))
    singles = [rd.run(key, _solver(case), _problem(i)).x for i, key in enumerate(_keys(3))]
    # XLA fuses the batched steps differently: float32 roundings of mu of order 1.
    np.testing.assert_allclose(batch.x, np.stack(singles), atol=1e-5)


@every
def test_same_key_same_bits(case):
    assert np.array_equal(rd.run(_keys(3)[0], _solver(case), _problem(0)).x, _solution(case).x)


@pytest.mark.parametrize(
    "case",
    # It compiles two more programs, so all but RED-diff's are tested among the slow tests.
    [pytest.param(c, id=c.name, marks=[] if c.factory == "reddiff" else [pytest.mark.slow]) for c in SOLVERS],
)
def test_a_resumed_run_is_the_whole_run_bit_for_bit(case):
    key, solver, problem = _keys(3)[0], _solver(case), _problem(0)
    first = rd.run(key, solver, problem, num_steps=4)
    rest = rd.run(key, solver, problem, num_steps=solver.num_steps - 4, state=first.state)
    assert np.array_equal(rest.x, _solution(case).x)


@every
def test_a_run_is_traced_once(case):
    traces = []

    def fn(x_t, t, cond):
        traces.append(1)
        return 0.5 * x_t

    solver = case.make(rd.prior(fn, rd.schedules.linear()))
    for i in range(3):
        rd.run(_keys(3)[i], solver, _problem(i))
    once = len(traces)
    solver = jax.tree.map(lambda leaf: leaf + 0, solver)  # other arrays of the same types
    rd.run(_keys(3)[0], solver, _problem(0))
    assert len(traces) == once


@every
def test_a_measurement_of_another_shape_is_an_error(case):
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        rd.run(_keys(1)[0], _solver(case), _problem(0).replace(y=jnp.zeros((2, *SHAPE))))


def _makes_a_solver(value) -> bool:
    if isinstance(value, type) or not callable(value):
        return False
    returned = typing.get_type_hints(value).get("return")
    return isinstance(returned, type) and issubclass(returned, rd.Solver)


def test_every_public_solver_is_listed():
    factories = {name for name, value in vars(solvers).items() if not name.startswith("_") and _makes_a_solver(value)}
    assert factories == {case.factory for case in SOLVERS}
