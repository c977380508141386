"""What ``repr`` prints: a line or two, whatever the size of the arrays."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import OPERATORS, SOLVERS

import reddiff_jax as rd

SHAPE = (16, 16, 3)
MASK = np.arange(256).reshape(16, 16) % 2


def _is_readable(line: str) -> bool:
    return len(line) <= 300 and line.count("\n") <= 1


@pytest.fixture(scope="module")
def prior():
    return rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())


@pytest.fixture(scope="module")
def problem():
    return rd.problem(jnp.zeros(SHAPE), rd.inpainting(MASK), rd.gaussian(0.05))


@pytest.mark.slow
@pytest.mark.parametrize("case", OPERATORS, ids=lambda case: case.name)
def test_operators_are_readable(case):
    if case.requires and not importlib.util.find_spec(case.requires):
        pytest.skip(f"{case.requires} is not installed")
    operator = case.make(0)
    assert _is_readable(repr(operator))
    assert f"{operator.in_shape} -> {operator.out_shape}" in repr(operator)


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_solvers_are_readable(case, prior):
    assert _is_readable(repr(case.make(prior)))


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_states_and_infos_are_readable(case):
    shape = (8, 8, 1)
    solver = case.make(rd.gaussian_prior(jnp.zeros(shape), 0.25, rd.schedules.linear()))
    problem = rd.problem(jnp.zeros(shape), rd.denoising(shape), rd.gaussian(0.05))
    state = jax.eval_shape(solver.init, jax.random.key(0), problem)
    _, info = jax.eval_shape(solver.step, jax.random.key(0), state, problem)
    for struct in (state, info):
        assert _is_readable(repr(struct))
        assert "ShapeDtypeStruct" not in repr(struct)


def test_a_problem_says_its_shapes_and_its_noise(problem):
    assert repr(problem) == (
        "Problem(y=float32[16, 16, 3], operator=Inpainting((16, 16, 3) -> (16, 16, 3), mask=float32[16, 16, 1]), "
        "noise=Gaussian(sigma_y=0.05))"
    )


def test_a_batch_of_problems_says_its_shapes(problem):
    assert repr(rd.stack([problem] * 4)) == (
        "Problem(y=float32[4, 16, 16, 3], operator=Inpainting(in_shape=(16, 16, 3), mask=float32[4, 16, 16, 1]), "
        "noise=Gaussian(sigma_y=float32[4]))"
    )


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap])
def test_traced_structs_say_their_shapes(transform, problem):
    lines = []

    def look(problem):
        lines.append(repr(problem))
        return problem.y

    transform(look)(rd.stack([problem] * 4) if transform is jax.vmap else problem)
    assert lines == [repr(problem).replace("sigma_y=0.05", "sigma_y=float32[]")]


def test_a_solution_says_its_shape_and_its_steps(prior, problem):
    solution = rd.run(jax.random.key(0), rd.ddim(prior, num_steps=3), problem)
    assert repr(solution) == "Solution(x=float32[16, 16, 3], finite=True, 3 steps)"


def test_a_batch_of_solutions_says_its_shape_and_its_steps(prior, problem):
    runs = jax.vmap(rd.run, in_axes=(0, None, 0))
    solutions = runs(jax.random.split(jax.random.key(0), 2), rd.ddim(prior, num_steps=3), rd.stack([problem] * 2))
    assert repr(solutions) == "Solution(x=float32[2, 16, 16, 3], finite=bool[2], 3 steps)"


def test_a_loaded_prior_says_its_network_and_counts_its_parameters():
    prior = rd.load_prior()
    count = sum(leaf.size for leaf in jax.tree.leaves(prior.params))
    assert repr(prior) == f"NetPrior(ResidualUNet, {count / 1e6:.1f} M parameters, 1000 timesteps, to_eps=from_v)"


def test_axes_of_vmap_in_the_place_of_arrays_are_shown(problem):
    assert "sigma_y=0" in repr(jax.tree.map(lambda _: 0, problem))
    assert _is_readable(repr(jax.tree.map(lambda _: None, problem)))


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (optax.adam(0.1, b2=0.99), "adam"),
        (optax.chain(optax.clip(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 10))), "adam"),
        (optax.sgd(0.1), "GradientTransformation"),
    ],
)
def test_optimizers_are_named_where_their_name_is_known(optimizer, name, prior):
    assert f"optimizer={name}" in repr(rd.reddiff(prior, optimizer, num_steps=2))


def test_a_function_that_fails_does_not_fail_the_repr():
    def fails(x):
        raise RuntimeError

    operator = rd.operators.FunctionOperator(in_shape=SHAPE, params=None, fn=fails, pinv_fn=None)
    assert repr(operator) == f"FunctionOperator(in_shape={SHAPE}, fn=fails)"


def test_an_operator_may_be_transformed_as_a_function():
    # JAX takes the repr of what it transforms, and the repr asks JAX for the operator's shape.
    assert jax.vmap(rd.denoising(SHAPE))(jnp.zeros((2, *SHAPE))).shape == (2, *SHAPE)
