"""The inverse problem: what belongs to one image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_finite, check_image_shape
from reddiff_jax._repr import Repr
from reddiff_jax._types import Condition, Image, Key
from reddiff_jax.noise import Noise, gaussian
from reddiff_jax.operators import LinearOperator, Operator, inpainting


@struct.dataclass
class Problem(Repr):
    """A measurement ``y = operator(x) + noise`` of one unknown image.

    A batch is a Problem whose leaves have a leading axis (``rd.stack``), solved under ``jax.vmap``.
    """

    y: jax.Array
    operator: Operator
    noise: Noise
    cond: Condition = None
    init: jax.Array | None = None  # (H, W, C), a first guess

    def residual(self, x: Image) -> Array:
        """``operator(x) - y``."""
        return self.operator(x) - self.y

    def misfit(self, x: Image) -> Float[Array, ""]:
        """Half the squared residual, a sum over the entries of y."""
        return 0.5 * jnp.sum(jnp.abs(self.residual(x)) ** 2)

    def rms_residual(self, x: Image) -> Float[Array, ""]:
        """Root mean square of the residual over the real numbers in y; a complex entry is two.

        For noise of standard deviation sigma_y on each of them it is about sigma_y at the true image.
        """
        return jnp.sqrt(2 * self.misfit(x) / num_entries(self.y))

    def misfit_gradient(self, x: Image) -> Image:
        """Gradient of the misfit, J_A^T (operator(x) - y)."""
        if isinstance(self.operator, LinearOperator):
            return self.operator.adjoint(self.residual(x))
        return jax.grad(self.misfit)(x)


def num_entries(x: jax.Array) -> int:
    """Number of real numbers in an array; a complex entry counts twice."""
    return x.size * (2 if jnp.iscomplexobj(x) else 1)


# ---- data terms: (problem, x) -> gradient, an image

DataTerm = Callable[[Problem, Image], Image]


def least_squares(problem: Problem, x: Image) -> Image:
    """Data term: gradient of half the squared residual, whatever the noise; the published choice."""
    return problem.misfit_gradient(x)


def likelihood(problem: Problem, x: Image) -> Image:
    """Data term: gradient of ``noise.misfit(y, operator(x))``, the noise's negative log-likelihood.

    It is scaled by the mean variance of the noise. So it equals ``least_squares`` for Gaussian noise of any sigma_y,
    and a weight of the prior that suits one suits the other.
    """

    def misfit(y_hat: Array) -> Float[Array, ""]:
        return problem.noise.misfit(problem.y, y_hat)

    if isinstance(problem.operator, LinearOperator):
        # JAX's gradient for complex numbers is the conjugate of the direction of steepest ascent.
        return problem.operator.adjoint(jnp.conj(jax.grad(misfit)(problem.operator(x))))
    return jax.grad(lambda x: misfit(problem.operator(x)))(x)


def problem(
    y: Array, operator: Operator, noise: Noise | None = None, *, cond: Condition = None, init: Image | None = None
) -> Problem:
    """Poses an inverse problem.

    Args:
        y: Measurement, of the operator's output shape.
        operator: How images become measurements.
        noise: Measurement noise; noiseless if None.
        cond: Condition of the prior, e.g. a class label.
        init: First guess (H, W, C) of the unknown, for solvers started with ``init=init_given``.

    Raises:
        ValueError: If ``y`` or ``init`` does not have the operator's shape, or holds NaN or infinity. Inside ``jit`` or
            ``vmap`` numbers cannot be looked at: there such an item's ``Solution.finite`` is False.
    """
    y = jnp.asarray(y)
    if y.shape != operator.out_shape:
        raise ValueError(
            f"y has shape {y.shape} but operator {type(operator).__name__} maps {operator.in_shape} to "
            f"{operator.out_shape}. Was another operator, size or number of channels measured?"
        )
    if init is not None and init.shape != operator.in_shape:
        raise ValueError(f"init has shape {init.shape} but the unknown image has {operator.in_shape}.")
    check_finite("y", y, "What was not measured belongs in the operator: rd.inpainting with a mask that is 0 there.")
    if init is not None:
        check_finite("init", init)
    return Problem(y, operator, gaussian() if noise is None else noise, cond, init)


def unconditional(in_shape: tuple[int, int, int], *, cond: Condition = None) -> Problem:
    """Poses the problem that measures nothing, A = 0: its solutions are images of the prior alone.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        cond: Condition of the prior, e.g. a class label.

    Raises:
        ValueError: If ``in_shape`` is not the shape of one image.
    """
    height, width, channels = check_image_shape("unconditional: in_shape", in_shape)
    nothing = inpainting(jnp.zeros((height, width)), channels=channels)
    return problem(jnp.zeros((height, width, channels)), nothing, cond=cond)


def measure(key: Key, operator: Operator, noise: Noise, x: Image, *, cond: Condition = None) -> Problem:
    """Simulates a measurement of the image ``x``.

    Args:
        key: PRNG key of the noise.
        operator: How images become measurements.
        noise: Measurement noise.
        x: True image (H, W, C).
        cond: Condition of the prior.

    Raises:
        ValueError: If ``x`` does not have the operator's input shape.
    """
    if x.shape != operator.in_shape:
        raise ValueError(
            f"x has shape {x.shape} but operator {type(operator).__name__} takes {operator.in_shape}; "
            "batches go through jax.vmap."
        )
    return problem(noise.sample(key, operator(x)), operator, noise, cond=cond)
