"""PRNG keys: all of threefry.

It is the implementation whose numbers are the same under ``jax.vmap``. Those of rbg, which some set as JAX's default
for its speed on TPUs, depend on the batch: item i of a batch would depend on its neighbours.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax._checks import describe
from reddiff_jax._types import Key

_IMPLEMENTATION = "threefry2x32"


def key_from(seed: Any) -> Key:
    """The key of a seed, whatever JAX's default implementation is."""
    return jax.random.key(seed, impl=_IMPLEMENTATION)


def numbered_keys(key: Key, count: int) -> jax.Array:
    """``fold_in(key, i)`` for i from 0 to ``count - 1``: key i is the same, however many there are."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))


def as_key(name: str, key: Any) -> Key:
    """Returns one threefry key: the key itself, or one derived from a key of another implementation.

    Raises:
        TypeError: If it is no PRNG key.
        ValueError: If there are several.
    """
    is_array = isinstance(key, jax.Array | np.ndarray)
    typed = is_array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    # Keys of jax.random.PRNGKey are words in the last axis.
    if not typed and not (is_array and key.dtype == np.uint32 and key.ndim and key.shape[-1] in (2, 4)):
        # Under vmap a key of jax.random.PRNGKey that was not split falls into its words.
        split = is_array and key.dtype == np.uint32 and key.ndim == 0
        remedy = "one for each item of a batch: jax.random.split(key, n)" if split else "jax.random.key(0)"
        raise TypeError(f"{name} is {describe(key)} but must be a PRNG key: {remedy}.")
    shape = key.shape if typed else key.shape[:-1]
    if shape:
        raise ValueError(
            f"{name} holds keys of shape {shape} but one is needed. For a batch use jax.vmap over the keys: "
            "jax.vmap(rd.run, in_axes=(0, None, 0))(keys, solver, problems)."
        )
    if typed and str(jax.random.key_impl(key)) == _IMPLEMENTATION:
        return key  # type: ignore[return-value]
    words = jax.random.key_data(key) if typed else jnp.asarray(key)
    derived = jax.random.wrap_key_data(words[:2], impl=_IMPLEMENTATION)
    for i in range(2, words.size):
        derived = jax.random.fold_in(derived, words[i])
    return derived
