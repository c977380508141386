"""Several runs of a solver on one problem, whose mean is the restoration.

The squared error of a mean of K runs is their squared bias plus 1 / K of the variance between runs. For a trained
network several runs are a better use of network evaluations than one longer run: see ``noise_aware``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax._checks import check_type, check_whole
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax._keys import numbered_keys
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import Solver


@struct.dataclass
class AveragedState(Repr):
    """All that the next step needs."""

    runs: Any  # the solver's State, each leaf (K, ...)
    step: jax.Array  # int32, number of steps done


@struct.dataclass
class Averaged(Solver[AveragedState]):
    """The mean of runs; build it with ``averaged``."""

    solver: Solver
    num_runs: int = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of each run."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> AveragedState:
        """Returns the state before the first step."""
        runs = map_in_chunks(self.solver.init, (0, None), images_at_once(problem.operator.in_shape))(
            self.keys(key), problem
        )
        return AveragedState(runs, jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: AveragedState, problem: Problem) -> tuple[AveragedState, Any]:
        """Does one step of each run; its Info holds means over the runs."""
        step = map_in_chunks(self.solver.step, (0, 0, None), images_at_once(problem.operator.in_shape))
        runs, infos = step(self.keys(key), state.runs, problem)
        return AveragedState(runs, state.step + 1), jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), infos)

    def estimate(self, state: AveragedState) -> Image:
        """Returns the mean of the runs' images."""
        return jnp.mean(jax.vmap(self.solver.estimate)(state.runs), axis=0)

    def keys(self, key: Key) -> jax.Array:
        """The runs' own keys of one step, (num_runs,)."""
        return numbered_keys(key, self.num_runs)


@struct.dataclass
class OneRun(Solver[Any]):
    """One run of an ``Averaged`` by itself: with the keys that it has there, and so to the same image."""

    solver: Solver
    index: jax.Array  # int32, which run

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> Any:
        """Returns the state before the first step."""
        return self.solver.init(jax.random.fold_in(key, self.index), problem)

    def step(self, key: Key, state: Any, problem: Problem) -> tuple[Any, Any]:
        """Does one step."""
        return self.solver.step(jax.random.fold_in(key, self.index), state, problem)

    def estimate(self, state: Any) -> Image:
        """Returns the run's image."""
        return self.solver.estimate(state)


def averaged(solver: Solver, num_runs: int) -> Averaged:
    """A solver whose result is the mean of several runs of another.

    ``rd.run(key, rd.averaged(solver, 5), problem).x`` is one image (H, W, C). If the runs are posterior samples, it
    minimises the expected squared error. ``rd.mean_of`` also gives the standard deviation; ``averaged`` is itself a
    solver.

    Args:
        solver: Any solver.
        num_runs: K, at least 1; time grows with it, and on accelerators, where the runs are vmapped, memory.

    Raises:
        ValueError: If ``num_runs`` is below 1.
    """
    check_type("averaged: solver", solver, Solver, "a Solver, such as rd.noise_aware(prior)")
    check_whole("num_runs", num_runs)
    return Averaged(solver=solver, num_runs=num_runs)
