"""Optimizers that solvers share."""

import functools

import optax


@functools.cache
def decayed_adam(num_steps: int) -> optax.GradientTransformation:
    """Adam (b2 = 0.99) at the paper's 0.1, decayed to 0.002 by a cosine; one object for each number of steps."""
    # Another object would be another compilation.
    return optax.adam(optax.cosine_decay_schedule(0.1, num_steps, alpha=0.02), b1=0.9, b2=0.99)
