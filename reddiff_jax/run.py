"""The one loop: ``run`` scans a solver's step; ``best_of`` and ``mean_of`` repeat it; ``run_many`` streams problems.

Progress is shown between calls of a few steps each: compiled programs do not call back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from reddiff_jax import _tree
from reddiff_jax._repr import Repr, field_parts
from reddiff_jax._types import Key
from reddiff_jax.problem import Problem
from reddiff_jax.sharding import shard_vmap
from reddiff_jax.solvers import Solver
from reddiff_jax.solvers._base import num_entries

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

    def _repr_parts(self, depth: int) -> list[str]:
        num_steps = jax.tree.leaves(self.info)[0].shape[jnp.ndim(self.finite)]
        return [*field_parts(self, depth, without=("info", "state", "record")), f"{num_steps} steps"]


@partial(jax.jit, static_argnames=("num_steps", "record", "record_every"))
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
        ValueError: If the numbers of steps do not fit together.
    """
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


@partial(jax.jit, static_argnames="num_restarts")
def best_of(
    key: Key, solver: Solver, problem: Problem, num_restarts: int = 4
) -> tuple[Solution, Float[Array, "num_restarts"]]:
    """Solves one problem from several starts at once, and keeps the solution that explains ``y`` best.

    ``argmin_i |A(x_i) - y|``, x_i the result of a run with the key ``fold_in(key, i)``; results that are not finite
    come last. For problems that are not convex, phase retrieval above all; the solver should start at random
    (``init=rd.init_noise``). A batch is ``jax.vmap(lambda key, problem: rd.best_of(key, solver, problem, 4))``.

    Args:
        key: PRNG key of the sample.
        solver: The method.
        problem: What belongs to the image.
        num_restarts: How many runs; they are vmapped, so memory grows with it. Default as in DAPS (Zhang et al. 2024,
            arXiv 2407.01521).

    Returns:
        The solution, and the root mean square of ``A(x_i) - y`` of every run, infinite where x_i is not finite.

    Raises:
        ValueError: If ``num_restarts`` is below 1.
    """
    if num_restarts < 1:
        raise ValueError(f"num_restarts is {num_restarts} but must be at least 1.")
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num_restarts))
    solutions = jax.vmap(run, in_axes=(0, None, None))(keys, solver, problem)
    residuals = jnp.sqrt(2 * jax.vmap(problem.misfit)(solutions.x) / num_entries(problem.y))
    residuals = jnp.where(solutions.finite & jnp.isfinite(residuals), residuals, jnp.inf)
    return _tree.index(solutions, jnp.argmin(residuals)), residuals


@partial(jax.jit, static_argnames="num_runs")
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
        num_runs: How many; they are vmapped, so memory grows with it.

    Returns:
        The mean, and the standard deviation of one run (over num_runs - 1).

    Raises:
        ValueError: If ``num_runs`` is below 2.
    """
    if num_runs < 2:
        raise ValueError(f"num_runs is {num_runs} but must be at least 2; a single one is rd.run.")
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num_runs))
    xs = jax.vmap(run, in_axes=(0, None, None))(keys, solver, problem).x
    return xs.mean(axis=0), xs.std(axis=0, ddof=1)


_AXES = (0, None, 0)
"""Of a batch's keys, solver and problems."""


def run_with_progress(key: Key, solver: Solver, problem: Problem) -> Solution:
    """Solves one problem like ``run``, to the same bits, under a progress bar with the scalars of the solver's Info.

    Args:
        key: PRNG key of the sample.
        solver: The method.
        problem: What belongs to the image.
    """
    with _ProgressBar(solver.num_steps, True) as update:
        return _in_parts((key, solver, problem), update)


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
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size} but must be at least 1.")
    if mesh is not None and batch_size % mesh.size:
        raise ValueError(f"batch_size is {batch_size} but must be a multiple of the mesh's {mesh.size} devices.")
    # The loop is a function of its own, so that the check above comes with the call, not with the first solution.
    return _stream(key, solver, problems, batch_size, progress, mesh)


def _stream(
    key: Key, solver: Solver, problems: Iterable[Problem], batch_size: int, progress: bool, mesh: Mesh | None
) -> Iterator[Solution]:
    if mesh is not None:
        solver = jax.device_put(solver, NamedSharding(mesh, PartitionSpec()))
    total = len(problems) if hasattr(problems, "__len__") else None  # type: ignore[arg-type]
    with _ProgressBar(total, progress) as update:
        source, done = iter(problems), 0
        while chunk := list(islice(source, batch_size)):
            filled = chunk + chunk[-1:] * (batch_size - len(chunk))
            keys = jax.vmap(partial(jax.random.fold_in, key))(done + jnp.arange(batch_size))
            batch = keys, solver, _tree.stack(filled)
            if progress:

                def show(step: int, text: str, done: int = done, count: int = len(chunk)) -> None:
                    update(done + count * step / solver.num_steps, text)

                solutions = _in_parts(batch, show, axes=_AXES, mesh=mesh)
            else:
                solutions = _compiled(run, _AXES, mesh)(*batch)
            if mesh is not None:
                # One transfer; else taking each item would be a collective.
                solutions = jax.device_put(solutions, mesh.devices.flat[0])
            for i in range(len(chunk)):
                yield jax.tree.map(lambda leaf, i=i: leaf[i], solutions)
            done += len(chunk)


# ---- in calls of a few steps


def start(key: Key, solver: Solver, problem: Problem) -> Any:
    """The state before the first step of ``run``."""
    return solver.init(jax.random.fold_in(key, 0), problem)


def steps_per_call(num_steps: int, at_most: int = 20) -> int:
    """Largest divisor of the number of steps up to a bound."""
    return max(n for n in range(1, min(at_most, num_steps) + 1) if num_steps % n == 0)


def scalars_of(info: Any, num_axes: int = 0) -> dict[str, jax.Array]:
    """What an Info says in one number a step: name -> (..., num_steps), behind a number of axes of a batch."""
    leaves = jax.tree_util.tree_flatten_with_path(info)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return {name: leaf for name, leaf in named.items() if leaf.ndim == num_axes + 1}


def describe_step(step: int, num_steps: int, scalars: Mapping[str, Any]) -> str:
    """Says how far a run is, and the last of each scalar (..., num_steps), the mean of a batch."""
    means = {name: np.asarray(values)[..., -1].mean() for name, values in scalars.items() if name != "t"}
    said = "".join(f", {name.replace('_', ' ')} {mean:.3g}" for name, mean in means.items())
    return f"step {step}/{num_steps}{said}"


def _in_parts(
    arguments: tuple[Key, Solver, Problem],
    show: Callable[[int, str], None],
    *,
    axes: Any = None,
    mesh: Mesh | None = None,
) -> Solution:
    """A run, or a batch along ``axes``, in calls of a few steps; ``show`` gets the step and what there is to say."""
    num_steps = arguments[1].num_steps
    count, num_axes = steps_per_call(num_steps), int(axes is not None)
    proceed = _compiled(_proceed(count), axes and (*axes, 0), mesh)
    state, infos = _compiled(start, axes, mesh)(*arguments), []

    def show_last() -> None:
        step = count * len(infos)
        show(step, describe_step(step, num_steps, scalars_of(infos[-1], num_axes)))

    for _ in range(num_steps // count):
        solution = proceed(*arguments, state)
        if infos:
            show_last()  # it waits for the device, which has its next work already
        infos.append(solution.info)
        state = solution.state
    show_last()
    return solution.replace(info=jax.tree.map(lambda *leaves: jnp.concatenate(leaves, num_axes), *infos))


@cache
def _proceed(num_steps: int) -> Callable[..., Solution]:
    return lambda key, solver, problem, state: run(key, solver, problem, state=state, num_steps=num_steps)


@cache
def _compiled(fn: Callable[..., Any], axes: tuple[int | None, ...] | None, mesh: Mesh | None) -> Callable[..., Any]:
    """Of one sample, or of a batch along ``axes``."""
    if mesh is not None:
        return shard_vmap(fn, mesh, axes)  # type: ignore[arg-type]
    return jax.jit(fn if axes is None else jax.vmap(fn, axes))


class _ProgressBar:
    """A rich progress bar, or nothing."""

    def __init__(self, total: int | None, shown: bool):
        self.total, self.shown = total, shown

    def __enter__(self) -> Callable[[float, str], None]:
        if not self.shown:
            return lambda completed, text: None
        from rich.progress import Progress

        self.bar = Progress(refresh_per_second=1).__enter__()
        task = self.bar.add_task("restoring", total=self.total)
        return lambda completed, text: self.bar.update(task, completed=completed, description=f"restoring: {text}")

    def __exit__(self, *error):
        if self.shown:
            self.bar.__exit__(*error)
