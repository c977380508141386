"""How a blurred picture goes on beyond its border, as a user says it."""

import enum

from reddiff_jax.operators import Boundary


class Border(enum.StrEnum):
    """What lay beyond a blurred picture's border: unknown, as around every photo, or made of the picture."""

    UNKNOWN = "unknown"
    REFLECT = Boundary.REFLECT.value
    SYMMETRIC = Boundary.SYMMETRIC.value
    EDGE = Boundary.EDGE.value
    ZERO = Boundary.ZERO.value
    CIRCULAR = Boundary.CIRCULAR.value

    @property
    def boundary(self) -> Boundary:
        """The boundary of that name, which ``UNKNOWN`` is not."""
        return Boundary(self.value)
