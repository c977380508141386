# %% [markdown]
# # A sweep of lam in one call
#
# One measurement is solved with twelve weights `lam` of the prior in one compiled call, and
# the curve shows which weight is best. Too small a weight leaves the noise, too large a one
# smooths.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import reddiff_jax as rd
from reddiff_jax import jobs

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[2])[64:192:2, 64:192:2]  # (64, 64, 3)
blur = rd.gaussian_blur((64, 64, 3), sigma=1.5, size=9)
problem = rd.measure(key, blur, rd.gaussian(0.1), photo)

# %% [markdown]
# This is RED-diff as published. `lam` is a number inside the solver, a leaf of a pytree, so
# replacing it does not compile again, and `jax.vmap` may run over it.

# %%
solver = rd.reddiff(rd.load_prior(), optax.adam(0.1, b2=0.99), num_steps=60)
lams = jnp.logspace(-2, 1.5, 12)


@jax.jit
@jax.vmap
def restore(lam):
    return rd.run(key, solver.replace(lam=lam), problem).x


restored = restore(lams)  # (12, 64, 64, 3)

# %%
psnr = jax.vmap(rd.metrics.psnr, in_axes=(0, None))(restored, photo)
best = int(jnp.argmax(psnr))
psnr_best, psnr_smallest, psnr_largest = psnr[best], psnr[0], psnr[-1]
psnr_measured = rd.metrics.psnr(problem.y, photo)

titles = [
    f"lam {lam:.2g}, {decibels:.1f} dB" for lam, decibels in zip(lams, psnr, strict=True)
]
rd.plot.panel(dict(zip(titles, restored, strict=True)), columns=6)
plt.show()
