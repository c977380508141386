# %% [markdown]
# # CT from 30 views
#
# An object was X-rayed from only 30 directions; out comes the slice without the streaks of
# filtered back-projection.

# %%
import jax
import matplotlib.pyplot as plt
from skimage.data import shepp_logan_phantom

import reddiff_jax as rd

# %% [markdown]
# The Shepp-Logan phantom, reduced to 128 x 128 and scaled to [-1, 1].

# %%
phantom = shepp_logan_phantom()[8:392, 8:392, None].astype("float32")
truth = rd.super_resolution(phantom.shape, 3)(phantom) * 2 - 1  # (128, 128, 1)

# %% [markdown]
# Each view is a row of line integrals through the slice. By default they are divided by the
# slice's side, so that `y` is like a mean along the ray; `rd.parallel_ct` says how to bring
# measured attenuations to that scale.

# %%
key = jax.random.key(0)
operator = rd.parallel_ct(truth.shape, rd.view_angles(30))
problem = rd.measure(key, operator, rd.gaussian(0.01), truth)
back_projection = operator.pinv(problem.y)

solver = rd.default_solver(rd.gray_prior(rd.load_prior()), problem)
restored = rd.run(key, solver, problem).x

# %%
psnr_back_projection = rd.metrics.psnr(back_projection, truth)
psnr_restored = rd.metrics.psnr(restored, truth)

columns = {
    "truth": truth,
    f"back-projection, {psnr_back_projection:.1f} dB": back_projection,
    f"restored, {psnr_restored:.1f} dB": restored,
}
rd.plot.panel(columns, high=0.2)
plt.show()
