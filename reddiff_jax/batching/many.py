"""For users: one problem with a progress bar, or any number of problems."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import jax
from jax.sharding import Mesh

from reddiff_jax import _tree
from reddiff_jax._checks import check_type, check_whole
from reddiff_jax._keys import as_key
from reddiff_jax._types import Key
from reddiff_jax.batching.batch import BatchSolver, Scalars
from reddiff_jax.batching.compiled import CompiledRun, steps_per_call
from reddiff_jax.problems import Problem
from reddiff_jax.progress import ProgressBar, describe_step, scalars_of
from reddiff_jax.running import Solution, check_run
from reddiff_jax.solvers import Solver


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
