"""Blur kernels in words, as the command line takes them: ``gaussian:2.5``, ``defocus:4``, ``motion:15@30``."""

import math
import re
from functools import cache

import jax
import numpy as np

from reddiff_jax import kernels

FORMS = "gaussian:SIGMA, defocus:RADIUS or motion:LENGTH@DEGREES"
"""The words that there are; lengths in pixels, degrees anticlockwise from the horizontal."""

_MOST = 200.0  # pixels: a kernel of more has a side of over a thousand
_NUMBER = r"([0-9]*\.?[0-9]+)"
_PATTERNS = {
    "gaussian": re.compile(_NUMBER),
    "defocus": re.compile(_NUMBER),
    "motion": re.compile(_NUMBER + r"@(-?[0-9]*\.?[0-9]+)"),
}


def is_in_words(text: str) -> bool:
    """Whether a text is meant to describe a kernel, and is no file's name."""
    return text.partition(":")[0] in _PATTERNS and ":" in text


@cache
def kernel_in_words(text: str) -> np.ndarray:
    """The kernel that words describe, float32 (size, size) with sum 1.

    Args:
        text: One of ``FORMS``.

    Raises:
        ValueError: If the words describe none.
    """
    name, _, said = text.partition(":")
    match = _PATTERNS[name].fullmatch(said) if name in _PATTERNS else None
    values = [float(value) for value in match.groups()] if match else []
    if not values or not 0 < values[0] <= _MOST:
        raise ValueError(
            f"kernel {text!r} describes no blur; say {FORMS} (from 0 to {_MOST:g} pixels; 0 degrees is horizontal, "
            "90 vertical), e.g. gaussian:2.5, defocus:4 or motion:15@30."
        )
    return np.asarray(_kernel(name, *values), np.float32)


def _kernel(name: str, pixels: float, degrees: float = 0.0) -> jax.Array:
    if name == "gaussian":
        return kernels.gaussian(2 * math.ceil(4 * pixels) + 1, pixels)
    if name == "defocus":
        return kernels.defocus(pixels)
    return kernels.line(pixels, math.radians(degrees))
