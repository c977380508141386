# %% [markdown]
# # Posterior samples, error bars and coverage
#
# A photo is four times too small; instead of one enlargement we draw 19 that explain it,
# and ask whether their spread tells where they are wrong.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[1])[::2, ::2][24:88, 24:88]  # (64, 64, 3)
problem = rd.measure(key, rd.super_resolution((64, 64, 3), 4), rd.gaussian(0.05), photo)

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
# If the error bars are right, the central 80 % interval of the samples holds 80 % of the
# true pixels, and so on at every level: the curve is the diagonal. One picture is one draw;
# for a verdict take many (see the guide to posterior samples).

# %%
levels = jnp.linspace(0.1, 0.9, 9)
covered = rd.diagnostics.coverage(photo, samples, levels=[float(level) for level in levels])
worst_coverage = jnp.max(jnp.abs(covered - levels))
error = jnp.abs(mean - photo)
correlation = jnp.corrcoef(spread.mean(-1).ravel(), error.mean(-1).ravel())[0, 1]

pictures = {
    "photo": photo,
    f"a sample, {psnr_sample:.1f} dB": samples[0],
    f"their mean, {psnr_mean:.1f} dB": mean,
}
maps = {"spread of the samples": spread, "error of the mean": error}
figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.2), layout="constrained")
for axis, (title, image) in zip(axes[0], pictures.items(), strict=True):
    axis.imshow((image.clip(-1, 1) + 1) / 2)
    axis.set_title(title)
    axis.axis("off")
for axis, (title, image) in zip(axes[1], maps.items(), strict=False):
    axis.imshow(image.mean(-1), cmap="magma", vmin=0, vmax=0.3)
    axis.set_title(title)
    axis.axis("off")
axis = axes[1, 2]
axis.plot([0, 1], [0, 1], color="gray", linewidth=1)
axis.plot(levels, covered, "o-")
axis.set(
    xlabel="interval's level", ylabel="true pixels inside", title="coverage", aspect="equal"
)
plt.show()
