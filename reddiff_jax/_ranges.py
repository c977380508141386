"""What values a measurement can have: pictures are in [-1, 1], and many measurements of them are, too.

Numbers that cannot be right are errors where nothing right looks like them, and warnings otherwise. Where ``jit`` hides
the numbers nothing is said.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from reddiff_jax._checks import is_visible, numbers
from reddiff_jax.noise import Gaussian, Noise
from reddiff_jax.operators import LinearOperator, Operator
from reddiff_jax.operators.custom import LinearFunctionOperator

_LARGEST_SIGMA = 2.0  # the whole range of a picture
_GREY_LEVELS = 255  # a sigma beyond is meant: y says nothing
_LARGEST_MEAN = 4.0  # of |y|; noise as strong as the whole range leaves it below 3
_FEWEST = 64  # entries of which a range can be told
_DARK, _BRIGHT = 0.05, 0.6  # what the darkest and brightest of a picture in [0, 1] are beyond
_BLOCK, _BLOCK_NOISE = 4, 0.03  # side of blocks over which noise is averaged, and what is left of it
_FAR, _NORMAL_MEDIAN = 4.5, 0.6744898  # standard deviations of noise that no pixel is off; the median of |n|
_PAPER = 0.75  # mean of a picture that is bright all over, which is legal in [-1, 1]; few in [0, 1] are as bright
_LEAST_RMS, _LARGEST_RMS = 5e-3, 5.0  # of an image that explains y


def check_floating(name: str, y: Array) -> None:
    """Raises ValueError if a picture or its measurement is of whole numbers."""
    if not jnp.issubdtype(y.dtype, jnp.inexact):
        top = jnp.iinfo(y.dtype).max / 2 if y.dtype in (jnp.uint8, jnp.uint16) else None
        remedy = (
            f"Convert it, {name} / {top} - 1 where it is a picture." if top else f"Convert it: {name}.astype(float)."
        )
        raise ValueError(f"{name} has dtype {y.dtype} but must be floating-point, pictures in [-1, 1]. {remedy}")


def check_observed(name: str, observed: Array) -> None:
    """Raises ValueError if a mask is not of 0 and 1, or nothing was observed."""
    values = numbers(observed)
    if values is None:
        return
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"{name} has values from {values.min():g} to {values.max():g} but must be of 0 (missing) and 1 (observed). "
            "Compare it, such as by mask > 0.5."
        )
    if not values.any():
        raise ValueError(f"{name} is 0 everywhere, so that nothing was observed. Give 1 - mask if 1 marks the hole.")


def check_dtype(y: Array, expected: jax.ShapeDtypeStruct, operator: Operator) -> None:
    """Raises ValueError if y is of whole numbers, or real where the operator's measurements are complex, or both."""
    check_floating("y", y)
    if jnp.iscomplexobj(y) == jnp.issubdtype(expected.dtype, jnp.complexfloating):
        return
    if jnp.iscomplexobj(y):
        raise ValueError(
            f"y is complex but {type(operator).__name__} measures real numbers. Take y.real or jnp.abs(y)."
        )
    raise ValueError(
        f"y is real ({y.dtype}) but {type(operator).__name__} measures complex numbers, with their phases. Real and "
        "imaginary part of a file go together by jax.lax.complex(real, imag)."
    )


def warn_of_range(y: Array, operator: Operator, noise: Noise, *, simulated: bool = False) -> None:
    """Warns of a y, or a noise level, that does not go with pictures in [-1, 1]; y under ``vmap`` as a whole.

    Of a simulated picture it says nothing: x was looked at, and noise may be strong.
    """
    if operator.keeps_range:
        sigmas = numbers(noise.sigma_y) if isinstance(noise, Gaussian) else None
        largest = 0.0 if sigmas is None or not sigmas.size else sigmas.max()
        if largest <= _GREY_LEVELS:
            _warn_of_sigma(largest)
            if not simulated:
                _warn_of_picture(y)
    elif operator.keeps_scale:
        _warn_of_scale(y, operator)
    elif isinstance(operator, LinearFunctionOperator) and not simulated and _keeps_constants(y, operator):
        _warn_of_picture(y)


def _keeps_constants(y: Array, operator: Operator) -> bool:
    """Whether a bright y is of an operator that selects, moves or averages pixels: of ones it makes 0 and 1."""
    values = numbers(y)
    if values is None or values.size < _FEWEST or np.iscomplexobj(values) or values.max() <= _BRIGHT:
        return False
    ones = numbers(operator(jnp.ones(operator.in_shape))) if is_visible(operator) else None
    return ones is not None and bool((np.minimum(np.abs(ones), np.abs(ones - 1)) < 0.01).all() and ones.any())


def warn_of_image(x: Array | np.ndarray, name: str = "x", *, stacklevel: int = 5) -> bool:
    """Warns of an image that is not in [-1, 1]; returns whether it did.

    Args:
        x: The image.
        name: Of the argument.
        stacklevel: How far the user's line is from the line that warns, as ``warnings.warn`` counts.
    """
    return _warn_of_picture(x, name, stacklevel)


def _warn_of_sigma(sigma: float) -> None:
    if sigma > _LARGEST_SIGMA:
        _warn(
            f"noise: sigma_y is {sigma:.4g} but pictures are in [-1, 1], a range of 2. A sigma of {sigma:.4g} of 255 "
            f"grey levels is rd.gaussian({sigma:.4g} / 127.5)."
        )


def _warn_of_picture(y: Array | np.ndarray, name: str = "y", stacklevel: int = 5) -> bool:
    values = numbers(y)
    if values is None or values.size < _FEWEST or np.iscomplexobj(values):
        return False
    low, high = values.min(), values.max()
    if high <= _BRIGHT:
        return False
    seen = values[values != 0]  # what an operator does not see is 0
    if np.abs(seen).mean() > _LARGEST_MEAN:
        _warn(
            f"{name} goes from {low:.4g} to {high:.4g} but pictures are in [-1, 1]. Convert it, and the noise level: "
            f"{name} / 127.5 - 1 if it is in [0, 255].",
            stacklevel,
        )
    elif (seen.min() <= _DARK and high <= 1) if low >= 0 else _is_noisy_unit_range(values, float(seen.mean())):
        _warn(
            f"{name} goes from {low:.4g} to {high:.4g}, as pictures in [0, 1] do, but pictures are in [-1, 1]. Convert "
            f"it, 2 * {name} - 1, and double the noise level.",
            stacklevel,
        )
    else:
        return False
    return True


def _is_noisy_unit_range(values: np.ndarray, mean: float) -> bool:
    """Whether values are those of a picture in [0, 1] that noise alone takes below 0: no mean of a block is there."""
    if values.ndim < 3 or values.shape[-1] > 4 or min(values.shape[-3:-1]) < 4 * _BLOCK or mean > _PAPER:
        return False
    details = np.diff(np.diff(values, axis=-3), axis=-2) / 2
    if values.min() < -_FAR * np.median(np.abs(details)) / _NORMAL_MEDIAN:
        return False
    h, w, c = values.shape[-3] // _BLOCK, values.shape[-2] // _BLOCK, values.shape[-1]
    blocks = values[..., : h * _BLOCK, : w * _BLOCK, :].reshape(-1, h, _BLOCK, w, _BLOCK, c).mean(axis=(2, 4))
    low, high = np.quantile(blocks, (0.02, 0.98))
    return bool(low >= -_BLOCK_NOISE and _BRIGHT <= high <= 1 + _BLOCK_NOISE)


def _warn_of_scale(y: Array, operator: Operator) -> None:
    values = numbers(y)
    if values is None:
        return
    # The operator keeps norms, so that this is the root mean square of the image, or of the part that y tells.
    pixels = operator.in_shape[0] * operator.in_shape[1]
    batch = values.size // y.size
    rms = float(np.sqrt((np.abs(values) ** 2).sum(dtype=float) / (pixels * batch)))
    if rms == 0 or _LEAST_RMS <= rms <= _LARGEST_RMS:
        return
    remedy = "Multiply y and its noise level by what makes the picture's largest value 1"
    if isinstance(operator, LinearOperator) and is_visible(y, operator):
        peak = numbers(jnp.max(jnp.abs(operator.adjoint(y))))
        remedy += f", about {1 / np.max(peak):.2g}" if peak is not None and np.max(peak) > 0 else ""
    _warn(f"y belongs to a picture of root mean square {rms:.2g} but pictures are in [-1, 1]. {remedy}.")


def _warn(text: str, stacklevel: int = 5) -> None:
    # At the line that calls rd.problem.
    warnings.warn(text, UserWarning, stacklevel=stacklevel)
