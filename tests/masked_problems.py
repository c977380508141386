"""Problems of 8 x 8 pixels that differ in all that a batch may differ in, and a short solver for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd

SHAPE = (8, 8, 3)
PRIOR = rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, rd.schedules.linear())
SHORT = rd.reddiff(PRIOR, num_steps=6)

# One vmapped call against single ones: XLA fuses differently, so mu of order 1 is rounded differently in each step.
ROUNDING = 1e-5


def masked_problem(i: int) -> rd.Problem:
    """Another mask, image, noise level and noise for each i."""
    rng = np.random.default_rng(i)
    operator = rd.inpainting(rng.random(SHAPE[:2]) > 0.3 + 0.05 * i)
    x = jnp.asarray(0.5 * rng.normal(size=SHAPE), jnp.float32)
    return rd.measure(jax.random.key(100 + i), operator, rd.gaussian(0.02 * i), x)


def equal(a: Any, b: Any) -> bool:
    """Whether all leaves are the same bits."""
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
