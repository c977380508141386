"""The one loop: ``run`` scans a solver's step; ``best_of`` and ``mean_of`` repeat it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax import _tree
from reddiff_jax._checks import check_type, check_whole, describe, numbers
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax._keys import as_key, numbered_keys
from reddiff_jax._repr import Detail, Repr, field_parts
from reddiff_jax._types import Key
from reddiff_jax.problems import Problem, check_single
from reddiff_jax.solvers import Solver

Record = Callable[[Any, Any], Any]
"""``(state, info) -> pytree``, evaluated inside the loop."""


@struct.dataclass
class Solution(Repr):
    """What a run returns."""

    x: jax.Array  # (H, W, C), the restored image
    info: Any  # the solver's Info, each leaf (num_steps, ...)
    state: Any  # the state after the last step; a run continues from it
    finite: jax.Array  # bool, whether x has no NaN or infinity
    record: Any = None  # what ``record`` returned, each leaf (num_steps / record_every, ...)

    def _repr_parts(self, detail: Detail) -> list[str]:
        num_steps = jax.tree.leaves(self.info)[0].shape[jnp.ndim(self.finite)]
        return [*field_parts(self, detail, without=("info", "state", "record")), f"{num_steps} steps"]


def run(
    key: Key,
    solver: Solver,
    problem: Problem,
    *,
    state: Any = None,
    num_steps: int | None = None,
    record: Record | None = None,
    record_every: int = 1,
) -> Solution:
    """Solves one problem; a batch is ``jax.jit(jax.vmap(run, in_axes=(0, None, 0)))``, one key each.

    Step k draws from ``fold_in(key, k)``: a run of 120 steps and 80 more from its state equals one of 200.

    Args:
        key: PRNG key of the sample.
        solver: The method, shared by all images.
        problem: What belongs to the image.
        state: State to continue from (``solution.state``), with the same key; fresh if None.
        num_steps: Steps to do now; all of the solver's if None, needed with ``state``. Together they must not exceed
            the solver's: there are no timesteps beyond. Under ``vmap`` give it by ``functools.partial``.
        record: Function (state, info) -> pytree evaluated inside the loop, e.g. ``lambda state, info: state.mu``.
            Define it once: another function object is another compilation.
        record_every: Steps from one record to the next; must divide the number of steps.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the numbers of steps do not fit together, or the problem is a batch.
    """
    check_run("run", solver, problem)
    key = as_key("run: key", key)
    if num_steps is not None:
        num_steps = check_whole("run: num_steps", num_steps, None)
    if state is not None:
        _check_state(state, solver, num_steps)
    if record is not None and not callable(record):
        raise TypeError(f"run: record is {describe(record)} but must be a function (state, info) -> pytree.")
    return _run(key, solver, problem, state, num_steps, record, check_whole("run: record_every", record_every, None))


def _check_state(state: Any, solver: Solver, num_steps: int | None) -> None:
    """Raises TypeError for what is no state, ValueError if it has fewer than ``num_steps`` steps to go."""
    if not hasattr(state, "step"):
        raise TypeError(f"run: state is {describe(state)} but must be a solver's state: solution.state.")
    done = numbers(state.step)
    # The levels end there: further steps would repeat the last one.
    if done is not None and num_steps is not None and (most := done.max()) + num_steps > solver.num_steps:
        raise ValueError(
            f"num_steps is {num_steps} but the state has {most} of the solver's {solver.num_steps} steps; "
            f"{solver.num_steps - most} are left."
        )


@partial(jax.jit, static_argnames=("num_steps", "record", "record_every"))
def _run(
    key: Key,
    solver: Solver,
    problem: Problem,
    state: Any,
    num_steps: int | None,
    record: Record | None,
    record_every: int,
) -> Solution:
    check_single(problem)
    if num_steps is None:
        if state is not None:
            raise ValueError("a run that continues from a state must be told how far: run(..., num_steps=80).")
        num_steps = solver.num_steps
    if not 0 < num_steps <= solver.num_steps:
        raise ValueError(f"num_steps is {num_steps} but the solver has {solver.num_steps} steps.")
    if record_every < 1 or num_steps % record_every:
        raise ValueError(f"record_every is {record_every} but must divide the {num_steps} steps.")
    if state is None:
        state = start(key, solver, problem)

    def step(state, _):
        # 0 is that of ``start``.
        return solver.step(jax.random.fold_in(key, state.step + 1), state, problem)

    def record_after_steps(state, _):
        state, infos = jax.lax.scan(step, state, length=record_every)
        return state, (infos, record(state, jax.tree.map(lambda leaf: leaf[-1], infos)))  # type: ignore[misc]

    if record is None:
        (state, info), recorded = jax.lax.scan(step, state, length=num_steps), None
    else:
        state, (info, recorded) = jax.lax.scan(record_after_steps, state, length=num_steps // record_every)
        info = jax.tree.map(lambda leaf: leaf.reshape(num_steps, *leaf.shape[2:]), info)
    x = solver.estimate(state)
    return Solution(x, info, state, jnp.isfinite(x).all(), recorded)


def best_of(
    key: Key, solver: Solver, problem: Problem, num_restarts: int = 4
) -> tuple[Solution, Float[Array, "num_restarts"]]:
    """Runs a solver several times on one problem, and keeps the solution that explains ``y`` best.

    ``argmin_i |A(x_i) - y|``, x_i the result of a run with the key ``fold_in(key, i)``; results that are not finite
    come last. For problems that are not convex, phase retrieval above all; the solver should start at random
    (``init=rd.solvers.init_noise``). A batch is ``jax.vmap(lambda key, problem: rd.best_of(key, solver, problem, 4))``.

    Args:
        key: PRNG key of the sample.
        solver: The method.
        problem: What belongs to the image.
        num_restarts: How many runs; on accelerators, where they are vmapped, memory grows with it. Default as in DAPS
            (Zhang et al. 2024, arXiv 2407.01521).

    Returns:
        The solution, and the root mean square of ``A(x_i) - y`` of every run, infinite where x_i is not finite.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``num_restarts`` is below 1.
    """
    check_run("best_of", solver, problem)
    return _best_of(as_key("best_of: key", key), solver, problem, check_whole("num_restarts", num_restarts))


@partial(jax.jit, static_argnames="num_restarts")
def _best_of(
    key: Key, solver: Solver, problem: Problem, num_restarts: int
) -> tuple[Solution, Float[Array, "num_restarts"]]:
    keys = numbered_keys(key, num_restarts)
    solutions = _run_each(keys, solver, problem)
    residuals = jax.vmap(problem.rms_residual)(solutions.x)
    residuals = jnp.where(solutions.finite & jnp.isfinite(residuals), residuals, jnp.inf)
    return _tree.index(solutions, jnp.argmin(residuals)), residuals


def mean_of(
    key: Key, solver: Solver, problem: Problem, num_runs: int = 8
) -> tuple[Float[Array, "H W C"], Float[Array, "H W C"]]:
    """Averages several runs on one problem.

    The mean of posterior samples is the estimate of least mean squared error, smoother than any of them, and their
    standard deviation says what y leaves open; runs of a point estimate average as well, but spread too little. A batch
    is ``jax.vmap(lambda key, problem: rd.mean_of(key, solver, problem, 8))``.

    Args:
        key: PRNG key of the whole; run i has ``fold_in(key, i)``.
        solver: The method, e.g. ``rd.noise_aware(prior, sample=True)``.
        problem: What belongs to the image.
        num_runs: How many; on accelerators, where they are vmapped, memory grows with it.

    Returns:
        The mean, and the standard deviation of one run (over num_runs - 1).

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``num_runs`` is below 2.
    """
    check_run("mean_of", solver, problem)
    key = as_key("mean_of: key", key)
    return _mean_of(key, solver, problem, check_whole("num_runs", num_runs, 2, "A single one is rd.run."))


@partial(jax.jit, static_argnames="num_runs")
def _mean_of(
    key: Key, solver: Solver, problem: Problem, num_runs: int
) -> tuple[Float[Array, "H W C"], Float[Array, "H W C"]]:
    keys = numbered_keys(key, num_runs)
    xs = _run_each(keys, solver, problem).x
    return xs.mean(axis=0), xs.std(axis=0, ddof=1)


def _run_each(keys: jax.Array, solver: Solver, problem: Problem) -> Solution:
    """One run for each key, on one problem."""
    return map_in_chunks(run, (0, None, None), images_at_once(problem.operator.in_shape))(keys, solver, problem)


def start(key: Key, solver: Solver, problem: Problem) -> Any:
    """Returns the state before the first step of ``run``."""
    check_single(problem)
    return solver.init(jax.random.fold_in(as_key("start: key", key), 0), problem)


def check_run(name: str, solver: Solver, problem: Problem) -> None:
    """Raises TypeError unless a solver and a problem came."""
    order = "the order is run(key, solver, problem)"
    check_type(f"{name}: solver", solver, Solver, f"a Solver, such as rd.default_solver(prior, problem); {order}")
    check_type(f"{name}: problem", problem, Problem, f"a Problem, such as rd.problem(y, operator, noise); {order}")
