"""Groups of pictures of one shape and equal settings: the loop over their batches."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain, islice
from typing import Any

import jax
import numpy as np

from reddiff_jax import tasks
from reddiff_jax.batching import BatchSolver, OutOfMemoryError, Scalars, local_mesh, num_runs_of, steps_per_call
from reddiff_jax.jobs.batch_sizes import find_batch_size
from reddiff_jax.jobs.errors import attempt, brief
from reddiff_jax.jobs.events import Event
from reddiff_jax.jobs.outputs import UnwritableError, digests_written
from reddiff_jax.jobs.planning import Plan, load, tile_size
from reddiff_jax.jobs.results import picture_like, result_of
from reddiff_jax.jobs.scoring import score_beside
from reddiff_jax.jobs.units import Restored, Unit, pose, units_of
from reddiff_jax.jobs.work import Work
from reddiff_jax.measurements import Measurement
from reddiff_jax.priors import gray_prior
from reddiff_jax.problems import Problem
from reddiff_jax.progress import describe_step
from reddiff_jax.solvers import Solver
from reddiff_jax.tiling import in_tiles


class _UnsolvableError(Exception):
    """Pictures of this shape and these settings cannot be restored; others can."""


class Group:
    """Pictures of one shape and equal settings, which share a compilation.

    Every sample of every picture has its slot in one of the batches, whether it is still to be done or not: a continued
    run computes in the same slots of the same programs as an unbroken one, and so the same bits.
    """

    def __init__(self, work: Work, plans: Sequence[Plan]):
        self.work, self.plans, self.frame = work, plans, plans[0].frame
        tile = tile_size(self.frame.in_shape, work.options.tile)
        prior = gray_prior(work.prior) if self.frame.in_shape[2] < work.channels else work.prior
        prior = prior if tile is None else in_tiles(prior, self.frame.in_shape, tile**2)
        self.solver: Solver = plans[0].settings.solver(prior)
        # A framed picture's operator knows the picture's size.
        self.shared = not self.frame.array_shapes and self.frame == plans[0].header
        self.num_units_of = {plan.item.name: work.options.samples * len(plan.regions) for plan in plans}
        h, w, _ = self.frame.in_shape
        to_do = [plan for plan in plans if plan.item.name not in work.finished_before]
        sigmas = [f"{sigma:g}" for sigma in sorted({plan.noise.sigma for plan in to_do})]
        self.name = f"{self.frame.task}, sigma {' to '.join(dict.fromkeys((sigmas[0], sigmas[-1])))}, {w} x {h}"
        self.size, self.ahead = 1, 8
        self.batch: BatchSolver | None = None
        self.results: dict[str, list[tuple[Unit, Restored]]] = {}
        self.noted: set[str] = set()
        self.given_up: set[str] = set()
        self.num_left = len(to_do)
        self.steps_of_sample = self.solver.num_steps * h * w
        self.steps_to_do = self.steps_of_sample * sum(self.num_units_of[plan.item.name] for plan in to_do)
        self.began = 0.0  # the batch under way

    def restore(self) -> None:
        """Restores what is not finished."""
        h, w, _ = self.frame.in_shape
        within = "of" if self.frame == self.plans[0].header else "within"
        detail = f"{self.num_left} {within} {w} x {h}"
        if any(plan.in_regions for plan in self.plans):
            count = sum(len(plan.regions) for plan in self.plans if plan.item.name not in self.work.finished_before)
            detail = f"{self.num_left} in {count} regions of {w} x {h}"
        self.work.report(Event("settings", self.name, self.work.done, detail, self.plans[0].settings))
        units = self._units()
        first: list[Unit | None] = []
        while not any(first) and (following := list(islice(units, 1))):
            first += following
        if not first or first[-1] is None:
            return
        self.size = self._choose_batch_size(first[-1].problem)
        self.ahead = 2 * self.size
        units = chain(first, units)
        while not self.work.stop() and (slots := list(islice(units, self.size))):
            self._solve(slots)

    def _units(self) -> Iterator[Unit | None]:
        """Samples of pictures in order, the next pictures being read meanwhile; None for what is not to be done."""
        work, operator = self.work, None
        for plan, measurement in self._read_ahead():
            posed = measurement
            if isinstance(measurement, Measurement):
                posed = attempt(partial(pose, plan, measurement), operator)
            if not isinstance(posed, list):
                if posed is not None:
                    work.finished += 1
                    work.fail(plan.item, posed, outputs=plan.outputs, settings=plan.record)
                yield from [None] * self.num_units_of[plan.item.name]
                continue
            if not self.frame.array_shapes:
                operator = posed[0][1].operator
            yield from units_of(plan, measurement, posed, samples=work.options.samples, seed=work.options.seed)

    def _read_ahead(self) -> Iterator[tuple[Plan, Any]]:
        """Pictures in order: the measurement, what was wrong with it, or None if the picture is finished."""
        read = partial(attempt, partial(load, self.work.options, self.work.channels))
        pending: list[tuple[Plan, Future | None]] = []
        source = iter(self.plans)
        while True:
            while sum(future is not None for _, future in pending) < self.ahead and (plan := next(source, None)):
                finished = plan.item.name in self.work.finished_before
                pending.append((plan, None if finished else self.work.pool.submit(read, plan)))
            if not pending:
                return
            plan, future = pending.pop(0)
            yield plan, None if future is None else future.result()

    # ---- batch sizes

    def _choose_batch_size(self, problem: Problem) -> int:
        """The size asked for, or that of an interrupted run of this job, or what was found before, or is found now."""
        options = self.work.options
        at_most = sum(self.num_units_of.values())
        if options.batch_size is not None:
            return min(options.batch_size, at_most)
        entries = [(self.work.manifest.entries.get(plan.item.name, {}), plan.record) for plan in self.plans]
        # A line that only says that a picture waits has none.
        used = [
            entry["batch_size"]
            for entry, record in entries
            if entry.get("settings") == record and "batch_size" in entry
        ]
        if used:
            return min(used)
        if (known := self.work.sizes.get(*self._identity())) is not None:
            return known
        self.work.report(Event("compile", self.name, self.work.done, "finding the batch size"))
        try:
            self.batch = find_batch_size(partial(self._compile, problem), problem, at_most)
        except (OutOfMemoryError, jax.errors.JaxRuntimeError, _UnsolvableError):
            return 1
        if self.batch.batch_size < at_most:  # otherwise more might be better for another folder
            self.work.sizes.put(self.batch.batch_size, *self._identity())
        return self.batch.batch_size

    def _identity(self) -> tuple[Any, ...]:
        tile = tile_size(self.frame.in_shape, self.work.options.tile)
        solver = self.plans[0].settings.name
        return self.work.prior_name, solver, self.frame.task, self.frame.in_shape, tile, self.shared

    def _compile(self, problem: Problem, size: int) -> BatchSolver:
        work, kept_as = self.work, ("compile seconds", size, *self._identity())
        before = work.sizes.get(*kept_as)
        work.report(Event("compile", self.name, work.done, f"batches of {size}", left=before))
        try:
            batch = BatchSolver(
                self.solver,
                problem,
                batch_size=size,
                shared_operator=self.shared,
                shared_noise=not self.plans[0].noise.estimated,
                steps_per_call=steps_per_call(self.solver.num_steps, self._most_steps_per_call()),
                mesh=local_mesh(size * num_runs_of(self.solver)),
            )
        except (ValueError, TypeError, ArithmeticError, IndexError) as error:  # of pictures of this size
            raise _UnsolvableError(brief(error)) from error
        devices = f" on {batch.num_devices} devices" if batch.num_devices > 1 else ""
        if (took := max(1, round(batch.compile_seconds))) != before:
            work.sizes.put(took, *kept_as)
        seconds = f"batches of {size}{devices} in {batch.compile_seconds:.1f} s"
        work.report(Event("compiled", self.name, work.done, seconds))
        return batch

    def _most_steps_per_call(self) -> int:
        film = self.work.film
        return 20 if film is None or film.frames else max(1, min(20, self.solver.num_steps // film.num_frames))

    # ---- solving

    def _solve(self, slots: list[Unit | None]) -> None:
        """Solves a batch. What does not fit is done again in halves, and so is what follows."""
        pending = [slots]
        while pending and not self.work.stop():
            part = pending.pop(0)
            if len(part) > self.size:
                pending[:0] = [part[i : i + self.size] for i in range(0, len(part), self.size)]
                continue
            units = [None if unit is None or unit.plan.item.name in self.given_up else unit for unit in part]
            if not any(units):
                continue
            self._note_start(units)
            try:
                restored = self._compute(units)
            except _UnsolvableError as error:
                self._give_up(units, error)
                continue
            except (OutOfMemoryError, jax.errors.JaxRuntimeError) as error:
                self.batch = None
                if self.size == 1:
                    self._give_up(units, error)
                    continue
                self.size = -(-self.size // 2)
                if self.work.options.batch_size is None:
                    self.work.sizes.put(self.size, *self._identity())
                self.work.report(Event("retry", self.name, self.work.done, f"batches of {self.size}: {brief(error)}"))
                self.noted.clear()
                pending.insert(0, part)
                continue
            for unit, result in restored:
                name = unit.plan.item.name
                results = self.results.setdefault(name, [])
                results.append((unit, result))
                self.work.begun += 1 / self.num_units_of[name]
                if len(results) == self.num_units_of[name]:
                    self.work.finished, self.work.begun = self.work.finished + 1, max(0.0, self.work.begun - 1)
                    self._conclude(unit, [result for _, result in self.results.pop(name)])

    def _compute(self, units: Sequence[Unit | None]) -> list[tuple[Unit, Restored]]:
        present = [unit for unit in units if unit is not None]
        if self.batch is None or self.batch.batch_size != self.size:
            self.batch = self._compile(present[0].problem, self.size)
        began = self.began = time.perf_counter()
        problems = [unit and unit.problem for unit in units]
        xs = self.batch([unit and unit.key for unit in units], problems, partial(self._report_step, units)).x
        residuals, images = self.batch.rms_residuals(problems, xs), np.asarray(xs)
        seconds = (time.perf_counter() - began) / len(present)
        self.work.steps_left -= len(present) * self.steps_of_sample
        restored = []
        for slot, unit in enumerate(units):
            if unit is not None:
                residual = float(residuals[slot]) * unit.residual_scale
                restored.append((unit, Restored(images[slot][unit.place], residual, seconds)))
        return restored

    def _report_step(self, units: Sequence[Unit | None], step: int, scalars: Scalars, estimate: Any) -> None:
        work, num_steps = self.work, self.solver.num_steps
        present = [i for i, unit in enumerate(units) if unit is not None]
        begun = sum(1 / self.num_units_of[units[i].plan.item.name] for i in present)  # type: ignore[union-attr]
        done = min(1.0, work.done + begun * step / num_steps / work.total)
        slots = {i: units[i].identity for i in present}  # type: ignore[union-attr]
        for log in work.logs:
            log.add(slots, step, scalars)
        if work.film is not None:
            self._film(units, step, estimate)
        # A method's numbers tell nothing about a photo: they are said to those who ask for a log.
        told = {name: values[present] for name, values in scalars.items()} if work.logs else {}
        said = describe_step(step, num_steps, told)
        steps_done = len(present) * self.steps_of_sample * step / num_steps
        left = (time.perf_counter() - self.began) / steps_done * max(0.0, work.steps_left - steps_done)
        work.report(Event("step", self.name, done, said, left=left))

    def _film(self, units: Sequence[Unit | None], step: int, estimate: Callable[[int], np.ndarray]) -> None:
        film: Film = self.work.film  # type: ignore[assignment]
        slot, unit = next((i, unit) for i, unit in enumerate(units) if unit is not None)
        if film.name is None:
            film.name = unit.plan.item.name
        if film.name != unit.plan.item.name or unit.sample or unit.region != unit.plan.regions[0]:
            return
        if step == self.batch.steps_per_call:  # type: ignore[union-attr]
            film.frames.clear()  # of a batch that did not fit
        if not film.wanted(step, self.solver.num_steps):
            return
        film.frames.append((step, tasks.by_name(self.frame.task).result(estimate(slot))[unit.place]))
        if step == self.solver.num_steps:
            film.write(self.work.out)

    # ---- results

    def _note_start(self, units: Sequence[Unit | None]) -> None:
        """Notes before anything is written, so that after a kill what lies there is known to be ours."""
        plans = {unit.plan.item.name: unit.plan for unit in units if unit is not None}
        new = [plan for name, plan in plans.items() if name not in self.noted]
        if new:
            self.work.manifest.add(*({**self._entry(plan, again=1), "status": "started"} for plan in new))
            self.noted |= {plan.item.name for plan in new}

    def _entry(self, plan: Plan, again: int = 0) -> dict[str, Any]:
        entry = self.work.entry(plan)
        return {
            **entry,
            **({"overwrite": True} if self.work.options.overwrite else {}),
            "batch_size": self.size,
            **({"regions": len(plan.regions)} if plan.in_regions else {}),
            "attempts": entry["attempts"] + again,
        }

    def _give_up(self, units: Sequence[Unit | None], error: Exception) -> None:
        h, w, _ = self.frame.in_shape
        reason = brief(error)
        if isinstance(error, OutOfMemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            reason = f"not enough memory for a picture of {w} x {h}; lower --tile."
        for unit in units:
            if unit is not None:
                name = unit.plan.item.name
                self.given_up.add(name)
                self.work.begun -= len(self.results.pop(name, ())) / self.num_units_of[name]
                self.work.finished += 1
                self.work.fail(unit.plan.item, ValueError(reason), **self._entry(unit.plan))

    def _conclude(self, unit: Unit, results: list[Restored]) -> None:
        """Writes one picture's results, of which a unit is the last, and notes it."""
        work, plan, count = self.work, unit.plan, len(unit.plan.regions)
        samples = [results[i : i + count] for i in range(0, len(results), count)]
        images = np.stack([unit.picture([part.x for part in sample]) for sample in samples])  # (K, H, W, C)
        images = tasks.by_name(plan.header.task).result(images)
        entry = self._entry(plan)
        if not np.isfinite(images).all():
            work.fail(plan.item, ValueError(f"the restoration diverged; {plan.settings.remedy}"), **entry)
            return
        result = result_of(images)
        entry |= result.noted
        like = attempt(picture_like, work.options, plan.item, plan.form)
        if isinstance(like, Exception):
            work.fail(plan.item, like, **entry)
            return
        try:
            result.write(work.out, plan.outputs, like=like, bits=plan.record["bits"], channels=work.channels)
            written = digests_written(work.out, plan.outputs)
        except UnwritableError as error:
            work.fail(plan.item, error, **entry, sha256={})  # some may be new and others old
            return
        squares = [np.mean([part.residual**2 for part in sample]) for sample in samples]
        entry["residual"] = [round(float(square) ** 0.5, 6) for square in squares]
        entry["seconds"] = round(sum(part.seconds for part in results), 3)
        work.manifest.add(
            {
                **entry,
                **score_beside(plan.item, result.images[0]),
                "sha256": written,
                "status": "restored",
            }
        )
        work.outcome.done.append(plan.item.name)
        work.report(Event("restored", plan.item.name, work.done))
