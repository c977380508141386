"""What a compiled step holds in memory, by XLA's own account."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax.nets import UNet, parameter_shapes

SHAPE, BATCH = (16, 16, 3), 4
IMAGES = BATCH * 4 * math.prod(SHAPE)  # bytes
NET = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,))
PRIOR = rd.priors.NetPrior(schedule=rd.schedules.linear(), params=parameter_shapes(NET), net=NET)


def _batched(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((BATCH, *leaf.shape), leaf.dtype), tree)


def _temporaries(fn, *args, donated: tuple[int, ...] = ()) -> int:
    """Bytes at the peak, beside arguments and results; checks that what is donated is reused."""
    memory = jax.jit(fn, donate_argnums=donated).lower(*args).compile().memory_analysis()
    donations = jax.tree.leaves([args[i] for i in donated])
    assert memory.alias_size_in_bytes == sum(leaf.size * leaf.dtype.itemsize for leaf in donations)
    return memory.temp_size_in_bytes


@pytest.mark.slow
@pytest.mark.parametrize("factory", [rd.reddiff, rd.ddim], ids=lambda factory: factory.__name__)
def test_a_step_is_a_forward_pass_and_four_images_an_item(factory):
    images = _batched(jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    forward = _temporaries(lambda prior, x: jax.vmap(lambda x: prior.eps(x, 10))(x), PRIOR, images)

    solver = factory(PRIOR, num_steps=4)
    problem = rd.problem(jnp.zeros(SHAPE), rd.inpainting(np.ones(SHAPE[:2])), rd.gaussian(0.1))
    keys, problems = _batched(jax.eval_shape(lambda: jax.random.key(0))), _batched(problem)
    states = jax.eval_shape(jax.vmap(solver.init), keys, problems)

    def step(states, keys, solver, problems):
        return jax.vmap(lambda state, key, problem: solver.step(key, state, problem))(states, keys, problems)

    # x_t, eps, eps_hat and the gradient; each buffer is rounded up to 64 bytes, and there are some dozens of scalars.
    assert _temporaries(step, states, keys, solver, problems, donated=(0,)) <= forward + 4 * IMAGES + 4096
