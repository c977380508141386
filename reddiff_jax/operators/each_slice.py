"""Volumes (D, H, W, C) whose slices are measured one by one."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_whole, describe
from reddiff_jax._tree import stack
from reddiff_jax.operators._base import LinearOperator, check_operators

_BATCH = 8


@struct.dataclass
class EachSlice(LinearOperator):
    """``y[d] = A_d x[d]``; build it with ``each_slice``."""

    operator: LinearOperator  # of one slice; its arrays have a leading axis of slices unless it is shared
    shared: bool = struct.field(pytree_node=False)
    batch: int = struct.field(pytree_node=False)

    @property
    def keeps_range(self) -> bool:
        """Whether a slice's does."""
        return self.operator.keeps_range

    @property
    def keeps_scale(self) -> bool:
        """Whether a slice's does."""
        return self.operator.keeps_scale

    @property
    def observed(self) -> Array | None:
        """The slices', one after another."""
        if self.operator.observed is None:
            return None
        return self.map(lambda operator, _: operator.observed, jnp.arange(self.in_shape[0]))

    def __call__(self, x: Float[Array, "D H W C"]) -> Array:
        """Measures one volume."""
        return self.map(lambda operator, each: operator(each), x)

    def adjoint(self, y: Array) -> Float[Array, "D H W C"]:
        """Applies the adjoint of each slice."""
        return self.map(lambda operator, each: operator.adjoint(each), y)

    def pinv(self, y: Array) -> Float[Array, "D H W C"]:
        """Applies the pseudo-inverse of each slice."""
        return self.map(lambda operator, each: operator.pinv(each), y)

    def map(self, fn: Callable[..., Any], *arrays: Any) -> Any:
        """``fn(operator of the slice, *slices of arrays)`` for each slice, ``batch`` of them at once."""
        if self.shared:
            return jax.lax.map(lambda each: fn(self.operator, *each), arrays, batch_size=self.batch)
        return jax.lax.map(lambda each: fn(each[0], *each[1]), (self.operator, arrays), batch_size=self.batch)


def each_slice(
    operator: LinearOperator | Sequence[LinearOperator], num_slices: int | None = None, *, batch: int = _BATCH
) -> EachSlice:
    """An operator of volumes (D, H, W, C) that measures each slice by itself: ``y[d] = A_d x[d]``.

    With ``rd.slices(prior)`` a solver restores the volume as one unknown; ``rd.solvers.coupling`` connects the slices.

    Args:
        operator: Linear operator of one slice (H, W, C), the same for all; or one a slice, of one structure, such as
            with masks of their own.
        num_slices: D, where there is one operator for all.
        batch: Slices that are measured at once: more need more memory.

    Raises:
        TypeError: If these are no linear operators.
        ValueError: If ``num_slices`` is missing, or does not go with the operators.
    """
    check_whole("each_slice: batch", batch)
    if isinstance(operator, LinearOperator):
        if num_slices is None:
            raise ValueError("each_slice: num_slices is missing: one operator came, for how many slices?")
        check_whole("each_slice: num_slices", num_slices)
        return EachSlice((num_slices, *operator.in_shape), operator, True, batch)  # type: ignore[arg-type]
    if not isinstance(operator, Sequence):
        raise TypeError(f"each_slice: operator is {describe(operator)} but must be a LinearOperator, or several.")
    check_operators("each_slice", tuple(operator), 1)
    if not all(isinstance(each, LinearOperator) for each in operator):
        raise TypeError("each_slice: all operators must be linear; restore slices of others one by one.")
    if num_slices not in (None, len(operator)):
        raise ValueError(f"each_slice: num_slices is {num_slices} but {len(operator)} operators came.")
    shape = (len(operator), *operator[0].in_shape)
    return EachSlice(shape, stack(list(operator)), False, batch)  # type: ignore[arg-type]
