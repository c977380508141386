"""Initial images of a run: functions (key, problem, schedule scales at the first timestep) -> image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.fft import dctn, idctn
from jaxtyping import Array, Float

from reddiff_jax._checks import check_callable
from reddiff_jax._conjugate_gradients import conjugate_gradients
from reddiff_jax._types import Image, Key
from reddiff_jax.noise import Gaussian
from reddiff_jax.operators import Decoding, EachSlice, LinearOperator, SaturatingOperator
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._proximal import check_linear, saturation_margin

Init = Callable[[Key, Problem, jax.Array, jax.Array], jax.Array]


def first_image(init: Init, key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Returns the initial image, in the solver's dtype.

    Raises:
        TypeError: If ``init`` is no function.
        ValueError: If it gives an image of another shape.
    """
    check_callable("init", init, "a function (key, problem, alpha_T, sigma_T) -> image, such as rd.solvers.init_pinv")
    x = init(key, problem, alpha_t, sigma_t)
    if x.shape != problem.operator.in_shape:
        raise ValueError(
            f"init returned shape {x.shape} but the image has shape {problem.operator.in_shape}; return one such image."
        )
    return x.astype(float)


def init_pinv(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from the pseudo-inverse A+ y, the paper's choice."""
    return problem.operator.pinv(problem.y)


def init_zeros(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from the gray image."""
    return jnp.zeros(problem.operator.in_shape)


def init_noise(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from white noise N(0, I)."""
    return jax.random.normal(key, problem.operator.in_shape)


def init_given(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from ``problem.init``."""
    if problem.init is None:
        raise ValueError("init=init_given needs an initial image: rd.problem(..., init=image).")
    return problem.init


def init_noised_pinv(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from alpha_T A+ y + sigma_T z, the pseudo-inverse carried to the first timestep."""
    return alpha_t * problem.operator.pinv(problem.y) + sigma_t * jax.random.normal(key, problem.operator.in_shape)


_SLOPE = 0.2  # root mean square difference of neighbouring pixels in [-1, 1], of photos that are 64 pixels wide
_LEAST = 0.02  # weight of the smoothness relative to the mean eigenvalue of A^T A; if much less, 40 steps fill no hole
_WIDE = 10 / 64**2  # the same in the first steps, per pixel: 20 steps then reach all of a hole, however wide


def init_smooth(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from the smoothest image that explains a linear measurement.

    ``argmin |A x - y|^2 + rho |grad x|^2``, ``rho = max(sigma_y^2 / 0.2^2, 0.02 tr(A^T A) / n)``: the posterior mean
    of a Gaussian field of power 1/f^2 whose neighbouring pixels differ by 0.2. It fills the holes that A+ y leaves
    gray from their surroundings. 60 steps of conjugate gradients find it, in the coefficients of the cosine transform,
    in which the gradient is diagonal; the first 20 use a larger rho.

    Raises:
        TypeError: If the operator is not linear.
    """
    if isinstance(problem.operator, Decoding):
        return _of_picture(init_smooth, key, problem, alpha_t, sigma_t)
    operator = check_linear("init_smooth", problem, "Use init_pinv.")
    if isinstance(operator, EachSlice):
        keys = jax.random.split(key, operator.in_shape[0])
        return operator.map(
            lambda own, y, key: init_smooth(key, Problem(y, own, problem.noise), alpha_t, sigma_t), problem.y, keys
        )
    h, w, _ = operator.in_shape
    probe = jax.random.normal(key, operator.in_shape)
    # Where nothing is measured the initial image is gray; without the floor it would be NaN.
    mean = jnp.maximum(jnp.sum(jnp.abs(operator(probe)) ** 2) / probe.size, jnp.finfo(probe.dtype).tiny ** 0.5)
    sigma_y = problem.noise.sigma_y if isinstance(problem.noise, Gaussian) else 0.0
    slopes, x = _squared_slopes(h, w), jnp.zeros_like(probe)
    for least, num_cg in ((_WIDE * h * w, 20), (_LEAST, 40)):
        smooth = jnp.maximum((sigma_y / _SLOPE) ** 2, least * mean) * slopes
        x = _smoothest(problem, x, smooth, mean, num_cg)
    return x


def init_middle(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts where what was cut off is in the middle of what it may have been.

    From the pseudo-inverse, which puts it at the end that is nearest, 25 short steps do not come far enough: 3 to 5 dB.

    Raises:
        TypeError: If the operator is no SaturatingOperator.
    """
    operator = problem.operator
    if isinstance(operator, Decoding):
        return _of_picture(init_middle, key, problem, alpha_t, sigma_t)
    if not isinstance(operator, SaturatingOperator):
        raise TypeError(
            f"init_middle needs a SaturatingOperator; {type(operator).__name__} cuts nothing off. Use init_pinv."
        )
    return operator.middle(problem.y, saturation_margin(problem))


def init_by_operator(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from ``init_smooth`` for linear operators, ``init_middle`` for saturating ones, or else ``init_pinv``."""
    operator, init = problem.operator, init_pinv
    if isinstance(operator, Decoding):
        return _of_picture(init_by_operator, key, problem, alpha_t, sigma_t)
    if isinstance(operator, LinearOperator):
        init = init_smooth
    elif isinstance(operator, SaturatingOperator):
        init = init_middle
    return init(key, problem, alpha_t, sigma_t)


def _of_picture(init: Init, key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The latent of the picture from which the problem in pixels would start."""
    operator = problem.operator
    assert isinstance(operator, Decoding)
    pixels = Problem(problem.y, operator.operator, problem.noise)
    return operator.encode(init(key, pixels, alpha_t, sigma_t))


def _smoothest(problem: Problem, x: Image, smooth: Float[Array, "H W 1"], mean: jax.Array, num_cg: int) -> Image:
    """Continues from x; ``smooth`` are the eigenvalues of the smoothness, ``mean`` is the mean eigenvalue of A^T A."""
    operator, half = problem.operator, 1 / jnp.sqrt(mean + smooth)  # its square is the preconditioner
    assert isinstance(operator, LinearOperator)

    def image(coefficients: Float[Array, "H W C"]) -> Image:
        return idctn(half * coefficients, axes=(0, 1), norm="ortho")

    def coefficients(x: Image) -> Float[Array, "H W C"]:
        return half * dctn(x, axes=(0, 1), norm="ortho")

    def matvec(c: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        return coefficients(operator.adjoint(operator(image(c)))) + half**2 * smooth * c

    left = coefficients(operator.adjoint(-problem.residual(x))) - half * smooth * dctn(x, axes=(0, 1), norm="ortho")
    return x + image(conjugate_gradients(matvec, left, num_cg))


def _squared_slopes(h: int, w: int) -> Float[Array, "h w 1"]:
    """Eigenvalues of minus the Laplacian with reflecting borders, whose eigenvectors are cosines."""
    of_rows, of_columns = (2 - 2 * jnp.cos(jnp.pi * jnp.arange(size) / size) for size in (h, w))
    return (of_rows[:, None] + of_columns[None, :])[..., None]
