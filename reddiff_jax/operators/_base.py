"""What a measurement operator is, and its algebra: ``outer @ inner`` and ``factor * operator``.

The algebra stands beside the bases because each needs the other: ``Operator.__matmul__`` builds a ``Composition``, and
a ``Composition`` is an ``Operator``.
"""

import abc
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_numbers, describe
from reddiff_jax._conjugate_gradients import least_squares
from reddiff_jax._repr import Detail, Repr, field_parts

_NUM_CG_STEPS = 30


@struct.dataclass
class Operator(Repr, abc.ABC):
    """A differentiable map from one image ``(H, W, C)`` to one measurement: ``y = operator(x)``.

    Operators are pytrees: arrays (masks, kernels) are leaves, so a batch with a mask for each image is ``jax.vmap``
    over a stacked operator.
    """

    in_shape: tuple[int, int, int] = struct.field(pytree_node=False)

    keeps_range = False
    """Whether pictures in [-1, 1] become measurements in [-1, 1], so that others are mistakes of their units."""

    keeps_scale = False
    """Whether the measured part of an image has the norm of its measurement, as Fourier transforms have here."""

    is_denoising = False
    """Whether ``pinv(y)`` is the whole image with the measurement's white noise, and nothing else is wrong with it."""

    # So that numpy numbers leave ``2 * operator`` to __rmul__.
    __array_ufunc__ = None

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""

    def __matmul__(self, inner: "Operator") -> "Operator":
        """``outer @ inner``: ``compose(outer, inner)``."""
        return compose(self, inner)

    def __rmul__(self, factor: float | Array) -> "Operator":
        """``factor * operator``: ``scale(operator, factor)``."""
        return scale(self, factor)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the measurement."""
        # Of an object, unlike its method, JAX takes the repr, which asks for this shape.
        return jax.eval_shape(self.__call__, jax.ShapeDtypeStruct(self.in_shape, jnp.float32)).shape

    @property
    def observed(self) -> Array | None:
        """Mask that is 1 for the entries of y that are measured, and broadcasts to them; None if all are."""
        return None

    def _repr_parts(self, detail: Detail) -> list[str]:
        # Otherwise a batch of masks would be broadcast against one image, to a measurement that does not exist.
        with jax.numpy_rank_promotion("raise"):
            shapes = f"{self.in_shape} -> {self.out_shape}"
        return [shapes, *field_parts(self, detail, without=("in_shape",))]

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """An image that explains ``y``; where none is known, this raises a TypeError that says what to do instead."""
        raise TypeError(
            f"{type(self).__name__} has no pseudo-inverse. Give the operator a pinv, or use rd.reddiff or rd.dps "
            "started from init=rd.solvers.init_zeros, init=rd.solvers.init_noise or an image of your own."
        )


@struct.dataclass
class ProximalOperator(Operator):
    """An operator that is not linear, but whose proximal step is known in closed form."""

    @abc.abstractmethod
    def proximal(self, x: Float[Array, "H W C"], y: Array, rho: Float[Array, ""] | float) -> Float[Array, "H W C"]:
        """``argmin_v |A(v) - y|^2 + rho |v - x|^2``; for rho -> 0 the image nearest to x that explains y."""


@struct.dataclass
class SaturatingOperator(Operator):
    """A map whose values beyond [-1, 1] are cut off: ``y = clip(unsaturated(x), -1, 1)``."""

    @abc.abstractmethod
    def unsaturated(self, x: Float[Array, "H W C"]) -> Array:
        """The measurement before it is cut off."""

    @abc.abstractmethod
    def middle(self, y: Array, margin: Float[Array, ""] | float) -> Float[Array, "H W C"]:
        """An image to start from, in which what was cut off is in the middle of what it may have been.

        Args:
            y: Measurement.
            margin: How far within [-1, 1] noise may have moved what was cut off.
        """

    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image; where an entry saturates, the derivative is zero."""
        return jnp.clip(self.unsaturated(x), -1, 1)


@struct.dataclass
class LinearOperator(Operator):
    """A linear map, with its adjoint under the real inner product: ``<A x, y> = <x, A^T y>``."""

    def adjoint(self, y: Array) -> Float[Array, "H W C"]:
        """Applies A^T; derived by transposition unless a subclass knows better."""
        x = jax.ShapeDtypeStruct(self.in_shape, jnp.real(y).dtype)
        # linear_transpose gives the plain transpose; for complex measurements the adjoint conjugates twice.
        (transposed,) = jax.linear_transpose(self.__call__, x)(jnp.conj(y))
        return jnp.conj(transposed)

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """Least-squares solution of smallest norm, approached by 30 steps of conjugate gradients on A^T A x = A^T y.

        Stopping early regularises: directions with singular values far below the largest are left near zero.
        Operators with an exact pseudo-inverse override this.
        """
        return least_squares(self, self.adjoint, y, _NUM_CG_STEPS)


@struct.dataclass
class SpectralOperator(LinearOperator):
    """A linear operator with a singular value decomposition A = U S V^T whose factors are fast transforms.

    ``V`` is orthogonal on all of image space, so ``V(Vt(x)) == x``. Coefficients are real arrays of the shape that
    ``Vt`` returns; ``singulars`` has that shape or broadcasts to it without adding axes (sizes of 1), and is zero on
    the null space. ``Ut(y)`` returns measurement coefficients in the layout of ``Vt`` (zero where the singular value
    is), and ``U`` is its inverse on the range.
    """

    rcond = 1e-6
    """``pinv`` takes singular values up to ``rcond`` times the largest for zero; a field where a subclass needs it."""

    @property
    @abc.abstractmethod
    def singulars(self) -> Array:
        """Singular values, not negative."""

    @abc.abstractmethod
    def Vt(self, x: Float[Array, "H W C"]) -> Array:
        """Image to coefficients."""

    @abc.abstractmethod
    def V(self, coefficients: Array) -> Float[Array, "H W C"]:
        """Coefficients to image."""

    @abc.abstractmethod
    def Ut(self, y: Array) -> Array:
        """Measurement to coefficients."""

    @abc.abstractmethod
    def U(self, coefficients: Array) -> Array:
        """Coefficients to measurement."""

    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""
        return self.U(self.singulars * self.Vt(x))

    def adjoint(self, y: Array) -> Float[Array, "H W C"]:
        """Applies A^T = V S U^T."""
        return self.V(self.singulars * self.Ut(y))

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """Applies the Moore-Penrose inverse V S^+ U^T, with singulars up to ``rcond * max`` taken for zero."""
        s = self.singulars
        kept = s > self.rcond * jnp.max(s)
        return self.V(jnp.where(kept, 1 / jnp.where(kept, s, 1.0), 0.0) * self.Ut(y))


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

    @property
    def observed(self) -> Array | None:
        """The outer operator's."""
        return self.outer.observed

    @property
    def keeps_range(self) -> bool:
        """Whether both do."""
        return self.outer.keeps_range and self.inner.keeps_range


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
        if jnp.issubdtype(measurement(self.inner).dtype, jnp.complexfloating):
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
        ValueError: If there are fewer than two, or their shapes do not chain.
    """
    check_operators("compose", operators, 2)
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

    @property
    def observed(self) -> Array | None:
        """The operator's."""
        return self.operator.observed


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
    check_operators("scale", (operator,), 1)
    needed = "one finite number other than 0"
    check_numbers("scale: factor", factor, lambda x: np.isfinite(x) & (x != 0), needed)
    if np.shape(factor) != ():
        raise ValueError(f"scale: factor is {describe(factor)} but must be {needed}.")
    kinds = {SpectralOperator: SpectralScaled, LinearOperator: LinearScaled, Operator: Scaled}
    kind = next(scaled for capability, scaled in kinds.items() if isinstance(operator, capability))
    return kind(in_shape=operator.in_shape, operator=operator, factor=jnp.asarray(factor, dtype=float))  # type: ignore[arg-type]


# ---- checks


def measurement(operator: Operator) -> jax.ShapeDtypeStruct:
    """Shape and dtype of y."""
    return jax.eval_shape(operator.__call__, jax.ShapeDtypeStruct(operator.in_shape, jnp.float32))


def check_operators(name: str, operators: tuple[Operator, ...], least: int) -> None:
    if len(operators) < least:
        raise ValueError(f"{name}: {len(operators)} operators came but at least {least} are needed.")
    for i, operator in enumerate(operators):
        if not isinstance(operator, Operator):
            raise TypeError(
                f"{name}: operators[{i}] is {describe(operator)} but must be an Operator. A function becomes "
                "one by rd.operator(fn, in_shape) or rd.linear_operator(fn, in_shape); measure by operator(x)."
            )
