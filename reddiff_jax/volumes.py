"""Priors of volumes (D, H, W, C), made of priors of slices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_whole
from reddiff_jax._keys import key_from
from reddiff_jax._types import Condition, Timestep
from reddiff_jax.priors import Prior, check_prior


@struct.dataclass
class SlicesPrior(Prior):
    """A prior of pictures applied to each slice of a volume; build it with ``slices``."""

    prior: Prior
    axes: tuple[int, ...] = struct.field(pytree_node=False)
    batch: int = struct.field(pytree_node=False)
    seed: int = struct.field(pytree_node=False, default=0)

    def eps(self, x_t: Float[Array, "D H W C"], t: Timestep, cond: Condition = None) -> Float[Array, "D H W C"]:
        """Predicts the noise in each slice by itself."""

        def along(axis: int, x_t: Array) -> Array:
            def of_slice(each: Array) -> Array:
                return self.prior.eps(each, t, cond)

            return jnp.moveaxis(jax.lax.map(of_slice, jnp.moveaxis(x_t, axis, 0), batch_size=self.batch), 0, axis)

        if len(self.axes) == 1:
            return along(self.axes[0], x_t)
        # A function of the timestep, so that a run can be repeated; each axis is as likely at any spacing of them.
        bits = jax.lax.bitcast_convert_type(jnp.asarray(t, jnp.float32), jnp.uint32)
        chosen = jax.random.randint(jax.random.fold_in(key_from(self.seed), bits), (), 0, len(self.axes))
        return jax.lax.switch(chosen, [lambda x, axis=axis: along(axis, x) for axis in self.axes], x_t)


def slices(prior: Prior, axis: int | Sequence[int] = 0, *, batch: int = 8, seed: int = 0) -> SlicesPrior:
    """Lets a prior of pictures serve volumes (D, H, W, C): each slice is a picture, ``batch`` of them at once.

    So the network needs the memory of ``batch`` slices, and a solver that of a few volumes.

    Args:
        prior: Prior of the slices; ``rd.gray_prior`` of one of colour for C = 1.
        axis: The axis of slices, 0, 1 or 2; several: at each timestep one of them, drawn by ``seed``, so that slices of
            all these directions look like pictures.
        batch: Slices that go through the network at once.
        seed: Seed of the choice of axes.

    Raises:
        ValueError: If an axis is not 0, 1 or 2.
    """
    check_prior("slices", prior)
    check_whole("slices: batch", batch)
    axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    if not axes or any(each not in (0, 1, 2) for each in axes):
        raise ValueError(f"slices: axis is {axis} but must be 0, 1 or 2 of (D, H, W, C), or several of them.")
    return SlicesPrior(prior.schedule, prior, axes, batch, seed)
