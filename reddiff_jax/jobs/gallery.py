"""The gallery: what each task measures of a picture, and the pseudo-inverse of that."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from reddiff_jax import pictures, plot, tasks
from reddiff_jax.jobs.checks import check_seed
from reddiff_jax.jobs.demonstration import sample_photos
from reddiff_jax.jobs.measuring import simulate
from reddiff_jax.jobs.outputs import prepare_folder, writing
from reddiff_jax.jobs.scoring import score_arrays

_COLUMNS = ("original", "measurement y", "A+ y")
_TASKS_PER_ROW = 3


def draw_gallery(
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    picture: str | Path | None = None,
    size: int = 128,
    sigma: float = 0.0,
    seed: int = 0,
    say: Callable[[float, str], None] = lambda fraction, text: None,
) -> Path:
    """Draws ``gallery.png``: for each task an original, its measurement, and the pseudo-inverse of the measurement.

    Args:
        out: Output folder.
        names: Tasks; all that need no file of the user if None.
        picture: Picture file; each task takes another of the sample photos if None.
        size: Side of the central square, in pixels.
        sigma: Standard deviation of the noise, for pixels in [-1, 1].
        seed: Seed of masks, kernels and noise.
        say: Called with the fraction that is done and the task's name.

    Returns:
        The file.

    Raises:
        JobError: If the folder cannot be written.
        ValueError: For an unknown task, or one that needs a mask or weights of the user's.
    """
    check_seed(seed)
    tasks.check_sigma(sigma)
    out = Path(out)
    paths = [Path(picture)] if picture is not None else sample_photos()
    photos = [pictures.to_float(pictures.center_crop(pictures.read_uint8(path), size)) for path in paths]
    asked = names is not None
    cells: list[list[np.ndarray | None]] = []
    captions: list[list[str]] = []
    if names is None:
        first_names = {id(task): name for name, task in reversed(tasks.TASKS.items())}  # some have two names
        names = [name for name, task in tasks.TASKS.items() if task.draw and first_names[id(task)] == name]
    for name in names:
        tasks.by_name(name)
    prepare_folder(out)
    for index, name in enumerate(names):
        say(index / len(names), name)
        photo = photos[index % len(photos)]
        try:
            row, caption = _row(name, photo, sigma, seed)
        except ValueError as error:
            if asked:
                raise
            row, caption = [photo, None, None], [name, str(error).split(":")[0][:40], ""]
        if index % _TASKS_PER_ROW == 0:
            cells.append([])
            captions.append([])
        cells[-1] += row
        captions[-1] += caption
    missing = len(_COLUMNS) * min(_TASKS_PER_ROW, len(names)) - len(cells[-1])
    cells[-1] += [None] * missing
    captions[-1] += [""] * missing
    columns = _COLUMNS * (len(cells[0]) // len(_COLUMNS))
    file = out / "gallery.png"
    with writing(file):
        drawn = plot.sheet(cells, columns=columns, rows=[""] * len(cells), captions=captions)
        plot.write_sheet(file, drawn)
    return file


def _row(name: str, photo: np.ndarray, sigma: float, seed: int) -> tuple[list[np.ndarray | None], list[str]]:
    task = tasks.by_name(name)
    measurement = simulate("gallery", photo, name, sigma, seed)
    original = task.result(photo)
    shape = " x ".join(map(str, measurement.y.shape))
    view = pictures.shrink(measurement.preview(), max(photo.shape[:2]))
    try:
        explained = task.result(np.asarray(measurement.operator().pinv(jnp.asarray(measurement.y))))
    except TypeError:
        return [original, view, None], [name, shape, "none known"]
    psnr = score_arrays(np.clip(explained, -1, 1), original)["psnr"]
    return [original, view, explained], [name, shape, f"{psnr:.1f} dB"]
