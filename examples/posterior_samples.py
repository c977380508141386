# %% [markdown]
# # Posterior samples, error bars and coverage
#
# Strokes of a photo are missing; instead of one restoration we draw 19 that explain the
# rest, and ask whether their spread tells where they are wrong.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[1])[::2, ::2][24:88, 24:88]  # (64, 64, 3)
mask = rd.masks.freeform(key, (64, 64))
problem = rd.measure(key, rd.inpainting(mask), rd.gaussian(0.05), photo)

# %% [markdown]
# `sample=True` asks for a solver that draws from the posterior. One problem and many keys:
# `jax.vmap` over the keys alone.

# %%
sampler = rd.default_solver(rd.load_prior(), problem, sample=True)
draw = jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))
samples = draw(jax.random.split(key, 19), sampler, problem).x  # (19, 64, 64, 3)

mean, spread = jnp.mean(samples, axis=0), jnp.std(samples, axis=0)
psnr_sample = jnp.mean(jax.vmap(rd.metrics.psnr, in_axes=(0, None))(samples, photo))
psnr_mean = rd.metrics.psnr(mean, photo)

# %% [markdown]
# Here only the missing pixels count. If the error bars are right, the central 80 % interval
# of the samples holds 80 % of the true pixels, and so on at every level: the curve is the
# diagonal. One picture is one draw; for a verdict take many (see the guide to posterior
# samples).

# %%
levels = jnp.linspace(0.1, 0.9, 9)
missing = mask[..., 0] == 0
covered = rd.diagnostics.coverage(
    photo[missing], samples[:, missing], levels=[float(level) for level in levels]
)
worst_coverage = jnp.max(jnp.abs(covered - levels))
error = jnp.abs(mean - photo)
correlation = jnp.corrcoef(spread.mean(-1).ravel(), error.mean(-1).ravel())[0, 1]

rd.plot.samples(samples, photo, measured=problem.y, where=missing)
plt.show()
