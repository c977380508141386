"""One picture in memory, restored as ``reddiff-jax restore`` restores a file."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from reddiff_jax import _bars, pictures
from reddiff_jax._text import shown
from reddiff_jax.io import load_prior
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.events import Event, Report
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.restoring import restore as restore_files
from reddiff_jax.masks import Hole
from reddiff_jax.priors import Prior

AnyPicture: TypeAlias = str | Path | np.ndarray | jax.Array | Any
"""A file, an array, or a PIL image."""

_NAME = "picture"  # of the files that the picture becomes; random numbers depend on it
_FAR = 4.0  # beyond the range of a picture with much noise
_DARK = 0.05  # what a picture in [0, 1] has below


def restore(
    picture: AnyPicture,
    *,
    task: str,
    mask: AnyPicture | None = None,
    hole: Hole | None = None,
    grow: int | None = None,
    kernel: str | Path | np.ndarray | jax.Array | None = None,
    sigma: float | None = None,
    prior: Prior | str | Path | None = None,
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
        prior: A prior, a converted checkpoint's folder, or a bundled prior's name; None: ``rd.load_prior()``.
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
    """
    loaded = prior if isinstance(prior, Prior) else load_prior(prior)
    channels = channels or int(getattr(getattr(loaded, "net", None), "in_channels", 3))
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder) / "in", Path(folder) / "out"
        inputs.mkdir()
        path, white = _written(picture, inputs / _NAME)
        mask_path = None if mask is None else _written_mask(mask, inputs / "mask", hole)
        if isinstance(kernel, str | Path | None):
            kernel_given = kernel
        else:
            kernel_given = inputs / "kernel.npy"
            np.save(kernel_given, np.asarray(kernel))
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
            seed=seed,
            changes=changes or {},
        )
        with _told(report, inputs) as tell:
            outcome = restore_files([path], loaded, out=out, options=options, channels=channels, report=tell)
        if outcome.failures:
            reason = outcome.failures[0].reason.removeprefix(f"{path}: ").replace(f"{inputs}/", "")
            raise JobError(reason)
        restored = next(file for file in out.iterdir() if file.stem == path.stem)
        return _like(picture, restored, white)


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
                update(event.done, shown(event.detail) if step else event.kind, event.left if step else None)

        yield tell


def _written(picture: Any, path: Path) -> tuple[Path, float | None]:
    """A file with the picture, and the number that is white in it where it must be said."""
    if isinstance(picture, str | Path):
        return Path(picture), None
    if hasattr(picture, "save"):  # a PIL image; PNG holds its usual modes, TIFF the others
        path = path.with_suffix(".png" if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else ".tif")
        picture.save(path)
        return path, None
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ValueError(
            f"restore: picture has shape {array.shape} but must be (H, W), (H, W, 1) or (H, W, 3); call restore for "
            "each picture of a batch."
        )
    array = array.reshape(*array.shape[:2], -1)
    if array.dtype == np.uint8:
        pictures.write_picture(path.with_suffix(".png"), pictures.to_float(array))
        return path.with_suffix(".png"), None
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"restore: picture has type {array.dtype} but must be uint8, or floating-point in [-1, 1]; convert it, "
            "such as by x / 32767.5 - 1 for 16 bits."
        )
    low, high = array.min(), array.max()
    if not (np.isfinite(array).all() and low >= -_FAR and high <= _FAR) or (0 <= low <= _DARK and high <= 1):
        raise ValueError(
            f"restore: picture has values from {low:.3g} to {high:.3g} but floating-point pixels are "
            "in [-1, 1], black to white; convert it, such as by 2 * x - 1 from [0, 1] or x / 127.5 - 1 from [0, 255]."
        )
    pictures.write_picture(path.with_suffix(".tif"), array, bits=pictures.FLOAT)
    return path.with_suffix(".tif"), 1.0


def _written_mask(mask: Any, path: Path, hole: Hole | None) -> Path:
    """A file with the mask; one in memory must be what masks are here."""
    if isinstance(mask, str | Path):
        return Path(mask)
    if hasattr(mask, "save"):
        mask.save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    array = np.asarray(mask, np.float32)
    if not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"restore: mask has values from {array.min():g} to {array.max():g} but must be of 0 (missing) and 1 "
            "(observed); compare it, such as by mask > 0.5."
        )
    if hole is None and array.mean() < 0.5:
        raise ValueError(
            f"restore: mask has {1 - array.mean():.0%} of 0, which is missing; give 1 - mask if 1 marks the hole, or "
            "hole=masks.Hole.BLACK if so much is missing."
        )
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def _like(picture: Any, path: Path, white: float | None) -> Any:
    """The restored file as the kind of picture that came in."""
    if isinstance(picture, str | Path) or hasattr(picture, "save"):
        from PIL import Image

        with Image.open(path) as image:
            image.load()
            return image
    array = np.asarray(picture)
    x = pictures.read(path, white=white).pixels
    if array.ndim == 2 and x.shape[2] == 1:
        x = x[..., 0]
    return pictures.to_uint8(x) if array.dtype == np.uint8 else x.astype(array.dtype)
