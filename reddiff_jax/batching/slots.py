"""Where the runs of a batch's problems are computed."""

from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jax.sharding import Mesh


@dataclass(frozen=True)
class Slots:
    """A batch's runs, one after the other for each problem, dealt out to devices like cards.

    So devices have equally much to do, to one run, however many of a batch's first places are filled, and a single
    problem's runs are shared by all.

    Args (fields):
        num_problems: B.
        num_runs: K, runs of each problem.
        num_devices: D.
    """

    num_problems: int
    num_runs: int = 1
    num_devices: int = 1

    @property
    def num_slots(self) -> int:
        """Number of slots, the same on each device; those of the first one come first."""
        return -(-self.num_problems * self.num_runs // self.num_devices) * self.num_devices

    @cached_property
    def _dealt(self) -> np.ndarray:
        """For each slot the number of the run that is computed in it, (num_slots,); B K or more in an empty one."""
        return np.arange(self.num_slots).reshape(-1, self.num_devices).T.reshape(-1)

    @property
    def is_empty(self) -> np.ndarray:
        """For each slot whether no run has its place in it."""
        return self._dealt >= self.num_problems * self.num_runs

    @property
    def problems(self) -> np.ndarray:
        """For each slot whose run is computed in it; 0 in an empty one."""
        return np.where(self.is_empty, 0, self._dealt // self.num_runs)

    @property
    def runs(self) -> np.ndarray:
        """For each slot which of the problem's runs is computed in it."""
        return np.where(self.is_empty, 0, self._dealt % self.num_runs)

    @cached_property
    def places(self) -> np.ndarray:
        """The slot of each run of each problem, (B, K)."""
        return np.argsort(self._dealt)[: self.num_problems * self.num_runs].reshape(self.num_problems, self.num_runs)


def local_mesh(count: int) -> Mesh | None:
    """The devices of this process that share a number of equally long runs; None if that is one.

    As many as end soonest, and of those the fewest: 9 runs take 8 devices two rounds, as they take 5.
    """
    rounds = -(-count // jax.local_device_count())
    devices = -(-count // rounds)
    return None if devices == 1 else Mesh(np.asarray(jax.local_devices()[:devices]), ("batch",))
