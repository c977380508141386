# %% [markdown]
# # Your own network: Flax NNX
#
# A small network learns handwritten digits in a few seconds and then restores digits that
# have lost half of their pixels. Any network will do: the package asks for a function, no
# class.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
from flax import nnx
from sklearn.datasets import load_digits

import reddiff_jax as rd

# %% [markdown]
# 1797 digits of 8 x 8 pixels, in [-1, 1]. The last 16 are kept for the test.

# %%
digits = jnp.asarray(load_digits().images)[..., None] / 8 - 1  # (1797, 8, 8, 1)
train, test = digits[:-16], digits[-16:]
schedule = rd.schedules.cosine()

# %% [markdown]
# The network sees a noisy digit `x_t` and the timestep `t`, and predicts
# $v=\alpha_t\epsilon-\sigma_t x_0$. It is written for one image, as everything here.


# %%
class Network(nnx.Module):
    def __init__(self, rngs, width=384):
        self.first = nnx.Linear(64 + 16, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.third = nnx.Linear(width, width, rngs=rngs)
        self.last = nnx.Linear(width, 64, rngs=rngs)

    def __call__(self, x_t, t):
        waves = jnp.pi * t / 1000 * jnp.arange(1, 9)
        x = jnp.concatenate([x_t.ravel(), jnp.sin(waves), jnp.cos(waves)])
        x = nnx.silu(self.first(x))
        x = x + nnx.silu(self.second(x))
        x = x + nnx.silu(self.third(x))
        return self.last(x).reshape(x_t.shape)


graph, params = nnx.split(Network(nnx.Rngs(0)))


def predict(params, x_t, t, cond):
    return nnx.merge(graph, params)(x_t, t)


# %% [markdown]
# Training is yours; this is the usual loss.


# %%
def loss(params, key, x_0):
    key_t, key_eps = jax.random.split(key)
    t = jax.random.randint(key_t, (len(x_0),), 0, 1000)
    alpha_t, sigma_t = (each[:, None, None, None] for each in schedule(t))
    eps = jax.random.normal(key_eps, x_0.shape)
    x_t = alpha_t * x_0 + sigma_t * eps
    v = jax.vmap(predict, in_axes=(None, 0, 0, None))(params, x_t, t, None)
    return jnp.mean((v - (alpha_t * eps - sigma_t * x_0)) ** 2)


NUM_UPDATES = 2500
optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, NUM_UPDATES))


@jax.jit
def fit(params, key):
    def update(carry, key):
        params, state = carry
        key_batch, key_loss = jax.random.split(key)
        batch = jax.random.choice(key_batch, train, (128,))
        updates, state = optimizer.update(jax.grad(loss)(params, key_loss, batch), state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, NUM_UPDATES)
    return jax.lax.scan(update, (params, optimizer.init(params)), keys)[0][0]


params = fit(params, jax.random.key(0))

# %% [markdown]
# The function, its parameters, its schedule and what it predicts make a prior.

# %%
prior = rd.prior(predict, schedule, params=params, to_eps=rd.from_v)
keys = jax.random.split(jax.random.key(1), len(test))


def measure(key, x):
    mask = rd.masks.random(key, (8, 8), keep=0.5)
    return rd.measure(key, rd.inpainting(mask, channels=1), rd.gaussian(0.1), x)


problems = jax.vmap(measure)(keys, test)
solver = rd.default_solver(prior, measure(keys[0], test[0]))
restored = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, problems).x

# %%
psnr = jax.vmap(rd.metrics.psnr)
psnr_measured = jnp.mean(psnr(problems.y, test))
psnr_restored = jnp.mean(psnr(restored, test))

rows = {
    f"measured\n{psnr_measured:.1f} dB": problems.y,
    f"restored\n{psnr_restored:.1f} dB": restored,
    "truth": test,
}
rd.plot.rows({name: images[:10] for name, images in rows.items()})
plt.show()
