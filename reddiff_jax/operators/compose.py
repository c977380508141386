"""Operators made of operators: one after another, side by side, scaled, on a part of the picture."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Num

from reddiff_jax._checks import check_image_shape, is_concrete
from reddiff_jax.operators._base import LinearOperator, Operator, SpectralOperator
from reddiff_jax.operators.blur import Boundary, check_boundary, pad_mode

Margins = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]
"""Pixels on all sides, (vertical, horizontal), or ((top, bottom), (left, right))."""


# ---- one after another


class _Composed:
    """What the linear and the nonlinear composition share."""

    outer: Operator
    inner: Operator

    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""
        return self.outer(self.inner(x))

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """``inner.pinv(outer.pinv(y))``; see ``compose`` for when that explains y."""
        return self.inner.pinv(self.outer.pinv(y))


@struct.dataclass
class Composition(_Composed, Operator):
    """``y = outer(inner(x))``; build it with ``compose``."""

    outer: Operator
    inner: Operator


@struct.dataclass
class LinearComposition(_Composed, LinearOperator):
    """``y = outer(inner(x))`` of linear operators; build it with ``compose``."""

    outer: LinearOperator
    inner: LinearOperator

    def adjoint(self, y: Array) -> Float[Array, "H W C"]:
        """Applies the adjoints in the other order."""
        if jnp.issubdtype(_measurement(self.inner).dtype, jnp.complexfloating):
            # Adjoints are those of real unknowns; only the whole has one here.
            return LinearOperator.adjoint(self, y)
        return self.inner.adjoint(self.outer.adjoint(y))


def compose(*operators: Operator) -> Composition | LinearComposition:
    """One operator after another, the last one first: ``compose(a, b)(x) = a(b(x))``, also written ``a @ b``.

    The result is a ``LinearOperator`` if all are. A prior of RGB pictures restores a grey CT slice by
    ``rd.parallel_ct((H, W, 1), angles) @ rd.colorization((H, W, 3))``.

    The pseudo-inverse is ``b.pinv(a.pinv(y))``. It explains y, a(b(pinv(y))) = y, if ``a`` loses nothing (it is one to
    one) or ``b`` reaches everything (each input of ``a`` is some ``b(x)``); otherwise it is an approximation, good
    enough to start from. ``rd.LinearOperator.pinv(operator, y)`` iterates on the whole instead.

    Args:
        operators: Two or more; the unknown is that of the last one. Each takes what the next one gives.

    Raises:
        TypeError: If one is not an Operator.
        ValueError: If there are less than two, or their shapes do not chain.
    """
    _check_operators("compose", operators, 2)
    return functools.reduce(_compose, operators)  # type: ignore[return-value]


def _compose(outer: Operator, inner: Operator) -> Operator:
    if outer.in_shape != inner.out_shape:
        raise ValueError(
            f"compose: {type(inner).__name__} maps {inner.in_shape} to {inner.out_shape}, but {type(outer).__name__}, "
            f"which comes after it, takes {outer.in_shape}. The one that acts first stands last."
        )
    if isinstance(outer, LinearOperator) and isinstance(inner, LinearOperator):
        return LinearComposition(in_shape=inner.in_shape, outer=outer, inner=inner)
    return Composition(in_shape=inner.in_shape, outer=outer, inner=inner)


# ---- side by side


class _Stacked:
    """What the linear and the nonlinear stack share."""

    operators: tuple[Operator, ...]
    weights: jax.Array

    def __call__(self, x: Float[Array, "H W C"]) -> Num[Array, "M"]:
        """Measures one image."""
        return self.join(*(operator(x) for operator in self.operators))

    def join(self, *ys: Array) -> Num[Array, "M"]:
        """The measurement made of one of each operator: times the weights, flattened, one after another."""
        return jnp.concatenate([weight * y.ravel() for weight, y in zip(self.weights, ys, strict=True)])

    def split(self, y: Num[Array, "M"]) -> tuple[Array, ...]:
        """The measurement of each operator, weights taken off again: the inverse of ``join``."""
        return tuple(part / weight for weight, part in zip(self.weights, self._parts(y), strict=True))

    def _parts(self, y: Num[Array, "M"]) -> list[Array]:
        like = [_measurement(operator) for operator in self.operators]
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
    noise differs, weights of sigma_y / sigma_i make it one of sigma_y. The pseudo-inverse of linear operators iterates;
    if one is not linear there is none.

    Args:
        operators: One or more, all of the same unknown ``(H, W, C)``. ``rd.stack`` is another thing: one operator for
            each image of a batch.
        weights: One positive factor for each. Default 1.

    Raises:
        TypeError: If one is not an Operator.
        ValueError: If the unknowns differ, or the weights are not one positive number for each.
    """
    _check_operators("stacked", operators, 1)
    in_shape = operators[0].in_shape
    for i, operator in enumerate(operators):
        if operator.in_shape != in_shape:
            raise ValueError(
                f"stacked: operators[{i}], {type(operator).__name__}, takes {operator.in_shape} but operators[0] takes "
                f"{in_shape}. All measure the same unknown: bring it there by rd.compose with crop, pad, on_channels."
            )
    weights = jnp.ones(len(operators)) if weights is None else jnp.asarray(weights, dtype=float)
    positive = not is_concrete(weights) or (np.isfinite(weights).all() and (np.asarray(weights) > 0).all())
    if weights.shape != (len(operators),) or not positive:
        raise ValueError(f"stacked: weights are {weights} but must be {len(operators)} positive numbers, one each.")
    kind = LinearStacked if all(isinstance(each, LinearOperator) for each in operators) else Stacked
    return kind(in_shape=in_shape, operators=operators, weights=weights)  # type: ignore[arg-type]


# ---- scaled


class _Scaled:
    """What all scaled operators share."""

    operator: Operator
    factor: jax.Array

    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""
        return self.factor * self.operator(x)

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """The operator's, of y / factor."""
        return self.operator.pinv(y / self.factor)


@struct.dataclass
class Scaled(_Scaled, Operator):
    """``y = factor * operator(x)``; build it with ``scale``."""

    operator: Operator
    factor: jax.Array  # scalar


@struct.dataclass
class LinearScaled(_Scaled, LinearOperator):
    """``y = factor * operator(x)`` of a linear operator; build it with ``scale``."""

    operator: LinearOperator
    factor: jax.Array  # scalar

    def adjoint(self, y: Array) -> Float[Array, "H W C"]:
        """Applies A^T."""
        return self.factor * self.operator.adjoint(y)


@struct.dataclass
class SpectralScaled(_Scaled, SpectralOperator):
    """``y = factor * operator(x)`` with its singular value decomposition; build it with ``scale``."""

    operator: SpectralOperator
    factor: jax.Array  # scalar

    @property
    def singulars(self) -> Array:
        """The operator's times ``|factor|``; the sign is left to ``U``."""
        return jnp.abs(self.factor) * self.operator.singulars

    def Vt(self, x: Float[Array, "H W C"]) -> Array:
        """Image to coefficients."""
        return self.operator.Vt(x)

    def V(self, coefficients: Array) -> Float[Array, "H W C"]:
        """Coefficients to image."""
        return self.operator.V(coefficients)

    def Ut(self, y: Array) -> Array:
        """Measurement to coefficients."""
        return self.operator.Ut(jnp.sign(self.factor) * y)

    def U(self, coefficients: Array) -> Array:
        """Coefficients to measurement."""
        return jnp.sign(self.factor) * self.operator.U(coefficients)


def scale(operator: Operator, factor: float | Float[Array, ""]) -> Scaled | LinearScaled | SpectralScaled:
    """A number times an operator, ``y = factor * operator(x)``, also written ``factor * operator``.

    It keeps what the operator can do: one with a singular value decomposition has one afterwards.

    Args:
        operator: Any operator.
        factor: Real, not zero. A leaf, so it may differ between the images of a batch.

    Raises:
        TypeError: If ``operator`` is not an Operator.
        ValueError: If ``factor`` is not one number, is zero or not finite.
    """
    _check_operators("scale", (operator,), 1)
    concrete = is_concrete(factor)
    if np.shape(factor) != () or (concrete and not (np.isfinite(factor) and factor != 0)):
        raise ValueError(f"scale: factor is {factor} but must be one finite number other than 0.")
    kinds = {SpectralOperator: SpectralScaled, LinearOperator: LinearScaled, Operator: Scaled}
    kind = next(scaled for capability, scaled in kinds.items() if isinstance(operator, capability))
    return kind(in_shape=operator.in_shape, operator=operator, factor=jnp.asarray(factor, dtype=float))  # type: ignore[arg-type]


# ---- a part of the picture


@struct.dataclass
class Crop(SpectralOperator):
    """The picture without its margins; build it with ``crop``."""

    margins: tuple[tuple[int, int], tuple[int, int]] = struct.field(pytree_node=False)  # (top, bottom), (left, right)

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """One inside, zero on the margins."""
        height, width, _ = self.out_shape
        return jnp.pad(jnp.ones((height, width, 1)), (*self.margins, (0, 0)))

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Zeros around the picture."""
        return jnp.pad(y, (*self.margins, (0, 0)))

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Cuts the margins off."""
        (top, bottom), (left, right) = self.margins
        height, width, _ = self.in_shape
        return coefficients[top : height - bottom, left : width - right]

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Measures one image."""
        return self.U(x)

    def adjoint(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Zeros (mid-grey) around the picture."""
        return self.Ut(y)

    def pinv(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Zeros (mid-grey) around the picture."""
        return self.Ut(y)


@struct.dataclass
class Pad(SpectralOperator):
    """The picture continued beyond its border; build it with ``pad``.

    A pixel that is seen n times has the singular value sqrt(n).
    """

    counts: jax.Array  # (H, W, 1), how often each pixel is seen
    margins: tuple[tuple[int, int], tuple[int, int]] = struct.field(pytree_node=False)  # (top, bottom), (left, right)
    boundary: Boundary = struct.field(pytree_node=False)

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """Square roots of the counts."""
        return jnp.sqrt(self.counts)

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Measurement to coefficients."""
        return self.adjoint(y) / self.singulars

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Coefficients to measurement."""
        return self(coefficients / self.singulars)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Measures one image."""
        return jnp.pad(x, (*self.margins, (0, 0)), mode=pad_mode(self.boundary))

    def adjoint(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """The sum of all places where a pixel is seen."""
        (x,) = jax.linear_transpose(self.__call__, jax.ShapeDtypeStruct(self.in_shape, y.dtype))(y)
        return x


def crop(in_shape: tuple[int, int, int], margins: Margins) -> Crop:
    """The picture without its margins.

    ``rd.crop(in_shape, 15) @ rd.blur(kernel, in_shape)`` is a blur of 31 taps that no boundary touches: what lies
    beyond the measured field is part of the unknown.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        margins: Pixels to cut: on all sides, (vertical, horizontal), or ((top, bottom), (left, right)).

    Raises:
        ValueError: If nothing is left, or a margin is negative.
    """
    in_shape = check_image_shape("crop: in_shape", in_shape)
    margins = _check_margins("crop", margins)
    if any(sum(pair) >= size for pair, size in zip(margins, in_shape[:2], strict=True)):
        raise ValueError(f"crop: margins {margins} leave nothing of a picture of {in_shape}. Take smaller ones.")
    return Crop(in_shape=in_shape, margins=margins)


def pad(in_shape: tuple[int, int, int], margins: Margins, *, boundary: Boundary = Boundary.ZERO) -> Pad:
    """The picture continued beyond its border.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        margins: Pixels to add: on all sides, (vertical, horizontal), or ((top, bottom), (left, right)).
        boundary: How the picture goes on. With zeros (mid-grey) the pseudo-inverse is the crop; otherwise the mean of
            all places where a pixel is seen.

    Raises:
        ValueError: If a margin is negative.
    """
    in_shape = check_image_shape("pad: in_shape", in_shape)
    margins = _check_margins("pad", margins)
    boundary = check_boundary("pad", boundary)
    rows, columns = (
        np.pad(np.eye(size), (pair, (0, 0)), mode=pad_mode(boundary)).sum(0)
        for size, pair in zip(in_shape[:2], margins, strict=True)
    )
    counts = jnp.asarray(np.outer(rows, columns)[:, :, None], dtype=float)
    return Pad(in_shape=in_shape, counts=counts, margins=margins, boundary=boundary)


@struct.dataclass
class ChannelSelection(SpectralOperator):
    """Some of the channels; part of what ``on_channels`` builds."""

    channels: tuple[int, ...] = struct.field(pytree_node=False)

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
    _check_operators("on_channels", (operator,), 1)
    in_shape = check_image_shape("on_channels: in_shape", in_shape)
    chosen = tuple(int(channel) for channel in np.atleast_1d(channels))
    if len(set(chosen)) != len(chosen) or not all(0 <= channel < in_shape[2] for channel in chosen):
        raise ValueError(
            f"on_channels: channels are {chosen} but must be different numbers from 0 to {in_shape[2] - 1} for "
            f"in_shape={in_shape}."
        )
    return compose(operator, ChannelSelection(in_shape=in_shape, channels=chosen))


# ---- checks


def _measurement(operator: Operator) -> jax.ShapeDtypeStruct:
    """Shape and dtype of y."""
    return jax.eval_shape(operator, jax.ShapeDtypeStruct(operator.in_shape, jnp.float32))


def _check_operators(name: str, operators: tuple[Operator, ...], least: int) -> None:
    if len(operators) < least:
        raise ValueError(f"{name}: {len(operators)} operators came but at least {least} are needed.")
    for i, operator in enumerate(operators):
        if not isinstance(operator, Operator):
            raise TypeError(
                f"{name}: operators[{i}] is a {type(operator).__name__} but must be an Operator. A function becomes "
                "one by rd.operator(fn, in_shape) or rd.linear_operator(fn, in_shape); measure by operator(x)."
            )


def _check_margins(name: str, margins: Margins) -> tuple[tuple[int, int], tuple[int, int]]:
    try:
        pairs = np.asarray(margins)
        pairs = np.broadcast_to(pairs[:, None] if pairs.ndim == 1 else pairs, (2, 2))
        valid = (pairs >= 0).all() and (pairs == pairs.astype(int)).all()
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise ValueError(
            f"{name}: margins are {margins} but must be whole numbers, not negative: one for all sides, (vertical, "
            "horizontal), or ((top, bottom), (left, right))."
        )
    (top, bottom), (left, right) = pairs.astype(int).tolist()
    return (top, bottom), (left, right)
