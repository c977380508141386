"""What must be measured on an accelerator, each part within a time limit; benchmarks/gpu.sh runs all of them.

    python -m benchmarks.gpu invariance --out results     is an item of a batch what it is alone
    python -m benchmarks.gpu batches --out results        seconds a picture and step, by batch, chunk, size and type
    python -m benchmarks.gpu restore --out results        whole commands from the shell, cold and warm

Each writes OUT/gpu_PART.json, row by row, so that what a limit cuts off is lost alone. ``--tiny`` is a rehearsal.

Invariance comes first, and in it tomography and Fourier transforms: scatters and FFTs are where XLA's programs for GPUs
have depended on the batch (jax#27591, jax#31919). An item passes if it differs from itself alone, and beside NaN in all
others, by at most ``ROUNDING`` of its largest value; a pseudo-inverse, which may be iterated, by ``ITERATED``.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # `restore` runs in processes of its own

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _report
from reddiff_jax import _chunks, batching

ROUNDING = 1e-4  # float32, through a few steps of a solver
ITERATED = 0.02  # what conjugate gradients of a fixed number of steps make of roundings, on a CPU half of it
FIRST = ("_ct", "mri", "phase", "blur")
BATCH = 8
_COMMAND = "from reddiff_jax.cli import main; main()"


def invariance(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each operator: what another batch changes of A, its adjoint, its pseudo-inverse and a run."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from cases import OPERATORS  # type: ignore[import-not-found]

    jax.config.update("jax_default_matmul_precision", "highest")
    order = sorted(OPERATORS, key=lambda case: [word not in case.name for word in FIRST])
    for case in order[:3] if args.tiny else order:
        try:
            operators = [case.make(seed) for seed in (0, 1)]
        except ImportError:
            continue  # an optional extra
        problems = rd.stack([_problem(operators[i % 2], i) for i in range(BATCH)])
        row: dict[str, Any] = {"operator": case.name}
        for name, fn in _calls(case, operators[0]):
            row |= {f"{name} {what}": value for what, value in _compared(fn, problems, operators[0].in_shape).items()}
        limits = {name: ITERATED if name.startswith("pinv") else ROUNDING for name in row if "difference" in name}
        row["passes"] = all(row[name] <= limit for name, limit in limits.items())
        yield row


def _problem(operator: rd.Operator, seed: int) -> rd.Problem:
    x = 0.5 * jax.random.normal(jax.random.key(seed), operator.in_shape)
    warnings.simplefilter("ignore", UserWarning)  # noise in a saturated blur looks like a picture in [0, 1]
    return rd.problem(jax.jit(type(operator).__call__)(operator, x), operator, rd.gaussian(0.1))


def _calls(case: Any, operator: rd.Operator) -> Iterator[tuple[str, Callable[..., jax.Array]]]:
    yield "A", lambda key, x, problem: problem.operator(x)
    if isinstance(operator, rd.LinearOperator):
        yield "adjoint", lambda key, x, problem: problem.operator.adjoint(problem.y)
    if case.has_pinv:
        yield "pinv", lambda key, x, problem: problem.operator.pinv(problem.y)
    prior = rd.gaussian_prior(jnp.zeros(operator.in_shape), 0.25, rd.schedules.linear())
    solver = rd.reddiff(prior, num_steps=6, init=rd.solvers.init_zeros)
    yield "run", lambda key, x, problem: rd.run(key, solver, problem).x


def _compared(fn: Callable[..., jax.Array], problems: rd.Problem, shape: tuple[int, ...]) -> dict[str, Any]:
    """How far an item of a batch is from itself alone, and from itself among items of NaN."""
    keys = jax.random.split(jax.random.key(0), BATCH)
    xs = jax.random.normal(jax.random.key(1), (BATCH, *shape))
    batched, one = jax.jit(jax.vmap(fn)), jax.jit(fn)
    together = np.asarray(batched(keys, xs, problems))
    difference = 0.0
    for i in (0, BATCH - 1):
        alone = np.asarray(one(*jax.tree.map(lambda leaf, i=i: leaf[i], (keys, xs, problems))))
        difference = max(difference, _difference(together[i], alone))
    middle = BATCH // 2
    only = (jnp.arange(BATCH) == middle).reshape(BATCH, *[1] * (problems.y.ndim - 1))
    spoiled = dataclasses.replace(problems, y=jnp.where(only, problems.y, jnp.nan))
    xs = jnp.where((jnp.arange(BATCH) == middle).reshape(BATCH, 1, 1, 1), xs, jnp.nan)
    beside_nan = np.asarray(batched(keys, xs, spoiled))
    beside = _difference(beside_nan[middle], together[middle])
    return {"difference": difference, "difference beside NaN": beside}


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest, in units of the largest value; infinite for NaN."""
    difference = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6))
    return difference if np.isfinite(difference) else float("inf")


def batches(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each size, type, batch and chunk, the bundled prior's noise-aware RED-diff; up to a full memory."""
    steps = 2 if args.tiny else 10
    platform = jax.default_backend()
    for size in (32,) if args.tiny else (64, 256, 1024):
        for dtype in ("float32", "bfloat16"):
            prior: Any = rd.load_prior()
            prior = prior.replace(net=prior.net.clone(dtype=dtype))
            solver = rd.noise_aware(prior, num_steps=steps)
            mask = np.random.default_rng(0).random((size, size)) > 0.5
            y = jnp.asarray(np.random.default_rng(1).normal(size=(size, size, 3)) * mask[..., None], jnp.float32)
            problem = rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))
            for chunk in (None, 256**2, 1024**2):
                rows: list[dict[str, Any]] = []
                for batch in (1, 2) if args.tiny else [2**k for k in range(11)]:
                    if chunk is not None and batch * size**2 <= chunk:
                        continue  # the same program as without
                    _chunks._PIXELS_AT_ONCE[platform] = chunk or size**2 * batch
                    try:
                        made = batching.BatchSolver(solver, problem, batch_size=batch, steps_per_call=steps)
                        seconds = made.seconds_per_call(problem)
                    except (batching.OutOfMemoryError, jax.errors.JaxRuntimeError) as error:
                        yield {"size": size, "dtype": dtype, "chunk": chunk, "batch": batch, "error": str(error)[:80]}
                        break
                    row = {"size": size, "dtype": dtype, "chunk": chunk, "batch": batch}
                    row |= {"ms a picture and step": 1e3 * seconds / batch / steps, "GB": made.memory / 1e9}
                    rows.append(row | {"compile seconds": made.compile_seconds})
                    yield rows[-1]
                    if len(rows) > 2 and rows[-1]["ms a picture and step"] > 0.98 * rows[-3]["ms a picture and step"]:
                        break  # more at once gains nothing


def restore(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each command: from the shell, with an empty cache and with a full one."""
    for count, size in ((1, 32),) if args.tiny else ((1, 256), (16, 256), (64, 256), (1, 1024)):
        with tempfile.TemporaryDirectory() as folder:
            pictures = Path(folder) / "in"
            pictures.mkdir()
            for i in range(count):
                waves = np.random.default_rng(i).normal(size=(8, 8, 3)).repeat(size // 8, 0).repeat(size // 8, 1)
                rd.write_picture(pictures / f"{i:03}.png", np.clip(0.4 * waves, -1, 1))
            row: dict[str, Any] = {"pictures": count, "size": size}
            for turn in ("cold", "warm"):
                call = ["restore", str(pictures), "--task", "denoise", "--sigma", "0.2", "--out", f"{folder}/{turn}"]
                if args.tiny:
                    call += ["--steps", "2", "--set", "num_runs=2"]
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", _COMMAND, *call, "--batch-size", "auto" if count > 1 else "1"],
                    check=True,
                    env={**os.environ, "REDDIFF_JAX_CACHE": f"{folder}/cache"},
                    stdout=subprocess.DEVNULL,
                )
                row[f"{turn} seconds"] = time.perf_counter() - began
            yield row


PARTS = {part.__name__: part for part in (invariance, batches, restore)}


def main() -> int:
    """Measures one part; returns 1 if an operator failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    parser.add_argument("--seconds", type=float, default=150, help="after which no other row is begun")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: everything small")
    args = parser.parse_args()
    began, rows, cut = time.monotonic(), [], False
    settings: dict[str, Any] = {"tiny": args.tiny, "seconds": args.seconds, "rounding": ROUNDING}
    for row in PARTS[args.part](args):
        rows.append(row)
        print(
            ", ".join(
                f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
            )
        )
        cut = time.monotonic() - began > args.seconds
        _report.write(f"gpu_{args.part}", settings={**settings, "cut off": cut}, rows=rows, out=args.out)
        if cut:
            break
    return int(not rows or any(row.get("passes") is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
