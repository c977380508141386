"""What jobs know of each input before it is worked on."""

from typing import Any, Protocol

from reddiff_jax.jobs.finding import Item

INPUTS = ("picture", "mask", "kernel", "angles")
"""Of which a record has digests."""


class Planned(Protocol):
    """One input's part in a job."""

    @property
    def item(self) -> Item:
        """The input."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """What must be equal for finished results to be kept."""
        ...

    @property
    def asked(self) -> dict[str, Any]:
        """What the user has asked for, from which the record follows for given inputs."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the results, below the output folder."""
        ...
