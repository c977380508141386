# %% [markdown]
# # Six methods on one measurement
#
# A photo is blurred and noisy; six methods restore it with the same diffusion
# model, and a picture shows what each one makes of it.

# %%
import jax
import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs, settings

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[0])[24:88, 72:136]  # (64, 64, 3)
blur = rd.gaussian_blur((64, 64, 3), sigma=1.5, size=9)
problem = rd.measure(key, blur, rd.gaussian(0.05), photo)

# %% [markdown]
# Every method is a solver under the same `rd.run`. Each gets the package's settings for
# such measurements and about 50 evaluations of the network; DPS was published with 1000.
# This is a look at one photo; the site's results have more. The last method is what
# `rd.default_solver` takes here.

# %%
prior = rd.load_prior()
methods = {
    "DPS": "dps",
    "PiGDM": "pigdm",
    "DDRM": "ddrm",
    "DiffPIR": "diffpir",
    "RED-diff": "reddiff",
    "noise-aware": "noise_aware",
}
restored = {}
for title, name in methods.items():
    solver = settings.default_settings(problem, name).spending(50).solver(prior)
    restored[title] = rd.run(key, solver, problem).x

# %%
psnr_measured = rd.metrics.psnr(problem.y, photo)
psnr = {name: rd.metrics.psnr(x, photo) for name, x in restored.items()}
psnr_noise_aware, psnr_worst = psnr["noise-aware"], min(psnr.values())

panels = {"photo": photo, f"measured, {psnr_measured:.1f} dB": problem.y}
panels |= {f"{name}, {psnr[name]:.1f} dB": x for name, x in restored.items()}
rd.plot.panel(panels, columns=4)
plt.show()
