"""Batches of one size: filled up by repetition, divided among devices, and solved in calls of a few steps.

Progress is shown between the calls: compiled programs do not call back. Programs are compiled ahead of time, so that a
batch that does not fit into memory is known before it is begun.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reddiff_jax import _tree
from reddiff_jax._checks import check_type, check_whole
from reddiff_jax._keys import as_key, key_from
from reddiff_jax._types import Key
from reddiff_jax.problems import Problem
from reddiff_jax.progress import ProgressBar, describe_step, scalars_of
from reddiff_jax.running import Solution, check_run, run, start
from reddiff_jax.sharding import shard_vmap
from reddiff_jax.solvers import Solver

Scalars = Mapping[str, np.ndarray]
"""What a solver's Info says: name -> (batch size, steps of the call)."""

OnCall = Callable[[int, Any, Any], None]
"""Called after a compiled call: (steps done, Info of the call's steps, state), and must not keep the state."""

OnStep = Callable[[int, Scalars, Callable[[int], np.ndarray]], None]
"""Called after a compiled call: (steps done, scalars of the call's steps, slot -> estimate (H, W, C))."""

_LONG_SECONDS = 3.0  # of measuring; what takes longer is measured well enough at once


class OutOfMemoryError(RuntimeError):
    """A batch does not fit into the memory of its devices."""


class CompiledRun:
    """``run`` compiled ahead of time, whole or in calls of a few steps, for one problem or for a batch of one size.

    A single run is the same bits however its steps are divided into calls. A batch's whole run rounds differently from
    the same run in calls: in the former all problems share one timestep, in the latter each has its own.

    Args:
        key: PRNG key; of a batch one for each problem, (B,).
        solver: The method.
        problem: The problem, or a batch of problems with a leading axis. Others of the same shapes may follow.
        steps_per_call: Number of steps of one call, which must divide the solver's; None for the whole run at once.
        axes: ``jax.vmap``'s axes of the problem; None if it is a single one.
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
        axes: Any = None,
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
        self._programs = (_kept_programs if keep else _programs)(steps_per_call, axes, mesh)
        self._place = (lambda *arguments: arguments) if mesh is None else self._programs.whole.place
        key, self.solver, problem = self._place(key, solver, problem)
        # The calls find what is compiled here.
        if steps_per_call is None:
            compiled = self._programs.whole.lower(key, self.solver, problem).compile()
        else:
            # An actual state tells where XLA places it.
            state = self._programs.begin(key, self.solver, problem)
            compiled = self._programs.advance.lower(key, self.solver, problem, state).compile()
            self._programs.finish.lower(state, self.solver).compile()
        self.memory = memory_of(compiled)
        if self.memory > (memory := device_memory(1 if mesh is None else mesh.size)):
            raise OutOfMemoryError(
                f"{self.memory / 1e9:.1f} GB are needed but there are {memory / 1e9:.1f} GB; take a smaller batch."
            )
        self.compile_seconds = time.perf_counter() - began

    def __call__(self, key: jax.Array, problem: Problem, on_call: OnCall | None = None) -> Solution:
        """Solves a problem, or a batch; ``on_call`` is called after each of the compiled calls."""
        key, _, problem = self._place(key, self.solver, problem)
        if self.steps_per_call is None:
            solution = self._programs.whole(key, self.solver, problem)
            if on_call is not None:
                on_call(self.num_steps, solution.info, solution.state)
            return solution
        state, infos = self._programs.begin(key, self.solver, problem), []
        for step in range(self.steps_per_call, self.num_steps + 1, self.steps_per_call):
            state, info = self._programs.advance(key, self.solver, problem, state)
            infos.append(info)
            if on_call is not None:
                on_call(step, info, state)
        x, finite = self._programs.finish(state, self.solver)
        if len(infos) > 1:
            info = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=int(self._is_batch)), *infos)
        return Solution(x, info, state, finite)

    def seconds_per_call(self, key: jax.Array, problem: Problem) -> float:
        """Measures the time of one call of a few steps, the best of three if they are short."""
        key, _, problem = self._place(key, self.solver, problem)
        state = self._programs.begin(key, self.solver, problem)
        times: list[float] = []
        while len(times) < 3 and sum(times) < _LONG_SECONDS:
            began = time.perf_counter()
            state, _ = jax.block_until_ready(self._programs.advance(key, self.solver, problem, state))
            times.append(time.perf_counter() - began)
        return min(times)


class BatchSolver:
    """A solver compiled for batches of one size, whose empty slots are filled up by repetition.

    A problem's result depends on the batch size and on its slot by rounding at most, and does not depend on what the
    other slots hold.

    Args:
        solver: The method.
        problem: Any problem of the shapes.
        batch_size: Problems of a batch; a multiple of the number of devices.
        shared_operator: Whether the operator is the same for all.
        shared_noise: Whether the noise is.
        steps_per_call: Steps of one compiled call, which must divide the solver's; between the calls there are progress
            and interruption. None for the whole run at once.
        mesh: Devices that share the batch; they exchange nothing. One if None.
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
        self._shared = dict.fromkeys(["operator"] * shared_operator + ["noise"] * shared_noise)
        self._example = _without(problem, self._shared)
        fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Problem)), 0)
        axes = Problem(**{**fields, **self._shared})
        self._key = key_from(0) if key is None else key
        keys, batch = self._filled([self._key], [problem])
        self._run = CompiledRun(keys, solver, batch, steps_per_call=steps_per_call, axes=axes, mesh=mesh, keep=keep)
        self.memory, self.compile_seconds = self._run.memory, self._run.compile_seconds
        self._residuals = _over_batch(Problem.rms_residual, (axes, 0), mesh)
        self._estimate = jax.jit(lambda solver, states, slot: solver.estimate(_tree.index(states, slot)))

    def __call__(
        self, keys: Sequence[Key | None], problems: Sequence[Problem | None], on_step: OnStep | None = None
    ) -> Solution:
        """Solves up to ``batch_size`` problems.

        Args:
            keys: One for each problem.
            problems: The slots of the batch; None where nothing is to be done. One at least is a problem.
            on_step: Called with the number of steps done, the scalars that the solver tells of the last ones, and a
                function that gives the estimate of a slot.

        Returns:
            The solutions, each leaf with a leading axis (batch_size,); meaningless in slots without a problem.

        Raises:
            ValueError: If the problems differ in structure or shape from each other or from those before, or are more
                than ``batch_size``, or none.
        """

        def on_call(step: int, info: Any, states: Any) -> None:
            scalars = {name: np.asarray(values) for name, values in scalars_of(info, 1).items()}
            on_step(step, scalars, lambda slot: np.asarray(self._estimate(self._run.solver, states, slot)))  # type: ignore[misc]

        return self._run(*self._filled(keys, problems), None if on_step is None else on_call)

    def rms_residuals(self, problems: Sequence[Problem | None], xs: jax.Array) -> np.ndarray:
        """Root mean square residuals (batch_size,) of images (batch_size, H, W, C); see ``Problem.rms_residual``."""
        return np.asarray(self._residuals(self._batch([problems[i] for i in self._sources(problems)]), xs))

    def seconds_per_call(self, problem: Problem) -> float:
        """Measures the time of one compiled call, the best of three if they are short."""
        return self._run.seconds_per_call(*self._filled([self._key], [problem]))

    def _filled(self, keys: Sequence[Key | None], problems: Sequence[Problem | None]) -> tuple[jax.Array, Problem]:
        """Keys and problems of all slots."""
        sources = self._sources(problems)
        chosen: list[Any] = [keys[i] for i in sources]
        return jnp.stack(chosen), self._batch([problems[i] for i in sources])

    def _sources(self, problems: Sequence[Problem | None]) -> list[int]:
        """For each slot the one whose problem is solved in it: itself, or the first if it is empty."""
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


def _without(problem: Problem, fields: Iterable[str]) -> Problem:
    return dataclasses.replace(problem, **dict.fromkeys(fields))


def local_mesh(batch_size: int) -> Mesh | None:
    """As many devices of this process as divide a batch; None if that is one."""
    count = math.gcd(batch_size, jax.local_device_count())
    return None if count == 1 else Mesh(np.asarray(jax.local_devices()[:count]), ("batch",))


def steps_per_call(num_steps: int, at_most: int = 20) -> int:
    """Largest divisor of the number of steps up to a bound."""
    return max(n for n in range(1, min(at_most, num_steps) + 1) if num_steps % n == 0)


# ---- for users: one problem with a progress bar, or any number of problems


def run_with_progress(key: Key, solver: Solver, problem: Problem) -> Solution:
    """Solves one problem like ``run``, to the same bits, under a progress bar with the scalars of the solver's Info.

    Args:
        key: PRNG key of the sample.
        solver: The method.
        problem: What belongs to the image.
    """
    check_run("run_with_progress", solver, problem)
    key = as_key("run_with_progress: key", key)
    compiled = CompiledRun(key, solver, problem, steps_per_call=steps_per_call(solver.num_steps), keep=True)
    with ProgressBar(solver.num_steps) as update:
        return compiled(
            key,
            problem,
            lambda step, info, _: update(step, describe_step(step, solver.num_steps, scalars_of(info))),
        )


def run_many(
    key: Key,
    solver: Solver,
    problems: Iterable[Problem],
    *,
    batch_size: int,
    progress: bool = False,
    mesh: Mesh | None = None,
) -> Iterator[Solution]:
    """Solves any number of problems in batches of one shape, and yields each solution as it comes.

    Problem i uses ``fold_in(key, i)``, so its result depends neither on ``batch_size`` nor on its neighbours. The last
    batch is filled up by repetition: one compilation serves all.

    Args:
        key: PRNG key of the whole.
        solver: The method.
        problems: Problems of one structure and shape; read a batch at a time.
        batch_size: How many are solved at once.
        progress: Show a progress bar, with the solver's scalars in it as means of the batch.
        mesh: Devices that share each batch, e.g. ``jax.make_mesh((jax.device_count(),), ("batch",))``; one if None.

    Yields:
        A Solution for each problem, in order.

    Raises:
        ValueError: If ``batch_size`` is below 1 or no multiple of the number of devices, or the problems differ in
            structure or shape.
        OutOfMemoryError: If a batch is known to need more memory than a device has.
    """
    check_whole("batch_size", batch_size)
    key = as_key("run_many: key", key)
    check_type("run_many: solver", solver, Solver, "a Solver; the order is run_many(key, solver, problems)")
    if isinstance(problems, Problem):
        raise TypeError("run_many: problems is one Problem but must be several: [problem], or rd.run for one.")
    check_type("run_many: problems", problems, Iterable, "several Problems, such as a list")
    check_type("run_many: mesh", mesh, (Mesh, type(None)), "a Mesh, such as jax.make_mesh((2,), ('batch',)), or None")
    if mesh is not None and batch_size % mesh.size:
        raise ValueError(f"batch_size is {batch_size} but must be a multiple of the mesh's {mesh.size} devices.")
    # The loop is a function of its own, so that the check above comes with the call, not with the first solution.
    return _stream(key, solver, problems, batch_size, progress, mesh)


def _stream(
    key: Key, solver: Solver, problems: Iterable[Problem], batch_size: int, progress: bool, mesh: Mesh | None
) -> Iterator[Solution]:
    total = len(problems) if hasattr(problems, "__len__") else None  # type: ignore[arg-type]
    count = steps_per_call(solver.num_steps) if progress else None
    with ProgressBar(total, progress) as update:
        source, done, batch = iter(problems), 0, None
        while chunk := list(islice(source, batch_size)):
            for i, problem in enumerate(chunk, start=done):
                check_type(f"run_many: problems[{i}]", problem, Problem, "a Problem")
            if batch is None:
                batch = BatchSolver(
                    solver, chunk[0], batch_size=batch_size, steps_per_call=count, mesh=mesh, key=key, keep=True
                )

            def show(step: int, scalars: Scalars, _: Any, done: int = done, count: int = len(chunk)) -> None:
                said = describe_step(step, solver.num_steps, {name: each[:count] for name, each in scalars.items()})
                update(done + count * step / solver.num_steps, said)

            keys = [jax.random.fold_in(key, done + i) for i in range(len(chunk))]
            solutions = batch(keys, chunk, show if progress else None)
            if mesh is not None:
                # One transfer; else taking each item would be a collective.
                solutions = jax.device_put(solutions, mesh.devices.flat[0])
            for i in range(len(chunk)):
                yield _tree.index(solutions, i)
            done += len(chunk)


# ---- programs


class _Programs(NamedTuple):
    """Functions of (key, solver, problem) that compile for what they are given, one problem or a batch of them."""

    whole: Any  # the run
    begin: Any  # the state before the first step
    advance: Any  # (..., state) -> state and Info after the next steps; takes the memory of the state
    finish: Any  # (state, solver) -> image, and whether it is finite


def _programs(num_steps: int | None, axes: Any, mesh: Mesh | None) -> _Programs:
    advance = partial(_advance, num_steps)
    if axes is None:
        return _Programs(jax.jit(run), jax.jit(start), jax.jit(advance, donate_argnums=3), jax.jit(_finish))
    return _Programs(
        _over_batch(run, (0, None, axes), mesh),
        _over_batch(start, (0, None, axes), mesh),
        _over_batch(advance, (0, None, axes, 0), mesh, donate=(3,)),
        _over_batch(_finish, (0, None), mesh),
    )


_kept_programs = cache(_programs)


def _over_batch(fn: Callable[..., Any], axes: tuple[Any, ...], mesh: Mesh | None, donate: tuple[int, ...] = ()) -> Any:
    if mesh is not None:
        return shard_vmap(fn, mesh, axes, donate_argnums=donate)
    return jax.jit(jax.vmap(fn, axes), donate_argnums=donate)


def _advance(num_steps: int | None, key: Key, solver: Solver, problem: Problem, state: Any) -> tuple[Any, Any]:
    solution = run(key, solver, problem, state=state, num_steps=num_steps)
    return solution.state, solution.info


def _finish(state: Any, solver: Solver) -> tuple[jax.Array, jax.Array]:
    x = solver.estimate(state)
    return x, jnp.isfinite(x).all()


# ---- memory


def memory_of(compiled: Any) -> int:
    """Bytes that a compiled function needs on each device, arguments included; 0 where the platform tells nothing."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    inputs_and_outputs = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return inputs_and_outputs + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def device_memory(num_devices: int | None = None) -> float:
    """Bytes of memory of one of some local devices that work at once; infinite where the platform tells nothing.

    Args:
        num_devices: How many; all if None. CPU devices share the memory of the host.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    limits = []
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    container = Path("/sys/fs/cgroup/memory.max")
    if container.is_file() and (said := container.read_text().strip()).isdigit():
        limits.append(int(said))
    return min(limits, default=math.inf) / (num_devices or jax.local_device_count())
