"""The inverse problem: what belongs to one image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_finite, check_image_shape, check_positive, check_type
from reddiff_jax._keys import as_key
from reddiff_jax._ranges import check_dtype, check_floating, warn_of_image, warn_of_range
from reddiff_jax._repr import Repr
from reddiff_jax._types import Condition, Image, Key
from reddiff_jax.noise import Noise, gaussian
from reddiff_jax.operators import LinearOperator, Operator, decoded, inpainting, measurement


@struct.dataclass
class Problem(Repr):
    """A measurement ``y = operator(x) + noise`` of one unknown image.

    A batch is a Problem whose leaves have a leading axis (``rd.stack``), solved under ``jax.vmap``.
    """

    y: jax.Array
    operator: Operator
    noise: Noise
    cond: Condition = None
    init: jax.Array | None = None  # (H, W, C), an initial image

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

    def through(self, latent: Any) -> "Problem":
        """The same problem for the latent z of the image: its operator is ``A . decode``.

        Solve it with a solver of ``latent.prior``; ``latent.decode`` makes a picture of the result. The weights of the
        autoencoder are then part of the problem: batches go through ``rd.latent_solver`` instead.

        Args:
            latent: What ``rd.latent`` gives.
        """
        operator = decoded(self.operator, latent.autoencoder)
        init = None if self.init is None else operator.encode(self.init)
        return self.replace(operator=operator, init=init)  # type: ignore[attr-defined]


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


@struct.dataclass
class Robust(Repr):
    """Data term that outliers do not pull; build it with ``robust``."""

    limit: jax.Array | None  # scalar, in the units of y; None follows the noise

    def __call__(self, problem: Problem, x: Image) -> Image:
        """Gradient of half the ``loss``."""
        y_hat, transposed = jax.vjp(problem.operator.__call__, x)
        residual = y_hat - problem.y
        # JAX transposes complex numbers without conjugating them.
        return jnp.conj(transposed(jnp.conj(self.weight(problem, residual) * residual))[0])

    def weight(self, problem: Problem, residual: Array) -> Array:
        """``min(1, limit / |residual|)^2``, the weight with which squares have the same gradient."""
        limit = self.of(problem)
        return (limit / jnp.maximum(jnp.abs(residual), limit)) ** 2

    def loss(self, problem: Problem, residual: Array) -> Float[Array, ""]:
        """The sum of squares up to the limit, and of ``limit^2 (1 + 2 log(|residual| / limit))`` beyond it."""
        limit, size = self.of(problem), jnp.abs(residual)
        beyond = limit**2 * (1 + 2 * jnp.log(jnp.maximum(size, limit) / limit))
        return jnp.sum(jnp.where(size <= limit, size**2, beyond))

    def of(self, problem: Problem) -> Float[Array, ""]:
        """The limit for a problem."""
        if self.limit is not None:
            return self.limit
        return jnp.maximum(_LIMIT * jnp.sqrt(problem.noise.variance(problem.y)), _LEAST_LIMIT)


_LIMIT = 2.7  # in standard deviations of the noise, of which 0.7 % are further out
_LEAST_LIMIT = 0.02  # one gray level of 8 bits is 0.008


def robust(limit: jax.Array | float | None = None) -> Robust:
    """Data term for measurements with outliers, such as dead pixels: the further out an entry is, the less it pulls.

    Squares up to ``limit``, and logarithms beyond it, whose pull falls off as one over the residual. It serves
    ``rd.optax_step(data_term=...)`` and ``rd.proximal_step(data_term=...)``, which solves for it by least squares with
    the weights of the prior's estimate: ``rd.noise_aware(prior, rd.proximal_step(data_term=rd.robust()))``. Huber's
    function, whose pull stays as strong as at its limit, loses 4 to 5 dB more with 10 % outliers: the prior takes a
    speck that is pulled at in each step for a part of the picture.

    Args:
        limit: In the units of y; if None 2.7 standard deviations of the problem's noise, at least 0.02.

    Raises:
        ValueError: If it is not above 0.

    Source:
        Holland & Welsch 1977, "Robust regression using iteratively reweighted least-squares".
    """
    if limit is not None:
        check_positive("robust: limit", limit)
    return Robust(None if limit is None else jnp.asarray(limit, dtype=float))


def problem(
    y: Array, operator: Operator, noise: Noise | None = None, *, cond: Condition = None, init: Image | None = None
) -> Problem:
    """Poses an inverse problem.

    It warns (``UserWarning``) of what cannot be right for pictures in [-1, 1]: y in [0, 255] or [0, 1] where the
    operator keeps the range, a Gaussian sigma_y above 2, k-space of another scale. Inside ``jit`` numbers cannot be
    looked at, and nothing is said; under ``vmap`` they can.

    Args:
        y: Measurement, of the operator's output shape. Where nothing was measured (``operator.observed`` is 0) its
            values do not count, and become 0.
        operator: How images become measurements.
        noise: Measurement noise; noiseless if None.
        cond: Condition of the prior, e.g. a class label.
        init: Initial image (H, W, C), for solvers started with ``init=init_given``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``y`` or ``init`` does not have the operator's shape, or holds NaN or infinity (whose items
            have ``Solution.finite`` False inside ``jit``), or y is of whole numbers, or real instead of complex.
    """
    posed = pose(y, operator, noise, cond=cond, init=init)
    warn_of_range(posed.y, operator, posed.noise)
    return posed


def pose(
    y: Array, operator: Operator, noise: Noise | None = None, *, cond: Condition = None, init: Image | None = None
) -> Problem:
    """Poses an inverse problem as ``problem`` does, without warnings: for y whose range is known, such as of files."""
    noise = gaussian() if noise is None else noise
    _check_operator("problem", operator)
    _check_noise("problem", noise)
    check_array("y", y, "an array, the measurement; the order is problem(y, operator, noise)")
    y, expected = jnp.asarray(y), measurement(operator)
    if y.shape != expected.shape:
        raise ValueError(
            f"y has shape {y.shape} but operator {type(operator).__name__} maps {operator.in_shape} to "
            f"{expected.shape}. Was another operator, size or number of channels measured? Or a batch? Use jax.vmap."
        )
    check_dtype(y, expected, operator)
    check_finite("y", y, "What was not measured belongs in the operator: rd.inpainting with a mask that is 0 there.")
    if init is not None:
        check_array("init", init, f"an image {operator.in_shape}")
        if init.shape != operator.in_shape:
            raise ValueError(f"init has shape {init.shape} but the unknown image has {operator.in_shape}.")
        check_finite("init", init)
    if (observed := operator.observed) is not None:
        y = jnp.where(observed > 0, y, 0)
    return Problem(y, operator, noise, cond, init)


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
    """Simulates a measurement of the image ``x``; where nothing is measured, y is 0 and has no noise.

    It warns (``UserWarning``) of an x in [0, 255] or [0, 1], and of what ``problem`` warns of.

    Args:
        key: PRNG key of the noise.
        operator: How images become measurements.
        noise: Measurement noise.
        x: True image (H, W, C), in [-1, 1].
        cond: Condition of the prior.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``x`` does not have the operator's input shape, or is of whole numbers.
    """
    key = as_key("measure: key", key)
    _check_operator("measure", operator)
    _check_noise("measure", noise)
    check_array("measure: x", x, "an image (H, W, C); the order is measure(key, operator, noise, x)")
    if x.shape != operator.in_shape:
        raise ValueError(
            f"x has shape {x.shape} but operator {type(operator).__name__} takes {operator.in_shape}; "
            "batches go through jax.vmap."
        )
    check_floating("x", jnp.asarray(x))
    posed = pose(noise.sample(key, operator(x)), operator, noise, cond=cond)
    if not warn_of_image(x):  # of which y is the consequence
        warn_of_range(posed.y, operator, noise, simulated=True)
    return posed


# ---- checks


def check_single(problem: Problem) -> None:
    """Raises ValueError if a problem is not that of one image, but a batch, or its y is not its operator's."""
    single = jax.tree.map(_first, problem) if _stacked(problem) else None
    y, operator = problem.y, problem.operator
    if single is not None and _fits(single):
        raise ValueError(
            f"problem is a batch of {y.shape[0]}: problem.y has shape {y.shape} and one measurement "
            f"{single.y.shape}. A batch goes through jax.vmap(rd.run, in_axes=(0, None, 0))."
        )
    if y.shape != operator.out_shape:
        raise ValueError(
            f"problem.y has shape {y.shape} but operator {type(operator).__name__} maps {operator.in_shape} to "
            f"{operator.out_shape}. A batch goes through jax.vmap(rd.run, in_axes=(0, None, 0))."
        )


def _stacked(problem: Problem) -> bool:
    """Whether all arrays have one more axis of one length, as those of ``rd.stack``."""
    return len(lengths := {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(problem)}) == 1 and () not in lengths


def _first(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf))


def _fits(problem: Problem) -> bool:
    """Whether shapes are those of one problem."""
    x = jax.ShapeDtypeStruct(problem.operator.in_shape, jnp.float32)
    try:
        return jax.eval_shape(lambda operator, x: operator(x), problem.operator, x).shape == problem.y.shape
    except (TypeError, ValueError, IndexError):
        return False


_ORDERS = {"problem": "problem(y, operator, noise)", "measure": "measure(key, operator, noise, x)"}


def _check_operator(name: str, operator: Operator) -> None:
    needed = (
        "an Operator, such as rd.inpainting(mask); a function becomes one by rd.operator(fn, in_shape); the order is "
        f"{_ORDERS[name]}"
    )
    check_type(f"{name}: operator", operator, Operator, needed)


def _check_noise(name: str, noise: Noise) -> None:
    check_type(f"{name}: noise", noise, Noise, f"a Noise, such as rd.gaussian(0.05); the order is {_ORDERS[name]}")
