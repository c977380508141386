"""Orders of RED-diff's timesteps: (key, step, timesteps (num_steps, K)) -> the (K,) timesteps of this step."""

import jax
from jaxtyping import Array, Int

from reddiff_jax._types import Key, Timesteps


def descending(key: Key, step: Int[Array, ""], timesteps: Timesteps) -> Timesteps:
    """Order: from the noisiest level to the cleanest, the paper's choice (section 5.3)."""
    return timesteps[step]


def ascending(key: Key, step: Int[Array, ""], timesteps: Timesteps) -> Timesteps:
    """Order: from the cleanest level to the noisiest."""
    return timesteps[timesteps.shape[0] - 1 - step]


def random(key: Key, step: Int[Array, ""], timesteps: Timesteps) -> Timesteps:
    """Order: independent uniform draws from the grid, as in the derivation."""
    return jax.random.choice(key, timesteps.reshape(-1), timesteps.shape[1:])
