"""Looking into a restoration while it goes: the solver's scalars as JSON lines, and a film of the first picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import panels, pictures
from reddiff_jax._files import replacing
from reddiff_jax.jobs.batches import Scalars
from reddiff_jax.jobs.outputs import writing

_FILM_SECONDS, _LAST_FRAME_SECONDS = 3.0, 1.5


class ScalarLog:
    """A file with a JSON line for each step of each picture: name, sample, step, and what the solver's Info says."""

    def __init__(self, path: Path):
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

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
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))


class Film:
    """The estimates of one picture on its way, as ``NAME_film.png``, a strip, and ``NAME_film.gif``."""

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
            strip = panels.panel([xs], columns=[f"step {step}" for step in steps], rows=[""])
            panels.write_panel(out / f"{self.name}_film.png", strip)
            images = [Image.fromarray(pictures.to_uint8(np.broadcast_to(x, (*x.shape[:2], 3)))) for x in xs]
            millis = max(20, round(1000 * _FILM_SECONDS / len(images)))
            durations = [millis] * (len(images) - 1) + [round(1000 * _LAST_FRAME_SECONDS)]
            with replacing(out / f"{self.name}_film.gif") as partial:
                images[0].save(
                    partial, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
                )
