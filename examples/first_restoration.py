# %% [markdown]
# # First restoration
#
# A photo has lost 70 % of its pixels and the others are noisy; out comes the whole photo.
# The diffusion model that supplies what is missing is in the package: nothing is
# downloaded.

# %%
import jax
import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs

# %% [markdown]
# Images are arrays `(H, W, C)` in [-1, 1]. We take a bundled photo and measure it
# ourselves, so that the answer is known.

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[0])[:128, 48:176]
mask = rd.masks.random(key, (128, 128), keep=0.3)  # 1 where a pixel is seen
problem = rd.measure(key, rd.inpainting(mask), rd.gaussian(0.05), photo)

# %% [markdown]
# `problem` holds the measurement, the operator that made it and the noise. For a
# measurement of your own, write `rd.problem(y, operator, noise)`. The solver is chosen for
# the problem, and `rd.run` restores the image.

# %%
prior = rd.load_prior()
solver = rd.default_solver(prior, problem)
restored = rd.run(key, solver, problem).x

# %%
psnr_measured = rd.metrics.psnr(problem.y, photo)
psnr_restored = rd.metrics.psnr(restored, photo)

columns = {
    "photo": photo,
    f"measured, {psnr_measured:.1f} dB": problem.y,
    f"restored, {psnr_restored:.1f} dB": restored,
}
rd.plot.panel(columns)
plt.show()
