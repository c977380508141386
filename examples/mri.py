# %% [markdown]
# # MRI: a quarter of k-space, eight coils
#
# A scanner measured one in four lines of k-space with eight coils; out comes the complex
# slice.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import nibabel
from nilearn.datasets import MNI152_FILE_PATH

import reddiff_jax as rd

# %% [markdown]
# The slice: the mean T1 picture of 152 heads, which the package nilearn brings. A real scan
# is complex, so we give it a smooth phase. Real and imaginary part are two channels.

# %%
volume = nibabel.load(MNI152_FILE_PATH).get_fdata()
flat = jnp.asarray(volume[::-1, ::-1, volume.shape[2] // 2].T)
head = jnp.clip(flat / jnp.quantile(flat, 0.999), 0, 1)
pad = [((240 - side) // 2, 240 - side - (240 - side) // 2) for side in head.shape]
head = rd.super_resolution((240, 240, 1), 2)(jnp.pad(head, pad)[..., None])[..., 0]  # halved

rows, columns = jnp.mgrid[-0.5:0.5:120j, -0.5:0.5:120j]
phase = 2 * columns + 4 * rows**2
truth = jnp.stack([head * jnp.cos(phase), head * jnp.sin(phase)], axis=-1)  # (120, 120, 2)

# %% [markdown]
# The operator. For your own data put your coil maps here and your k-space into
# `rd.problem`.

# %%
key = jax.random.key(0)
lines = rd.masks.cartesian(key, (120, 120), acceleration=4)
coils = rd.coil_maps(8, (120, 120))
operator = rd.mri(lines, truth.shape, coil_maps=coils)
problem = rd.measure(key, operator, rd.gaussian(0.02), truth)

# %% [markdown]
# The bundled prior knows colour photos and no heads; `rd.gray_prior` makes it serve both
# channels. It is of no clinical use. Least squares, which knows nothing, is there to
# compare.

# %%
solver = rd.default_solver(rd.gray_prior(rd.load_prior()), problem)
restored = rd.run(key, solver, problem).x
least_squares = operator.pinv(problem.y)


# %%
def magnitude(x):
    return jnp.linalg.norm(x, axis=-1, keepdims=True)


psnr_least_squares, psnr_restored = (
    rd.metrics.psnr(magnitude(x), magnitude(truth), data_range=1.0)
    for x in (least_squares, restored)
)

panels = {
    "truth": magnitude(truth),
    "measured lines": jnp.broadcast_to(lines, (120, 120, 1)),
    f"least squares, {psnr_least_squares:.1f} dB": magnitude(least_squares),
    f"restored, {psnr_restored:.1f} dB": magnitude(restored),
}
rd.plot.panel(panels, low=0)
plt.show()
