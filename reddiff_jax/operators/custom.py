"""A user's own function as an operator."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape, describe, is_concrete, is_visible, numbers
from reddiff_jax._keys import key_from
from reddiff_jax.operators._base import LinearOperator, Operator

_LINEARITY_TOLERANCE = 1e-3


@struct.dataclass
class FunctionOperator(Operator):
    """Any differentiable function of an image; build it with ``operator``."""

    params: Any  # pytree of arrays, or None
    fn: Callable[..., Array] = struct.field(pytree_node=False)
    pinv_fn: Callable[..., Array] | None = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""
        return _call(self.fn, self.params, x)

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """The user's inverse; without one, the TypeError of ``Operator.pinv``."""
        return Operator.pinv(self, y) if self.pinv_fn is None else _call(self.pinv_fn, self.params, y)


@struct.dataclass
class LinearFunctionOperator(LinearOperator):
    """Any linear function of an image; build it with ``linear_operator``."""

    params: Any  # pytree of arrays, or None
    fn: Callable[..., Array] = struct.field(pytree_node=False)
    adjoint_fn: Callable[..., Array] | None = struct.field(pytree_node=False)
    pinv_fn: Callable[..., Array] | None = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "H W C"]) -> Array:
        """Measures one image."""
        return _call(self.fn, self.params, x)

    def adjoint(self, y: Array) -> Float[Array, "H W C"]:
        """The user's adjoint, or the derived one."""
        if self.adjoint_fn is not None:
            return _call(self.adjoint_fn, self.params, y)
        # jax.vjp also takes functions that jax.linear_transpose does not, such as those with a custom derivative.
        _, transpose = jax.vjp(self.__call__, jnp.zeros(self.in_shape, jnp.real(y).dtype))
        return jnp.conj(transpose(jnp.conj(y))[0])

    def pinv(self, y: Array) -> Float[Array, "H W C"]:
        """The user's inverse, or the conjugate gradients of ``LinearOperator``."""
        return LinearOperator.pinv(self, y) if self.pinv_fn is None else _call(self.pinv_fn, self.params, y)


def operator(
    fn: Callable[..., Array],
    in_shape: tuple[int, int, int],
    *,
    pinv: Callable[..., Array] | None = None,
    params: Any = None,
) -> FunctionOperator:
    """Makes an operator of a differentiable function of one image, ``y = fn(x)`` or ``y = fn(params, x)``.

    Functions are static and compared by identity. Define ``fn`` once, at the top of a module, and pass what changes as
    ``params``: a new ``lambda`` at each call compiles the solver anew.

    Args:
        fn: Takes one image ``(H, W, C)`` (no batch axis) in [-1, 1]; any shape of y.
        in_shape: ``(H, W, C)`` of one image.
        pinv: Takes y, returns an image to start from; called with ``params`` first like ``fn``. Optional.
        params: Pytree of arrays that all functions get as their first argument; ``jax.vmap`` gives each image its own.

    Raises:
        TypeError: If ``fn`` or ``pinv`` cannot be called, or JAX cannot trace ``fn``, as where NumPy computes in it.
        ValueError: If ``in_shape`` is not the shape of one image.
    """
    _check_callable("operator", fn=fn, pinv=pinv)
    in_shape = check_image_shape("operator: in_shape", in_shape)
    result = FunctionOperator(in_shape=in_shape, params=params, fn=fn, pinv_fn=pinv)
    _traced("operator", "fn", result, in_shape, "a function with a derivative of its own (jax.custom_vjp)")
    return result


def linear_operator(
    fn: Callable[..., Array],
    in_shape: tuple[int, int, int],
    *,
    adjoint: Callable[..., Array] | None = None,
    pinv: Callable[..., Array] | None = None,
    params: Any = None,
) -> LinearFunctionOperator:
    """Makes a linear operator of a linear function of one image, ``y = fn(x)`` or ``y = fn(params, x)``.

    Unless they are given, the adjoint is derived and the pseudo-inverse iterates. ``operator`` says what static
    functions mean.

    Args:
        fn: Takes one image ``(H, W, C)`` (no batch axis) in [-1, 1]; any shape of y, real or complex. It is tried
            once on random images, to refuse what is visibly not linear.
        in_shape: ``(H, W, C)`` of one image.
        adjoint: Takes y, returns A^T y under the real inner product. Optional.
        pinv: Takes y, returns A^+ y. Optional.
        params: Pytree of arrays that all functions get as their first argument.

    Raises:
        TypeError: If a function cannot be called, or JAX cannot trace it, as where NumPy computes in it.
        ValueError: If ``fn`` is not linear: use ``operator``.
    """
    _check_callable("linear_operator", fn=fn, adjoint=adjoint, pinv=pinv)
    in_shape = check_image_shape("linear_operator: in_shape", in_shape)
    result = LinearFunctionOperator(in_shape=in_shape, params=params, fn=fn, adjoint_fn=adjoint, pinv_fn=pinv)
    y = _traced("linear_operator", "fn", result, in_shape, "jax.pure_callback and give adjoint=")
    if y is not None:
        remedy = "jax.pure_callback" if adjoint is not None else "jax.pure_callback in fn and give adjoint="
        _traced("linear_operator", "adjoint", result.adjoint, y.shape, remedy, y.dtype)
    if is_visible(params):
        _check_linear(result)
    return result


def _call(fn: Callable[..., Array], params: Any, argument: Array) -> Array:
    return fn(argument) if params is None else fn(params, argument)


def _check_callable(name: str, **functions: Any) -> None:
    for argument, function in functions.items():
        if not callable(function) and not (function is None and argument != "fn"):
            raise TypeError(f"{name}: {argument} is {describe(function)} but must be a function of one image.")


def _traced(
    factory: str, argument: str, fn: Callable[..., Array], shape: tuple[int, ...], wrapper: str, dtype: Any = None
) -> jax.ShapeDtypeStruct | None:
    """What ``fn`` returns, by shape and type; a TypeError in one line if JAX cannot look through it.

    Without this NumPy in it fails in the middle of a run. What else is wrong with ``fn`` its first call says: None.
    """
    try:
        return jax.eval_shape(fn, jax.ShapeDtypeStruct(shape, dtype or jnp.zeros(()).dtype))
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        reason = type(error).__name__
    except Exception as error:
        if "callbacks do not support JVP" not in str(error):
            return None
        reason = "a callback has no derivative"
    raise TypeError(
        f"{factory}: {argument} cannot be traced by JAX ({reason}). Write it with jax.numpy, or wrap it in {wrapper}."
    )


def _check_linear(operator: LinearFunctionOperator) -> None:
    # Inside jit the check is done at once; vmap's tracers stay with their vmap.
    at_once = jax.ensure_compile_time_eval() if is_concrete(operator.params) else contextlib.nullcontext()
    with at_once, jax.default_matmul_precision("highest"):
        keys = jax.random.split(key_from(0))
        a, b = (jax.random.normal(key, operator.in_shape) for key in keys)
        # The factors do not sum to 1, so that an affine function is caught too.
        together, apart = operator(2.0 * a - 0.5 * b), 2.0 * operator(a) - 0.5 * operator(b)
        norms = numbers(jnp.stack([jnp.linalg.norm((together - apart).ravel()), jnp.linalg.norm(apart.ravel())]))
    if norms is None:  # fn closes over a tracer
        return
    error, scale = norms.reshape(-1, 2).max(0)
    if not error <= _LINEARITY_TOLERANCE * scale:
        raise ValueError(
            f"linear_operator: fn is not linear: fn(2a - b/2) differs from 2 fn(a) - fn(b)/2 by {error:.3g}, where the "
            f"latter has norm {scale:.3g}. Use rd.operator for it (an affine fn: subtract fn(0) from y)."
        )
