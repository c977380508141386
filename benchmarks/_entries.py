"""Solvers of others, for benchmarks/enter.py: found by name, told apart by their parameters' names, and called."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import reddiff_jax as rd

PARAMETERS = ("key", "prior", "problem")
PARTS = ("num_steps", "init", "step", "estimate")
FORMS = (
    "a function of prior that returns a solver (init, step, estimate, num_steps), a class of such solvers, or a "
    "function of problem, and if it likes of key and prior, that returns an image"
)


class EntryError(Exception):
    """What is wrong with an entry, in one line."""


@dataclass(frozen=True)
class Entry:
    """A solver of someone else."""

    name: str  # MODULE:NAME
    asks_for: tuple[str, ...]  # names of PARAMETERS
    fn: Callable[..., Any]
    digest: str  # of its file

    @property
    def makes_a_solver(self) -> bool:
        """Whether ``fn`` is a factory, prior -> solver."""
        return self.asks_for == ("prior",)


def load(text: str) -> Entry:
    """Finds ``MODULE:NAME`` or ``FILE.py:NAME``.

    Raises:
        EntryError: If there is no such thing, or it has parameters that nobody can fill.
    """
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise EntryError(f"{text!r} is no MODULE:NAME. Say the module and what is in it, such as mine:solver.")
    module = _module(where)
    if not hasattr(module, name):
        public = [
            each
            for each, value in vars(module).items()
            if not each.startswith("_") and callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise EntryError(f"{where} has no {name!r}. It has {', '.join(public) or 'nothing of its own'}.")
    fn = getattr(module, name)
    if not callable(fn):
        remedy = " Give a function of prior that makes it: the tables have priors of their own." * _is_solver(fn)
        raise EntryError(f"{text} is a {type(fn).__name__}, but must be {FORMS}.{remedy}")
    file = getattr(module, "__file__", None)
    source = Path(file).read_bytes() if file else b""
    return Entry(text, _asked(text, fn), fn, hashlib.sha256(source).hexdigest()[:16])


class Contestant:
    """An entry with a prior."""

    def __init__(self, entry: Entry, prior: rd.Prior, say: Callable[[str], None]):
        self.entry, self.say = entry, say
        self.in_python = False
        self.call, self.shared = _prepared(entry, prior)
        self._over_problems = jax.jit(jax.vmap(self.call, in_axes=(0, None, 0)))
        self._over_keys = jax.jit(jax.vmap(self.call, in_axes=(0, None, None)))

    def restore(self, keys: jax.Array, problems: list[rd.Problem]) -> np.ndarray:
        """One image of each problem, (N, H, W, C)."""
        shape = problems[0].operator.in_shape
        stacked = rd.stack(problems)
        return self._all(
            lambda: self._over_problems(keys, self.shared, stacked),
            lambda i: self.call(keys[i], self.shared, problems[i]),
            (len(problems), *shape),
        )

    def draw(self, keys: jax.Array, problem: rd.Problem) -> np.ndarray:
        """One sample of each key, (N, H, W, C); of an entry that asks for no key always the same one."""
        shape = problem.operator.in_shape
        if "key" not in self.entry.asks_for and not self.entry.makes_a_solver:
            return np.repeat(self.restore(keys[:1], [problem]), len(keys), axis=0)
        return self._all(
            lambda: self._over_keys(keys, self.shared, problem),
            lambda i: self.call(keys[i], self.shared, problem),
            (len(keys), *shape),
        )

    def _all(self, at_once: Callable[[], Any], one: Callable[[int], Any], shape: tuple[int, ...]) -> np.ndarray:
        """All images by one compiled call, or where that is not possible one after another."""
        if not self.in_python:
            try:
                found = at_once()
            except Exception as error:
                first = self._try(lambda: one(0))
                self.in_python = True
                self.say(
                    f"{self.entry.name} cannot be compiled and batched ({type(error).__name__}): it is called in "
                    "Python, one image after another."
                )
                found = [first, *(self._try(lambda i=i: one(i)) for i in range(1, shape[0]))]
        else:
            found = [self._try(lambda i=i: one(i)) for i in range(shape[0])]
        if isinstance(found, list):
            return np.stack([self._image(each, shape[1:]) for each in found])
        return self._image(found, shape)

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except EntryError:
            raise
        except Exception as error:
            raise EntryError(f"{self.entry.name} raises {_one_line(error)}") from error

    def _image(self, x: Any, shape: tuple[int, ...]) -> np.ndarray:
        name = self.entry.name
        if not hasattr(x, "__array__"):
            hint = " Return its x." * isinstance(x, rd.Solution)
            raise EntryError(f"{name} returned a {type(x).__name__}, but must return an array.{hint}")
        x = np.asarray(x)
        if x.dtype.kind not in "fiub":
            raise EntryError(f"{name} returned numbers of type {x.dtype}, but pictures are real.")
        if x.shape != shape:
            inner = shape[-3:]
            came = x.shape if self.in_python else x.shape[1:]
            raise EntryError(f"{name} returned the shape {came}, but the picture has the shape {inner} (H, W, C).")
        return x.astype(np.float32)


def count_evaluations(entry: Entry, problem: rd.Problem, schedule: rd.Schedule) -> int | None:
    """How often an entry asks a prior for its prediction to solve a problem; None if that cannot be found out."""
    calls: list[None] = []
    shape = problem.operator.in_shape
    cheap = rd.gaussian_prior(jnp.zeros(shape), jnp.full(shape, 0.25), schedule)
    counted = _Counted(schedule, cheap, lambda: calls.append(None))
    try:
        call, shared = _prepared(entry, counted)
        jax.block_until_ready(call(jax.random.key(0), shared, problem))
    except Exception:
        return None
    jax.effects_barrier()
    return len(calls)


@struct.dataclass
class _Counted(rd.Prior):
    """A prior whose predictions are counted."""

    inner: rd.Prior
    count: Callable[[], None] = struct.field(pytree_node=False)

    def eps(self, x_t, t, cond=None):
        """Predicts the noise, and counts."""
        jax.debug.callback(self.count)
        return self.inner.eps(x_t, t, cond)


def _prepared(entry: Entry, prior: rd.Prior) -> tuple[Callable[..., Any], Any]:
    """``call(key, shared, problem) -> x``, and its arrays that all problems share."""
    if not entry.makes_a_solver:
        names = entry.asks_for
        return lambda key, shared, problem: entry.fn(
            **{name: value for name, value in zip(PARAMETERS, (key, shared, problem), strict=True) if name in names}
        ), prior
    try:
        solver = entry.fn(prior)
    except Exception as error:
        raise EntryError(f"{entry.name}(prior) raises {_one_line(error)}") from error
    missing = [part for part in PARTS if not hasattr(solver, part)]
    if missing:
        raise EntryError(
            f"{entry.name}(prior) returned a {type(solver).__name__} without {', '.join(missing)}. A solver has "
            f"{', '.join(PARTS)}; a function that returns an image asks for problem."
        )
    if isinstance(solver, rd.Solver):
        return lambda key, shared, problem: rd.run(key, shared, problem).x, solver
    return lambda key, _, problem: _iterated(key, solver, problem), None


def _iterated(key: jax.Array, solver: Any, problem: rd.Problem) -> jax.Array:
    """``rd.run`` for what has a solver's parts without being an ``rd.Solver``; draws from the same keys."""

    def step(state, k):
        return solver.step(jax.random.fold_in(key, k), state, problem)[0], None

    state = solver.init(jax.random.fold_in(key, 0), problem)
    return solver.estimate(jax.lax.scan(step, state, jnp.arange(1, solver.num_steps + 1))[0])


def _module(where: str) -> ModuleType:
    file = Path(where)
    try:
        if file.suffix == ".py":
            if not file.is_file():
                raise EntryError(f"there is no file {where}.")
            spec = importlib.util.spec_from_file_location(file.stem, file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[file.stem] = module  # dataclasses look their module up
            spec.loader.exec_module(module)
            return module
        return importlib.import_module(where)
    except EntryError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{where}.".startswith(f"{error.name}."):
            raise EntryError(
                f"there is no module {where!r}. Run this where it is, or give a file: path/to/mine.py:NAME."
            ) from error
        raise EntryError(f"{where} imports {error.name!r}, which is not installed.") from error
    except Exception as error:
        raise EntryError(f"importing {where} raises {_one_line(error)}") from error


def _asked(text: str, fn: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters that a callable needs."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise EntryError(f"{text} tells no parameters. It must be {FORMS}.") from error
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = tuple(
        each.name
        for each in parameters
        if each.kind not in fixed and (each.default is each.empty or each.name in PARAMETERS)
    )
    if set(names) <= set(PARAMETERS) and ("problem" in names or names == ("prior",)):
        return names
    raise EntryError(f"{text} asks for ({', '.join(names)}). The names decide: it must be {FORMS}.")


def _is_solver(value: Any) -> bool:
    return all(hasattr(value, part) for part in PARTS)


def _one_line(error: Exception) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
