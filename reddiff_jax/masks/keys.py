"""The PRNG key of a picture's mask."""

import hashlib

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from reddiff_jax._keys import key_from


def key_of(name: str, seed: int = 0) -> PRNGKeyArray:
    """The PRNG key of one picture's mask: depends on the picture's name and the seed, not on its place in a list.

    Args:
        name: The picture's name, such as its file name.
        seed: One seed for a data set's masks.
    """
    key = key_from(seed)
    # Names of files need not be UTF-8; Python keeps their other bytes as surrogates.
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    for word in np.frombuffer(digest[:8], ">u4"):
        key = jax.random.fold_in(key, int(word))
    return key
