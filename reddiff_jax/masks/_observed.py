"""The form that every mask has."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def observed(mask: Array) -> Float[Array, "H W C"]:
    """A mask (H, W) or (H, W, C) of True = observed as floats (H, W, C)."""
    mask = mask.astype(jnp.float32)
    return mask[:, :, None] if mask.ndim == 2 else mask
