"""Tuning: which settings of a solver restore known pictures best.

Trials that differ only in numbers (``settings.Range``) are leaves of one solver, so that ``sweep_size`` of them run in
one compiled call, vmapped over trials and pictures; each combination of what is static (``settings.Choice``) is one
more compilation. All trials see the same measurements and the same noise.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reddiff_jax import _tree, metrics, tasks
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax._keys import as_key
from reddiff_jax._types import Image, Key
from reddiff_jax.noise import gaussian
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem, measure
from reddiff_jax.running import run
from reddiff_jax.settings import Choice, Kind, Range, Settings, check_serves, default_settings, kind_of, rounded
from reddiff_jax.solvers import Solver

Score = Callable[[jax.Array, jax.Array], Any]
"""``(restored image (H, W, C), original) -> number``, larger is better."""

Search = Callable[[Key, Settings, Sequence[str], int, int], Generator[list[Settings], list[float], None]]
"""``(key, first, fields, budget, sweep_size) -> generator`` that yields settings to try and is sent their scores."""


@dataclass(frozen=True)
class Trial:
    """Settings, and how they did: minus infinity if a restoration diverged."""

    settings: Settings
    score: float


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Args (fields):
        settings: The best.
        score: Their mean score.
        trials: All that was tried, in order, and behind it what was known before; the first are the settings that were
            there before.
        kind: What was measured.
    """

    settings: Settings
    score: float
    trials: tuple[Trial, ...]
    kind: Kind | None = None


# ---- scores


def psnr(x: Image, reference: Image) -> Float[Array, ""]:
    """Score: peak signal-to-noise ratio in dB."""
    return _psnr(x, reference)


def psnr_lpips(x: Image, reference: Image) -> Float[Array, ""]:
    """Score: PSNR - 10 LPIPS, so that looks count beside fidelity. For sides of at least 31 pixels.

    Raises:
        ImportError: If the weights of LPIPS are not installed.
    """
    return _psnr_lpips(_lpips(), x, reference)


_psnr = jax.jit(metrics.psnr)


@jax.jit
def _psnr_lpips(lpips: Any, x: Image, reference: Image) -> Float[Array, ""]:
    # LPIPS is of colour pictures: three times what is gray.
    colours = (jnp.broadcast_to(each, (*each.shape[:2], 3)) for each in (x, reference))
    return metrics.psnr(x, reference) - 10 * lpips(*colours)


@cache
def _lpips() -> Any:
    return metrics.load_lpips()


# ---- searches


def random_search(
    key: Key, first: Settings, fields: Sequence[str], budget: int, sweep_size: int
) -> Generator[list[Settings], list[float], None]:
    """Search: independent draws from the space, uniform in the number or its logarithm.

    What is static is drawn once for ``sweep_size`` trials, which share a compilation; the first of them keep that of
    ``first``.
    """
    for begin in range(0, budget, sweep_size):
        keys = [jax.random.fold_in(key, i) for i in range(begin, min(begin + sweep_size, budget))]
        draws = [np.random.default_rng(np.asarray(jax.random.key_data(each))) for each in keys]
        static = _static(first, fields, lambda name, options, draw=draws[0]: options[draw.integers(len(options))])
        base = first if begin == 0 else replace(first, **static)
        drawn = [_numbers(base, fields, lambda name, draw=draw: draw.uniform()) for draw in draws]
        yield [first, *drawn[1:]] if begin == 0 else drawn


def grid_search(
    key: Key, first: Settings, fields: Sequence[str], budget: int, sweep_size: int
) -> Generator[list[Settings], list[float], None]:
    """Search: ``first``, then all combinations of evenly spaced values, as many of each number as the budget allows.

    Raises:
        ValueError: If the budget does not even allow two values of each number.
    """
    ranges = [name for name in fields if isinstance(first.space[name], Range)]
    choices = {name: space.options for name in fields if isinstance(space := first.space[name], Choice)}
    statics = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    levels = max((n for n in range(1, budget + 1) if len(statics) * n ** len(ranges) < budget), default=0)
    levels = levels if ranges else min(levels, 1)
    if levels < min(2, 1 + len(ranges)):
        needed = len(statics) * 2 ** len(ranges) + 1
        raise ValueError(
            f"a grid over {', '.join(fields)} has at least {needed} trials but the budget is {budget}; raise it, vary "
            "fewer settings, or search at random."
        )
    grid = [
        _numbers(replace(first, **static), fields, dict(zip(ranges, fractions, strict=True)).__getitem__)
        for static in statics
        for fractions in product(np.linspace(0, 1, levels), repeat=len(ranges))
    ]
    per_static = len(grid) // len(statics)
    yield [first]
    for begin in range(0, len(grid), per_static):
        of_static = grid[begin : begin + per_static]
        for i in range(0, per_static, sweep_size):
            yield of_static[i : i + sweep_size]


def optuna_search(
    key: Key, first: Settings, fields: Sequence[str], budget: int, sweep_size: int
) -> Generator[list[Settings], list[float], None]:
    """Search: Optuna's tree-structured Parzen estimator, asked for ``sweep_size`` trials at a time.

    The trials of a batch share what is static, which the first of them chooses.

    Raises:
        ImportError: If Optuna is not installed.

    Source:
        Bergstra et al. 2011, "Algorithms for hyper-parameter optimization" (NeurIPS); Akiba et al. 2019 (arXiv
        1907.10902).
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError('search by Optuna needs it: pip install "reddiff-jax[tune]", or search at random.') from error

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(jax.random.key_data(key)[-1])
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * sweep_size)
    )
    study.enqueue_trial(_within(first, fields))

    def suggest(trial: Any) -> Settings:
        chosen = {}
        for name in fields:
            space = first.space[name]
            if isinstance(space, Choice):
                chosen[name] = trial.suggest_categorical(name, space.options)
            elif space.whole:
                chosen[name] = trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
            else:
                chosen[name] = rounded(trial.suggest_float(name, space.low, space.high, log=space.log))
        return replace(first, **chosen)

    for begin in range(0, budget, sweep_size):
        batch, suggested = [], []
        for _ in range(min(sweep_size, budget - begin)):
            batch.append(study.ask())
            suggested.append(suggest(batch[-1]))
            static = _static(suggested[0], fields, lambda name, options: getattr(suggested[0], name))  # noqa: B023
            if static and len(batch) < min(sweep_size, budget - begin):
                study.enqueue_trial(static)
        scores = yield ([first, *suggested[1:]] if begin == 0 else suggested)
        for trial, score in zip(batch, scores, strict=True):
            failed = not np.isfinite(score)
            study.tell(trial, None if failed else score, state=optuna.trial.TrialState.FAIL if failed else None)


def _within(settings: Settings, fields: Sequence[str]) -> dict[str, Any]:
    """The settings' values, or what of the space is nearest to them."""
    values = {}
    for name in fields:
        space, value = settings.space[name], getattr(settings, name)
        if isinstance(space, Range):
            values[name] = min(max(value, space.low), space.high)
        elif value in space.options:
            values[name] = value
    return values


def _static(settings: Settings, fields: Sequence[str], choose: Callable[[str, tuple], Any]) -> dict[str, Any]:
    return {name: choose(name, space.options) for name in fields if isinstance(space := settings.space[name], Choice)}


def _numbers(settings: Settings, fields: Sequence[str], fraction: Callable[[str], float]) -> Settings:
    """The settings with each varied number at a fraction of its range."""
    ranges = {name: space for name in fields if isinstance(space := settings.space[name], Range)}
    return replace(settings, **{name: space.at(fraction(name)) for name, space in ranges.items()})


# ---- the sweep


def tune(
    key: Key,
    prior: Prior,
    task_name: str,
    sigma: float,
    pictures: Float[Array, "B H W C"],
    *,
    solver: str | None = None,
    first: Settings | None = None,
    budget: int = 16,
    search: Search = random_search,
    score: Score = psnr_lpips,
    num_steps: int | None = None,
    sweep_size: int = 4,
    vary: Sequence[str] | None = None,
    known: Mapping[Settings, float] | None = None,
    report: Callable[[Tuned, int], None] = lambda so_far, done: None,
) -> Tuned:
    """Searches the settings of a solver with which it restores simulated measurements of pictures best.

    The present settings are the first trial, so that what is found is never worse on these pictures.

    Args:
        key: PRNG key of everything drawn.
        prior: Diffusion prior.
        task_name: Name of a task.
        sigma: Standard deviation of the measurement noise, for pixels in [-1, 1].
        pictures: Originals, (B, H, W, C) in [-1, 1]; never the ones to be reported on.
        solver: Name of the solver, see ``settings.SETTINGS``; the one that does the task best if None.
        first: Present settings of that solver; those of ``settings.default_settings`` if None.
        budget: Number of trials.
        search: ``random_search``, ``grid_search``, ``optuna_search`` or a function like them.
        score: Function (restored image, original) -> number to be maximised, whose mean over the pictures counts:
            ``psnr_lpips``, ``psnr`` or another. It sees what the task restores (``Task.result``), clipped to [-1, 1].
        num_steps: Number of steps; the present settings' if None.
        sweep_size: Trials run at once, each on all pictures: memory grows with it.
        vary: Fields that are searched, of the settings' ``space``; all of them if None.
        known: Scores of settings that were tried before with the same pictures, key and number of steps, which are not
            run again.
        report: Called after each ``sweep_size`` trials with what was found so far and how many of the search's trials
            are done.

    Raises:
        ValueError: For an unknown name, a solver that cannot do the task, or numbers that make no sense.
    """
    for name, count in (("budget", budget), ("sweep_size", sweep_size)):
        if count < 1:
            raise ValueError(f"{name} is {count} but must be at least 1.")
    problem = replace(tasks.example(task_name, int(jnp.shape(pictures)[-1]), draw=True), noise=gaussian(sigma))
    first = default_settings(problem, solver) if first is None else first.fitted(problem.operator)
    first = first if num_steps is None else first.changed({"num_steps": num_steps})
    check_serves(first, problem)
    if not first.space:
        raise ValueError(f"{first.name} has no settings to search; name another solver, noise_aware for example.")
    fields = list(first.space) if vary is None else list(vary)
    if unknown := [name for name in fields if name not in first.space]:
        raise ValueError(
            f"{first.name} is not searched over {', '.join(unknown)}; choose among {', '.join(first.space)}."
        )
    key = as_key("tune: key", key)
    evaluate = _Sweep(key, prior, task_name, sigma, jnp.asarray(pictures), score, sweep_size)
    scores: dict[Settings, float] = dict(known or {})
    tried: list[Settings] = []
    batches = search(jax.random.fold_in(key, 2), first, fields, budget, sweep_size)
    batch = next(batches)
    while True:
        new = list(dict.fromkeys(each for each in batch if each not in scores))
        scores |= dict(zip(new, evaluate(new), strict=True))
        tried += batch
        trials = [Trial(each, scores[each]) for each in dict.fromkeys([*tried, *scores])]
        best = max(trials, key=lambda trial: trial.score)  # the first of equals
        tuned = Tuned(best.settings, best.score, tuple(trials), kind_of(problem.operator))
        report(tuned, len(tried))
        try:
            batch = batches.send([scores[each] for each in batch])
        except StopIteration:
            break
    return tuned


class _Sweep:
    """Scores of settings on one set of simulated measurements."""

    def __init__(
        self, key: Key, prior: Prior, task_name: str, sigma: float, pictures: jax.Array, score: Score, sweep_size: int
    ):
        self.prior, self.score, self.sweep_size = prior, score, sweep_size
        self.task = tasks.by_name(task_name)
        self.originals = [self.task.result(x) for x in pictures]
        keys = jax.random.split(jax.random.fold_in(key, 0), len(pictures))
        self.keys = jax.random.split(jax.random.fold_in(key, 1), len(pictures))
        self.problems, self.axes = _pose(keys, self.task, sigma, pictures)
        self.compiled: dict[Any, Callable] = {}

    def __call__(self, tried: Sequence[Settings]) -> list[float]:
        """Scores in order; settings that share a compilation are run together."""
        solvers = [settings.sweepable(self.prior) for settings in tried]
        scores = [0.0] * len(tried)
        groups: dict[Any, list[int]] = {}
        for i, solver in enumerate(solvers):
            groups.setdefault(jax.tree.structure(solver), []).append(i)
        for structure, members in groups.items():
            for begin in range(0, len(members), self.sweep_size):
                chunk = members[begin : begin + self.sweep_size]
                for i, score in zip(chunk, self._scores(structure, [solvers[i] for i in chunk]), strict=True):
                    scores[i] = score
        return scores

    def _scores(self, structure: Any, solvers: list[Solver]) -> list[float]:
        filled = solvers + solvers[-1:] * (self.sweep_size - len(solvers))
        # The prior is the same for all: it is not copied for each trial.
        shared = {id(leaf) for leaf in jax.tree.leaves(self.prior)}
        axes = jax.tree.map(lambda leaf: None if id(leaf) in shared else 0, filled[0])
        stacked = jax.tree.map(lambda *leaves: leaves[0] if id(leaves[0]) in shared else jnp.stack(leaves), *filled)
        if structure not in self.compiled:
            at_once = images_at_once(self.problems.operator.in_shape)
            over_pictures = map_in_chunks(run, (0, None, self.axes), at_once)
            over_trials = map_in_chunks(over_pictures, (None, axes, None), at_once and 1)
            self.compiled[structure] = jax.jit(lambda *args: ((found := over_trials(*args)).x, found.finite))
        xs, finite = self.compiled[structure](self.keys, stacked, self.problems)  # (S, B, H, W, C), (S, B)
        restored = self.task.result(jnp.clip(xs, -1, 1))
        return [self._mean(restored[i]) if finite[i].all() else -np.inf for i in range(len(solvers))]

    def _mean(self, restored: jax.Array) -> float:
        scores = [float(self.score(x, original)) for x, original in zip(restored, self.originals, strict=True)]
        return float(np.mean(scores)) if np.isfinite(scores).all() else -np.inf


def _pose(keys: Key, task: tasks.Task, sigma: float, pictures: jax.Array) -> tuple[Problem, Any]:
    """Measures pictures; returns the problems, and what of them has a leading axis."""
    shape: tasks.Shape = pictures.shape[1:]  # type: ignore[assignment]
    noise, own = gaussian(sigma), bool(task.array_shapes(shape))
    arrays = [task.simulate(jax.random.fold_in(key, 0), shape) for key in keys]
    operators = [task.operator(shape, each) for each in (arrays if own else arrays[:1])]
    ys = []
    for i, (key, x) in enumerate(zip(keys, pictures, strict=True)):
        y = measure(jax.random.fold_in(key, 1), operators[i if own else 0], noise, x).y
        ys.append(y * arrays[i].get("mask", 1.0))  # no noise where nothing was seen
    axes = Problem(y=0, operator=0 if own else None, noise=None)  # type: ignore[arg-type]
    return Problem(jnp.stack(ys), _tree.stack(operators) if own else operators[0], noise), axes
