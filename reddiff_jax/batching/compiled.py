"""Runs compiled ahead of time, whole or in calls of a few steps."""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reddiff_jax._checks import check_whole
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax._types import Key
from reddiff_jax.batching.memory import OutOfMemoryError, device_memory, memory_of
from reddiff_jax.problems import Problem
from reddiff_jax.running import Solution, run, start
from reddiff_jax.sharding import shard_batched
from reddiff_jax.solvers import Solver

OnCall = Callable[[int, Any, Any], None]
"""Called after a compiled call: (steps done, Info of the call's steps, state), and must not keep the state."""

_LONG_SECONDS = 3.0  # of measuring; what takes longer is measured well enough at once


class Axes(NamedTuple):
    """What of a batch's arguments has a leading axis: ``jax.vmap``'s axes."""

    solver: Any
    problem: Any


class CompiledRun:
    """``run`` compiled ahead of time, whole or in calls of a few steps, for one problem or for a batch of one size.

    A single run is the same bits however its steps are divided into calls. A batch's whole run rounds differently from
    the same run in calls: in the former all problems share one timestep, in the latter each has its own.

    Args:
        key: PRNG key; of a batch one for each problem, (B,).
        solver: The method.
        problem: The problem, or a batch of problems with a leading axis. Others of the same shapes may follow.
        steps_per_call: Number of steps of one call, which must divide the solver's; None for the whole run at once.
        axes: What of solver and problem has a leading axis; None if the problem is a single one.
        mesh: Devices that share the batch; one if None.
        keep: Whether the programs outlive this object, for others like it.

    Raises:
        ValueError: If ``steps_per_call`` does not divide the solver's steps.
        OutOfMemoryError: If it is known to need more memory than a device has.
    """

    def __init__(
        self,
        key: jax.Array,
        solver: Solver,
        problem: Problem,
        *,
        steps_per_call: int | None,
        axes: Axes | None = None,
        mesh: Mesh | None = None,
        keep: bool = False,
    ):
        if steps_per_call is not None and solver.num_steps % check_whole("steps_per_call", steps_per_call):
            raise ValueError(
                f"steps_per_call is {steps_per_call} but must divide the {solver.num_steps} steps of a run."
            )
        self.num_steps, self.steps_per_call = solver.num_steps, steps_per_call
        self._is_batch = axes is not None
        began = time.perf_counter()
        at_once = images_at_once(problem.operator.in_shape) if self._is_batch else None
        self._programs = (_kept_programs if keep else _programs)(steps_per_call, axes, mesh, at_once)
        self._place = (lambda *arguments: arguments) if mesh is None else self._programs.whole.place
        wanted = (jnp.ones(len(key), bool),) if self._is_batch else ()
        *wanted, key, self.solver, problem = self._place(*wanted, key, solver, problem)
        # The calls find what is compiled here.
        if steps_per_call is None:
            compiled = self._programs.whole.lower(*wanted, key, self.solver, problem).compile()
        else:
            # An actual state tells where XLA places it.
            state = self._programs.begin(*wanted, key, self.solver, problem)
            compiled = self._programs.advance.lower(*wanted, key, self.solver, problem, state).compile()
            self._programs.finish.lower(*wanted, state, self.solver).compile()
        self.memory = memory_of(compiled)
        if self.memory > (memory := device_memory(1 if mesh is None else mesh.size)):
            raise OutOfMemoryError(
                f"{self.memory / 1e9:.1f} GB are needed but there are {memory / 1e9:.1f} GB; take a smaller batch."
            )
        self.compile_seconds = time.perf_counter() - began

    def __call__(
        self,
        key: jax.Array,
        problem: Problem,
        on_call: OnCall | None = None,
        *,
        wanted: Any = None,
        state: Any = None,
    ) -> Solution:
        """Solves a problem, or a batch.

        Args:
            key: PRNG key, or keys (B,).
            problem: The problem, or problems.
            on_call: Called after each of the compiled calls.
            wanted: Of a batch, bool (B,): whose results are wanted; all if None. The others' are meaningless, and what
                can be passed over of them is.
            state: Of one run that is done in calls: the state to continue from; fresh if None.
        """
        *wanted, key, problem = self._placed(key, problem, wanted)
        if self.steps_per_call is None:
            solution = self._programs.whole(*wanted, key, self.solver, problem)
            if on_call is not None:
                on_call(self.num_steps, solution.info, solution.state)
            return solution
        if state is None:
            state, done = self._programs.begin(*wanted, key, self.solver, problem), 0
        else:
            done = int(state.step)
        infos = []
        for step in range(done + self.steps_per_call, self.num_steps + 1, self.steps_per_call):
            state, info = self._programs.advance(*wanted, key, self.solver, problem, state)
            infos.append(info)
            if on_call is not None:
                on_call(step, info, state)
        x, finite = self._programs.finish(*wanted, state, self.solver)
        if len(infos) > 1:
            info = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=int(self._is_batch)), *infos)
        return Solution(x, info, state, finite)

    def seconds_per_call(self, key: jax.Array, problem: Problem) -> float:
        """Measures the time of one call of a few steps, the best of three if they are short."""
        *wanted, key, problem = self._placed(key, problem, None)
        state = self._programs.begin(*wanted, key, self.solver, problem)
        times: list[float] = []
        while len(times) < 3 and sum(times) < _LONG_SECONDS:
            began = time.perf_counter()
            state, _ = jax.block_until_ready(self._programs.advance(*wanted, key, self.solver, problem, state))
            times.append(time.perf_counter() - began)
        return min(times)

    def _placed(self, key: jax.Array, problem: Problem, wanted: Any) -> tuple[Any, ...]:
        """Which results are wanted, of a batch; keys and problems."""
        if not self._is_batch:
            return key, problem
        wanted = jnp.ones(len(key), bool) if wanted is None else jnp.asarray(wanted)
        wanted, key, _, problem = self._place(wanted, key, self.solver, problem)
        return wanted, key, problem


def steps_per_call(num_steps: int, at_most: int = 20) -> int:
    """Largest divisor of the number of steps up to a bound."""
    return max(n for n in range(1, min(at_most, num_steps) + 1) if num_steps % n == 0)


# ---- programs


class _Programs(NamedTuple):
    """Functions of (key, solver, problem) that compile for what they are given, one problem or a batch of them.

    Those of a batch have one argument more before the others: bool (B,), which results are wanted.
    """

    whole: Any  # the run
    begin: Any  # the state before the first step
    advance: Any  # (..., state) -> state and Info after the next steps; takes the memory of the state
    finish: Any  # (state, solver) -> image, and whether it is finite


def _programs(num_steps: int | None, axes: Axes | None, mesh: Mesh | None, at_once: int | None) -> _Programs:
    advance = partial(_advance, num_steps)
    if axes is None:
        return _Programs(jax.jit(run), jax.jit(start), jax.jit(advance, donate_argnums=3), jax.jit(_finish))
    over = partial(_over_batch, mesh, at_once)
    return _Programs(
        over(run, (0, *axes)),
        over(start, (0, *axes)),
        over(advance, (0, *axes, 0), donate=(4,)),
        over(_finish, (0, axes.solver)),
    )


_kept_programs = cache(_programs)


def _over_batch(
    mesh: Mesh | None, at_once: int | None, fn: Callable[..., Any], axes: tuple[Any, ...], donate: tuple[int, ...] = ()
) -> Any:
    batched = map_in_chunks(fn, axes, at_once, masked=True)
    if mesh is not None:
        return shard_batched(batched, mesh, (0, *axes), donate_argnums=donate)
    return jax.jit(batched, donate_argnums=donate)


def _advance(num_steps: int | None, key: Key, solver: Solver, problem: Problem, state: Any) -> tuple[Any, Any]:
    solution = run(key, solver, problem, state=state, num_steps=num_steps)
    return solution.state, solution.info


def _finish(state: Any, solver: Solver) -> tuple[jax.Array, jax.Array]:
    x = solver.estimate(state)
    return x, jnp.isfinite(x).all()
