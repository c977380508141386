"""Checks of arguments, each with an error that names the argument, what came, what is needed, and what to do."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

# ---- what can be seen


def is_concrete(*values: Any) -> bool:
    """Whether no value is a tracer, not even one of ``vmap``."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def numbers(value: Any) -> np.ndarray | None:
    """The numbers of an array, under ``vmap`` of the whole batch, its axes in front; None where ``jit`` hides them."""
    if isinstance(value, jax.core.Tracer):
        # Nothing public tells vmap's tracers from jit's; only the former hold an array.
        if not hasattr(value, "batch_dim"):
            return None
        inner: Any = value.val  # type: ignore[attr-defined]
        axis = value.batch_dim  # type: ignore[attr-defined]
        seen = numbers(inner)
        if seen is None or not isinstance(axis, int):
            return seen
        # The axes of outer vmaps stand before those of ``inner``.
        return np.moveaxis(seen, axis + seen.ndim - inner.ndim, 0)
    if isinstance(value, jax.ShapeDtypeStruct) or not getattr(value, "is_fully_addressable", True):
        return None
    return np.asarray(value)


def is_visible(*values: Any) -> bool:
    """Whether the numbers of all arrays can be looked at: only ``jit`` hides them, not ``vmap``."""
    return all(_holds_numbers(leaf) for leaf in jax.tree.leaves(values))


def _holds_numbers(value: Any) -> bool:
    while isinstance(value, jax.core.Tracer):
        if not hasattr(value, "batch_dim"):
            return False
        value = value.val  # type: ignore[attr-defined]
    return not isinstance(value, jax.ShapeDtypeStruct) and getattr(value, "is_fully_addressable", True)


# ---- types


def describe(value: Any) -> str:
    """What came, in a few words: "0.05 (a float)", "an array float32[2, 3]", "the function reddiff", "a Problem"."""
    if value is None:
        return "None"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return f"PRNG keys of shape {value.shape}" if value.shape else "a PRNG key"
        return f"an array {value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    article = "an" if kind[0].lower() in "aeio" else "a"
    if isinstance(value, str | bool | int | float | complex) or (isinstance(value, tuple | list) and len(value) < 5):
        shown = repr(value)
        return f"{article} {kind}" if len(shown) > 60 else f"{shown} ({article} {kind})"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return f"{article} {kind}"


def show(value: Any) -> str:
    """A number as it is, and else what ``describe`` says."""
    return str(value) if isinstance(value, int | float) else describe(value)


def check_type(name: str, value: Any, kind: type | tuple[type, ...], needed: str) -> None:
    """Raises TypeError unless ``value`` is of a type; ``needed`` says what that is, and what to do."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {describe(value)} but must be {needed}.")


def check_callable(name: str, value: Any, needed: str) -> None:
    """Raises TypeError unless ``value`` is a function; ``needed`` says of what."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} is {describe(value)} but must be {needed}.")


def check_array(name: str, value: Any, needed: str) -> None:
    """Raises TypeError unless ``value`` is an array of numbers, or nested lists of them."""
    given = value if hasattr(value, "dtype") else np.asarray(value) if isinstance(value, list) else None
    if given is None or not (jnp.issubdtype(given.dtype, jnp.number) or given.dtype == bool):
        raise TypeError(f"{name} is {describe(value)} but must be {needed}.")


def check_whole(name: str, value: Any, least: int | None = 1, hint: str = "") -> int:
    """Returns a whole number, from ``least`` if that is not None, or raises TypeError or ValueError."""
    hint = f" {hint}" if hint else ""
    try:
        count = operator.index(value)
    except TypeError:
        bound = "" if least is None else f" from {least}"
        raise TypeError(f"{name} is {describe(value)} but must be a whole number{bound}.{hint}") from None
    if least is not None and count < least:
        raise ValueError(f"{name} is {count} but must be at least {least}.{hint}")
    return count


# ---- shapes


def check_image_shape(name: str, shape: Any) -> tuple[int, int, int]:
    """Returns ``shape`` as (H, W, C), or raises TypeError or ValueError."""
    sizes = _sizes(name, shape, "(H, W, C) of one image")
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError(f"{name} is {sizes} but one image has shape (H, W, C); batches go through jax.vmap.")
    return sizes


def check_picture_shape(name: str, shape: Any) -> tuple[int, int]:
    """Returns (H, W) of ``shape``, or raises TypeError or ValueError."""
    sizes = _sizes(f"{name}: shape", shape, "(H, W) or (H, W, C) of one picture")
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"{name}: shape is {sizes} but must be (H, W) or (H, W, C) of one picture.")
    return sizes[0], sizes[1]


def _sizes(name: str, shape: Any, needed: str) -> Any:
    try:
        return tuple(operator.index(size) for size in shape)
    except (TypeError, IndexError, jax.errors.JAXTypeError):
        remedy = "Take its .shape" if len(getattr(shape, "shape", ())) in (2, 3) else "Are the arguments in order"
        stop = "." if remedy.startswith("Take") else "?"
        raise TypeError(f"{name} is {describe(shape)} but must be {needed}, whole numbers. {remedy}{stop}") from None


# ---- values


def check_numbers(name: str, value: Any, valid: Callable[[np.ndarray], Any], needed: str, hint: str = "") -> None:
    """Raises ValueError unless all numbers are valid, TypeError if they are none; ``jit``'s are not looked at.

    Args:
        name: Of the argument.
        value: A number, or an array.
        valid: Function of an array: whether each entry is.
        needed: What they must be.
        hint: What to do.
    """
    hint = f" {hint}" if hint else ""
    # Sequences of numbers and None are left to those that know them.
    if isinstance(value, str | type(None)) or not (
        isinstance(value, bool | int | float | complex | Sequence) or hasattr(value, "dtype")
    ):
        raise TypeError(f"{name} is {describe(value)} but must be {needed}.{hint}")
    seen = None if _is_key(value) else numbers(value)
    if _is_key(value) or (seen is not None and not (jnp.issubdtype(seen.dtype, jnp.number) or seen.dtype == bool)):
        raise TypeError(f"{name} is {describe(value)} but must be {needed}.{hint}")
    if seen is None:
        return
    bad = ~np.broadcast_to(np.asarray(valid(seen), bool), seen.shape)
    if bad.any():
        shown = str(seen[()]) if seen.ndim == 0 else f"{seen[bad][0]} (one of {seen.size} values)"
        raise ValueError(f"{name} is {shown} but must be {needed}.{hint}")


def check_finite(name: str, value: Any, hint: str = "") -> None:
    """Raises ValueError if a visible ``value`` has entries that are NaN or infinite."""
    seen = numbers(value)
    if seen is not None and not (finite := np.isfinite(seen)).all():
        count = finite.size - int(finite.sum())
        raise ValueError(f"{count} of the {finite.size} entries of {name} are not finite.{' ' + hint if hint else ''}")


def check_non_negative(name: str, value: Any, hint: str = "") -> None:
    """Raises ValueError if a visible ``value`` is negative or not finite, TypeError if it is no number."""
    check_numbers(name, value, lambda x: np.isfinite(x) & (x >= 0), "finite and not negative", hint)


def check_positive(name: str, value: Any, hint: str = "") -> None:
    """Raises ValueError if a visible ``value`` is not above 0 and finite, TypeError if it is no number."""
    check_numbers(name, value, lambda x: np.isfinite(x) & (x > 0), "finite and above 0", hint)


def check_odd(name: str, size: int) -> None:
    """Raises ValueError unless ``size`` is an odd whole number."""
    if check_whole(name, size, None) % 2 == 0 or size < 1:
        raise ValueError(f"{name} is {size} but must be odd and positive, so that the kernel has a central tap.")


def _is_key(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
