"""A batched run as one file that needs only JAX to run."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from reddiff_jax._keys import key_from
from reddiff_jax.problems import Problem
from reddiff_jax.running import check_run, run
from reddiff_jax.solvers import Solver

Tree = TypeVar("Tree")


def export_run(
    path: str | Path,
    solver: Solver,
    problem: Problem,
    *,
    batch_size: int | None = None,
    shared_operator: bool = False,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Writes ``jax.vmap(rd.run, in_axes=(0, None, 0))`` and its arrays to a file that JAX alone can run.

    The file is NumPy's ``npz``: the lowered program (StableHLO), the solver's arrays with the network's weights, and
    the given problem's arrays as an example. Arrays are arguments of the program, so they can be placed, or changed
    without another export::

        import jax, numpy as np

        file = np.load("run.npz")
        solve = jax.jit(jax.export.deserialize(bytearray(file["program"])).call)
        arrays = {
            part: {name[len(part) :]: file[name] for name in file if name.startswith(part)}
            for part in ("problem.", "solver.")
        }
        x = solve(seeds, arrays["problem."] | {"y": y}, arrays["solver."])  # (B, H, W, C)

    Item i is ``rd.run(jax.random.key(seeds[i]), solver, problem_i).x``.

    Args:
        path: File to write; it appears when it is complete.
        solver: The method, with its prior.
        problem: Any problem of that structure and shape, for one image.
        batch_size: Images per call; any number if None, which not every operator allows.
        shared_operator: Operator and noise are the same for all images, and have no batch axis.
        platforms: Platforms on which the file can run.

    Raises:
        ValueError: If the run cannot be exported for one of the platforms, or for any batch size.
    """
    check_run("export_run", solver, problem)
    solver_arrays, solver_from = _named(solver)
    problem_arrays, problem_from = _named(problem)
    axes = {
        name: None if shared_operator and name.split(".")[0] in ("operator", "noise") else 0 for name in problem_arrays
    }

    def solve(seeds: jax.Array, problems: dict[str, jax.Array], solver: dict[str, jax.Array]) -> jax.Array:
        def one(seed: jax.Array, problem: dict[str, jax.Array]) -> jax.Array:
            return run(key_from(seed), solver_from(solver), problem_from(problem)).x

        return jax.vmap(one, in_axes=(0, axes))(seeds, problems)

    (count,) = export.symbolic_shape("b") if batch_size is None else (batch_size,)
    shapes = (
        jax.ShapeDtypeStruct((count,), jnp.int32),
        {
            name: jax.ShapeDtypeStruct(leaf.shape if axes[name] is None else (count, *leaf.shape), leaf.dtype)
            for name, leaf in problem_arrays.items()
        },
        {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in solver_arrays.items()},
    )
    try:
        program = export.export(jax.jit(solve), platforms=platforms)(*shapes).serialize()
    except (NotImplementedError, jax.errors.InconclusiveDimensionOperation) as error:
        raise ValueError(
            f"{type(problem.operator).__name__} cannot be exported for {', '.join(platforms)} and "
            f"{'any batch size' if batch_size is None else f'batches of {batch_size}'} ({str(error).splitlines()[0]}). "
            'Give a batch_size, or the platforms that it has, e.g. platforms=("cpu",).'
        ) from error
    examples = {
        name: leaf if axes[name] is None else np.broadcast_to(leaf, (batch_size or 1, *leaf.shape))
        for name, leaf in problem_arrays.items()
    }
    partial = Path(path).with_name(f".{Path(path).name}.partial")
    contents = {
        "program": np.frombuffer(program, np.uint8),
        **{f"problem.{name}": leaf for name, leaf in examples.items()},
        **{f"solver.{name}": leaf for name, leaf in solver_arrays.items()},
    }
    with partial.open("wb") as file:
        np.savez(file, **contents)  # type: ignore[arg-type]
    os.replace(partial, path)


def _named(tree: Tree) -> tuple[dict[str, np.ndarray], Callable[[dict[str, Any]], Tree]]:
    """The arrays of a pytree by name, and the way back."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    arrays = {name: np.asarray(leaf) for name, (_, leaf) in zip(names, paths, strict=True)}
    return arrays, lambda named: structure.unflatten([named[name] for name in names])
