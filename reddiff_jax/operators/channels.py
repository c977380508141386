"""Operators on some of the channels."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape
from reddiff_jax.operators._base import (
    Composition,
    LinearComposition,
    Operator,
    SpectralOperator,
    check_operators,
    compose,
)


@struct.dataclass
class ChannelSelection(SpectralOperator):
    """Some of the channels; part of what ``on_channels`` builds."""

    channels: tuple[int, ...] = struct.field(pytree_node=False)

    keeps_range = True

    @property
    def singulars(self) -> Float[Array, "1 1 C"]:
        """One for the chosen channels."""
        return jnp.zeros((1, 1, self.in_shape[2])).at[:, :, self.channels].set(1.0)

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "H W c"]) -> Float[Array, "H W C"]:
        """Zeros in the other channels."""
        return jnp.zeros(self.in_shape, y.dtype).at[:, :, self.channels].set(y)

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W c"]:
        """Takes the channels."""
        return coefficients[:, :, self.channels]


def on_channels(
    operator: Operator, channels: int | Sequence[int], in_shape: tuple[int, int, int]
) -> Composition | LinearComposition:
    """An operator on some channels of the unknown; the others are not measured: ``y = operator(x[:, :, channels])``.

    Several of them, and ``rd.denoising`` for channels to keep, go together by ``rd.stacked``.

    Args:
        operator: Takes ``(H, W, len(channels))``.
        channels: Their indices, in the operator's order.
        in_shape: ``(H, W, C)`` of the unknown.

    Raises:
        TypeError: If ``operator`` is not an Operator.
        ValueError: If a channel does not exist or comes twice, or the operator takes another shape.
    """
    check_operators("on_channels", (operator,), 1)
    in_shape = check_image_shape("on_channels: in_shape", in_shape)
    chosen = tuple(int(channel) for channel in np.atleast_1d(channels))
    if len(set(chosen)) != len(chosen) or not all(0 <= channel < in_shape[2] for channel in chosen):
        raise ValueError(
            f"on_channels: channels are {chosen} but must be different numbers from 0 to {in_shape[2] - 1} for "
            f"in_shape={in_shape}."
        )
    return compose(operator, ChannelSelection(in_shape=in_shape, channels=chosen))
