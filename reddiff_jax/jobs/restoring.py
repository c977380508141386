"""Restoring folders of pictures, in batches of one compiled size."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import masks, measurements, panels, pictures, tasks
from reddiff_jax._versions import versions
from reddiff_jax.batching import BatchSolver, OutOfMemoryError, Scalars, local_mesh, steps_per_call
from reddiff_jax.jobs.batch_sizes import RememberedSizes, find_batch_size
from reddiff_jax.jobs.errors import JobError, brief, with_path
from reddiff_jax.jobs.events import Event, Failure, Outcome, Report
from reddiff_jax.jobs.finding import Item, find_inputs
from reddiff_jax.jobs.framing import corner
from reddiff_jax.jobs.manifest import MANIFEST, Manifest
from reddiff_jax.jobs.noise_levels import NoiseEstimator
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.outputs import REFERENCES, UnwritableError, digests, prepare_folder, writing_result
from reddiff_jax.jobs.planning import (
    Plan,
    changed_inputs,
    is_being_overwritten,
    is_finished,
    load,
    make_plan,
    obstacle_of,
    picture_like,
    tile_size,
)
from reddiff_jax.jobs.regions import Region, pasted
from reddiff_jax.jobs.scoring import score_arrays
from reddiff_jax.jobs.shares import Share
from reddiff_jax.jobs.watching import Film, ScalarEvents, ScalarLog
from reddiff_jax.measurements import Measurement
from reddiff_jax.operators import Operator
from reddiff_jax.priors import Prior, gray_prior, tiled
from reddiff_jax.problems import Problem
from reddiff_jax.progress import describe_step
from reddiff_jax.solvers import Solver


def restore(
    inputs: Sequence[str | Path],
    prior: Prior,
    *,
    out: str | Path,
    options: Options,
    prior_name: str = "",
    channels: int = 3,
    share: Share | None = None,
    cache: str | Path | None = None,
    log: str | Path | None = None,
    tensorboard: str | Path | None = None,
    film: int = 0,
    report: Report = lambda event: None,
) -> Outcome:
    """Restores degraded pictures and measurement files: ``NAME.png`` each, and ``manifest.jsonl``.

    A picture comes out as it came in: bits, grayness, alpha, colour profile and EXIF; floating-point numbers, and what
    ``options.bits`` wants so, as ``NAME.tif``.

    With several samples ``NAME_0.png``, ``NAME_1.png``, ..., their mean ``NAME_mean.png``, the standard deviation
    ``NAME_std.png`` (a gray picture, white = its largest value, which its metadata and the manifest tell), and
    ``NAME_panel.png``, which shows them side by side.

    Killed at any moment and called again, it does what is missing and gives the files of an unbroken run, bit for bit
    on the same devices. What cannot be read, diverges, or does not fit into memory even alone is noted and passed over.

    Args:
        inputs: Files and folders.
        prior: The diffusion prior.
        out: Output folder. What it holds of the same job is kept; the results of other settings are refused.
        options: How.
        prior_name: What identifies the prior, for the manifest: see ``fingerprint``.
        channels: Channels of the prior's pictures.
        share: Which of the inputs are this process's, of several that share the output folder; all if None.
        cache: Folder where batch sizes that were found are remembered.
        log: File that gets a JSON line for each step of each picture, with the scalars of the solver's Info.
        tensorboard: Folder that gets the same for TensorBoard, a run for each picture. Needs tensorboardX.
        film: Frames of a film of the first picture's estimates, ``NAME_film.png`` and ``NAME_film.gif``; none if 0.
        report: Called with progress.

    Raises:
        JobError: If nothing can be done, or the folder cannot be written.
        ValueError: For settings that make no sense.
    """
    options.check()
    if film < 0:
        raise JobError(f"film is {film} frames but must be at least 0.")
    share = share or Share()
    out = Path(out)
    manifest = Manifest(out / share.file(MANIFEST))

    def say(text: str) -> None:
        report(Event("note", text, 0.0))

    items, failures = find_inputs(inputs, out=out, measured=True, recorded=manifest.sources(), say=say)
    if items:
        prepare_folder(out)
    for failure in failures:
        report(Event("failed", failure.name, 0.0, failure.reason))
    sizes = RememberedSizes(Path(cache) if cache is not None else None)
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(4)
        # After an error nobody waits for what is still being read.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        work = _Work(
            out, prior, prior_name, channels, options, manifest, sizes, Outcome(failures=failures), report, pool
        )
        if log is not None:
            work.logs.append(ScalarLog(Path(log).with_name(share.file(Path(log).name))))
        if tensorboard is not None:
            events = ScalarEvents(Path(tensorboard), options.samples)
            stack.callback(events.close)
            work.logs.append(events)
        if film:
            work.film = Film(film)
        own = share.of(items)
        plans = []
        sources = {item.path.resolve() for item in items}
        look = partial(
            make_plan,
            options,
            prior_name,
            channels,
            estimator=NoiseEstimator(prior, channels),
            noted=dict(manifest.entries),
        )
        looked = pool.map(partial(_attempt, look), own)
        said = set()
        for item, plan in zip(own, looked, strict=True):
            obstacle = obstacle_of(plan, manifest, out, sources, options) if isinstance(plan, Plan) else plan
            if obstacle is None:
                plans.append(plan)
                if plan.said not in ("", *said):  # one mask of many pictures is worth one line
                    said.add(plan.said)
                    report(Event("decided", plan.item.name, 0.0, plan.said))
                if plan.noise.estimated or plan.noise.doubt:
                    report(Event("noise", item.name, 0.0, plan.noise.doubt or str(plan.noise)))
            else:
                work.fail(item, obstacle, noted=not isinstance(plan, Plan))
        again = options.overwrite and not is_being_overwritten(plans, manifest)
        if again and plans:
            # An interrupted job is told by these lines which pictures it has done again already.
            manifest.add(*({**work.entry(plan), "overwrite": True, "status": "waiting"} for plan in plans))
        groups: dict[Any, list[Plan]] = {}
        for plan in plans:
            groups.setdefault(plan.kind, []).append(plan)
            if not again and is_finished(plan, manifest, out, overwrite=options.overwrite):
                work.finished_before.add(plan.item.name)
                work.outcome.skipped.append(plan.item.name)
                report(Event("skipped", plan.item.name, 0.0))
            elif changed := changed_inputs(plan, manifest):
                report(Event("changed", plan.item.name, 0.0, f"its {' and its '.join(changed)} changed"))
        work.total = max(1, len(plans) - len(work.finished_before))
        # The largest first: what does not fit into memory shows at once.
        by_size = sorted(groups.values(), key=lambda group: -np.prod(group[0].frame.in_shape))
        to_do = [
            _Group(work, group)
            for group in by_size
            if any(plan.item.name not in work.finished_before for plan in group)
        ]
        work.steps_left = sum(group.num_left * options.samples * group.steps_of_sample for group in to_do)
        if to_do and (earlier := _other_versions(manifest, work.outcome.skipped)):
            say(
                f"{len(earlier)} pictures found done are of other versions ({next(iter(earlier.values()))}); with "
                "--overwrite all are of these."
            )
        for group in to_do:
            group.restore()
    return work.outcome


def _other_versions(manifest: Manifest, names: Sequence[str]) -> dict[str, str]:
    """Pictures that were restored by other versions than these, with the first package that differs."""
    now, found = versions(), {}
    for name in names:
        then = manifest.entries.get(name, {}).get("versions", now)
        for package, version in now.items():
            if then.get(package) != version:
                found.setdefault(name, f"{package} {then.get(package)}, now {version}")
    return found


_OF_RESULTS = ("settings", "options", "outputs", "sha256", "versions")
_NUM_SHOWN, _SHOWN_SIDE = 4, 256  # samples of a panel, and their pixels


@dataclass
class _Work:
    """A job under way: what its groups of pictures share."""

    out: Path
    prior: Prior
    prior_name: str
    channels: int
    options: Options
    manifest: Manifest
    sizes: RememberedSizes
    outcome: Outcome
    report: Report
    pool: ThreadPoolExecutor
    logs: list[ScalarLog | ScalarEvents] = field(default_factory=list)
    film: Film | None = None
    finished_before: set[str] = field(default_factory=set)
    total: int = 1
    finished: int = 0
    steps_left: float = 0.0  # of all samples, each times its pixels: what time is taken to be in proportion to
    begun: float = 0.0  # what is done of the pictures that are not finished

    @property
    def done(self) -> float:
        return min(1.0, (self.finished + self.begun) / self.total)

    def entry(self, plan: Plan) -> dict[str, Any]:
        """What the manifest says of a picture, whatever becomes of it."""
        return {
            "name": plan.item.name,
            "source": str(plan.item.path),
            "outputs": plan.outputs,
            "settings": plan.record,
            "options": plan.asked,
            "versions": versions(),
            "attempts": self.manifest.entries.get(plan.item.name, {}).get("attempts", 0),
        }

    def fail(self, item: Item, error: BaseException, noted: bool = True, **more: Any) -> None:
        """Notes and reports a picture that could not be restored; not in the manifest where another's results are."""
        reason = with_path(item.path, error)
        self.outcome.failures.append(Failure(item.name, reason))
        if noted:
            before = self.manifest.entries.get(item.name, {})
            known = {name: before[name] for name in _OF_RESULTS if name in before}  # what lies there is still ours
            entry = {**known, "name": item.name, "source": str(item.path), **more, "status": "failed", "error": reason}
            self.manifest.add(entry)
        self.report(Event("failed", item.name, self.done, reason))


@dataclass
class _Unit:
    """One sample of one picture, or of one of its regions."""

    plan: Plan
    measurement: Measurement  # the picture's
    region: Region
    problem: Problem
    place: tuple[slice, slice]  # of the region in what is restored
    sample: int
    key: jax.Array
    residual_scale: float

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, for logs."""
        at = {"region": [self.region.top, self.region.left]} if self.plan.in_regions else {}
        return {"name": self.plan.item.name, "sample": self.sample, **at}


@dataclass
class _Restored:
    """A unit's result."""

    x: np.ndarray  # (h, w, C), of the region
    residual: float
    seconds: float


class _Group:
    """Pictures of one shape and equal settings, which share a compilation.

    Every sample of every picture has its slot in one of the batches, whether it is still to be done or not: a continued
    run computes in the same slots of the same programs as an unbroken one, and so the same bits.
    """

    def __init__(self, work: _Work, plans: Sequence[Plan]):
        self.work, self.plans, self.frame = work, plans, plans[0].frame
        tile = tile_size(self.frame.in_shape, work.options.tile)
        prior = gray_prior(work.prior) if self.frame.in_shape[2] < work.channels else work.prior
        prior = prior if tile is None else tiled(prior, tile, tile // 4)
        self.solver: Solver = plans[0].settings.solver(prior)
        # A framed picture's operator knows the picture's size.
        self.shared = not self.frame.array_shapes and self.frame == plans[0].header
        self.units_of = {plan.item.name: work.options.samples * len(plan.regions) for plan in plans}
        h, w, _ = self.frame.in_shape
        sigmas = [f"{sigma:g}" for sigma in sorted({plan.noise.sigma for plan in plans})]
        self.name = f"{self.frame.task}, sigma {' to '.join(dict.fromkeys((sigmas[0], sigmas[-1])))}, {w} x {h}"
        self.size, self.ahead = 1, 8
        self.batch: BatchSolver | None = None
        self.results: dict[str, list[tuple[_Unit, _Restored]]] = {}
        self.noted: set[str] = set()
        self.given_up: set[str] = set()
        self.num_left = sum(plan.item.name not in work.finished_before for plan in plans)
        self.steps_of_sample = self.solver.num_steps * h * w
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
        first: list[_Unit | None] = []
        while not any(first) and (following := list(islice(units, 1))):
            first += following
        if not first or first[-1] is None:
            return
        self.size = self._choose_batch_size(first[-1].problem)
        self.ahead = 2 * self.size
        units = chain(first, units)
        while slots := list(islice(units, self.size)):
            self._solve(slots)

    def _units(self) -> Iterator[_Unit | None]:
        """Samples of pictures in order, the next pictures being read meanwhile; None for what is not to be done."""
        work, operator = self.work, None
        for plan, measurement in self._read_ahead():
            posed = measurement
            if isinstance(measurement, Measurement):
                posed = _attempt(partial(_pose, plan, measurement), operator)
            if not isinstance(posed, list):
                if posed is not None:
                    work.finished += 1
                    work.fail(plan.item, posed, outputs=plan.outputs, settings=plan.record)
                yield from [None] * self.units_of[plan.item.name]
                continue
            if not self.frame.array_shapes:
                operator = posed[0][1].operator
            key = masks.key_of(plan.item.stem, work.options.seed)
            for k in range(work.options.samples):
                for region, problem, place in posed:
                    own = key
                    if plan.in_regions:
                        own = jax.random.fold_in(jax.random.fold_in(key, region.top), region.left)
                    # A frame's residual is zero where nothing was measured.
                    size = np.prod(region.header(plan.header).y_shape)
                    scale = float((np.prod(self.frame.y_shape) / size) ** 0.5)
                    yield _Unit(plan, measurement, region, problem, place, k, jax.random.fold_in(own, k), scale)

    def _read_ahead(self) -> Iterator[tuple[Plan, Any]]:
        """Pictures in order: the measurement, what was wrong with it, or None if the picture is finished."""
        read = partial(_attempt, partial(load, self.work.options, self.work.channels))
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
        options, devices = self.work.options, jax.local_device_count()
        at_most = sum(self.units_of.values())
        if options.batch_size is not None:
            whole = -(-at_most // devices) * devices if options.batch_size >= devices else at_most
            return min(options.batch_size, whole)
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
        except (OutOfMemoryError, jax.errors.JaxRuntimeError):
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
        batch = BatchSolver(
            self.solver,
            problem,
            batch_size=size,
            shared_operator=self.shared,
            shared_noise=not self.plans[0].noise.estimated,
            steps_per_call=steps_per_call(self.solver.num_steps, self._most_steps_per_call()),
            mesh=local_mesh(size),
        )
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

    def _solve(self, slots: list[_Unit | None]) -> None:
        """Solves a batch. What does not fit is done again in halves, and so is what follows."""
        pending = [slots]
        while pending:
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
                self.work.begun += 1 / self.units_of[name]
                if len(results) == self.units_of[name]:
                    self.work.finished, self.work.begun = self.work.finished + 1, max(0.0, self.work.begun - 1)
                    self._conclude(unit, [result for _, result in self.results.pop(name)])

    def _compute(self, units: Sequence[_Unit | None]) -> list[tuple[_Unit, _Restored]]:
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
                restored.append((unit, _Restored(images[slot][unit.place], residual, seconds)))
        return restored

    def _report_step(self, units: Sequence[_Unit | None], step: int, scalars: Scalars, estimate: Any) -> None:
        work, num_steps = self.work, self.solver.num_steps
        present = [i for i, unit in enumerate(units) if unit is not None]
        begun = sum(1 / self.units_of[units[i].plan.item.name] for i in present)  # type: ignore[union-attr]
        done = min(1.0, work.done + begun * step / num_steps / work.total)
        slots = {i: units[i].identity for i in present}  # type: ignore[union-attr]
        for log in work.logs:
            log.add(slots, step, scalars)
        if work.film is not None:
            self._film(units, step, estimate)
        said = describe_step(step, num_steps, {name: values[present] for name, values in scalars.items()})
        steps_done = len(present) * self.steps_of_sample * step / num_steps
        left = (time.perf_counter() - self.began) / steps_done * max(0.0, work.steps_left - steps_done)
        work.report(Event("step", self.name, done, said, left=left))

    def _film(self, units: Sequence[_Unit | None], step: int, estimate: Callable[[int], np.ndarray]) -> None:
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

    def _note_start(self, units: Sequence[_Unit | None]) -> None:
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

    def _give_up(self, units: Sequence[_Unit | None], error: Exception) -> None:
        h, w, _ = self.frame.in_shape
        reason = brief(error)
        if isinstance(error, OutOfMemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            reason = f"not enough memory for a picture of {w} x {h}; lower --tile."
        for unit in units:
            if unit is not None:
                name = unit.plan.item.name
                self.given_up.add(name)
                self.work.begun -= len(self.results.pop(name, ())) / self.units_of[name]
                self.work.finished += 1
                self.work.fail(unit.plan.item, ValueError(reason), **self._entry(unit.plan))

    def _conclude(self, unit: _Unit, results: list[_Restored]) -> None:
        """Writes one picture's results, of which a unit is the last, and notes it."""
        work, plan, count = self.work, unit.plan, len(unit.plan.regions)
        samples = [results[i : i + count] for i in range(0, len(results), count)]
        images = np.stack([_image(unit, [part.x for part in sample]) for sample in samples])  # (K, H, W, C)
        images = tasks.by_name(plan.header.task).result(images)
        entry = self._entry(plan)
        if not np.isfinite(images).all():
            work.fail(plan.item, ValueError(f"the restoration diverged; {plan.settings.remedy}"), **entry)
            return
        written, words = [*images], {}
        if len(samples) > 1:
            clipped = np.clip(images, -1, 1)
            mean, std = clipped.mean(axis=0), clipped.std(axis=0, ddof=1).mean(axis=-1, keepdims=True)  # (H, W, 1)
            white = entry["std_white"] = float(std.max())
            std = 2 * std / max(white, 1e-12) - 1
            words = {
                plan.outputs[-2]: {"Comment": f"standard deviation of pixels in [-1, 1]: black 0, white {white:.6g}"}
            }
            written += [mean, std, pictures.to_float(_samples_panel(images, mean, std, white))]
        like = _attempt(picture_like, work.options, plan)
        if isinstance(like, Exception):
            work.fail(plan.item, like, **entry)
            return
        bits, num_images = plan.record["bits"], len(images) + (len(images) > 1)  # samples and their mean
        try:
            with writing_result(work.out / plan.outputs[0]):
                (work.out / plan.outputs[0]).parent.mkdir(parents=True, exist_ok=True)
                for i, (output, x) in enumerate(zip(plan.outputs, written, strict=True)):
                    options = {"like": like, "bits": bits} if i < num_images else {}
                    if like is not None and not like.form.gray and x.shape[-1] < work.channels:
                        x = np.repeat(x, work.channels, axis=-1)  # gray in a file of colours
                    pictures.write_picture(work.out / output, x, text=words.get(output), **options)
        except UnwritableError as error:
            work.fail(plan.item, error, **entry, sha256={})  # some may be new and others old
            return
        squares = [np.mean([part.residual**2 for part in sample]) for sample in samples]
        entry["residual"] = [round(float(square) ** 0.5, 6) for square in squares]
        entry["seconds"] = round(sum(part.seconds for part in results), 3)
        work.manifest.add(
            {**entry, **_scores(plan, written[0]), "sha256": digests(work.out, plan.outputs), "status": "restored"}
        )
        work.outcome.done.append(plan.item.name)
        work.report(Event("restored", plan.item.name, work.done))


def _pose(plan: Plan, measurement: Measurement, shared: Operator | None) -> list[tuple[Region, Problem, Any]]:
    """The inverse problem of each region of a picture, and where the region lies in what is restored."""
    posed = []
    for region in plan.regions:
        part = region.measured(measurement)
        top, left = corner(part, plan.frame)
        height, width = region.height, region.width
        place = slice(top, top + height), slice(left, left + width)
        posed.append((region, plan.pose(part, shared), place))
    return posed


def _image(unit: _Unit, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The picture that a sample's parts make."""
    if not unit.plan.keeps_seen:
        return parts[0]
    measurement = unit.measurement
    return pasted(measurement.y, measurement.arrays["mask"], unit.plan.regions, parts)


def _samples_panel(images: np.ndarray, mean: np.ndarray, std: np.ndarray, white: float) -> np.ndarray:
    """The first samples, the mean, and the standard deviation, uint8 (H, W, 3)."""
    shown = images[:_NUM_SHOWN]
    cells = [pictures.shrink(x, _SHOWN_SIDE) for x in (*shown, mean, std)]
    columns = [*(f"sample {i}" for i in range(len(shown))), f"mean of {len(images)}", "standard deviation"]
    captions = [""] * (len(cells) - 1) + [f"black 0, white {white:.3g}"]
    return panels.panel([cells], columns=columns, rows=[""], captions=[captions], min_cell=160)


def _scores(plan: Plan, x: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM of the (first) restoration, where ``measure`` has left the original."""
    path = plan.item.path
    original = path.parents[plan.item.name.count("/")] / REFERENCES / f"{plan.item.name}.png"
    if path.suffix != measurements.SUFFIX or not original.is_file():
        return {}
    reference = _attempt(partial(pictures.read_picture, channels=x.shape[-1]), original)
    if not isinstance(reference, np.ndarray) or reference.shape != x.shape:
        return {}
    return {name: round(value, 4) for name, value in score_arrays(np.clip(x, -1, 1), reference).items()}


def _attempt(fn: Callable[..., Any], *arguments: Any) -> Any:
    """The result, or what was wrong with the input."""
    try:
        return fn(*arguments)
    except Exception as error:
        # Readers raise nearly anything for a stranger's broken file, and one file must not end the others' work.
        return error
