"""The loop of training: batches, updates by an engine, reports, checkpoints.

Batch k is a pure function of (seed, k), so a killed run continues on the same data in the same order.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from reddiff_jax.schedules import Schedule
from reddiff_jax.training.crops import Crops
from reddiff_jax.training.engines import MakeEngine, TrainState, init_state, jax_engine
from reddiff_jax.training.objective import TrainingConfig


@dataclass(frozen=True)
class Report:
    """Progress so far."""

    step: int
    loss: float  # mean over the updates since the last report; NaN before the first
    images_per_second: float
    doing: str = ""  # what else is being done, "compiling"; loss and rate are then the last ones


def train(
    net: nn.Module,
    schedule: Schedule,
    crops: Crops,
    config: TrainingConfig,
    checkpoints: str | Path,
    *,
    params: Any = None,
    engine: MakeEngine = jax_engine,
    report: Callable[[Report], None] | None = None,
    report_every: int = 20,
    report_every_seconds: float = 5.0,
    save_every_seconds: float = 300.0,
    on_save: Callable[[TrainState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Trains until ``config.steps``, continuing from the newest checkpoint if there is one.

    ``steps`` may be changed between runs.

    Args:
        net: Network called as ``net.apply({"params": params}, x_t, t, deterministic=...)`` on one image.
        schedule: Noise schedule.
        crops: Source of the batches.
        config: How to train.
        checkpoints: Folder of the run's Orbax checkpoints.
        params: Parameters to start from when there is no checkpoint.
        engine: What does the updates. One engine continues what another has begun.
        report: Called every ``report_every`` updates, after ``report_every_seconds`` if they take longer, and before
            what takes long.
        report_every: See ``report``.
        report_every_seconds: See ``report``.
        save_every_seconds: Time between checkpoints.
        on_save: Called with the state after each checkpoint.
        stop: Asked after each update; once it says True a checkpoint is written, and the state of then is returned.
    """
    import orbax.checkpoint as ocp  # which takes a third of a second, that commands without training do not need

    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(Path(checkpoints).absolute(), options=options) as manager:
        state = init_state(net, config, crops.channels, params)
        if manager.latest_step() is not None:
            state = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(state))
        done, losses, images = int(state.step), [], 0
        updates = engine(state, net, schedule, config)
        del state  # the engine's changes

        def save() -> TrainState:
            reached = updates.state()
            manager.save(done, args=ocp.args.StandardSave(reached), force=True)
            if on_save is not None:
                on_save(reached)
            return reached

        last = Report(done, float("nan"), 0.0)

        def say(doing: str) -> None:
            if report is not None:
                report(replace(last, step=done, doing=doing))

        compiled: set[tuple[int, ...]] = set()
        started = saved = time.monotonic()
        for batch in _read_ahead(crops, config, done):
            if new := updates.compiles and batch.shape not in compiled:
                compiled.add(batch.shape)
                size = f"crops of {batch.shape[2]} x {batch.shape[1]}"
                say(f"compiling the update for {size}")
                began = time.monotonic()
            loss = updates.update(batch)
            if new:
                jax.block_until_ready(loss)
                say(f"compiled and did the first update for {size} in {time.monotonic() - began:.1f} s")
                started += time.monotonic() - began  # the rate is that of later updates
            losses.append(loss)
            images += 0 if new else len(batch)
            done += 1
            if done % report_every == 0 or done == config.steps or time.monotonic() - started > report_every_seconds:
                mean = float(np.mean(jax.device_get(losses)))
                if not np.isfinite(mean):
                    raise FloatingPointError(f"the loss is {mean} at update {done}; lower the learning rate.")
                reported = time.monotonic()
                last = Report(done, mean, images / max(reported - started, 1e-9))
                if report is not None:
                    report(last)
                losses, images, started = [], 0, reported
            if time.monotonic() - saved > save_every_seconds and done < config.steps:
                save()
                saved = time.monotonic()
            if stop() and done < config.steps:
                on_save = None  # there may be little time
                break
        return save() if manager.latest_step() != done else updates.state()


def _read_ahead(crops: Crops, config: TrainingConfig, start: int) -> Iterator[np.ndarray]:
    """Batches from update ``start`` on; the next ones are cut while the device works."""

    def cut(step: int) -> np.ndarray:
        size = config.crops[step % len(config.crops)]
        return crops.batch(step, size, config.count(size))

    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(cut, step) for step in range(start, min(start + 2, config.steps))]
        for step in range(start, config.steps):
            batch = pending.pop(0).result()
            if step + 2 < config.steps:
                pending.append(pool.submit(cut, step + 2))
            yield batch
