"""Checks of arguments, each with an error that names the argument, what came, and what to do."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def is_concrete(*values: Any) -> bool:
    """Whether no value is a tracer, so that its numbers may be looked at."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def numbers(value: Any) -> np.ndarray | None:
    """The numbers of an array, under ``vmap`` of the whole batch, its axes in front; None where ``jit`` hides them."""
    # Nothing public tells vmap's tracers from jit's; only the former hold an array.
    while isinstance(value, jax.core.Tracer) and hasattr(value, "batch_dim"):
        axis, value = value.batch_dim, value.val  # type: ignore[attr-defined]
        value = jnp.moveaxis(value, axis, 0) if isinstance(axis, int) else value
    if isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
        return None
    return np.asarray(value)


def check_image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Returns ``shape`` as (H, W, C), or raises ValueError."""
    shape = tuple(int(size) for size in shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"{name} is {shape} but one image has shape (H, W, C); batches go through jax.vmap.")
    return shape


def check_picture_shape(name: str, shape: Sequence[int]) -> tuple[int, int]:
    """Returns (H, W) of ``shape``, or raises ValueError."""
    sizes = [int(size) for size in shape]
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"{name}: shape is {tuple(shape)} but must be (H, W) or (H, W, C) of one picture.")
    return sizes[0], sizes[1]


def check_finite(name: str, value: Any, hint: str = "") -> None:
    """Raises ValueError if a concrete ``value`` has entries that are NaN or infinite."""
    if is_concrete(value) and not (finite := np.isfinite(np.asarray(value))).all():
        count = finite.size - int(finite.sum())
        raise ValueError(f"{count} of the {finite.size} entries of {name} are not finite.{' ' + hint if hint else ''}")


def check_non_negative(name: str, value: Any, hint: str = "") -> None:
    """Raises ValueError if a concrete ``value`` is negative or not finite."""
    if is_concrete(value) and not (np.isfinite(np.asarray(value)).all() and (np.asarray(value) >= 0).all()):
        raise ValueError(f"{name} is {value} but must be finite and not negative.{' ' + hint if hint else ''}")


def check_positive(name: str, value: Any, hint: str = "") -> None:
    """Raises ValueError if a concrete ``value`` is not above 0 and finite."""
    if is_concrete(value) and not (np.isfinite(np.asarray(value)).all() and (np.asarray(value) > 0).all()):
        raise ValueError(f"{name} is {value} but must be finite and above 0.{' ' + hint if hint else ''}")


def check_odd(name: str, size: int) -> None:
    """Raises ValueError unless ``size`` is an odd whole number."""
    if size != int(size) or size < 1 or size % 2 == 0:
        raise ValueError(f"{name} is {size} but must be odd and positive, so that the kernel has a central tap.")
