"""Restorations of a scan's slices: in batches, or as one volume where they are coupled."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax.batching import (
    BatchSolver,
    CompiledRun,
    OutOfMemoryError,
    local_mesh,
    num_runs_of,
    steps_per_call,
)
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.events import Event
from reddiff_jax.jobs.scanning.options import ScanOptions
from reddiff_jax.jobs.scanning.parts import Parts
from reddiff_jax.jobs.scanning.planning import ScanPlan
from reddiff_jax.jobs.scanning.posing import Posed
from reddiff_jax.jobs.work import Ledger
from reddiff_jax.masks import key_of
from reddiff_jax.motion import estimate_motion
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import each_slice
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem, pose
from reddiff_jax.progress import describe_step, scalars_of
from reddiff_jax.running import start
from reddiff_jax.settings import NoiseAwareSettings, Settings
from reddiff_jax.solvers import Averaged, RedDiff, Solver, Step, coupling, langevin_step, proximal_step
from reddiff_jax.volumes import slices

_SECONDS_BETWEEN = 30.0  # of a volume's states that are stored


class StoppedError(Exception):
    """The job was asked to stop; what is done of the scan is stored."""


@dataclass
class Solving:
    """One scan's restorations under way."""

    plan: ScanPlan
    posed: Posed
    settings: Settings
    prior: Prior
    options: ScanOptions
    ledger: Ledger
    parts: Parts
    residuals: list[list[float]]  # of each sample, those of its slices or of its volume

    def restored(self) -> np.ndarray:
        """Restorations (slices, samples, H, W, C).

        Raises:
            ValueError: If one diverged.
            StoppedError: If the job was asked to stop.
        """
        motion = self._motion() if self.options.motion else None
        self.residuals[:] = [[] for _ in range(self.options.samples)]
        if self.options.lam_z:
            volumes = [self._volume(sample, motion) for sample in range(self.options.samples)]
            return np.stack(volumes, axis=1)
        xs = np.stack(list(self._slices()))
        return xs.reshape(-1, self.options.samples, *xs.shape[1:])

    # ---- slices by themselves

    def _slices(self) -> Iterator[np.ndarray]:
        """Each slice's samples, in order; every one has its place in a batch, whether it is to be done or not."""
        options, problems = self.options, self.posed.problems
        solver = self.settings.solver(self.prior)
        key = key_of(self.plan.item.name, options.seed)
        count = len(problems) * options.samples
        like = jax.ShapeDtypeStruct(problems[0].operator.in_shape, jnp.float32)
        of_unit = {"x": like, "residual": jax.ShapeDtypeStruct((), jnp.float32)}
        found = [self.parts.get(f"unit{number}", of_unit) for number in range(count)]
        batch = self._batch_solver(solver, key) if None in found else None
        size = options.batch_size
        for first in range(0, count, size):
            units = range(first, min(first + size, count))
            todo = [number for number in units if found[number] is None]
            if todo and batch is not None:
                self._check_stop()
                slots: list[Problem | None] = [
                    problems[number // options.samples] if number in todo else None for number in units
                ]
                keys = [jax.random.fold_in(key, number) for number in units]
                xs = batch(keys, slots, self._watch(units, todo, solver.num_steps, first / count, len(todo) / count)).x
                residuals, xs = batch.rms_residuals(slots, xs), np.asarray(xs)
                for number in todo:
                    found[number] = {"x": xs[number - first], "residual": np.float32(residuals[number - first])}
                    self._check_finite(xs[number - first], f"slice {number // options.samples}")
                    self.parts.put(f"unit{number}", found[number])
            for number in units:
                self.residuals[number % options.samples].append(float(found[number]["residual"]))
                yield found[number]["x"]

    def _batch_solver(self, solver: Solver, key: jax.Array) -> BatchSolver:
        size = self.options.batch_size
        try:
            return BatchSolver(
                solver,
                self.posed.problems[0],
                batch_size=size,
                steps_per_call=steps_per_call(solver.num_steps),
                mesh=local_mesh(size * num_runs_of(solver)),
                key=key,
                keep=True,
            )
        except OutOfMemoryError as error:
            raise JobError(f"{error} Lower --batch-size or --tile.") from None

    def _watch(self, units: range, todo: list[int], num_steps: int, done: float, share: float) -> Callable[..., None]:
        """What is logged and reported after each call of a batch."""

        def on_step(step: int, scalars: Any, _: Any) -> None:
            samples = self.options.samples
            identities = {
                number - units[0]: {
                    "name": self.plan.item.name,
                    "sample": number % samples,
                    "slice": number // samples,
                }
                for number in todo
            }
            self._tell(identities, step, num_steps, scalars, done + share * step / num_steps)

        return on_step

    # ---- slices as one volume

    def _motion(self) -> np.ndarray:
        """Flows between the frames, from those that are restored one by one."""
        shape = self.posed.problems[0].operator.in_shape
        like = jax.ShapeDtypeStruct((len(self.posed.problems) - 1, *shape[:2], 2), jnp.float32)
        flows = self.parts.get("motion", like)
        if flows is None:
            self.residuals[:] = [[] for _ in range(self.options.samples)]
            frames = list(self._slices())[:: self.options.samples]
            flows = estimate_motion(np.stack(frames))
            self.parts.put("motion", flows)
        return flows

    def _volume(self, sample: int, motion: np.ndarray | None) -> np.ndarray:
        """One restoration of the coupled slices (D, H, W, C), whose state is stored from time to time."""
        problem, solver = coupled(self.posed.problems), self._coupling_solver(motion)
        key = jax.random.fold_in(key_of(self.plan.item.name, self.options.seed), sample)
        like = {
            "x": jax.ShapeDtypeStruct(problem.operator.in_shape, jnp.float32),
            "residual": jax.ShapeDtypeStruct((), jnp.float32),
        }
        found = self.parts.get(f"volume{sample}", like)
        if found is None:
            self._check_stop()
            run = CompiledRun(key, solver, problem, steps_per_call=steps_per_call(solver.num_steps), keep=True)
            name = f"state{sample}"
            state = self.parts.get(name, jax.eval_shape(start, key, solver, problem))
            stored = time.monotonic()

            def on_call(step: int, info: Any, state: Any) -> None:
                nonlocal stored
                scalars = {name: np.asarray(values)[None] for name, values in scalars_of(info).items()}
                done = (sample + step / solver.num_steps) / self.options.samples
                self._tell({0: {"name": self.plan.item.name, "sample": sample}}, step, solver.num_steps, scalars, done)
                if step < solver.num_steps:
                    stops = self.ledger.stop()
                    if stops or time.monotonic() - stored > _SECONDS_BETWEEN:
                        self.parts.put(name, state)
                        stored = time.monotonic()
                    if stops:
                        raise StoppedError

            x = run(key, problem, on_call, state=state).x
            self._check_finite(np.asarray(x), "the volume")
            residual = jax.jit(Problem.rms_residual)(problem, x)
            found = {"x": np.asarray(x), "residual": np.float32(residual)}
            self.parts.put(f"volume{sample}", found)
        self.residuals[sample].append(float(found["residual"]))
        return found["x"]

    def _coupling_solver(self, motion: np.ndarray | None) -> Solver:
        """The solver of a volume: noise-aware, with the coupling in its step."""
        settings = self.settings
        assert isinstance(settings, NoiseAwareSettings)
        make = langevin_step if settings.sample else proximal_step
        step = make(num_cg=settings.num_cg, coupling=coupling(self.options.lam_z, motion=motion))
        solver = settings.solver(slices(self.prior, batch=self.options.batch_size))
        if isinstance(solver, Averaged):
            return replace(solver, solver=_with_step(solver.solver, step))
        return _with_step(solver, step)

    # ---- both

    def _tell(
        self, identities: dict[int, dict[str, Any]], step: int, num_steps: int, scalars: Any, done: float
    ) -> None:
        for log in self.ledger.logs:
            log.add(identities, step, scalars)
        said = describe_step(step, num_steps, {name: values[list(identities)] for name, values in scalars.items()})
        self.ledger.begun = done
        self.ledger.report(Event("step", self.plan.item.name, self.ledger.done, said))

    def _check_stop(self) -> None:
        if self.ledger.stop():
            raise StoppedError

    def _check_finite(self, x: np.ndarray, what: str) -> None:
        if not np.isfinite(x).all():
            raise ValueError(f"{what} diverged; try a larger --sigma.")


def coupled(problems: list[Problem]) -> Problem:
    """The slices as one problem; their noise has one level."""
    level = float(np.median([float(each.noise.sigma_y) for each in problems]))  # type: ignore[attr-defined]
    operator = each_slice([each.operator for each in problems])  # type: ignore[misc]
    return pose(jnp.stack([each.y for each in problems]), operator, gaussian(level))


def _with_step(solver: Solver, step: Step) -> RedDiff:
    assert isinstance(solver, RedDiff)
    return replace(solver, step_rule=step)
