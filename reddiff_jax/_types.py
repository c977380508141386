"""Types that several modules share."""

from typing import Any

from jaxtyping import Array, Float, Int, PRNGKeyArray

Image = Float[Array, "H W C"]
"""One image, channels last, values nominally in [-1, 1]."""

Timestep = Int[Array, ""] | Float[Array, ""] | int
"""Index into a noise schedule."""

Timesteps = Int[Array, "..."] | Float[Array, "..."]
"""Of a run (num_steps, K), of one update (K,), or one; integers unless the spacing has them in between."""

Key = PRNGKeyArray
"""A JAX PRNG key."""

Condition = Any
"""What a conditional network takes beside the image, e.g. a class label; None for unconditional ones."""
