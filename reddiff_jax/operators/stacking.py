"""Several measurements of one unknown as one."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Num

from reddiff_jax._checks import check_positive, describe
from reddiff_jax.operators._base import LinearOperator, Operator, check_operators, measurement


class _Stacked:
    """What the linear and the nonlinear stack share."""

    operators: tuple[Operator, ...]
    weights: jax.Array

    def __call__(self, x: Float[Array, "H W C"]) -> Num[Array, "M"]:
        """Measures one image."""
        return self.join(*(operator(x) for operator in self.operators))

    @property
    def observed(self) -> Array | None:
        """The operators', one after another."""
        masks = [operator.observed for operator in self.operators]
        if all(mask is None for mask in masks):
            return None
        shapes = [measurement(operator).shape for operator in self.operators]
        full = [jnp.ones(shape) if mask is None else mask for mask, shape in zip(masks, shapes, strict=True)]
        return jnp.concatenate([jnp.broadcast_to(m, shape).ravel() for m, shape in zip(full, shapes, strict=True)])

    def join(self, *ys: Array) -> Num[Array, "M"]:
        """The measurement made of one of each operator: times the weights, flattened, one after another."""
        return jnp.concatenate([weight * y.ravel() for weight, y in zip(self.weights, ys, strict=True)])

    def split(self, y: Num[Array, "M"]) -> tuple[Array, ...]:
        """The measurement of each operator, weights taken off again: the inverse of ``join``."""
        return tuple(part / weight for weight, part in zip(self.weights, self._parts(y), strict=True))

    def _parts(self, y: Num[Array, "M"]) -> list[Array]:
        like = [measurement(operator) for operator in self.operators]
        parts = jnp.split(y, np.cumsum([each.size for each in like])[:-1])
        # Next to a complex measurement a real one has become complex.
        shaped = [part.reshape(each.shape) for part, each in zip(parts, like, strict=True)]
        return [
            part if jnp.issubdtype(each.dtype, jnp.complexfloating) else jnp.real(part)
            for part, each in zip(shaped, like, strict=True)
        ]


@struct.dataclass
class Stacked(_Stacked, Operator):
    """Several measurements of one unknown; build it with ``stacked``."""

    operators: tuple[Operator, ...]
    weights: jax.Array  # (number of operators,)


@struct.dataclass
class LinearStacked(_Stacked, LinearOperator):
    """Several linear measurements of one unknown; build it with ``stacked``."""

    operators: tuple[LinearOperator, ...]
    weights: jax.Array  # (number of operators,)

    def adjoint(self, y: Num[Array, "M"]) -> Float[Array, "H W C"]:
        """The weighted sum of the adjoints."""
        parts = zip(self.operators, self.weights, self._parts(y), strict=True)
        return functools.reduce(jnp.add, (operator.adjoint(weight * part) for operator, weight, part in parts))


def stacked(
    *operators: Operator, weights: Sequence[float] | Float[Array, "N"] | None = None
) -> Stacked | LinearStacked:
    """Several measurements of one unknown as one flat vector ``y = [weights[0] a(x), weights[1] b(x), ...]``.

    ``operator.join(y_a, y_b)`` makes such a vector of measurements, ``operator.split(y)`` takes it apart. Where the
    noise differs, weights of sigma_y / sigma_i give all of them sigma_y. The pseudo-inverse of linear operators
    iterates; if one is not linear, there is none.

    Args:
        operators: One or more, all of the same unknown ``(H, W, C)``. ``rd.stack`` is another thing: one operator for
            each image of a batch.
        weights: One positive factor for each operator. Default 1.

    Raises:
        TypeError: If one is not an Operator.
        ValueError: If the unknowns differ, or the weights are not one positive number for each.
    """
    check_operators("stacked", operators, 1)
    in_shape = operators[0].in_shape
    for i, operator in enumerate(operators):
        if operator.in_shape != in_shape:
            raise ValueError(
                f"stacked: operators[{i}], {type(operator).__name__}, takes {operator.in_shape} but operators[0] takes "
                f"{in_shape}. All measure the same unknown: bring it there by rd.compose with rd.operators.crop, "
                "rd.operators.pad or rd.on_channels."
            )
    weights = jnp.ones(len(operators)) if weights is None else jnp.asarray(weights, dtype=float)
    if weights.shape != (len(operators),):
        raise ValueError(
            f"stacked: weights is {describe(weights)} but must be {len(operators)} positive numbers, one each."
        )
    check_positive("stacked: a weight", weights)
    kind = LinearStacked if all(isinstance(each, LinearOperator) for each in operators) else Stacked
    return kind(in_shape=in_shape, operators=operators, weights=weights)  # type: ignore[arg-type]
