"""Restoring folders of pictures, in batches of one compiled size."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax.jobs.batch_sizes import RememberedSizes
from reddiff_jax.jobs.errors import JobError, attempt
from reddiff_jax.jobs.events import Event, Outcome, Report
from reddiff_jax.jobs.finding import find_inputs
from reddiff_jax.jobs.groups import Group
from reddiff_jax.jobs.locking import LOCK, holding
from reddiff_jax.jobs.manifest import MANIFEST, Manifest
from reddiff_jax.jobs.noise_levels import NoiseEstimator, look_of
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.outputs import prepare_folder
from reddiff_jax.jobs.places import check_log
from reddiff_jax.jobs.planning import Plan, make_plan
from reddiff_jax.jobs.resuming import changed_inputs, obstacle_of
from reddiff_jax.jobs.shares import Share
from reddiff_jax.jobs.watching import Film, ScalarEvents, ScalarLog
from reddiff_jax.jobs.work import Work
from reddiff_jax.latents import Latent
from reddiff_jax.priors import Prior
from reddiff_jax.settings import FOR_LATENTS


def restore(
    inputs: Sequence[str | Path],
    prior: Prior | Latent,
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
    stop: Callable[[], bool] = lambda: False,
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
        prior: The diffusion prior, or one of latents.
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
        stop: Asked before each batch, and before each picture is looked at; once it says True the job ends, what is
            finished is noted, and the same call continues.

    Raises:
        JobError: If nothing can be done, the folder cannot be written, or another process works on it.
        ValueError: For settings that make no sense.
    """
    options.check()
    if film < 0:
        raise JobError(f"film is {film} frames but must be at least 0.")
    of_latents = isinstance(prior, Latent)
    if of_latents and options.solver is None and options.tuned is None:
        options = replace(options, solver=FOR_LATENTS)
    share = share or Share()
    out = Path(out)
    path = out / share.file(MANIFEST)

    def say(text: str) -> None:
        report(Event("note", text, 0.0))

    items, failures = find_inputs(inputs, out=out, measured=True, recorded=Manifest(path).sources(), say=say)
    if log is not None:
        check_log(log, inputs, items, (options.mask, options.kernel))
    for failure in failures:
        report(Event("failed", failure.name, 0.0, failure.reason))
    sizes = RememberedSizes(Path(cache) if cache is not None else None)
    with ExitStack() as stack:
        if items:
            prepare_folder(out)
            stack.enter_context(holding(out / share.file(LOCK), count=share.count))
        manifest = Manifest(path)  # of what was done before it was held
        pool = ThreadPoolExecutor(4)
        # After an error nobody waits for what is still being read.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        work = Work(
            out=out,
            prior=prior,
            prior_name=prior_name,
            channels=channels,
            options=options,
            manifest=manifest,
            sizes=sizes,
            outcome=Outcome(failures=failures),
            report=report,
            pool=pool,
            stop=stop,
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
            estimator=NoiseEstimator(None if of_latents else prior, channels),
            noted=dict(manifest.entries),
        )
        in_the_way = partial(obstacle_of, manifest=manifest, out=out, sources=sources, overwrite=options.overwrite)
        looked = pool.map(partial(attempt, look), own)
        for item in own:
            report(Event("look", item.name, 0.0, look_of(options, item)))
            plan = next(looked)
            if stop():
                plans.clear()  # which were to be done again would be noted wrongly without the others
                break
            obstacle = plan
            if isinstance(plan, Plan):  # a result that cannot be read is its picture's trouble alone
                obstacle = attempt(in_the_way, plan)
            if obstacle is None:
                plans.append(plan)
            else:
                work.fail(item, obstacle, noted=not isinstance(plan, Plan))
        again = work.begins_again(plans, overwrite=options.overwrite)
        groups: dict[Any, list[Plan]] = {}
        said: set[str] = set()
        for plan in plans:
            groups.setdefault(plan.kind, []).append(plan)
            if work.finds_finished(plan, again=again, overwrite=options.overwrite):
                continue
            if plan.said not in ("", *said):  # one mask of many pictures is worth one line
                said.add(plan.said)
                report(Event("decided", plan.item.name, 0.0, plan.said))
            if plan.noise.estimated or plan.noise.doubt:
                report(Event("noise", plan.item.name, 0.0, plan.noise.doubt or str(plan.noise)))
            if changed := changed_inputs(plan, manifest):
                report(Event("changed", plan.item.name, 0.0, f"its {' and its '.join(changed)} changed"))
        work.total = max(1, len(plans) - len(work.finished_before))
        # The largest first: what does not fit into memory shows at once.
        by_size = sorted(groups.values(), key=lambda group: -np.prod(group[0].frame.in_shape))
        to_do = [
            Group(work, group) for group in by_size if any(plan.item.name not in work.finished_before for plan in group)
        ]
        work.steps_left = sum(group.steps_to_do for group in to_do)
        if to_do:
            work.tell_versions()
        for group in to_do:
            if not stop():
                group.restore()
        work.leave_the_rest(own)
    return work.outcome
