"""Restoring folders of pictures, in batches of one compiled size."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import pictures, tasks
from reddiff_jax.jobs.batches import BatchSolver, steps_per_call
from reddiff_jax.jobs.errors import JobError, with_path
from reddiff_jax.jobs.events import Event, Failure, Outcome, Report
from reddiff_jax.jobs.inputs import Item, find_inputs
from reddiff_jax.jobs.manifest import MANIFEST, Manifest
from reddiff_jax.jobs.outputs import prepare_folder, writing
from reddiff_jax.jobs.planning import Plan, check_not_onto_inputs, is_finished, load, make_plan, tile_size
from reddiff_jax.jobs.settings import Settings
from reddiff_jax.measurements import Header, Measurement
from reddiff_jax.operators import Operator, mask_key
from reddiff_jax.priors import Prior, tiled
from reddiff_jax.problem import Problem
from reddiff_jax.tasks import Method


def restore(
    inputs: Sequence[str | Path],
    prior: Prior,
    *,
    out: str | Path,
    settings: Settings,
    prior_name: str = "",
    channels: int = 3,
    report: Report = lambda event: None,
) -> Outcome:
    """Restores degraded pictures and measurement files: ``NAME.png`` each, and ``manifest.jsonl``.

    With several samples ``NAME_0.png``, ``NAME_1.png``, ..., their mean ``NAME_mean.png`` and the standard deviation
    ``NAME_std.png`` (a gray picture, white = its largest value, which the manifest tells).

    Args:
        inputs: Files and folders.
        prior: The diffusion prior.
        out: Output folder. What it holds of the same job is kept; the results of other settings are refused.
        settings: How.
        prior_name: What identifies the prior, for the manifest: see ``fingerprint``.
        channels: Channels of the prior's pictures.
        report: Called with progress.

    Raises:
        JobError: If nothing can be done, or the folder cannot be written.
        ValueError: For settings that make no sense.
    """
    settings.check()
    items, failures = find_inputs(inputs, out=out, measured=True)
    out = Path(out)
    check_not_onto_inputs(items, out, settings.samples)
    if items:
        prepare_folder(out)
    for failure in failures:
        report(Event("failed", failure.name, 0.0, failure.reason))
    with ThreadPoolExecutor(4) as pool:
        work = _Work(out, prior, channels, settings, Manifest(out / MANIFEST), Outcome(failures=failures), report, pool)
        try:
            plans = []
            looked = pool.map(partial(_attempt, partial(make_plan, settings, prior_name, channels)), items)
            for item, plan in zip(items, looked, strict=True):
                if isinstance(plan, Plan):
                    plans.append(plan)
                else:
                    work.fail(item, plan)
            finished = {
                plan.item.name for plan in plans if is_finished(plan, work.manifest, out, overwrite=settings.overwrite)
            }
            groups: dict[tuple[Method, Header], list[Plan]] = {}
            for plan in plans:
                groups.setdefault((plan.preset, plan.header), []).append(plan)
                if plan.item.name in finished:
                    work.outcome.skipped.append(plan.item.name)
                    report(Event("skipped", plan.item.name, 0.0))
            work.total = max(1, len(plans) - len(finished))
            for group in groups.values():
                left = [plan for plan in group if plan.item.name not in finished]
                if left:
                    # The whole group's size, so that a continued run has the batches of an unbroken one.
                    _restore_group(work, left, min(settings.batch_size, len(group) * settings.samples))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return work.outcome


@dataclass
class _Work:
    """A job under way: what its groups of pictures share."""

    out: Path
    prior: Prior
    channels: int
    settings: Settings
    manifest: Manifest
    outcome: Outcome
    report: Report
    pool: ThreadPoolExecutor
    total: int = 1
    finished: int = 0

    @property
    def done(self) -> float:
        return self.finished / self.total

    def fail(self, item: Item, error: BaseException) -> None:
        """Notes and reports a picture that could not be restored."""
        reason = with_path(item.path, error)
        self.outcome.failures.append(Failure(item.name, reason))
        self.manifest.add({"name": item.name, "source": str(item.path), "status": "failed", "error": reason})
        self.report(Event("failed", item.name, self.done, reason))


@dataclass
class _Unit:
    """One sample of one picture."""

    plan: Plan
    problem: Problem
    key: jax.Array


@dataclass
class _Restored:
    """A unit's result."""

    x: np.ndarray  # (H, W, C)
    residual: float
    seconds: float


def _restore_group(work: _Work, plans: list[Plan], batch_size: int) -> None:
    """Restores pictures of one header and one preset, which share a compilation."""
    header, preset, settings = plans[0].header, plans[0].preset, work.settings
    h, w, _ = header.in_shape
    tile = tile_size(header.in_shape, settings.tile)
    prior = work.prior if tile is None else tiled(work.prior, tile, tile // 4)
    solver = tasks.solver_by_name(settings.solver, preset, prior)
    kind = f"{header.task}, sigma {header.sigma:g}, {w} x {h}"
    shared = not header.array_shapes
    work.report(Event("preset", kind, work.done, f"{len(plans)} of {w} x {h}", preset))
    batch: BatchSolver | None = None
    results: dict[str, list[_Restored]] = {}
    units = _units(work, plans, shared, ahead=2 * batch_size)
    while waiting := list(islice(units, batch_size)):
        with _memory_errors(batch_size, header):
            if batch is None:
                work.report(Event("compile", kind, work.done))
                batch = BatchSolver(
                    solver,
                    waiting[0].problem,
                    batch_size=batch_size,
                    shared_operator=shared,
                    steps_per_call=steps_per_call(solver.num_steps),
                )
            on_step = partial(_report_step, work, kind, len(waiting) / settings.samples, solver.num_steps)
            began = time.perf_counter()
            xs, residuals = batch([unit.key for unit in waiting], [unit.problem for unit in waiting], on_step)
        seconds = (time.perf_counter() - began) / len(waiting)
        for unit, x, residual in zip(waiting, xs, residuals, strict=True):
            samples = results.setdefault(unit.plan.item.name, [])
            samples.append(_Restored(x, float(residual), seconds))
            if len(samples) == settings.samples:
                work.finished += 1
                _conclude(work, unit.plan, results.pop(unit.plan.item.name))


def _units(work: _Work, plans: Sequence[Plan], shared: bool, ahead: int) -> Iterator[_Unit]:
    """Samples of pictures in order, the next pictures being read meanwhile; notes those that cannot be read."""
    operator: Operator | None = None
    read = partial(_attempt, partial(load, work.settings, work.channels))
    for plan, measurement in _read_ahead(work.pool, read, plans, ahead):
        ok = isinstance(measurement, Measurement)
        problem = _attempt(measurement.problem, operator) if ok else measurement
        if not isinstance(problem, Problem):
            work.finished += 1
            work.fail(plan.item, problem)
            continue
        if shared:
            operator = problem.operator
        key = mask_key(plan.item.stem, work.settings.seed)
        for k in range(work.settings.samples):
            yield _Unit(plan, problem, jax.random.fold_in(key, k))


def _report_step(work: _Work, kind: str, share: float, num_steps: int, step: int) -> None:
    done = (work.finished + share * step / num_steps) / work.total
    work.report(Event("step", kind, done, f"step {step}/{num_steps}"))


def _conclude(work: _Work, plan: Plan, samples: list[_Restored]) -> None:
    """Writes one picture's results and notes it."""
    images = np.stack([sample.x for sample in samples])  # (K, H, W, C)
    images = tasks.by_name(plan.header.task).result(images)
    if not np.isfinite(images).all():
        work.fail(plan.item, ValueError(f"the restoration diverged; {plan.preset.remedy}"))
        return
    entry: dict[str, Any] = {
        "name": plan.item.name,
        "source": str(plan.item.path),
        "outputs": plan.outputs,
        "settings": plan.record,
    }
    # Noted before anything is written, so that after a kill what lies there is known to be ours.
    work.manifest.add({**entry, "status": "writing"})
    written = [*images]
    if len(samples) > 1:
        clipped = np.clip(images, -1, 1)
        std = clipped.std(axis=0).mean(axis=-1, keepdims=True)  # (H, W, 1)
        entry["std_white"] = float(std.max())
        written += [clipped.mean(axis=0), 2 * std / max(float(std.max()), 1e-12) - 1]
    with writing(work.out / plan.outputs[0]):
        (work.out / plan.outputs[0]).parent.mkdir(parents=True, exist_ok=True)
        for output, x in zip(plan.outputs, written, strict=True):
            pictures.write_picture(work.out / output, x)
    residuals = [round(sample.residual, 6) for sample in samples]
    seconds = round(sum(sample.seconds for sample in samples), 3)
    work.manifest.add({**entry, "status": "restored", "residual": residuals, "seconds": seconds})
    work.outcome.done.append(plan.item.name)
    work.report(Event("restored", plan.item.name, work.done))


def _attempt(fn: Callable[[Any], Any], argument: Any) -> Any:
    """The result, or what was wrong with the input."""
    try:
        return fn(argument)
    except (OSError, ValueError, TypeError) as error:
        return error


def _read_ahead(
    pool: ThreadPoolExecutor, load: Callable[[Plan], Any], plans: Sequence[Plan], ahead: int
) -> Iterator[tuple[Plan, Any]]:
    """Loaded inputs in order, the next ones being read meanwhile."""
    pending: list[tuple[Plan, Future]] = []
    source = iter(plans)
    while True:
        while len(pending) < ahead and (plan := next(source, None)) is not None:
            pending.append((plan, pool.submit(load, plan)))
        if not pending:
            return
        plan, future = pending.pop(0)
        yield plan, future.result()


@contextmanager
def _memory_errors(batch_size: int, header: Header) -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        h, w, _ = header.in_shape
        raise JobError(
            f"not enough memory for {batch_size} pictures of {w} x {h} at once; lower --batch-size or --tile."
        ) from error
