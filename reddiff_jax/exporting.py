"""A batched run as one file that needs only JAX to run."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from reddiff_jax._files import replacing
from reddiff_jax._keys import key_from
from reddiff_jax._npz import ArrayFileError, open_npz
from reddiff_jax._rules import JsonError, check, hexadecimal, list_of, one_of, read_json, record, table_of, text, whole
from reddiff_jax._text import shown
from reddiff_jax._versions import versions
from reddiff_jax.problems import Problem
from reddiff_jax.running import check_run, run
from reddiff_jax.solvers import Solver

Tree = TypeVar("Tree")

FORMAT = 1
_META = record(
    {
        "format": one_of(FORMAT),
        "versions": table_of(text(100)),
        "platforms": list_of(text(100), 1, 16),
        "batch_size": whole(1, 2**31).or_null(),
        "shared_operator": one_of(False, True),
        "sha256": record({"program": hexadecimal(64)}),
    }
)


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

    The file is NumPy's ``npz``: the lowered program (StableHLO), the solver's arrays with the network's weights, the
    given problem's arrays as an example, and ``meta``, a JSON text with the versions that wrote it and the SHA-256 of
    every array, which ``load_run`` compares. Arrays are arguments of the program, so they can be placed, or changed
    without another export::

        import hashlib, json, jax, numpy as np

        file = np.load("run.npz")
        sha256 = json.loads(str(file["meta"]))["sha256"]
        assert all(hashlib.sha256(file[name].tobytes()).hexdigest() == sha256[name] for name in sha256)
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
    contents = {
        "program": np.frombuffer(program, np.uint8),
        **{f"problem.{name}": leaf for name, leaf in examples.items()},
        **{f"solver.{name}": leaf for name, leaf in solver_arrays.items()},
    }
    meta = {
        "format": FORMAT,
        "versions": versions(),
        "platforms": list(platforms),
        "batch_size": batch_size,
        "shared_operator": shared_operator,
        "sha256": {name: _digest(array) for name, array in contents.items()},
    }
    with replacing(Path(path)) as partial, partial.open("wb") as file:
        np.savez(file, meta=np.asarray(json.dumps(meta)), **contents)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ExportedRun:
    """A run that was read from a file.

    Args (fields):
        solve: ``(seeds (B,), arrays of the problems, arrays of the solver) -> x (B, H, W, C)``.
        problem: The arrays of the example problem, by name, with their batch axis.
        solver: The arrays of the solver, by name.
        versions: Versions of the packages that wrote the file, by name.
    """

    solve: Callable[[Any, dict[str, Any], dict[str, Any]], jax.Array]
    problem: dict[str, np.ndarray]
    solver: dict[str, np.ndarray]
    versions: dict[str, str]


def load_run(path: str | Path) -> ExportedRun:
    """Reads a file of ``export_run``, and compares every array with its SHA-256.

    A program is code: run only files from those whom you would trust with a program of any other kind.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no exported run, or damaged.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file; write one with export_run.")
    try:
        with open_npz(path) as file:
            meta = read_json(file.read_text("meta"))
            check(meta, _META)
            if set(file.files) != {"meta", *meta["sha256"]}:
                raise ArrayFileError("its arrays are not those that it lists")
            arrays = {name: file[name] for name in meta["sha256"]}
        for name, array in arrays.items():
            if _digest(array) != meta["sha256"][name]:
                raise ArrayFileError(f"its {shown(name)} is not what was written (another SHA-256)")
    except (ArrayFileError, JsonError) as error:
        raise ValueError(f"{path} is no exported run ({error}); write it again with export_run.") from error
    try:
        program = export.deserialize(bytearray(arrays["program"]))
    except Exception as error:  # the reader of FlatBuffers raises nearly anything
        reason = shown((str(error) or type(error).__name__).strip().splitlines()[0])
        raise ValueError(f"{path} has a program that this version of JAX cannot read ({reason}).") from error
    problem, solver = (
        {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
        for part in ("problem.", "solver.")
    )
    return ExportedRun(program.call, problem, solver, meta["versions"])


def _digest(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes, the last axis varying fastest."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _named(tree: Tree) -> tuple[dict[str, np.ndarray], Callable[[dict[str, Any]], Tree]]:
    """The arrays of a pytree by name, and the way back."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    arrays = {name: np.asarray(leaf) for name, (_, leaf) in zip(names, paths, strict=True)}
    return arrays, lambda named: structure.unflatten([named[name] for name in names])
