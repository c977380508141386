"""Batches of one size: problems and the runs of each, dealt out to devices."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reddiff_jax import _tree
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax._keys import key_from
from reddiff_jax._types import Key
from reddiff_jax.batching.compiled import Axes, CompiledRun
from reddiff_jax.batching.slots import Slots
from reddiff_jax.problems import Problem
from reddiff_jax.progress import scalars_of
from reddiff_jax.running import Solution
from reddiff_jax.solvers import Averaged, AveragedState, Solver
from reddiff_jax.solvers.averaged import OneRun

Scalars = Mapping[str, np.ndarray]
"""What a solver's Info says: name -> (batch size, steps of the call)."""

OnStep = Callable[[int, Scalars, Callable[[int], np.ndarray]], None]
"""Called after a compiled call: (steps done, scalars of the call's steps, slot -> estimate (H, W, C))."""


class BatchSolver:
    """A solver compiled for batches of one size, some of whose places may be empty.

    A problem's result depends on the batch size and on its place by rounding at most, and does not depend on what the
    other places hold. The runs of an ``Averaged`` solver are divided among the devices as the problems are.

    Args:
        solver: The method.
        problem: Any problem of the shapes.
        batch_size: Problems of a batch.
        shared_operator: Whether the operator is the same for all.
        shared_noise: Whether the noise is.
        steps_per_call: Steps of one compiled call, which must divide the solver's; between the calls there are progress
            and interruption. None for the whole run at once.
        mesh: Devices that share the batch; they exchange nothing. One if None; see ``local_mesh``.
        key: Any key of the kind that the problems get; one of ``jax.random.key`` if None.
        keep: Whether the programs outlive this object, for others like it.

    Raises:
        OutOfMemoryError: If it is known to need more memory than a device has.
    """

    def __init__(
        self,
        solver: Solver,
        problem: Problem,
        *,
        batch_size: int,
        shared_operator: bool = False,
        shared_noise: bool = False,
        steps_per_call: int | None = None,
        mesh: Mesh | None = None,
        key: Key | None = None,
        keep: bool = False,
    ):
        self.batch_size, self.num_devices = batch_size, 1 if mesh is None else mesh.size
        self.steps_per_call = steps_per_call
        self._slots = Slots(batch_size, num_runs_of(solver), self.num_devices)
        self._shared = dict.fromkeys(["operator"] * shared_operator + ["noise"] * shared_noise)
        self._example = _without(problem, self._shared)
        fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Problem)), 0)
        own = Problem(**{**fields, **self._shared})
        axes = Axes(None, own)
        self._averages = isinstance(solver, Averaged)
        if isinstance(solver, Averaged):
            axes = Axes(OneRun(None, 0), own)  # type: ignore[arg-type]
            solver = OneRun(solver.solver, jnp.asarray(self._slots.runs, jnp.int32))
        self._key = key_from(0) if key is None else key
        keys, batch, _ = self._filled([self._key], [problem])
        self._run = CompiledRun(keys, solver, batch, steps_per_call=steps_per_call, axes=axes, mesh=mesh, keep=keep)
        self.memory, self.compile_seconds = self._run.memory, self._run.compile_seconds
        at_once = images_at_once(problem.operator.in_shape)
        self._residuals = jax.jit(map_in_chunks(Problem.rms_residual, (own, 0), at_once))
        self._estimate = jax.jit(
            lambda solver, states, slots: jax.vmap(solver.estimate)(_tree.index(states, slots)).mean(axis=0)
        )
        self._gathered = jax.jit(self._gather)

    def __call__(
        self, keys: Sequence[Key | None], problems: Sequence[Problem | None], on_step: OnStep | None = None
    ) -> Solution:
        """Solves up to ``batch_size`` problems.

        Args:
            keys: One for each problem.
            problems: The places of the batch; None where nothing is to be done. One at least is a problem.
            on_step: Called with the number of steps done, the scalars that the solver tells of the last ones, and a
                function that gives the estimate of a place.

        Returns:
            The solutions, each leaf with a leading axis (batch_size,); meaningless in places without a problem.

        Raises:
            ValueError: If the problems differ in structure or shape from each other or from those before, or are more
                than ``batch_size``, or none.
        """
        places = self._slots.places

        def on_call(step: int, info: Any, states: Any) -> None:
            named = scalars_of(info, 1).items()
            scalars = {name: np.asarray(values)[places].mean(axis=1) for name, values in named}
            on_step(step, scalars, lambda i: np.asarray(self._estimate(self._run.solver, states, places[i])))  # type: ignore[misc]

        keys_of_all, batch, wanted = self._filled(keys, problems)
        solution = self._run(keys_of_all, batch, None if on_step is None else on_call, wanted=wanted)
        # Where all is in its place, it stays on the device that computed it.
        in_place = np.array_equal(places[:, 0], np.arange(len(wanted))) and not self._averages
        return solution if in_place else self._gathered(solution)

    def rms_residuals(self, problems: Sequence[Problem | None], xs: jax.Array) -> np.ndarray:
        """Root mean square residuals (batch_size,) of images (batch_size, H, W, C); see ``Problem.rms_residual``."""
        filled = [problems[i] for i in self._sources(problems)]
        return np.asarray(self._residuals(self._batch(filled), jax.device_put(xs, jax.local_devices()[0])))

    def seconds_per_call(self, problem: Problem) -> float:
        """Measures the time of one compiled call of a full batch, the best of three if they are short."""
        keys, batch, _ = self._filled([self._key], [problem])
        return self._run.seconds_per_call(keys, batch)

    def _filled(
        self, keys: Sequence[Key | None], problems: Sequence[Problem | None]
    ) -> tuple[jax.Array, Problem, np.ndarray]:
        """Keys and problems of all slots, and whose results are wanted."""
        sources = self._sources(problems)
        given = np.asarray([i < len(problems) and problems[i] is not None for i in range(self.batch_size)])
        of_slot = self._slots.problems
        chosen: list[Any] = [keys[sources[i]] for i in of_slot]
        batch = self._batch([problems[sources[i]] for i in of_slot])
        return jnp.stack(chosen), batch, given[of_slot] & ~self._slots.is_empty

    def _sources(self, problems: Sequence[Problem | None]) -> list[int]:
        """For each place the one whose problem stands in it: itself, or the first that there is if it is empty."""
        first = next((i for i, problem in enumerate(problems) if problem is not None), None)
        if first is None or len(problems) > self.batch_size:
            raise ValueError(f"a batch has 1 to {self.batch_size} problems but {len(problems)} slots came.")
        sources = [first if problem is None else i for i, problem in enumerate(problems)]
        return sources + [first] * (self.batch_size - len(sources))

    def _batch(self, problems: Sequence[Any]) -> Problem:
        own = [_without(problem, self._shared) for problem in problems]
        batch = _tree.stack(own)
        _tree.check_alike(self._example, own[0], "the first problem", "a later problem")
        return dataclasses.replace(batch, **{name: getattr(problems[0], name) for name in self._shared})

    def _gather(self, solution: Solution) -> Solution:
        """The solutions of problems, of those of their runs."""
        places = self._slots.places
        if not self._averages:
            return _tree.index(solution, places[:, 0])
        runs = _tree.index(solution, places)  # (B, K, ...)
        xs = jnp.mean(runs.x, axis=1)
        info = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=1), runs.info)
        state = AveragedState(runs.state, runs.state.step[:, 0])
        return Solution(xs, info, state, jnp.isfinite(xs).all(axis=tuple(range(1, xs.ndim))))


def num_runs_of(solver: Solver) -> int:
    """How many runs of a problem are independent of each other."""
    return solver.num_runs if isinstance(solver, Averaged) else 1


def _without(problem: Problem, fields: Iterable[str]) -> Problem:
    return dataclasses.replace(problem, **dict.fromkeys(fields))
