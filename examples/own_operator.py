# %% [markdown]
# # Your own operator: a wave equation
#
# A picture starts a sound wave, 22 microphones on one side record it, and we get the
# picture back. This is photoacoustic tomography: light heats blood vessels, they expand and
# send out sound.
#
# The operator is a simulation written in JAX. The package derives the rest from it: the
# adjoint (the wave running backwards) and the pseudo-inverse.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import reddiff_jax as rd
from reddiff_jax import jobs

# %% [markdown]
# The simulation: finite differences of $\partial^2 u/\partial t^2=c^2\Delta u$, started
# from the image at rest. A margin around the image swallows the sound that leaves.

# %%
SIZE, MARGIN, STEPS = 64, 16, 200
distance = jnp.maximum(MARGIN - jnp.arange(SIZE + 2 * MARGIN), 0)
distance = distance + distance[::-1]  # into the margin, in pixels
absorb = jnp.exp(-0.002 * (distance[:, None] ** 2 + distance**2))


def record(x):
    """Sound pressure at the microphones above the image, (STEPS, 22)."""
    start = jnp.pad(x[:, :, 0], MARGIN)

    def step(pressures, _):
        before, now = pressures
        around = sum(jnp.roll(now, way, axis) for way in (-1, 1) for axis in (0, 1))
        after = absorb * (2 * now - absorb * before + 0.3 * (around - 4 * now))
        return (now, after), after[MARGIN - 1, MARGIN:-MARGIN:3]

    return jax.lax.scan(step, (start, start), None, length=STEPS)[1]


operator = rd.linear_operator(record, in_shape=(SIZE, SIZE, 1))

# %% [markdown]
# The picture: vessels of a retina. The bundled prior knows colour photos; `rd.gray_prior`
# makes it serve one channel.

# %%
key = jax.random.key(0)
photo = rd.read_picture(jobs.sample_photos()[4])[126:254, 28:156, 1:2]  # the green channel
vessels = rd.super_resolution(photo.shape, 2)(photo)  # 2 x smaller
vessels = 1.6 * (vessels - jnp.mean(vessels)) / jnp.ptp(vessels)
problem = rd.measure(key, operator, rd.gaussian(0.03), vessels)

solver = rd.default_solver(rd.gray_prior(rd.load_prior()), problem)
restored = rd.run(key, solver, problem).x
least_squares = operator.pinv(problem.y)

# %%
psnr_least_squares = rd.metrics.psnr(least_squares, vessels)
psnr_restored = rd.metrics.psnr(restored, vessels)

columns = {
    "truth": vessels,
    "recorded sound": problem.y[..., None],
    f"least squares, {psnr_least_squares:.1f} dB": least_squares,
    f"restored, {psnr_restored:.1f} dB": restored,
}
rd.plot.panel(columns, low=-0.8, high=0.8)
plt.show()
