# %% [markdown]
# # Six methods on one measurement
#
# A photo is blurred and noisy; six published methods restore it with the same diffusion
# model, and a picture shows what each one makes of it.

# %%
import jax
import matplotlib.pyplot as plt
import optax

import reddiff_jax as rd
from reddiff_jax import jobs

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[0])[24:88, 72:136]  # (64, 64, 3)
blur = rd.gaussian_blur((64, 64, 3), sigma=1.5, size=9)
problem = rd.measure(key, blur, rd.gaussian(0.05), photo)

# %% [markdown]
# Every method is a solver under the same `rd.run`. Those from the literature run with 50
# steps at their default settings, the last one as chosen for the problem; this is a look,
# no benchmark. The guide "Choose a solver" says what each needs.

# %%
prior = rd.load_prior()
solvers = {
    "DPS": rd.dps(prior, num_steps=50),
    "PiGDM": rd.pigdm(prior, num_steps=50),
    "DDRM": rd.ddrm(prior, num_steps=50),
    "DiffPIR": rd.diffpir(prior, num_steps=50),
    "RED-diff": rd.reddiff(prior, optax.adam(0.1, b2=0.99), num_steps=50),
    "default": rd.default_solver(prior, problem),
}
restored = {name: rd.run(key, solver, problem).x for name, solver in solvers.items()}

# %%
psnr_measured = rd.metrics.psnr(problem.y, photo)
psnr = {name: rd.metrics.psnr(x, photo) for name, x in restored.items()}
psnr_default, psnr_worst = psnr["default"], min(psnr.values())

panels = {"photo": photo, f"measured, {psnr_measured:.1f} dB": problem.y}
panels |= {f"{name}, {psnr[name]:.1f} dB": x for name, x in restored.items()}
figure, axes = plt.subplots(2, 4, figsize=(9.6, 5.1), layout="constrained")
for axis, (title, image) in zip(axes.flat, panels.items(), strict=True):
    axis.imshow((image.clip(-1, 1) + 1) / 2)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
plt.show()
