"""What the page shows of files and jobs: lines as HTML, pictures as browsers take them. No Gradio here."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reddiff_jax import pictures
from reddiff_jax._bars import duration
from reddiff_jax._text import shown
from reddiff_jax.app.limits import Limits
from reddiff_jax.app.restoration import Restoration
from reddiff_jax.app.wording import on_page
from reddiff_jax.jobs import Event

SIDE = 1024
"""Pixels of the longer side of a picture that is painted on: browsers paint on large ones slowly."""

_SCRATCH = 1 / 100  # of the longer side: the width of a usual scratch
_WIDER = 3  # than a scratch is the brush, so that one stroke covers it
_MOST = 1 / 4  # of the smaller side: a brush that covers more paints all at once

CSS = """
#status progress {width: 100%; height: 10px; appearance: none; border: 1px solid #8888; border-radius: 5px;
  background: transparent; overflow: hidden}
#status progress::-webkit-progress-bar {background: transparent}
#status progress::-webkit-progress-value {background: var(--color-accent, #f97316)}
#status progress::-moz-progress-bar {background: var(--color-accent, #f97316)}
.wrong {color: var(--error-text-color, #b00020)}
"""


def brush_radius(height: int, width: int) -> int:
    """Pixels of the brush's radius for a picture that is painted on at this size."""
    wanted = _WIDER * max(1.0, _SCRATCH * max(height, width))
    return max(1, int(min(wanted, _MOST * min(height, width)) / 2 + 0.5))


def opened(path: Path, limits: Limits) -> tuple[np.ndarray, str]:
    """What is painted on, uint8 (h, w, 3), and what is said of the picture; checks its size before it is decoded.

    Raises:
        ValueError: If it is too large, or no picture.
    """
    height, width = check_size(path, limits)
    image = _image(path)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image), f"{path.name}: {width} x {height} pixels."


def check_size(path: Path, limits: Limits) -> tuple[int, int]:
    """Height and width of a picture that the page takes.

    Raises:
        ValueError: If it is too large, or no picture.
    """
    height, width = pictures.picture_size(path)
    if height * width > limits.pixels:
        raise ValueError(
            f"{path.name} has {width} x {height} pixels but the page takes {limits.pixels:,} at most; make it smaller, "
            "or use the command line."
        )
    return height, width


def before_and_after(restoration: Restoration) -> tuple[str, str]:
    """Files of the opened picture and of what was restored of it, in one size."""
    from PIL import Image

    form, files = restoration.form, restoration.files
    after = next((file for file in files if file.stem == f"{form.picture.stem}_mean"), files[0])
    restored = _image(after)
    names = [restoration.folder / f"{name}.png" for name in ("before", "after")]
    for image, name in ((_image(form.picture), names[0]), (restored, names[1])):
        image.resize(restored.size, Image.Resampling.NEAREST).save(name)
    return str(names[0]), str(names[1])


def samples_of(restoration: Restoration) -> list[tuple[str, str]]:
    """Files of the samples, their mean and their spread, each with its caption; none of a single restoration."""
    from PIL import Image

    form, shown_files = restoration.form, []
    if form.samples == 1:
        return []
    captions = {f"{form.picture.stem}_{i}": f"sample {i + 1}" for i in range(form.samples)}
    captions |= {f"{form.picture.stem}_mean": "their mean", f"{form.picture.stem}_std": "their spread"}
    by_stem = {file.stem: file for file in restoration.files if file.suffix == ".png"}
    for stem, caption in captions.items():
        if stem not in by_stem:
            continue
        if stem.endswith("_std"):
            with Image.open(by_stem[stem]) as image:
                scale = str(image.info.get("Comment", "")).rpartition(": ")[2]
            caption += f": {scale} (standard deviation, of pixels from -1 to 1)" if scale else ""
        shown_files.append((str(by_stem[stem]), caption))
    return shown_files


def progress(event: Event, lines: list[str]) -> str:
    """What is shown while a job works: a bar, what it does, how long it will take, and what it said before."""
    if event.kind in ("decided", "noise", "retry"):
        lines.append(event.detail)
    elif event.kind == "note":
        lines.append(event.name)
    words = {
        "look": event.detail,
        "compile": "compiling, once for each size",
        "step": event.detail.split(", residual")[0],
    }
    left = f", about {duration(event.left)} left" if event.left is not None and event.kind == "step" else ""
    bar = f'<progress max="1" value="{event.done:.3f}"></progress>'
    return bar + line(f"{words.get(event.kind, event.kind)}{left}", lines)


def line(text: str, lines: Sequence[str] = ()) -> str:
    """Text of files and jobs, as HTML that a browser shows and does not obey."""
    return "".join(f"<p>{_html(each)}</p>" for each in [*lines, text] if each)


def wrong(text: str, lines: Sequence[str] = ()) -> str:
    """The same, of what is wrong."""
    return line("", lines) + f'<p class="wrong">{_html(text)}</p>'


def _html(text: str) -> str:
    return html.escape(shown(on_page(text), limit=None))


def _image(path: Path):
    from PIL import Image

    x = pictures.to_uint8(pictures.read_picture(path))
    return Image.fromarray(x[..., 0] if x.shape[2] == 1 else x).convert("RGB")
