"""What is written of a restored picture: the names of its files, their form, and what several samples tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reddiff_jax import pictures, plot, tasks
from reddiff_jax.jobs.finding import Item
from reddiff_jax.jobs.options import Options
from reddiff_jax.jobs.outputs import writing_result
from reddiff_jax.measurements import Header
from reddiff_jax.pictures import Form, Picture

_NUM_SHOWN, _SHOWN_SIDE = 4, 256  # samples of a panel, and their pixels


def output_names(name: str, samples: int, bits: int) -> tuple[str, ...]:
    """The files of one picture; a PNG cannot hold floating-point numbers."""
    suffix = "tif" if bits == pictures.FLOAT else "png"
    if samples == 1:
        return (f"{name}.{suffix}",)
    images = [f"{name}_{end}.{suffix}" for end in [*range(samples), "mean"]]
    return (*images, f"{name}_std.png", f"{name}_panel.png")


def form_of_result(form: Form, header: Header, *, alpha: bool) -> Form:
    """The input's form, but of what a task adds: colours, and what was transparent."""
    if tasks.by_name(header.task).gray:  # a gray measurement of a colour picture
        return replace(form, gray=False, alpha=alpha, profile=None)
    return replace(form, alpha=alpha)


def picture_like(options: Options, item: Item, form: Form | None) -> Picture | None:
    """What a result must be like, with the alpha of the input; None for that of a measurement file.

    Args:
        options: How it is restored.
        item: The input.
        form: The form of the result.

    Raises:
        ValueError: If the input cannot be read again.
    """
    if form is None:
        return None
    alpha = pictures.read_raw(item.path, page=options.page).alpha if form.alpha else None
    if options.white is not None and form.bits != 8:  # the file's own where it says one
        form = replace(form, white=pictures.read(item.path, white=options.white, page=options.page).form.white)
    return Picture(np.zeros((0, 0, 1), np.float32), alpha, form)


@dataclass(frozen=True)
class Result:
    """The images of one picture's files.

    Args (fields):
        images: (H, W, 1 or 3) each, in the order of the files.
        num_restored: How many are restorations or their mean, which have the form of the input.
        texts: Words for the metadata of files, by the number of the file.
        noted: What the manifest says of it.
    """

    images: list[np.ndarray]
    num_restored: int
    texts: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    noted: Mapping[str, float] = field(default_factory=dict)

    def write(self, out: Path, outputs: Sequence[str], *, like: Picture | None, bits: int, channels: int) -> None:
        """Writes the files.

        Args:
            out: The output folder.
            outputs: Their names.
            like: What restorations must be like.
            bits: Of restorations: 8, 16, or 32 for floating-point numbers.
            channels: Of colours in the prior's pictures.

        Raises:
            UnwritableError: If only these cannot be written.
            JobError: If nothing can.
        """
        with writing_result(out / outputs[0]):
            (out / outputs[0]).parent.mkdir(parents=True, exist_ok=True)
            for i, (output, x) in enumerate(zip(outputs, self.images, strict=True)):
                options = {"like": like, "bits": bits} if i < self.num_restored else {}
                if like is not None and not like.form.gray and x.shape[-1] < channels:
                    x = np.repeat(x, channels, axis=-1)  # gray in a file of colours
                # write_picture refuses what is far out, as no picture; a solver may leave that, and files cut it.
                x = x if options.get("bits") == pictures.FLOAT else np.clip(x, -pictures.FAR, pictures.FAR)
                pictures.write_picture(out / output, x, text=self.texts.get(i), **options)


def result_of(samples: np.ndarray) -> Result:
    """What is written of the restorations (K, H, W, C) of a picture; of several also what they tell together."""
    if len(samples) == 1:
        return Result([*samples], 1)
    clipped = np.clip(samples, -1, 1)
    mean, std = clipped.mean(axis=0), clipped.std(axis=0, ddof=1).mean(axis=-1, keepdims=True)  # (H, W, 1)
    white = float(std.max())
    std = 2 * std / max(white, 1e-12) - 1
    panel = pictures.to_float(_samples_panel(samples, mean, std, white))
    said = {"Comment": f"standard deviation of pixels in [-1, 1]: black 0, white {white:.6g}"}
    count = len(samples) + 1
    return Result([*samples, mean, std, panel], count, texts={count: said}, noted={"std_white": white})


def _samples_panel(images: np.ndarray, mean: np.ndarray, std: np.ndarray, white: float) -> np.ndarray:
    """The first samples, the mean, and the standard deviation, uint8 (H, W, 3)."""
    shown = images[:_NUM_SHOWN]
    cells = [pictures.shrink(x, _SHOWN_SIDE) for x in (*shown, mean, std)]
    columns = [*(f"sample {i}" for i in range(len(shown))), f"mean of {len(images)}", "standard deviation"]
    captions = [""] * (len(cells) - 1) + [f"black 0, white {white:.3g}"]
    return plot.sheet([cells], columns=columns, rows=[""], captions=[captions], min_cell=160)
