"""Fixtures of the operators' tests."""

import jax
import jax.numpy as jnp
import pytest
from small_operators import RGB


@pytest.fixture
def x(rng) -> jax.Array:
    """A picture of noise, for ``small_operators``."""
    return jnp.asarray(rng.uniform(-1, 1, RGB), dtype=jnp.float32)
