"""One picture in memory, restored as ``reddiff-jax restore`` restores a file."""

import math
import operator
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from reddiff_jax import _bars, pictures
from reddiff_jax._checks import describe
from reddiff_jax._text import shown
from reddiff_jax.hub import load_prior
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.events import Event, Report
from reddiff_jax.jobs.in_memory import is_pil, kernel_file, mask_file, picture_file
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.restoring import restore as restore_files
from reddiff_jax.latents import Latent, image_channels
from reddiff_jax.masks import Hole
from reddiff_jax.priors import Prior

AnyPicture: TypeAlias = str | Path | np.ndarray | jax.Array | Any
"""A file, an array, or a PIL image."""

_SIGMA = (
    "None, to estimate it, or a number for pixels in [-1, 1], such as 0.1; 25 gray levels of 255 are sigma=2 * 25 / 255"
)
_NAME = "picture"  # of the files that the picture becomes; random numbers depend on it


def restore(
    picture: AnyPicture,
    *,
    task: str,
    mask: AnyPicture | None = None,
    hole: Hole | None = None,
    grow: int | None = None,
    kernel: str | Path | np.ndarray | jax.Array | None = None,
    sigma: float | None = None,
    white: float | None = None,
    page: int | None = None,
    prior: Prior | Latent | str | Path | None = None,
    channels: int | None = None,
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Any:
    """Restores one picture, as ``reddiff-jax restore`` does: settings, noise level and regions are chosen as there.

    For many pictures, or many samples, give files to the command line, or call ``rd.run`` under ``jax.vmap``.

    Args:
        picture: A file, a PIL image, or an array (H, W), (H, W, 1) or (H, W, 3): uint8, or floating-point in [-1, 1].
        task: What to undo: "inpaint", "denoise", "sr4", "deblur", ...; ``reddiff-jax info tasks`` lists them.
        mask: Which pixels are missing: a file or a PIL image, read by ``hole``; or an array (H, W), 1 = observed.
        hole: What marks the hole in a mask that is a file or a PIL image; None: ``masks.Hole.AUTO``.
        grow: Pixels by which holes are grown; None: one for painted masks, none for arrays.
        kernel: The blur's kernel: a file, an array (h, w), or words: "gaussian:2.5", "defocus:4", "motion:15@30".
        sigma: Standard deviation of the noise for pixels in [-1, 1]; None: estimated from the picture.
        white: The number that is white in a file or a PIL image of more than 8 bits that does not say it, such as 4095;
            1.0 for many of floating-point numbers.
        page: Which page of a file with several, counted from 1.
        prior: A prior, a converted checkpoint's folder, a bundled prior's name, or a hub's "hf:owner/name"; None:
            ``rd.load_prior()``.
        channels: Channels of the prior's pictures; None: what its network says, or 3.
        seed: Seed of everything drawn.
        changes: Fields of the solver's settings to be replaced, such as ``{"num_steps": 10}``.
        report: Called with ``jobs.Event``: what was decided, and how far it is. None: on a terminal and in a notebook a
            bar says so, and how long it will take; elsewhere nothing does.

    Returns:
        The restored picture, of the same kind: a PIL image for a PIL image or a file, and an array of the same type
        and number of axes for an array; with three channels where the task adds colour.

    Raises:
        ValueError: In one line, for what cannot be restored.
        FileNotFoundError: If there is no prior in the folder.

    Warns:
        UserWarning: For an array whose values are those of a picture in [0, 1].
    """
    _check_words(task, hole, prior, changes)
    sigma = None if sigma is None else _number("sigma", sigma, _SIGMA)
    white = None if white is None else _number("white", white, "None or a number above 0, such as 4095 for 12 bits")
    seed = _whole("seed", seed, "a whole number, such as seed=0")
    grow, page, channels = (
        None if value is None else _whole(name, value, "None or a whole number")
        for name, value in (("grow", grow), ("page", page), ("channels", channels))
    )
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder) / "in", Path(folder) / "out"
        inputs.mkdir()
        path, white = picture_file(picture, inputs / _NAME, white=white, page=page)
        mask_path = None if mask is None else mask_file(mask, inputs / "mask", hole)
        kernel_given = None if kernel is None else kernel_file(kernel, inputs / "kernel")
        if hole is None:
            hole = Hole.BLACK if mask_path is not None and mask_path.suffix == ".npy" else Hole.AUTO
        options = Options(
            task=task,
            mask=mask_path,
            hole=hole,
            grow=grow,
            kernel=kernel_given,
            sigma=sigma,
            white=white,
            page=page,
            seed=seed,
            changes=changes or {},
        )
        options.check()  # before a prior is loaded
        with _told(report, inputs) as tell:
            if not isinstance(prior, Prior | Latent):
                tell(Event("look", _NAME, 0.0, "loading the prior"))
                prior = load_prior(prior)
            loaded: Any = prior
            channels = channels or image_channels(loaded) or 3
            outcome = restore_files([path], loaded, out=out, options=options, channels=channels, report=tell)
        if outcome.failures:
            reason = outcome.failures[0].reason.removeprefix(f"{path}: ").replace(f"{inputs}/", "")
            raise JobError(reason)
        restored = next(file for file in out.iterdir() if file.stem == path.stem)
        return _like(picture, restored, white)


def _check_words(task: Any, hole: Any, prior: Any, changes: Any) -> None:
    """Raises ValueError for arguments of another type, which would fail late."""
    if not isinstance(task, str):
        raise ValueError(f"restore: task is {describe(task)} but must be a task's name, such as 'inpaint'.")
    if not isinstance(hole, Hole | None):
        named = hole.upper() if isinstance(hole, str) and hole.upper() in Hole.__members__ else "BLACK"
        raise ValueError(f"restore: hole is {describe(hole)} but must be None or a Hole, rd.masks.Hole.{named}.")
    if not isinstance(prior, Prior | Latent | str | Path | None):
        raise ValueError(
            f"restore: prior is {describe(prior)} but must be a prior, such as rd.load_prior() is, or a folder's name."
        )
    if not isinstance(changes, Mapping | None):
        raise ValueError(
            f"restore: changes is {describe(changes)} but must be fields and their values, such as {{'num_steps': 10}}."
        )


def _number(name: str, value: Any, needed: str) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"restore: {name} is {describe(value)} but must be {needed}.")
    return number


def _whole(name: str, value: Any, needed: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"restore: {name} is {describe(value)} but must be {needed}.") from None


@contextmanager
def _told(report: Report | None, folder: Path) -> Iterator[Report]:
    """What is called with events: what was given, or else a bar with lines above it where somebody sees them."""
    if report is not None:
        yield report
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield lambda event: None
        return
    with _bars.progress("restoring", console) as update:

        def tell(event: Event) -> None:
            if event.kind in ("decided", "noise"):
                console.print(
                    shown(event.detail.replace(f"{folder}/", ""), limit=None),
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
            elif event.kind != "note":
                step = event.kind == "step"
                text = shown(event.detail) if step or event.kind == "look" else event.kind
                update(event.done, text, event.left if step else None)

        yield tell


def _like(picture: Any, path: Path, white: float | None) -> Any:
    """The restored file as the kind of picture that came in."""
    if isinstance(picture, str | Path) or is_pil(picture):
        from PIL import Image

        with Image.open(path) as image:
            image.load()
            return image
    array = np.asarray(picture)
    x = pictures.read(path, white=white).pixels
    if array.ndim == 2 and x.shape[2] == 1:
        x = x[..., 0]
    return pictures.to_uint8(x) if array.dtype == np.uint8 else x.astype(array.dtype)
