"""Training a diffusion prior on a folder of pictures.

The objective is ``mean |net(x_t, t) - target|^2`` for ``x_t = alpha_t x_0 + sigma_t eps``: a mean over pixels and
crops, and over t, drawn uniformly or by ``lognormal_levels``. The target is the noise (Ho et al.
2020, arXiv 2006.11239, eq. 14), the picture, ``v = alpha_t eps - sigma_t x_0`` (Salimans & Ho 2022, arXiv 2202.00512)
or the velocity ``eps - x_0`` of a rectified flow (Liu et al. 2023, arXiv 2209.03003, eq. 1). With v or the velocity the
error of the clean picture is ``sigma_t`` times the network's; with the noise it is ``sigma_t / alpha_t`` times the
network's, thousands at high noise, so that the overall look of pictures takes far more updates to learn. Batch k is a
pure function of (seed, k), so a killed run continues on the same data in the same order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from reddiff_jax.priors import ToEps, from_eps, from_v, from_velocity, from_x0
from reddiff_jax.schedules import Schedule

Levels = Callable[[Schedule, jax.Array], jax.Array]
"""``(schedule, u in [0, 1)) -> timestep``, for each of some u (B,)."""


def uniform_levels(schedule: Schedule, u: jax.Array) -> jax.Array:
    """Uniformly distributed timesteps (Ho et al. 2020)."""
    return jnp.minimum(jnp.floor(u * schedule.num_timesteps).astype(jnp.int32), schedule.num_timesteps - 1)


def lognormal_levels(schedule: Schedule, u: jax.Array) -> jax.Array:
    """Timesteps whose noise level r = sigma_t / alpha_t has ln r normal, of mean -1.2 and standard deviation 1.2.

    Two thirds of r are from 0.1 to 1, for pixels in [-1, 1]: there a photo's texture and edges are decided. Uniform
    timesteps of the usual schedule spend half of the updates on r above 3.5.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), section 5 and table 1.
    """
    r = jnp.exp(-1.2 + 1.2 * jax.scipy.stats.norm.ppf(u))
    return jax.vmap(schedule.nearest)(r)


Target = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""``(x_0, eps, alpha_t, sigma_t) -> what the network is to predict``."""

TARGETS: dict[ToEps, Target] = {
    from_eps: lambda x, eps, alpha_t, sigma_t: eps,
    from_v: lambda x, eps, alpha_t, sigma_t: alpha_t * eps - sigma_t * x,
    from_velocity: lambda x, eps, alpha_t, sigma_t: eps - x,
    from_x0: lambda x, eps, alpha_t, sigma_t: x,
}


MAX_GRADIENT_NORM, BETAS = 1.0, (0.9, 0.99)  # of the optimizer


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Args (fields):
        steps: Number of updates.
        batch_pixels: Pixels of a batch: 16 crops of 64 x 64 or 4 of 128 x 128 are 65536.
        crops: Crop sizes, taken in turn.
        learning_rate: Peak learning rate: linear warm-up, constant, linear decay over the last ``decay`` of the steps.
        warmup: Steps of warm-up.
        decay: Fraction of the steps that the decay takes.
        weight_decay: AdamW's.
        ema: Decay of the moving average of the parameters; the average is what is kept.
        seed: Seed of initialisation, crops and noise.
        to_eps: What the network predicts, one of ``TARGETS``.
        levels: Which timesteps it sees: ``uniform_levels`` or ``lognormal_levels``.
    """

    steps: int = 100_000
    batch_pixels: int = 16 * 64 * 64
    crops: tuple[int, ...] = (64, 64, 64, 128)
    learning_rate: float = 4e-4
    warmup: int = 200
    decay: float = 0.3
    weight_decay: float = 1e-3
    ema: float = 0.999
    seed: int = 0
    to_eps: ToEps = from_eps
    levels: Levels = uniform_levels

    def count(self, size: int) -> int:
        """Crops of a batch."""
        return max(1, self.batch_pixels // size**2)

    def learning_rates(self) -> optax.Schedule:
        """The learning rate by the number of updates done."""
        decay_steps = max(1, round(self.decay * self.steps))
        return optax.join_schedules(
            [
                optax.linear_schedule(0.0, self.learning_rate, self.warmup),
                optax.constant_schedule(self.learning_rate),
                optax.linear_schedule(self.learning_rate, 0.0, decay_steps),
            ],
            [self.warmup, self.steps - decay_steps],
        )

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW with gradient clipping."""
        return optax.chain(
            optax.clip_by_global_norm(MAX_GRADIENT_NORM),
            optax.adamw(self.learning_rates(), b1=BETAS[0], b2=BETAS[1], weight_decay=self.weight_decay),
        )

    def ema_decay(self, step: jax.Array | int) -> jax.Array:
        """Decay of the moving average after ``step`` updates: a short memory at first forgets the initialisation."""
        return jnp.minimum(self.ema, (1.0 + step) / (10.0 + step))


def draw_task(
    schedule: Schedule, config: TrainingConfig, key: jax.Array, crops: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the network is given, and what it is to predict, for a batch of crops.

    Args:
        schedule: Noise schedule.
        config: How to train.
        key: PRNG key of the update.
        crops: Pictures (B, H, W, C), uint8.

    Returns:
        ``x_t`` (B, H, W, C), timesteps (B,), which are stratified over the batch, and targets (B, H, W, C).
    """
    key_t, key_eps = jax.random.split(key)
    count, x = len(crops), crops.astype(jnp.float32) / 127.5 - 1.0
    t = config.levels(schedule, (jnp.arange(count) + jax.random.uniform(key_t, (count,))) / count)
    eps = jax.random.normal(key_eps, x.shape)

    def one(x, t, eps):
        alpha_t, sigma_t = schedule(t)
        return alpha_t * x + sigma_t * eps, TARGETS[config.to_eps](x, eps, alpha_t, sigma_t)

    x_t, target = jax.vmap(one)(x, t, eps)
    return x_t, t, target


def denoising_loss(
    net: nn.Module, schedule: Schedule, config: TrainingConfig, params: Any, key: jax.Array, crops: jax.Array
) -> jax.Array:
    """Loss of a batch of crops (B, H, W, C), uint8: a mean over crops, pixels and channels."""
    key_task, key_dropout = jax.random.split(key)
    x_t, t, target = draw_task(schedule, config, key_task, crops)

    def squared_error(x_t, t, target, key):
        rngs = {"dropout": key}
        out: jax.Array = net.apply({"params": params}, x_t, t, deterministic=False, rngs=rngs)  # type: ignore[assignment]
        return jnp.mean(jnp.square(out - target))

    return jnp.mean(jax.vmap(squared_error)(x_t, t, target, jax.random.split(key_dropout, len(x_t))))
