# %% [markdown]
# # 16 different masks in one call
#
# A photo is measured through 16 different masks; one compiled call restores it from each of
# them. Every problem has its own mask, noise and random key, and none depends on another.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs

# %% [markdown]
# The masks: random pixels, from half of them to a tenth, squares in four places, and brush
# strokes.

# %%
photo = rd.read_picture(jobs.sample_photos()[2])[64:192:2, 64:192:2]
key, shape = jax.random.key(0), (64, 64)
keys = jax.random.split(key, 16)

kept = [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12, 0.1]
pixels = [rd.masks.random(keys[i], shape, keep=keep) for i, keep in enumerate(kept)]
squares = [rd.masks.box(shape, top, left, 20, 20) for top in (8, 36) for left in (8, 36)]
strokes = [rd.masks.freeform(keys[i], shape) for i in range(12, 16)]
masks = jnp.stack(pixels + squares + strokes)  # (16, 64, 64, 1)


# %% [markdown]
# Everything is written for one image. `jax.vmap` says what differs between the images: here
# keys and masks when measuring, keys and problems when solving. The solver is shared.


# %%
def measure(key, mask):
    return rd.measure(key, rd.inpainting(mask), rd.gaussian(0.02), photo)


problems = jax.vmap(measure)(keys, masks)
solver = rd.default_solver(rd.load_prior(), measure(keys[0], masks[0]))
solve = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))
restored = solve(keys, solver, problems).x  # (16, 64, 64, 3)

# %%
psnr = jax.vmap(rd.metrics.psnr, in_axes=(0, None))
psnr_measured, psnr_restored = psnr(problems.y, photo), psnr(restored, photo)
least_gain = jnp.min(psnr_restored - psnr_measured)
mean_measured, mean_restored = jnp.mean(psnr_measured), jnp.mean(psnr_restored)

pairs = jnp.concatenate([problems.y, restored], axis=1)  # the restoration below
rd.plot.panel(
    {
        f"{i + 1}: {decibels:.1f} dB": pair
        for i, (pair, decibels) in enumerate(zip(pairs, psnr_restored, strict=True))
    },
    columns=8,
)
plt.show()
