"""How a picture goes on beyond its border."""

import enum
from typing import Any


class Boundary(enum.StrEnum):
    """How a picture ``a b c d`` goes on beyond its border."""

    REFLECT = "reflect"  # d c b | a b c d | c b a
    SYMMETRIC = "symmetric"  # c b a | a b c d | d c b
    EDGE = "edge"  # a a a | a b c d | d d d
    ZERO = "zero"  # 0 0 0 | a b c d | 0 0 0
    CIRCULAR = "circular"  # b c d | a b c d | a b c


_PAD_MODES = {Boundary.ZERO: "constant", Boundary.CIRCULAR: "wrap"}  # the others have NumPy's names


def pad_mode(boundary: Boundary) -> Any:
    """NumPy's name of the boundary."""
    return _PAD_MODES.get(boundary, boundary.value)


def check_boundary(name: str, boundary: Boundary) -> Boundary:
    """Returns ``boundary`` as a Boundary, or raises ValueError."""
    try:
        return Boundary(boundary)
    except ValueError:
        known = ", ".join(f"Boundary.{each.name}" for each in Boundary)
        raise ValueError(f"{name}: boundary is {boundary!r} but must be one of {known}, of rd.operators.") from None
