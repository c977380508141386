"""Restoring scans: k-space, sinograms and volumes as instruments write them, in the format that came in."""

import glob
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import scans
from reddiff_jax.batching import OutOfMemoryError
from reddiff_jax.jobs.errors import JobError, attempt
from reddiff_jax.jobs.events import Event, Outcome, Report
from reddiff_jax.jobs.locking import LOCK, holding
from reddiff_jax.jobs.manifest import MANIFEST, Manifest
from reddiff_jax.jobs.outputs import UnwritableError, digests_written, prepare_folder, writing_result
from reddiff_jax.jobs.places import check_log
from reddiff_jax.jobs.resuming import changed_inputs, obstacle_of
from reddiff_jax.jobs.scanning.options import ScanOptions
from reddiff_jax.jobs.scanning.parts import Parts
from reddiff_jax.jobs.scanning.planning import Planner, ScanPlan, beside, find_scans
from reddiff_jax.jobs.scanning.solving import Solving, StoppedError
from reddiff_jax.jobs.shares import Share
from reddiff_jax.jobs.watching import ScalarEvents, ScalarLog
from reddiff_jax.jobs.work import Ledger
from reddiff_jax.priors import Prior, gray_prior, tiled
from reddiff_jax.scans.files import SUFFIXES, suffix_of
from reddiff_jax.scans.video import SUFFIXES as CLIPS

_PARTIAL = ".partial_"


def restore_scans(
    inputs: Sequence[str | Path],
    prior: Prior,
    *,
    out: str | Path,
    options: ScanOptions,
    prior_name: str = "",
    channels: int = 3,
    share: Share | None = None,
    log: str | Path | None = None,
    tensorboard: str | Path | None = None,
    report: Report = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Restores scans into files of their names and formats, and ``manifest.jsonl``.

    Killed at any moment and called again, it does what is missing, within a scan the slices that are missing and of
    coupled slices the steps, and gives the numbers of an unbroken run, bit for bit on the same devices.

    Args:
        inputs: Files of scans, and folders of them.
        prior: The diffusion prior.
        out: Output folder. What it holds of the same job is kept; the results of other settings are refused.
        options: How.
        prior_name: What identifies the prior, for the manifest: see ``fingerprint``.
        channels: Channels of the prior's pictures: 3 go by ``rd.gray_prior``.
        share: Which of the inputs are this process's, of several that share the output folder; all if None.
        log: File that gets a JSON line for each step of each slice, with the scalars of the solver's Info.
        tensorboard: Folder that gets the same for TensorBoard. Needs tensorboardX.
        report: Called with progress.
        stop: Asked before each batch and between the steps of a volume; once it says True the job ends, and the same
            call continues.

    Raises:
        JobError: If the options do not go together, there is nothing to do, the folder cannot be written, or another
            process works on it.
    """
    options.check()
    out, share = Path(out), share or Share()
    items, failures = find_scans(inputs, options, out.resolve())
    if not items and not failures:
        raise JobError(f"there are no files of scans; they end in {', '.join(CLIPS if options.clips else SUFFIXES)}.")
    if log is not None:
        check_log(log, inputs, items, (options.mask,))
    for failure in failures:
        report(Event("failed", failure.name, 0.0, failure.reason))
    with ExitStack() as stack:
        if items:
            prepare_folder(out)
            stack.enter_context(holding(out / share.file(LOCK), count=share.count))
        manifest = Manifest(out / share.file(MANIFEST))
        ledger = Ledger(out=out, manifest=manifest, outcome=Outcome(failures=failures), report=report, stop=stop)
        if log is not None:
            ledger.logs.append(ScalarLog(Path(log).with_name(share.file(Path(log).name))))
        if tensorboard is not None:
            events = ScalarEvents(Path(tensorboard), options.samples)
            stack.callback(events.close)
            ledger.logs.append(events)
        planner, own = Planner(options, prior_name, manifest), share.of(items)
        for plan in _to_do(ledger, planner, own):
            if stop():
                break
            try:
                _restore(ledger, planner, plan, prior, channels)
            except StoppedError:
                break
        ledger.leave_the_rest(own)
    return ledger.outcome


def _to_do(ledger: Ledger, planner: Planner, items: Sequence[Any]) -> list[ScanPlan]:
    """Plans of the scans that are not finished; what is wrong with one is noted."""
    overwrite = planner.options.overwrite
    sources = {item.path.resolve() for item in items}
    in_the_way = partial(obstacle_of, manifest=ledger.manifest, out=ledger.out, sources=sources, overwrite=overwrite)
    plans = []
    for item in items:
        if ledger.stop():
            return []  # which were to be done again would be noted wrongly without the others
        ledger.report(Event("look", item.name, 0.0, "reading the scan"))
        plan = attempt(planner.plan, item)
        obstacle = attempt(in_the_way, plan) if isinstance(plan, ScanPlan) else plan
        if obstacle is None:
            plans.append(plan)
        else:
            ledger.fail(item, obstacle, noted=not isinstance(plan, ScanPlan))
    again = ledger.begins_again(plans, overwrite=overwrite)
    to_do = [plan for plan in plans if not ledger.finds_finished(plan, again=again, overwrite=overwrite)]
    for plan in to_do:
        if changed := changed_inputs(plan, ledger.manifest):
            ledger.report(Event("changed", plan.item.name, 0.0, f"its {' and its '.join(changed)} changed"))
    if to_do:
        ledger.tell_versions()
    ledger.total = max(1, len(to_do))
    return to_do


def _restore(ledger: Ledger, planner: Planner, plan: ScanPlan, prior: Prior, channels: int) -> None:
    """Restores one scan; what is wrong with it alone is noted."""
    options, name = planner.options, plan.item.name
    entry = {
        **ledger.entry(plan),
        **({"overwrite": True} if options.overwrite else {}),
        "batch_size": options.batch_size,
    }
    entry["attempts"] += 1
    ledger.manifest.add({**entry, "status": "started"})
    try:
        posed = planner.posed(plan.item)
        settings = options.settings(posed.problems[0])
        ledger.report(Event("decided", name, ledger.done, f"{plan.item.path}: {posed.said}"))
        ledger.report(Event("settings", name, ledger.done, f"{len(posed.problems)} slices", settings))
        # Slices are gray, or real and imaginary parts; frames may be in colour.
        as_it_is = channels in (1, posed.problems[0].operator.in_shape[2])
        used = tiled(prior if as_it_is else gray_prior(prior), options.tile)
        parts = Parts(ledger.out, name, {**plan.record, "batch_size": options.batch_size})
        solving = Solving(plan, posed, settings, used, options, ledger, parts, [])
        xs = solving.restored()
        stack = np.stack([[posed.images(number, x) for x in each] for number, each in enumerate(xs)])  # (D, K, H, W)
        write(ledger.out / name, posed.finished(stack.mean(axis=1)), posed.like)
        if options.samples > 1:
            deviation = np.abs(stack).std(axis=1, ddof=1)
            write(ledger.out / beside(name), posed.finished(deviation), posed.like)
        written = digests_written(ledger.out, plan.outputs)
    except (ValueError, TypeError, ArithmeticError, IndexError, OutOfMemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, JobError) and not isinstance(error, UnwritableError):
            raise
        ledger.fail(plan.item, error, **entry)
    else:
        squares = [np.mean(np.square(each)) for each in solving.residuals]
        entry["residual"] = [round(float(square) ** 0.5, 6) for square in squares]
        ledger.manifest.add({**entry, "sha256": written, "status": "restored"})
        parts.clear()
        ledger.outcome.done.append(name)
        ledger.report(Event("restored", name, ledger.done))
    ledger.finished, ledger.begun = ledger.finished + 1, 0.0


def write(target: Path, images: np.ndarray, like: Any) -> None:
    """Writes beside the target and renames, so that nothing half written has its name."""
    partial = target.with_name(_PARTIAL + target.name)
    with writing_result(target):
        if suffix_of(target) == "":  # a folder of a series
            shutil.rmtree(partial, ignore_errors=True)
            scans.write_like(partial, images, like)
            target.mkdir(exist_ok=True)
            for each in sorted(partial.iterdir()):
                os.replace(each, target / each.name)
            partial.rmdir()
            return
        scans.write_like(partial, images, like)
        stem = target.name[: len(target.name) - len(suffix_of(target))]
        for each in target.parent.glob(f"{_PARTIAL}{glob.escape(stem)}.*"):
            os.replace(each, target.with_name(each.name.removeprefix(_PARTIAL)))
