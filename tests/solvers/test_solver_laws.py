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

SHAPE = (8, 8, 1)
# One solver after the other, so that its tests share programs in whichever worker has them.
every = pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in SOLVERS], scope="module")
# The mean of runs has tests of its own, and further options of a solver share its code.
further_slowly = pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=c.name, marks=[pytest.mark.slow] * (c.name == "averaged" or c.name != c.factory))
        for c in SOLVERS
    ],
    scope="module",
)
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


@functools.cache
def _prior() -> rd.Prior:
    return rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, rd.schedules.linear())


@functools.cache
def _solver(case) -> rd.Solver:
    return case.make(_prior())


def _image(i: int) -> jax.Array:
    return jnp.asarray(0.5 * np.random.default_rng(10 + i).normal(size=SHAPE), jnp.float32)


def _operator(case, i: int) -> rd.Operator:
    """What most solvers can do, and what the others are for."""
    if case.needs is rd.operators.Denoising:
        return rd.denoising(SHAPE)
    return rd.inpainting(np.random.default_rng(i).random(SHAPE[:2]) > 0.2 + 0.1 * i, channels=1)


def _problem(case, i: int) -> rd.Problem:
    return rd.measure(jax.random.key(i), _operator(case, i), rd.gaussian(0.05 * i), _image(i))


def _keys(count: int) -> jax.Array:
    return jax.random.split(jax.random.key(7), count)


@functools.cache
def _solution(case) -> rd.Solution:
    return rd.run(_keys(3)[0], _solver(case), _problem(case, 0))


@every
def test_a_run_returns_one_finite_image(case):
    solution, shape = _solution(case), (*case.particles, *SHAPE)
    assert (solution.x.shape, solution.x.dtype, bool(solution.finite)) == (shape, jnp.float32, True)


@every
def test_every_step_reports_scalars(case):
    # Of particles, some scalars are each one's own.
    of_all = (_solver(case).num_steps,)
    assert {leaf.shape for leaf in jax.tree.leaves(_solution(case).info)} == {of_all, of_all + case.particles}


@every
def test_items_of_a_batch_are_single_runs(case):
    batch = runs(_keys(3), _solver(case), rd.stack([_problem(case, i) for i in range(3)]))
    singles = [rd.run(key, _solver(case), _problem(case, i)).x for i, key in enumerate(_keys(3))]
    # XLA fuses the batched steps differently: float32 roundings of mu of order 1.
    np.testing.assert_allclose(batch.x, np.stack(singles), atol=1e-5)


@every
def test_same_key_same_bits(case):
    assert np.array_equal(rd.run(_keys(3)[0], _solver(case), _problem(case, 0)).x, _solution(case).x)


@every
def test_a_resumed_run_is_the_whole_run_bit_for_bit(case):
    key, solver, problem = _keys(3)[0], _solver(case), _problem(case, 0)
    first = rd.run(key, solver, problem, num_steps=3)
    rest = rd.run(key, solver, problem, num_steps=solver.num_steps - 3, state=first.state)
    assert np.array_equal(rest.x, _solution(case).x)


@every
def test_a_run_is_traced_once(case):
    traces = []

    def fn(x_t, t, cond):
        traces.append(1)
        return 0.5 * x_t

    solver = case.make(rd.prior(fn, rd.schedules.linear()))
    for i in range(2):
        rd.run(_keys(3)[i], solver, _problem(case, i))
    once = len(traces)
    solver = jax.tree.map(lambda leaf: leaf + 0, solver)  # other arrays of the same types
    rd.run(_keys(3)[0], solver, _problem(case, 0))
    assert len(traces) == once


@further_slowly
def test_a_measurement_of_another_shape_is_an_error(case):
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        rd.run(_keys(1)[0], _solver(case), _problem(case, 0).replace(y=jnp.zeros((2, *SHAPE))))


# ---- bad use


def _gamma(x):
    return jnp.tanh(2 * x)[::2]


OPERATORS = {
    "nonlinear": rd.operator(_gamma, SHAPE),
    "linear": rd.linear_operator(lambda x: x[::2], SHAPE),
    "spectral": rd.super_resolution(SHAPE, 2),
}


def _lacks(case, operator) -> bool:
    return not isinstance(operator, case.needs) or (case.needs_pinv and operator is OPERATORS["nonlinear"])


def _traced(solver, operator, noise) -> rd.Solution:
    return jax.eval_shape(rd.run, _keys(1)[0], solver, rd.problem(jnp.zeros(operator.out_shape), operator, noise))


@pytest.mark.parametrize(
    ("case", "operator"),
    [
        pytest.param(case, operator, id=f"{case.name}-{name}")
        for case in SOLVERS
        for name, operator in OPERATORS.items()
        if _lacks(case, operator)
    ],
)
def test_an_operator_that_lacks_what_a_solver_needs_is_an_error_that_says_what_to_do(case, operator):
    with pytest.raises(TypeError, match=rf"{type(operator).__name__} (has no|is not).*\b[uU]se (form=)?rd\.\w+"):
        _traced(_solver(case), operator, rd.gaussian(0.1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "operator"),
    [
        pytest.param(case, operator, id=f"{case.name}-{name}")
        for case in SOLVERS
        for name, operator in OPERATORS.items()
        if not _lacks(case, operator)
    ],
)
def test_no_solver_asks_more_of_an_operator_than_it_is_listed_with(case, operator):
    assert _traced(_solver(case), operator, rd.gaussian(0.1)).x.shape == (*case.particles, *SHAPE)


@pytest.mark.parametrize("factory", [rd.ddnm, rd.pigdm], ids=lambda factory: factory.__name__)
def test_what_ignores_the_noise_needs_a_pinv_and_says_so(factory):
    with pytest.raises(
        TypeError, match=r"FunctionOperator has no pseudo-inverse\. Give the operator a pinv, or use rd"
    ):
        _traced(factory(_prior(), num_steps=6, noisy=False), OPERATORS["nonlinear"], rd.gaussian())


@further_slowly
def test_noise_that_is_not_gaussian_is_served_or_an_error_that_says_what_to_do(case):
    if not case.needs_gaussian:
        x = _traced(_solver(case), OPERATORS["spectral"], rd.poisson(100.0)).x
        assert x.shape == (*case.particles, *SHAPE)
        return
    operator = OPERATORS["spectral"] if isinstance(OPERATORS["spectral"], case.needs) else _operator(case, 0)
    with pytest.raises(
        TypeError, match=rf"{case.noise_named_by or case.factory} needs Gaussian noise.*is Poisson.*rd\.reddiff"
    ):
        _traced(_solver(case), operator, rd.poisson(100.0))


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in SOLVERS if c.walks_timesteps])
def test_more_steps_than_timesteps_are_an_error_of_the_factory(case):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear(5))
    with pytest.raises(ValueError, match=r"num_steps must be between 1 and 5"):
        getattr(rd, case.factory)(prior, num_steps=6)


MEASURED_BY = {
    "super_resolution": rd.super_resolution(SHAPE, 2),
    "circular_blur": rd.gaussian_blur(SHAPE, sigma=1.0, size=5, boundary=rd.operators.Boundary.CIRCULAR),
    "matrix": rd.matrix_operator(np.random.default_rng(0).normal(size=(20, 64)) / 8, SHAPE),
}


def _with_a_nan(problems: rd.Problem, i: int) -> rd.Problem:
    """A batch whose item i has a first row of y that is not a number."""
    y = problems.y[i]
    return problems.replace(y=problems.y.at[i].set(jnp.concatenate([y[:1].at[...].set(jnp.nan), y[1:]])))


def _assert_the_nan_stays_where_it_is(case, problems: rd.Problem):
    clean, broken = (runs(_keys(3), _solver(case), each) for each in (problems, _with_a_nan(problems, 1)))
    assert np.array_equal(broken.x[::2], clean.x[::2])
    assert broken.finite.tolist() == [True, not case.reads_y, True]


@further_slowly
def test_a_nan_stays_in_its_item_and_is_reported_for_it_only(case):
    _assert_the_nan_stays_where_it_is(case, rd.stack([_problem(case, i) for i in range(3)]))


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in SOLVERS if c.needs is not rd.operators.Denoising])
@pytest.mark.parametrize("operator", MEASURED_BY.values(), ids=MEASURED_BY)
def test_a_nan_stays_in_its_item_whatever_the_operator(case, operator):
    problems = [rd.measure(jax.random.key(i), operator, rd.gaussian(0.1), _image(i)) for i in range(3)]
    _assert_the_nan_stays_where_it_is(case, rd.stack(problems))


def _makes_a_solver(value) -> bool:
    if isinstance(value, type) or not callable(value):
        return False
    returned = typing.get_type_hints(value).get("return")
    return isinstance(returned, type) and issubclass(returned, rd.Solver)


def test_every_public_solver_is_listed():
    public = vars(solvers) | {name: getattr(rd, name) for name in dir(rd)}
    factories = {name for name, value in public.items() if not name.startswith("_") and _makes_a_solver(value)}
    assert factories - {"default_solver"} == {case.factory for case in SOLVERS}
