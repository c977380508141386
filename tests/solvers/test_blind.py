"""Blind problems: numbers of the operator found with the image."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

import reddiff_jax as rd

SHAPE = (16, 16, 3)
VARIANCE, SIGMA = 0.25, 0.2


def times(gain, x):
    return gain * x


def gain(problem):
    return problem.operator.params


def center(problem):
    return problem.operator.center


def posed(value, start):
    """Pixels of variance 1/4 times an unknown number, of which the operator knows a wrong one."""
    x = jnp.sqrt(VARIANCE) * jax.random.normal(jax.random.key(1), SHAPE)
    y = value * x + SIGMA * jax.random.normal(jax.random.key(2), SHAPE)
    return rd.problem(y, rd.linear_operator(times, SHAPE, params=jnp.asarray(start)), rd.gaussian(SIGMA))


def white():
    return rd.gaussian_prior(jnp.zeros(SHAPE), jnp.full(SHAPE, VARIANCE), rd.schedules.linear())


@struct.dataclass
class ExactState:
    x: jax.Array
    step: jax.Array


@struct.dataclass
class ExactSampler(rd.Solver[ExactState]):
    """Draws from the posterior itself in each step: what remains is the estimate of the gain."""

    num_steps: int = struct.field(pytree_node=False, default=400)

    def init(self, key, problem):
        return ExactState(jnp.zeros(SHAPE), jnp.zeros((), jnp.int32))

    def step(self, key, state, problem):
        gain, precision = problem.operator.params, 1 / SIGMA**2
        variance = 1 / (gain**2 * precision + 1 / VARIANCE)
        x = variance * gain * precision * problem.y + jnp.sqrt(variance) * jax.random.normal(key, SHAPE)
        return ExactState(x, state.step + 1), jnp.zeros(())

    def estimate(self, state):
        return state.x


@pytest.mark.parametrize("start", [1.0, 3.0])
def test_with_exact_samples_the_likeliest_gain_is_found(start):
    # y is white, of variance g^2 C + sigma^2. A step does 8 % of the way; what the draws leave is a hundredth.
    problem = posed(2.0, start)
    likeliest = float(jnp.sqrt((jnp.mean(problem.y**2) - SIGMA**2) / VARIANCE))
    found = float(rd.run(jax.random.key(0), rd.blind(ExactSampler(), gain), problem).state.parameters)
    assert abs(found / likeliest - 1) < 0.03


def test_nothing_moves_before_the_share_of_steps_that_is_asked():
    solver = rd.blind(ExactSampler(10), gain, begin=0.5)
    found = rd.run(jax.random.key(0), solver, posed(2.0, 1.4), record=parameters).record
    np.testing.assert_array_equal(found[:5], np.float32(1.4))
    assert (found[5:] != np.float32(1.4)).all()


def parameters(state, info):
    return state.parameters


def test_the_problem_that_was_found_holds_the_parameters():
    solver, problem = rd.blind(ExactSampler(10), gain), posed(2.0, 1.4)
    solution = rd.run(jax.random.key(0), solver, problem)
    np.testing.assert_array_equal(solver.found(solution.state, problem).operator.params, solution.state.parameters)


def test_where_y_does_not_depend_on_the_parameters_they_stay():
    solver = rd.blind(rd.noise_aware(white(), sample=True, num_steps=4), lambda problem: problem.noise.sigma_y)
    assert float(rd.run(jax.random.key(0), solver, posed(2.0, 1.4)).state.parameters) == np.float32(SIGMA)


def test_an_optimizer_may_move_the_parameters():
    solver = rd.blind(ExactSampler(40), gain, optimizer=optax.adam(0.05), begin=0.0)
    found = float(rd.run(jax.random.key(0), solver, posed(2.0, 1.4)).state.parameters)
    assert 1.4 < found < 2.5


def test_the_projection_holds():
    solver = rd.blind(ExactSampler(10), gain, project=lambda g: jnp.minimum(g, 1.5))
    assert float(rd.run(jax.random.key(0), solver, posed(2.0, 1.4)).state.parameters) <= 1.5


@pytest.mark.slow
def test_a_center_of_rotation_is_found_to_a_quarter_of_a_pixel():
    shape = (32, 32, 1)
    rows, columns = np.mgrid[:32, :32]
    x = np.zeros(shape)
    for row, column, radius, value in ((14, 17, 11, 0.8), (18, 12, 4, -0.9), (10, 20, 3, 0.5)):
        x += value * (np.hypot(rows - row, columns - column) < radius)[..., None]

    def operator(offset):
        return rd.parallel_ct(shape, rd.operators.view_angles(24), num_detectors=48, center=23.5 + offset)

    prior = rd.gaussian_prior(jnp.zeros(shape), jnp.full(shape, 0.25), rd.schedules.linear())
    problem = rd.measure(jax.random.key(1), operator(1.7), rd.gaussian(0.02), jnp.asarray(x, float))
    solver = rd.blind(rd.noise_aware(prior, num_steps=1), center, profile_steps=8, begin=0.9)
    start = problem.replace(operator=operator(0.0))
    assert abs(float(rd.run(jax.random.key(0), solver, start).state.parameters) - 25.2) < 0.25


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (lambda problem: problem.operator.kernel, "over raises AttributeError, but must pick arrays as they are"),
        (lambda problem: 2 * problem.operator.params, "over picks what is no array of the problem"),
        (lambda problem: (), "over picks nothing"),
        (lambda problem: (problem.operator.params, problem.operator.params), "each once"),
    ],
)
def test_over_must_pick_arrays_of_the_problem(over, message):
    with pytest.raises(ValueError, match=message):
        rd.run(jax.random.key(0), rd.blind(rd.noise_aware(white()), over), posed(2.0, 1.4))


def test_profiling_needs_a_linear_operator():
    problem = rd.problem(jnp.zeros(SHAPE), rd.operator(times, SHAPE, params=jnp.ones(())), rd.gaussian(SIGMA))
    solver = rd.blind(rd.noise_aware(white()), gain, profile_steps=1)
    with pytest.raises(TypeError, match="blind with profile_steps needs a LinearOperator"):
        rd.run(jax.random.key(0), solver, problem)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 0.0}, "rate"), ({"memory": 1.0}, "memory"), ({"begin": 1.0}, "begin"), ({"profile_steps": -1}, "steps")],
)
def test_values_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rd.blind(rd.noise_aware(white()), gain, **options)
