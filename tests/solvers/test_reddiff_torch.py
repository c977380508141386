"""RED-diff against the loop that one would write in PyTorch, with which the benchmarks compare speed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd

SIZE, BATCH, NUM_STEPS = 16, 2, 5


@pytest.mark.oracle
@pytest.mark.slow
def test_whole_runs_with_a_network_are_those_of_pytorch(key):
    torch = pytest.importorskip("torch")
    pytest.importorskip("azula")
    from benchmarks import _torch_solvers
    from benchmarks.forward import adm_unet, params_of

    net = rd.nets.UNet(
        model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamples=(2,), num_head_channels=32
    )
    module = adm_unet(net, SIZE)
    prior = rd.priors.NetPrior(rd.schedules.linear(), jax.tree.map(jnp.asarray, params_of(module, net)), net)
    shape = (SIZE, SIZE, 3)
    masks = [rd.masks.random(each, shape, keep=0.5) for each in jax.random.split(key, BATCH)]
    y = jnp.stack(masks) * jax.random.uniform(key, (BATCH, *shape), minval=-1)
    noise = np.random.default_rng(0).standard_normal((NUM_STEPS, BATCH, *shape)).astype(np.float32)

    timesteps = prior.schedule.timesteps(NUM_STEPS)
    every_t = jnp.arange(prior.schedule.num_timesteps)
    schedule = np.stack([np.asarray(each) for each in jax.vmap(prior.schedule)(every_t)], axis=1)
    adam, problems = optax.adam(0.1, b1=0.9, b2=0.99), [rd.problem(y[i], rd.inpainting(masks[i])) for i in range(BATCH)]

    @jax.jit
    def step(mu, opt_state, problem, eps, t):
        gradient, _ = rd.reddiff_gradient(eps, prior, problem, mu, t, lam=0.25)
        updates, opt_state = adam.update(gradient, opt_state)
        return mu + updates, opt_state

    actual = []
    for i in range(BATCH):
        mu = y[i]
        opt_state = adam.init(mu)
        for k in range(NUM_STEPS):
            mu, opt_state = step(mu, opt_state, problems[i], noise[k, i], timesteps[k])
        actual.append(mu)
    expected = _torch_solvers.reddiff(
        module,
        schedule,
        torch.tensor(np.moveaxis(np.asarray(y), -1, 1)),
        torch.tensor(np.moveaxis(np.stack(masks), -1, 1)),
        lambda k: torch.tensor(np.moveaxis(noise[k], -1, 1)),
        num_steps=NUM_STEPS,
    )
    # Steps of 0.1, whose direction Adam makes of the ratio of gradients with float32 rounding.
    np.testing.assert_allclose(np.stack(actual), np.moveaxis(expected.numpy(), 1, -1), atol=1e-3)
