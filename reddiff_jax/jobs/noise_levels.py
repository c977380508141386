"""The noise level of each picture of a job: given, of its measurement file, or estimated from what was measured."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax import measurements, pictures, tasks
from reddiff_jax.estimating import estimate_jpeg_sigma, estimate_sigma
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.options import Options
from reddiff_jax.measurements import Header
from reddiff_jax.priors import Prior, gray_prior
from reddiff_jax.tasks import Arrays

GIVEN, OF_FILE, ESTIMATED, OF_JPEG, OF_ROUNDING = "given", "of the file", "estimated", "estimated, JPEG", "rounding"
_FAR = 3.0  # times off the estimate, from which a given level is doubted
_HALF_LEVEL = 1 / 255  # of 8 bits, for pixels in [-1, 1]
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SIDES = (64, 128, 256, 512)  # of what is looked at: few shapes are few compilations


@dataclass(frozen=True)
class NoiseLevel:
    """A noise level and how it came about.

    Args (fields):
        sigma: Standard deviation of the noise, for pixels in [-1, 1]; at least that of rounding where it is a picture.
        source: Where it is from, in a word or two.
        doubt: Why it may be wrong, in one line; empty if nothing speaks against it.
    """

    sigma: float
    source: str
    doubt: str = ""

    @property
    def estimated(self) -> bool:
        """Whether it was estimated, so that pictures of one folder differ."""
        return self.source in (ESTIMATED, OF_JPEG)

    def __str__(self) -> str:
        return f"sigma {self.sigma:g} ({self.source})"


class NoiseEstimator:
    """Estimates noise levels of pictures, by a prior if there is one, one at a time, whatever thread asks.

    Args:
        prior: The job's prior; None: by the pictures' details alone.
        channels: Channels of its pictures.
    """

    def __init__(self, prior: Prior | None = None, channels: int = 3):
        self._prior, self._channels, self._lock = prior, channels, threading.Lock()
        self._by_details = jax.jit(estimate_sigma)
        self._by_prior = jax.jit(lambda prior, y, seen: estimate_sigma(y, seen, prior=prior))

    def estimate(self, task: str, path: Path, y: np.ndarray, mask: np.ndarray | None = None) -> NoiseLevel:
        """Estimates the level of the noise in what a picture file holds.

        Args:
            task: Name of the task, by which the picture was measured.
            path: Its file.
            y: What was read from it, (h, w, C) in [-1, 1].
            mask: 0 where nothing was observed.
        """
        if tasks.by_name(task).rounds:
            return NoiseLevel(pictures.ROUNDING_SIGMA, OF_ROUNDING)
        y, seen = _looked_at(*_as_picture(task, y, mask))
        with self._lock:
            white = float(self._white(y, seen))
        return self._with_jpeg(white, path)

    def _white(self, y: np.ndarray, seen: np.ndarray) -> Any:
        if self._prior is None:
            return self._by_details(y, seen)
        same = y.shape[-1] == self._channels
        try:
            white = self._by_prior(self._prior if same else gray_prior(self._prior), y, seen)
            if not same or y.shape[-1] != len(_LUMA):
                return white
            # Noise that is alike in all channels, as cameras and JPEG leave it, looks like texture to a prior of
            # colours. White noise that is as strong in the luma suits: of photos with white noise saved as JPEG, 4:2:0,
            # quality 90, denoising at the level before JPEG has 29.7 dB, at three quarters of it, what the file has
            # left, 29.4, and at the level of the luma 28.6.
            luma = (y @ _LUMA)[..., None]
            of_luma = self._by_prior(gray_prior(self._prior), luma, seen[..., :1])
            return max(white, of_luma / np.linalg.norm(_LUMA))
        except (TypeError, ValueError):  # a prior of pictures of one size cannot look at a part
            return self._by_details(y, seen)

    def doubt(self, sigma: float, task: str, path: Path, y: np.ndarray, mask: np.ndarray | None = None) -> str:
        """Why a level that was given may be wrong: a line if it is three times off the estimate, else ``""``.

        One below half a gray level is no guess: it is how a user says that pixels are to be kept as they are.
        """
        if tasks.by_name(task).rounds or sigma < _HALF_LEVEL:
            return ""
        sigma = max(sigma, pictures.ROUNDING_SIGMA)
        with self._lock:
            most = float(self._by_details(*_looked_at(*_as_picture(task, y, mask))))
        estimate = self._with_jpeg(most, path)
        if sigma < estimate.sigma / _FAR:  # details may be the picture's own: the prior knows
            estimate = self.estimate(task, path, y, mask)
        if estimate.sigma / _FAR <= sigma <= estimate.sigma * _FAR:
            return ""
        return (
            f"sigma {sigma:g} is far from the {estimate.sigma:g} that the picture looks like ({estimate.source}); "
            "leave --sigma out to use the estimate."
        )

    def _with_jpeg(self, white: float, path: Path) -> NoiseLevel:
        # JPEG's error is not white; taken for white noise of its own size it suits: a photo's thumbnail of 32 pixels,
        # quality 75, enlarged 4 x has 24.59 dB at 0.0023, 24.80 at half the estimate, 24.87 at it.
        lossy = estimate_jpeg_sigma(path)
        # White noise that JPEG kept is seen, and what JPEG did is the rest: the larger one is nearly all.
        sigma, source = (lossy, OF_JPEG) if lossy > white else (white, ESTIMATED)
        sigma = float(f"{sigma:.3g}") if math.isfinite(sigma) else 0.0
        return NoiseLevel(max(sigma, pictures.ROUNDING_SIGMA), source)


def noise_level_of(
    options: Options, estimator: NoiseEstimator, item: Item, header: Header, arrays: Arrays
) -> NoiseLevel:
    """The level that was given, that the measurement file says, or that the picture looks like."""
    if item.path.suffix == measurements.SUFFIX:
        return NoiseLevel(header.sigma, OF_FILE if options.sigma is None else GIVEN)
    y = pictures.read(item.path, channels=header.y_shape[2], white=options.white, page=options.page).pixels
    mask = arrays.get("mask") if y.shape[:2] == header.in_shape[:2] else None
    if options.sigma is None:
        return estimator.estimate(header.task, item.path, y, mask)
    # Solvers that trust sigma would undo the rounding, too: a wide blur's inverse makes large errors of it.
    sigma = max(float(options.sigma), pictures.ROUNDING_SIGMA)
    return NoiseLevel(sigma, GIVEN, estimator.doubt(sigma, header.task, item.path, y, mask))


def look_of(options: Options, item: Item) -> str:
    """What is done with an input before it is restored, in words."""
    estimates = options.sigma is None and item.path.suffix != measurements.SUFFIX
    return "estimating the noise level" if estimates else "reading"


def noted_level(entry: Mapping[str, Any], same: Mapping[str, Any]) -> NoiseLevel | None:
    """The level that an earlier run of the job has estimated, from its line in the manifest.

    Estimates on another machine differ by rounding: a continued job keeps those that it has.

    Args:
        entry: The line.
        same: What its settings must be equal in.
    """
    settings = entry.get("settings", {})
    level = NoiseLevel(settings.get("sigma", 0.0), settings.get("sigma_from", ""))
    return level if level.estimated and all(settings.get(name) == same[name] for name in same) else None


def binned(sigma: float) -> float:
    """The level for which settings are chosen where levels are estimated: one of two for each doubling.

    Pictures of a folder whose levels differ little get the same settings, and so one compilation.
    """
    return float(f"{2 ** (round(2 * math.log2(sigma)) / 2):.2g}")


def _as_picture(task: str, y: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """A measurement as a picture whose neighbours are alike, and where it was observed."""
    seen = np.ones((*y.shape[:2], 1), np.float32) if mask is None else np.asarray(mask, np.float32)
    if tasks.by_name(task).mosaic:
        h, w = (length // 2 * 2 for length in y.shape[:2])
        y = np.concatenate([y[i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)], axis=-1)  # (h / 2, w / 2, 4)
        seen = seen[:h:2, :w:2]
    return y, np.broadcast_to(seen, y.shape)


def _looked_at(y: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a large picture; a small one in the middle of nothing observed."""
    side = next((side for side in _SIDES if side >= max(y.shape[:2])), _SIDES[-1])
    for axis in (0, 1):
        start = max(0, (y.shape[axis] - side) // 2)
        y, seen = (np.take(x, range(start, min(start + side, y.shape[axis])), axis) for x in (y, seen))
    margins = [(0, side - length) for length in y.shape[:2]]
    # Mirrored as the network's own padding would be.
    return np.pad(y, (*margins, (0, 0)), mode="symmetric"), np.pad(seen, (*margins, (0, 0)))
