"""What a measurement operator is: ``Operator``, ``LinearOperator``, ``SpectralOperator``."""

import abc

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._conjugate_gradients import conjugate_gradients

_NUM_CG_STEPS = 30


@struct.dataclass
class Operator(abc.ABC):
    """A differentiable map from one image ``(H, W, C)`` to one measurement: ``y = operator(x)``.

    Operators are pytrees: arrays (masks, kernels) are leaves, so a batch with a mask for each image is ``jax.vmap``
    over a stacked operator.
    """

    in_shape: tuple[int, int, int] = struct.field(pytree_node=False)

    # So that numpy numbers leave ``2 * operator`` to __rmul__.
    __array_ufunc__ = None

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""

    def __matmul__(self, inner: "Operator") -> "Operator":
        """``outer @ inner``: ``compose(outer, inner)``."""
        from reddiff_jax.operators.compose import compose

        return compose(self, inner)

    def __rmul__(self, factor: float | Array) -> "Operator":
        """``factor * operator``: ``scale(operator, factor)``."""
        from reddiff_jax.operators.compose import scale

        return scale(self, factor)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the measurement."""
        return jax.eval_shape(self, jax.ShapeDtypeStruct(self.in_shape, jnp.float32)).shape

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """An image that explains ``y``; where none is known, a TypeError that says what to do instead."""
        raise TypeError(
            f"{type(self).__name__} has no pseudo-inverse. Give the operator a pinv, or use rd.reddiff or rd.dps "
            "started from init=rd.init_zeros, init=rd.init_noise or an image of your own."
        )


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
        return conjugate_gradients(lambda x: self.adjoint(self(x)), self.adjoint(y), _NUM_CG_STEPS)


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
