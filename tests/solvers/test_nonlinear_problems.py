"""RED-diff on the nonlinear operators, with an analytic prior: descents from noise explain what was measured."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd
from reddiff_jax._tree import index

SHAPE = (8, 8, 3)
PRIOR = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
SOLVER = rd.reddiff(PRIOR, optax.adam(0.1, b2=0.99), num_steps=60, init=rd.solvers.init_noise)
KERNEL = np.full((3, 3), 1 / 9)

OPERATORS = {
    "phase_retrieval": rd.phase_retrieval(SHAPE),
    "hdr": rd.hdr(SHAPE),
    "jpeg": rd.jpeg(SHAPE, 50, subsampling=1),
    "quantization": rd.quantization(SHAPE, 2),
    "saturated_blur": rd.saturated_blur(KERNEL, SHAPE),
}


def _truth(seed: int = 0) -> jax.Array:
    return jnp.clip(0.5 * jax.random.normal(jax.random.key(seed), SHAPE), -1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
def test_residual_falls(name):
    problem = rd.measure(jax.random.key(1), OPERATORS[name], rd.gaussian(), _truth())
    residual = rd.run(jax.random.key(2), SOLVER, problem).info.residual
    # Adam may go up to 60 * 0.1 from noise of size 1: far enough to explain y.
    assert residual[-1] < 0.4 * residual[0]


@pytest.mark.slow
def test_images_of_a_batch_keep_their_own_gain():
    operators = rd.stack([rd.hdr(SHAPE, factor) for factor in (1.5, 2.0, 4.0)])
    truths = jnp.stack([_truth(seed) for seed in range(3)])
    keys = jax.random.split(jax.random.key(0), 3)
    problems = jax.jit(jax.vmap(rd.measure, in_axes=(0, 0, None, 0)))(keys, operators, rd.gaussian(0.05), truths)
    together = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, SOLVER, problems).x
    for i in range(3):
        alone = rd.run(keys[i], SOLVER, index(problems, i)).x
        # 60 steps of size 0.1, rounded in another order.
        np.testing.assert_allclose(together[i], alone, atol=1e-4)


@pytest.mark.parametrize("name", ["jpeg", "quantization"])
@pytest.mark.slow
def test_without_straight_through_there_is_no_data_term(name):
    operator = OPERATORS[name].replace(straight_through=False)
    problem = rd.measure(jax.random.key(1), operator, rd.gaussian(), _truth())
    gradient = jax.jit(lambda problem: problem.misfit_gradient(jnp.zeros(SHAPE)))
    assert not gradient(problem).any()
    assert gradient(problem.replace(operator=OPERATORS[name])).any()
