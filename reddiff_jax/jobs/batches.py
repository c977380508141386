"""Solvers compiled for batches of one size."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import _tree
from reddiff_jax.problem import Problem
from reddiff_jax.run import run
from reddiff_jax.solvers import Solver


class BatchSolver:
    """A solver compiled for batches of one size: problems of one shape, sharing their operator or each with its own.

    Args:
        solver: The method.
        problem: Any problem of that shape.
        batch_size: Problems of a batch.
        shared_operator: Whether the operator is the same for all.
        steps_per_call: Steps of one compiled call, which returns between them for progress and interruption; all steps
            if None. It must divide the solver's.
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
        self.solver, self.batch_size, self.shared = solver, batch_size, shared_operator
        self.steps_per_call = solver.num_steps if steps_per_call is None else steps_per_call
        began = time.perf_counter()
        keys, batch = jax.random.split(jax.random.key(0), batch_size), self._batch([problem])
        axes = Problem(y=0, operator=None if shared_operator else 0, noise=None)  # type: ignore[arg-type]
        vmap = partial(jax.vmap, in_axes=(0, None, axes))
        start = jax.jit(vmap(_start)).lower(keys, solver, batch)
        states = start.out_info
        advance = jax.jit(jax.vmap(partial(_advance, self.steps_per_call), in_axes=(0, None, axes, 0)))
        finish = jax.jit(vmap(_finish))
        self._begin = start.compile()
        self._advance = advance.lower(keys, solver, batch, states).compile()
        self._finish = finish.lower(states, solver, batch).compile()
        self.compile_seconds = time.perf_counter() - began

    def __call__(
        self, keys: Sequence[jax.Array], problems: Sequence[Problem], on_step: Callable[[int], None] = lambda step: None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solves up to ``batch_size`` problems.

        Args:
            keys: One for each problem.
            problems: As many as there are keys.
            on_step: Called with the number of steps done.

        Returns:
            Restored images (B, H, W, C) and root mean square residuals (B,).
        """
        count = len(problems)
        batch = self._batch(problems)
        keys_array = jnp.stack([*keys, *[keys[-1]] * (self.batch_size - count)])
        states = self._begin(keys_array, self.solver, batch)
        for done in range(self.steps_per_call, self.solver.num_steps + 1, self.steps_per_call):
            states = jax.block_until_ready(self._advance(keys_array, self.solver, batch, states))
            on_step(done)
        x, residual = self._finish(states, self.solver, batch)
        return np.asarray(x)[:count], np.asarray(residual)[:count]

    def _batch(self, problems: Sequence[Problem]) -> Problem:
        """Problems with a leading axis, filled up by repetition."""
        filled = [*problems, *[problems[-1]] * (self.batch_size - len(problems))]
        first = filled[0]
        operator = first.operator if self.shared else _tree.stack([each.operator for each in filled])
        return Problem(jnp.stack([each.y for each in filled]), operator, first.noise)


def _start(key: jax.Array, solver: Solver, problem: Problem) -> Any:
    # As ``run`` starts, so that results are those of ``rd.run``.
    return solver.init(jax.random.fold_in(key, 0), problem)


def _advance(num_steps: int, key: jax.Array, solver: Solver, problem: Problem, state: Any) -> Any:
    return run(key, solver, problem, state=state, num_steps=num_steps).state


def _finish(state: Any, solver: Solver, problem: Problem) -> tuple[jax.Array, jax.Array]:
    x = solver.estimate(state)
    return x, jnp.sqrt(jnp.mean(jnp.abs(problem.residual(x)) ** 2))


def steps_per_call(num_steps: int, at_most: int = 20) -> int:
    """Largest divisor of the number of steps up to a bound."""
    return max(n for n in range(1, min(at_most, num_steps) + 1) if num_steps % n == 0)
