"""One readable line for each struct: shapes, dtypes, settings and counts, never arrays."""

import enum
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from reddiff_jax._checks import is_concrete

_LIMIT = 300


class Detail(NamedTuple):
    """How much of a struct is shown."""

    depth: int  # levels of the structs inside
    functions: bool = True  # whether its functions are named; they are defaults as a rule


# From the most to the least: the first that makes a line short enough is taken.
_DETAILS = [*(Detail(depth, functions) for functions in (True, False) for depth in (3, 2, 1)), Detail(0)]


class Repr:
    """A base whose subclasses have a ``repr`` of one line: ``Gaussian(sigma_y=0.05)``.

    A subclass says in ``_repr_parts`` what stands between the brackets, where that is not its fields.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # flax.struct.dataclass gives a repr of whole arrays to each class whose own body has none; it ignores bases.
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = one_line

    def _repr_parts(self, detail: Detail) -> list[str]:
        """What stands between the brackets."""
        return field_parts(self, detail)


def one_line(self: Any) -> str:
    """The repr of a struct, with as much detail as a line has room for."""
    for detail in _DETAILS:
        line = _struct(self, detail)
        if len(line) <= _LIMIT:
            return line
    kept = [part for part in _parts_of(self, _DETAILS[-1]) if len(part) < _LIMIT]
    while len(line := f"{type(self).__name__}({', '.join([*kept, '...'])})") > _LIMIT:
        kept.pop()
    return line


def field_parts(struct: Any, detail: Detail, *, without: tuple[str, ...] = ()) -> list[str]:
    """``name=value`` of each field that is not None; "..." stands for what is left out."""
    values = {field.name: getattr(struct, field.name) for field in fields(struct) if field.name not in without}
    kept = {name: value for name, value in values.items() if detail.functions or not inspect.isroutine(value)}
    parts = [f"{name}={shown(value, detail)}" for name, value in kept.items() if value is not None]
    return parts if len(kept) == len(values) else [*parts, "..."]


def shown(value: Any, detail: Detail) -> str:
    """One value: small things as they are, arrays by shape and dtype, pytrees by their number of parameters."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if value is None or isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    if isinstance(value, nn.Module):
        return type(value).__name__
    if is_dataclass(value) and not isinstance(value, type):
        return _struct(value, detail._replace(depth=detail.depth - 1))
    if isinstance(value, tuple) and hasattr(value, "init") and hasattr(value, "update"):
        return _optimizer(value)
    if callable(value):
        return _function(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(shown(item, detail) for item in value)})"
    return type(value).__name__ if jax.tree_util.all_leaves([value]) else count_parameters(value)


def count_parameters(tree: Any) -> str:
    """``3.7 M parameters``: how many numbers a pytree holds."""
    count = sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(tree))
    for factor, unit in ((1_000_000_000, " G"), (1_000_000, " M"), (1000, " k")):
        if count >= factor:
            return f"{count / factor:.1f}{unit} parameters"
    return f"{count} parameters"


def _struct(struct: Any, detail: Detail) -> str:
    name = type(struct).__name__
    return name if detail.depth < 0 else f"{name}({', '.join(_parts_of(struct, detail))})"


def _parts_of(struct: Any, detail: Detail) -> list[str]:
    if isinstance(struct, Repr):
        try:
            return struct._repr_parts(detail)
        except Exception:  # a batch, axes of vmap in the place of arrays, a user's function: a repr never fails
            return field_parts(struct, detail)
    return field_parts(struct, detail)


def _array(value: Any) -> str:
    if _is_readable_scalar(value):
        number = np.asarray(value).item()
        return str(number) if isinstance(number, bool | int) else f"{number:.4g}"
    return f"{value.dtype}[{', '.join(map(str, value.shape))}]"


def _is_readable_scalar(value: Any) -> bool:
    if value.shape != () or not (jnp.issubdtype(value.dtype, jnp.number) or value.dtype == bool):
        return False
    if isinstance(value, jax.Array):
        return is_concrete(value) and value.is_fully_addressable and not value.is_deleted()
    return isinstance(value, np.ndarray | np.generic)


def _function(value: Callable[..., Any]) -> str:
    while isinstance(value, partial):  # jax.tree_util.Partial, too
        value = value.func
    names = getattr(value, "__qualname__", type(value).__name__).split(".<locals>.")
    return next((name for name in reversed(names) if name != "<lambda>"), "function")


def _optimizer(value: Any) -> str:
    """'adam' for optax.adam(...): Optax keeps no names, but its chains are closures of scale_by_adam's."""
    names = (name.removeprefix("scale_by_") for name in _makers(value.update) if name.startswith("scale_by_"))
    return next((name for name in names if name not in ("learning_rate", "schedule")), "GradientTransformation")


def _makers(update: Any, seen: tuple[Any, ...] = ()) -> Iterator[str]:
    """Names of the functions that made an optimizer's update and those inside it."""
    if any(update is each for each in seen):  # a function that calls itself is in its own closure
        return
    if isinstance(update, tuple | list):
        for each in update:
            yield from _makers(each, (*seen, update))
    elif inspect.isfunction(update):
        yield update.__qualname__.split(".")[0]
        for cell in update.__closure__ or ():
            yield from _makers(cell.cell_contents, (*seen, update))
