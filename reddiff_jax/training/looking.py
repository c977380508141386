"""What a prior has learned: samples of it, and its loss at each noise level."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import pictures
from reddiff_jax._keys import as_key, key_from
from reddiff_jax.priors import NetPrior, Prior
from reddiff_jax.solvers._transition import ddim_transition


@partial(jax.jit, static_argnames=("shape", "num_steps"))
def sample(key: jax.Array, prior: Prior, shape: tuple[int, int, int], num_steps: int = 50) -> jax.Array:
    """Draws one unconditional sample by deterministic DDIM, to look at what a prior has learned.

    Args:
        key: PRNG key.
        prior: Diffusion prior.
        shape: Shape of the image.
        num_steps: Network evaluations.

    Source:
        Song et al. 2021 (arXiv 2010.02502), eta = 0.
    """
    grid = prior.schedule.timesteps(num_steps)
    pairs = jnp.stack([grid, jnp.append(grid[1:], -1)], axis=-1)  # (num_steps, 2): from, to

    def step(x_t, pair):
        alphas, sigmas = prior.schedule(pair)
        eps_hat = prior.eps(x_t, pair[0])
        # Cut to the range of images, or errors at the noisiest levels, divided by a tiny alpha_t, blow up.
        x_hat = jnp.clip((x_t - sigmas[0] * eps_hat) / alphas[0], -1.0, 1.0)
        eps_hat = (x_t - alphas[0] * x_hat) / sigmas[0]
        zeros = jnp.zeros_like(x_t)
        return ddim_transition(zeros, x_hat, eps_hat, tuple(alphas), tuple(sigmas), 0.0), None

    x, _ = jax.lax.scan(step, jax.random.normal(key, shape), pairs)
    return x


def sample_sheet(key: jax.Array, prior: Prior, size: int, channels: int, count: int = 16) -> np.ndarray:
    """Unconditional samples side by side, (rows * size, columns * size, channels) in [-1, 1]."""
    keys = jax.random.split(as_key("sample_sheet: key", key), count)
    images = np.asarray(jax.vmap(lambda key: sample(key, prior, (size, size, channels)))(keys))
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.ones((rows * columns, size, size, channels), np.float32)
    sheet[:count] = images
    sheet = sheet.reshape(rows, columns, size, size, channels).transpose(
        0, 2, 1, 3, 4
    )  # (rows, size, columns, size, C)
    return sheet.reshape(rows * size, columns * size, channels)


def loss_by_noise_level(
    prior: NetPrior, crops: np.ndarray, timesteps: tuple[int, ...] = (10, 50, 100, 200, 400, 700, 999), seed: int = 0
) -> dict[int, float]:
    """Noise-prediction loss of a prior on crops (B, H, W, C), uint8, at each of some timesteps."""
    x = jnp.asarray(pictures.to_float(crops))
    return {t: float(_eps_loss(prior, x, jnp.asarray(t), key_from(seed))) for t in timesteps}


@jax.jit
def _eps_loss(prior: Prior, x: jax.Array, t: jax.Array, key: jax.Array) -> jax.Array:
    alpha_t, sigma_t = prior.schedule(t)
    eps = jax.random.normal(jax.random.fold_in(key, t), x.shape)
    return jnp.mean(jnp.square(jax.vmap(lambda x_t: prior.eps(x_t, t))(alpha_t * x + sigma_t * eps) - eps))
