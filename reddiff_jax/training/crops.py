"""Crops of pictures to train on."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from reddiff_jax import pictures

MIN_CROP_STD = 10.0  # of 255; flatter crops are mostly redrawn
FLAT_REFUSED = 0.8


@dataclass(frozen=True)
class Crops:
    """Random crops of the pyramids of all pictures, drawn with weight sqrt(area).

    ``batch(k, size, count)`` depends on (seed, k, size, count) and the pictures only.

    Args (fields):
        paths: Picture files.
        channels: 1 (gray) or 3 (RGB).
        min_size: Pyramids of halvings end before a side falls below this.
        seed: Seed of everything drawn.
        mirror: Whether half of the crops are mirrored; not for pictures with text.
        cache_bytes: Memory for decoded pyramids, approximately.
        unreadable: Files that turned out to be unreadable, and why. They are passed over; as a file is readable or not,
            batches are still a function of (seed, k, size, count) and the files.
    """

    paths: tuple[Path, ...]
    channels: int = 3
    min_size: int = 64
    seed: int = 0
    mirror: bool = True
    cache_bytes: int = 2**31
    levels: tuple[tuple[int, int, int, int], ...] = field(init=False)  # (path, level, height, width)
    unreadable: dict[Path, str] = field(init=False, default_factory=dict, compare=False)

    def __post_init__(self):
        levels = []
        for index, path in enumerate(self.paths):
            try:
                height, width = pictures.picture_size(path)
            except Exception as error:
                # Readers raise nearly anything for a stranger's broken file.
                self.unreadable[path] = str(error)
                continue
            level = 0
            while min(height, width) >= self.min_size:
                levels.append((index, level, height, width))
                level, height, width = level + 1, height // 2, width // 2
        if not levels:
            if len(self.unreadable) == len(self.paths):
                raise ValueError(self._none_readable())
            raise ValueError(
                f"none of {len(self.paths)} pictures is at least {self.min_size} pixels high and wide; "
                "give larger pictures or a smaller crop."
            )
        object.__setattr__(self, "levels", tuple(levels))
        pixels = sum(height * width for _, _, height, width in levels)
        fitting = self.cache_bytes * len(self.paths) // (pixels * self.channels)
        object.__setattr__(self, "_pyramid", lru_cache(max(1, fitting))(self._read_pyramid))

    def batch(self, step: int, size: int, count: int) -> np.ndarray:
        """Returns crops (count, size, size, channels), uint8."""
        fitting = [level for level in self.levels if min(level[2:]) >= size]
        if not fitting:
            raise ValueError(f"no picture is at least {size} pixels high and wide; give a smaller crop.")
        weights = np.sqrt([height * width for _, _, height, width in fitting])
        weights /= weights.sum()
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._crop(rng, fitting, weights, size) for _ in range(count)])

    def _crop(self, rng: np.random.Generator, levels: list, weights: np.ndarray, size: int) -> np.ndarray:
        while True:
            index, level, *_ = levels[rng.choice(len(levels), p=weights)]
            pyramid = self._pyramid(index)  # type: ignore[attr-defined]
            if not pyramid:
                if all(self.paths[other] in self.unreadable for other, *_ in levels):
                    raise ValueError(self._none_readable())
                continue
            array = pyramid[level]
            top = rng.integers(array.shape[0] - size + 1)
            left = rng.integers(array.shape[1] - size + 1)
            crop = array[top : top + size, left : left + size]
            flipped, refused = rng.random(2)
            if crop.std() >= MIN_CROP_STD or refused >= FLAT_REFUSED:
                return crop[:, ::-1] if self.mirror and flipped < 0.5 else crop

    def _none_readable(self) -> str:
        return f"none of the {len(self.unreadable)} pictures can be read: {next(iter(self.unreadable.values()))}"

    def _read_pyramid(self, index: int) -> tuple[np.ndarray, ...]:
        """All levels of a picture; none if its file is broken, which its size did not tell."""
        from PIL import Image

        try:
            array = pictures.read_uint8(self.paths[index], channels=self.channels)
        except Exception as error:
            self.unreadable[self.paths[index]] = str(error)
            return ()
        pyramid = [array]
        while min(array.shape[:2]) // 2 >= self.min_size:
            image = Image.fromarray(array[..., 0] if self.channels == 1 else array).reduce(2)
            height, width = array.shape[0] // 2, array.shape[1] // 2
            array = np.asarray(image).reshape(image.height, image.width, self.channels)[:height, :width]
            pyramid.append(array)
        return tuple(pyramid)
