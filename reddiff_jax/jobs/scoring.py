"""Restored pictures against their originals: pairs by name, and their scores."""

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import measurements, metrics, pictures
from reddiff_jax._files import replacing
from reddiff_jax.jobs.errors import JobError, attempt, brief, with_path
from reddiff_jax.jobs.events import Failure
from reddiff_jax.jobs.finding import Item, find_inputs
from reddiff_jax.jobs.outputs import REFERENCES


@dataclass(frozen=True)
class Pairs:
    """Restored pictures with their originals, what has no counterpart, and what could not be looked at."""

    pairs: list[tuple[str, Path, Path]]  # name, restored, original
    without_original: list[Path]
    without_restored: list[Path]
    failures: list[Failure] = field(default_factory=list)


def pair(restored: str | Path, reference: str | Path) -> Pairs:
    """Pairs pictures by name: the place below the folder, or else the stem.

    Of several samples each ``NAME_0``, ``NAME_1``, ... and ``NAME_mean`` goes with ``NAME``; maps ``NAME_std``,
    panels ``NAME_panel`` and films ``NAME_film`` are left out.

    Args:
        restored: Picture or folder.
        reference: Picture or folder of originals.

    Raises:
        JobError: If there are no pictures.
    """
    (left, failures), (right, more) = _pictures(restored), _pictures(reference)
    failures += more
    if Path(restored).is_file() and Path(reference).is_file():
        return Pairs([(left[0].stem, left[0].path, right[0].path)], [], [])
    by_name = {item.name: item for item in right}
    by_stem: dict[str, list[Item]] = {}
    for item in right:
        by_stem.setdefault(item.stem, []).append(item)
    pairs, without_original, used = [], [], set()
    for item in left:
        original = _original(item.name, by_name, by_stem)
        if isinstance(original, Failure):
            failures.append(original)
        elif original is None:
            without_original.append(item.path)
        elif original.stem == item.stem or not item.name.endswith(("_std", "_film", "_panel")):
            pairs.append((item.name, item.path, original.path))
            used.add(original.name)
    return Pairs(pairs, without_original, [item.path for item in right if item.name not in used], failures)


def _pictures(given: str | Path) -> tuple[list[Item], list[Failure]]:
    items, failures = find_inputs([given], measured=False)
    if not items:
        raise JobError(failures[0].reason)
    return items, failures


def _original(name: str, by_name: Mapping[str, Item], by_stem: Mapping[str, list[Item]]) -> Item | Failure | None:
    """The original of that name, or else of the name without the ending of a sample."""
    for tried in (name, re.sub(r"_(\d+|mean|std|film|panel)$", "", name)):
        stem = tried.rsplit("/", 1)[-1]
        found = [by_name[tried]] if tried in by_name else by_stem.get(stem, [])
        if len(found) > 1:
            reason = f"{len(found)} originals are named {stem}; give folders of equal structure."
            return Failure(name, reason)
        if found:
            return found[0]
    return None


def score(pairs: Sequence[tuple[str, Path, Path]]) -> tuple[list[tuple[str, dict[str, float]]], list[str]]:
    """PSNR, SSIM and, where its weights are installed, LPIPS of pairs of files.

    Returns:
        (name, {"psnr", "ssim", "lpips"}) of each pair, without what is not defined for its size; and a line for each
        pair that could not be compared.
    """
    try:
        lpips = partial(jax.jit(lambda lpips, x, reference: lpips(x, reference)), metrics.load_lpips())
    except ImportError:
        lpips = None
    scores, failures = [], []
    for name, restored, original in pairs:
        try:
            x, reference = (pictures.read_picture(path) for path in (restored, original))
        except Exception as error:
            # Readers raise nearly anything for a stranger's broken file.
            failures.append(with_path(restored, error) if str(original) not in str(error) else brief(error))
            continue
        if x.shape != reference.shape:
            sizes = [f"{array.shape[1]} x {array.shape[0]}" for array in (x, reference)]
            failures.append(
                f"{restored} has {sizes[0]} pixels but its original {original} {sizes[1]}; compare equal sizes "
                "(reddiff-jax measure keeps the original as it was measured in reference/)."
            )
            continue
        scores.append((name, score_arrays(x, reference, lpips)))
    return scores, failures


def score_arrays(x: Any, reference: Any, lpips: Callable | None = None) -> dict[str, float]:
    """Scores of one image (H, W, C) in [-1, 1], without what is not defined for its size."""
    x, reference = jnp.asarray(x), jnp.asarray(reference)
    numbers = {"psnr": float(_psnr(x, reference))}
    if min(x.shape[:2]) >= 11:
        numbers["ssim"] = float(_ssim(x, reference))
    if lpips is not None and min(x.shape[:2]) >= 31:
        numbers["lpips"] = float(lpips(x, reference))
    return numbers


_psnr = jax.jit(metrics.psnr)


@jax.jit
def _ssim(x: jax.Array, reference: jax.Array) -> jax.Array:
    # Published tables are of pixels in [0, 1].
    return metrics.ssim((x + 1) / 2, (reference + 1) / 2, data_range=1.0)


def mean(values: Iterable[float]) -> float:
    """Mean of the numbers that are not infinite, as the PSNR of identical pictures is; NaN of none.

    One identical pair among many would make the mean infinite. Where all are infinite, so is the mean.
    """
    values = list(values)
    finite = [value for value in values if not math.isinf(value)] or values
    return math.fsum(finite) / len(finite) if finite else math.nan


def write_scores(path: str | Path, scores: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    """Writes scores as CSV: picture, psnr, ssim, lpips."""
    columns = [name for name in ("psnr", "ssim", "lpips") if any(name in numbers for _, numbers in scores)]
    # Names of files need not be UTF-8: their bytes are written as they are.
    with (
        replacing(Path(path)) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["picture", *columns])
        for name, numbers in scores:
            writer.writerow([name, *(numbers.get(column, "") for column in columns)])


def score_beside(item: Item, x: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM of a restoration (H, W, C), where ``measure`` has left the original beside its measurement."""
    original = item.path.parents[item.name.count("/")] / REFERENCES / f"{item.name}.png"
    if item.path.suffix != measurements.SUFFIX or not original.is_file():
        return {}
    reference = attempt(partial(pictures.read_picture, channels=x.shape[-1]), original)
    if not isinstance(reference, np.ndarray) or reference.shape != x.shape:
        return {}
    return {name: round(value, 4) for name, value in score_arrays(np.clip(x, -1, 1), reference).items()}
