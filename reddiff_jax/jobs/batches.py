"""Solvers compiled for batches of one size, spread over the devices of this process."""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reddiff_jax import _tree
from reddiff_jax.problems import Problem
from reddiff_jax.running import run, scalars_of, start
from reddiff_jax.solvers import Solver

Scalars = Mapping[str, np.ndarray]
"""What a solver's Info says: name -> (batch size, steps of the call)."""

OnStep = Callable[[int, Scalars, Callable[[int], np.ndarray]], None]
"""Called between compiled calls: (steps done, scalars of these steps, slot -> estimate (H, W, C))."""


_LONG_SECONDS = 3.0  # of measuring; what takes longer is measured well enough at once


class OutOfMemoryError(RuntimeError):
    """A batch does not fit into the memory of its devices."""


class BatchSolver:
    """A solver compiled for batches of one size: problems of one shape, sharing their operator or each with its own.

    A problem's result depends on the batch size and on its slot by rounding at most, on what the other slots hold not
    at all. The batch is divided among as many local devices as divide its size; they exchange nothing.

    Args:
        solver: The method.
        problem: Any problem of that shape.
        batch_size: Problems of a batch.
        shared_operator: Whether the operator is the same for all.
        steps_per_call: Steps of one compiled call, which returns between them for progress and interruption; all steps
            if None. It must divide the solver's.

    Raises:
        OutOfMemoryError: If it is known to need more memory than a device has.
    """

    def __init__(
        self,
        solver: Solver,
        problem: Problem,
        *,
        batch_size: int,
        shared_operator: bool,
        steps_per_call: int | None = None,
    ):
        self.batch_size, self.shared = batch_size, shared_operator
        self.num_steps = solver.num_steps
        self.steps_per_call = solver.num_steps if steps_per_call is None else steps_per_call
        self.num_devices = math.gcd(batch_size, jax.local_device_count())
        mesh = Mesh(np.asarray(jax.local_devices()[: self.num_devices]), ("batch",))
        one, each = PartitionSpec(), PartitionSpec("batch")
        problems = Problem(y=each, operator=one if shared_operator else each, noise=one)  # type: ignore[arg-type]

        def spread(fn: Callable, *specs: Any, donate: tuple[int, ...] = ()) -> Any:
            fn = jax.vmap(fn, in_axes=jax.tree.map(lambda spec: 0 if spec == each else None, specs))
            if self.num_devices > 1:
                fn = jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=each, check_vma=False)
            return jax.jit(fn, donate_argnums=donate)

        def put(tree: Any, specs: Any) -> Any:
            if self.num_devices == 1:
                return tree
            return jax.device_put(tree, jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs))

        began = time.perf_counter()
        self._put = lambda keys, batch: (put(keys, each), put(batch, problems))
        self.solver = put(solver, one)
        keys, batch = self._put(jax.random.split(jax.random.key(0), batch_size), self._batch([problem]))
        begin = spread(start, each, one, problems).lower(keys, self.solver, batch)
        states = begin.out_info
        if self.num_devices > 1:
            place = NamedSharding(mesh, each)
            states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), states)
        advance = spread(partial(_advance, self.steps_per_call), each, one, problems, each, donate=(3,))
        finish = spread(_finish, each, one, problems)
        self._advance = advance.lower(keys, self.solver, batch, states).compile()
        self.memory = memory_of(self._advance)
        if self.memory > (memory := device_memory()):
            raise OutOfMemoryError(f"{self.memory / 1e9:.1f} GB are needed but there are {memory / 1e9:.1f} GB.")
        self._begin = begin.compile()
        self._finish = finish.lower(states, self.solver, batch).compile()
        self._estimate = jax.jit(lambda solver, states, slot: solver.estimate(_tree.index(states, slot)))
        self.compile_seconds = time.perf_counter() - began

    def __call__(
        self,
        keys: Sequence[jax.Array | None],
        problems: Sequence[Problem | None],
        on_step: OnStep = lambda step, scalars, estimate: None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solves up to ``batch_size`` problems.

        Args:
            keys: One for each problem.
            problems: The slots of the batch; None where nothing is to be done. One at least is a problem.
            on_step: Called with the number of steps done, the scalars that the solver tells of the last ones, and a
                function that gives the estimate of a slot.

        Returns:
            Restored images (B, H, W, C) and root mean square residuals (B,) of all slots; meaningless where None was.
        """
        filling = next(i for i, problem in enumerate(problems) if problem is not None)
        sources = [i if problem is not None else filling for i, problem in enumerate(problems)]
        sources += [filling] * (self.batch_size - len(problems))
        chosen = [keys[i] for i in sources]
        batch_keys, batch = self._put(jnp.stack(chosen), self._batch([problems[i] for i in sources]))  # type: ignore[misc]
        states = self._begin(batch_keys, self.solver, batch)
        for done in range(self.steps_per_call, self.num_steps + 1, self.steps_per_call):
            states, scalars = jax.block_until_ready(self._advance(batch_keys, self.solver, batch, states))
            estimate = partial(self._slot, states)
            on_step(done, {name: np.asarray(values) for name, values in scalars.items()}, estimate)
        x, residual = self._finish(states, self.solver, batch)
        return np.asarray(x)[: len(problems)], np.asarray(residual)[: len(problems)]

    def seconds_per_call(self, problem: Problem) -> float:
        """Time of one compiled call, the best of three if they are short."""
        keys, batch = self._put(jax.random.split(jax.random.key(0), self.batch_size), self._batch([problem]))
        states = self._begin(keys, self.solver, batch)
        times: list[float] = []
        while len(times) < 3 and sum(times) < _LONG_SECONDS:
            began = time.perf_counter()
            states, _ = jax.block_until_ready(self._advance(keys, self.solver, batch, states))
            times.append(time.perf_counter() - began)
        return min(times)

    def _slot(self, states: Any, slot: int) -> np.ndarray:
        return np.asarray(self._estimate(self.solver, states, slot))

    def _batch(self, problems: Sequence[Problem]) -> Problem:
        """Problems with a leading axis, filled up by repetition."""
        filled = [*problems, *[problems[-1]] * (self.batch_size - len(problems))]
        first = filled[0]
        operator = first.operator if self.shared else _tree.stack([each.operator for each in filled])
        return Problem(jnp.stack([each.y for each in filled]), operator, first.noise)


def _advance(
    num_steps: int, key: jax.Array, solver: Solver, problem: Problem, state: Any
) -> tuple[Any, dict[str, jax.Array]]:
    solution = run(key, solver, problem, state=state, num_steps=num_steps)
    return solution.state, scalars_of(solution.info)


def _finish(state: Any, solver: Solver, problem: Problem) -> tuple[jax.Array, jax.Array]:
    x = solver.estimate(state)
    return x, jnp.sqrt(jnp.mean(jnp.abs(problem.residual(x)) ** 2))


# ---- memory


def memory_of(compiled: Any) -> int:
    """Bytes that a compiled function needs on each device, arguments included; 0 where the platform tells nothing."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    inputs_and_outputs = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return inputs_and_outputs + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def device_memory() -> float:
    """Bytes of memory of one local device; infinite where the platform tells nothing."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    limits = []
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    container = Path("/sys/fs/cgroup/memory.max")
    if container.is_file() and (said := container.read_text().strip()).isdigit():
        limits.append(int(said))
    # The host's memory is the CPU devices' common one.
    return min(limits, default=math.inf) / jax.local_device_count()
