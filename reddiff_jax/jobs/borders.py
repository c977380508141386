"""How a blurred picture goes on beyond its border, as a user says it."""

import enum

import numpy as np

from reddiff_jax import measurements, tasks
from reddiff_jax.jobs.finding import Item
from reddiff_jax.measurements import Header
from reddiff_jax.operators import Boundary
from reddiff_jax.tasks import Arrays


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


def border_of(border: Border, item: Item, header: Header, arrays: Arrays) -> tuple[Border | None, np.ndarray | None]:
    """How a picture goes on beyond its border, and the kernel where that is unknown; (None, None) without a blur.

    Args:
        border: What the user says of blurred pictures; measurement files have their task's.
        item: The input.
        header: Its header.
        arrays: What belongs to its operator.
    """
    task = tasks.by_name(header.task)
    if item.path.suffix == measurements.SUFFIX or task.kernel is None:
        return None, None
    if border is not Border.UNKNOWN:
        return border, None
    return border, np.asarray(task.kernel(arrays))
