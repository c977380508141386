"""Watching a restoration: the solver's scalars, as JSON lines or for TensorBoard, and a film."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import pictures, plot
from reddiff_jax._files import append, replacing
from reddiff_jax.batching import Scalars
from reddiff_jax.jobs.outputs import writing

_FILM_SECONDS, _LAST_FRAME_SECONDS = 3.0, 1.5


class ScalarLog:
    """A file with a JSON line for each step of each picture: name, sample, step, and what the solver's Info says."""

    def __init__(self, path: Path):
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            append(path, b"")

    def add(self, slots: Mapping[int, Mapping[str, Any]], step: int, scalars: Scalars) -> None:
        """Appends the steps of one call.

        Args:
            slots: What identifies the sample in each slot that counts.
            step: Number of steps done after the call.
            scalars: Name -> (batch size, steps of the call).
        """
        lines = []
        for slot, identity in slots.items():
            rows = {name: values[slot] for name, values in scalars.items()}
            count = len(next(iter(rows.values()), ()))
            for i in range(count):
                numbers = {name: float(f"{values[i]:.6g}") for name, values in rows.items()}
                lines.append(json.dumps({**identity, "step": step - count + i + 1, **numbers}))
        with writing(self.path):
            append(self.path, "".join(line + "\n" for line in lines).encode())


class ScalarEvents:
    """A folder for TensorBoard: a run NAME for each picture, or NAME_0, NAME_1, ... for its several samples.

    A picture that is done again gets another file in its run, which for TensorBoard replaces the earlier one.

    Raises:
        ImportError: Without tensorboardX.
    """

    def __init__(self, folder: Path, samples: int):
        try:
            from tensorboardX.proto import event_pb2, summary_pb2
            from tensorboardX.record_writer import RecordWriter
        except ImportError as error:
            raise ImportError('--tensorboard needs tensorboardX: pip install "reddiff-jax[tensorboard]".') from error
        # Its SummaryWriter writes in a thread; on a full disk the job would wait for it for ever.
        self._open, self._event, self._summary = RecordWriter, event_pb2, summary_pb2.Summary  # type: ignore[attr-defined]
        self.folder, self.samples = folder, samples
        self._files: dict[int, Any] = {}  # slot -> file, of the batch under way
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, slots: Mapping[int, Mapping[str, Any]], step: int, scalars: Scalars) -> None:
        """Appends the steps of one call, as ``ScalarLog.add`` does."""
        count = min((values.shape[1] for values in scalars.values()), default=0)
        with writing(self.folder):
            if step == count:
                self._begin(slots)
            for slot, file in self._files.items():
                for i in range(count):
                    values = [
                        self._summary.Value(tag=name, simple_value=values[slot, i]) for name, values in scalars.items()
                    ]
                    self._write(file, step=step - count + i + 1, summary=self._summary(value=values))
                file.flush()

    def close(self) -> None:
        """Closes the files of the last batch."""
        with writing(self.folder):
            while self._files:
                self._files.popitem()[1].close()

    def _begin(self, slots: Mapping[int, Mapping[str, Any]]) -> None:
        self.close()
        for slot, identity in slots.items():
            run = identity["name"] if self.samples == 1 else f"{identity['name']}_{identity['sample']}"
            if "region" in identity:
                run = "_".join([run, "at", *map(str, identity["region"])])
            (self.folder / run).mkdir(parents=True, exist_ok=True)
            file = self._files[slot] = self._open(str(self.folder / run / f"events.out.tfevents.{time.time_ns()}"))
            self._write(file, file_version="brain.Event:2")
            self._write(file, step=1, session_log=self._event.SessionLog(status=self._event.SessionLog.START))

    def _write(self, file: Any, **content: Any) -> None:
        file.write(self._event.Event(wall_time=time.time(), **content).SerializeToString())


class Film:
    """The estimates of one picture during its restoration, as ``NAME_film.png``, a strip, and ``NAME_film.gif``."""

    def __init__(self, num_frames: int):
        self.num_frames = num_frames
        self.name: str | None = None
        self.frames: list[tuple[int, np.ndarray]] = []

    def wanted(self, step: int, num_steps: int) -> bool:
        """Whether a frame is due: ``num_frames`` at even distances, the last step among them."""
        return step * self.num_frames // num_steps > len(self.frames)

    def write(self, out: Path) -> None:
        """Writes strip and film."""
        from PIL import Image

        steps, xs = zip(*self.frames, strict=True)
        with writing(out / f"{self.name}_film.png"):
            (out / f"{self.name}").parent.mkdir(parents=True, exist_ok=True)
            strip = plot.sheet([xs], columns=[f"step {step}" for step in steps], rows=[""])
            plot.write_sheet(out / f"{self.name}_film.png", strip)
            images = [Image.fromarray(pictures.to_uint8(np.broadcast_to(x, (*x.shape[:2], 3)))) for x in xs]
            millis = max(20, round(1000 * _FILM_SECONDS / len(images)))
            durations = [millis] * (len(images) - 1) + [round(1000 * _LAST_FRAME_SECONDS)]
            with replacing(out / f"{self.name}_film.gif") as partial:
                images[0].save(
                    partial, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
                )
