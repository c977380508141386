"""The page itself, by Gradio: what is where, and what happens on a click."""

import html
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax import pictures
from reddiff_jax._bars import duration
from reddiff_jax._text import shown
from reddiff_jax.app.forms import PAINTED, TASKS, Form
from reddiff_jax.app.painting import hole_of, write_mask
from reddiff_jax.app.restoration import Loaded, Restoration
from reddiff_jax.jobs import Event
from reddiff_jax.settings import SETTINGS

try:
    import gradio as gr
except ImportError:
    raise ImportError('the page in the browser needs Gradio; pip install "reddiff_jax[app]".') from None

_SIDE = 1024  # pixels of the longer side of a picture that is painted on: browsers paint on large ones slowly
_RED = "#e00000"


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask of the machine.

    Args (fields):
        pixels: Of a picture.
        megabytes: Of a file.
        seconds: Of a restoration.
        samples: Of a picture.
    """

    pixels: int = 6_000_000
    megabytes: int = 100
    seconds: float = 3600.0
    samples: int = 16


class _Visits:
    """The restorations under way and the files of those that were, by visitor."""

    def __init__(self) -> None:
        self._of: dict[str, Restoration] = {}

    def begin(self, visitor: str, restoration: Restoration) -> None:
        """A visitor's new restoration; that before it is stopped and forgotten."""
        self.end(visitor)
        self._of[visitor] = restoration

    def stop(self, visitor: str) -> None:
        """Stops a visitor's restoration, if there is one."""
        if visitor in self._of:
            self._of[visitor].stop()

    def end(self, visitor: str) -> None:
        """Stops it and removes its files."""
        if visitor in self._of:
            self._of.pop(visitor).remove()


def page(loaded: Loaded, limits: Limits | None = None) -> gr.Blocks:
    """The page, to be served by ``serve`` or within a larger Gradio app.

    Args:
        loaded: The prior.
        limits: What a visitor may ask.
    """
    limits, visits = limits or Limits(), _Visits()

    def open_picture(path: str | None) -> tuple[Any, str]:
        if path is None:
            return None, ""
        try:
            preview, said = _opened(Path(path), limits)
        except (ValueError, OSError) as error:
            return None, _wrong(str(error).replace(f"{Path(path).parent}/", ""))
        value = {"background": preview, "layers": [], "composite": None}
        return gr.update(value=value, brush=_brush(max(preview.shape))), _line(said)

    def restore(
        path: str | None,
        painted: Any,
        mask: str | None,
        task: str,
        kernel: str,
        sigma: str,
        samples: float,
        seed: float,
        solver: str,
        steps: float | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        nothing = (None, None, None, "")
        if path is None:
            yield _wrong("open a picture first."), *nothing
            return
        visitor = request.session_hash or ""
        form = Form(
            picture=Path(path),
            task=TASKS[task],
            mask=Path(mask) if mask is not None and TASKS[task] == "inpaint" else None,
            kernel=kernel.strip() if TASKS[task] == "deblur" else "",
            sigma=sigma.strip() or "auto",
            samples=min(int(samples or 1), limits.samples),
            seed=int(seed or 0),
            solver="" if solver == _BEST else solver,
            steps=None if not steps else int(steps),
        )
        try:
            restoration = _begin(form, painted, loaded, limits)
        except (ValueError, OSError) as error:
            yield _wrong(str(error)), *nothing
            return
        visits.begin(visitor, restoration)
        lines: list[str] = []
        for event in restoration.events():
            yield _progress(event, lines), *nothing
        if restoration.error:
            yield _wrong(restoration.error.removeprefix(f"{Path(path).name}: "), lines), *nothing
            return
        yield _finished(restoration, lines)

    def stop(request: gr.Request) -> None:
        visits.stop(request.session_hash or "")

    def leave(request: gr.Request) -> None:
        visits.end(request.session_hash or "")

    def needed(task: str) -> tuple[Any, Any]:
        return gr.update(visible=TASKS[task] == "inpaint"), gr.update(visible=TASKS[task] == "deblur")

    with gr.Blocks(title="reddiff-jax", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown("# Restore a picture")
        with gr.Row():
            with gr.Column():
                file = gr.File(label="Picture (JPEG, PNG, TIFF, WebP)", type="filepath", elem_id="picture")
                task = gr.Dropdown(list(TASKS), value=next(iter(TASKS)), label="What to do", elem_id="task")
                editor = gr.ImageEditor(
                    label="Paint over what is to be filled in",
                    type="numpy",
                    sources=(),
                    transforms=(),
                    layers=False,
                    format="png",
                    brush=_brush(_SIDE),
                    elem_id="editor",
                )
                kernel = gr.Textbox(
                    label="Blur",
                    value="gaussian:2",
                    info="gaussian:SIGMA, defocus:RADIUS or motion:LENGTH@DEGREES, in pixels",
                    visible=False,
                    elem_id="kernel",
                )
                with gr.Accordion("More", open=False):
                    mask = gr.File(label="A mask instead of painting", type="filepath", elem_id="mask")
                    sigma = gr.Textbox(label="Noise level", value="auto", info="auto, 0.1, or 25/255", elem_id="sigma")
                    samples = gr.Slider(
                        1,
                        limits.samples,
                        value=1,
                        step=1,
                        label="Samples",
                        info="several show how sure it is",
                        elem_id="samples",
                    )
                    seed = gr.Number(label="Seed", value=0, precision=0)
                    solver = gr.Dropdown([_BEST, *SETTINGS], value=_BEST, label="Solver")
                    steps = gr.Number(label="Steps", value=None, precision=0, info="empty: what was tuned")
                with gr.Row():
                    go = gr.Button("Restore", variant="primary", elem_id="restore")
                    halt = gr.Button("Stop", elem_id="stop")
            with gr.Column():
                status = gr.HTML(elem_id="status")
                slider = gr.ImageSlider(
                    label="Before and after", type="filepath", format="png", elem_id="slider", interactive=False
                )
                drawn = gr.Gallery(
                    label="Samples, their mean and their spread", columns=3, elem_id="drawn", visible=False
                )
                download = gr.File(label="Download", file_count="multiple", interactive=False, elem_id="download")
                command = gr.Textbox(
                    label="The same on the command line; with a folder's name, a folder",
                    buttons=["copy"],
                    elem_id="command",
                )
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        file.change(open_picture, file, [editor, status], **quiet)
        task.change(needed, task, [editor, kernel], **quiet)
        go.click(
            restore,
            [file, editor, mask, task, kernel, sigma, samples, seed, solver, steps],
            [status, slider, drawn, download, command],
            concurrency_limit=1,
            **quiet,
        )
        halt.click(stop, queue=False, **quiet)
        blocks.unload(leave)
    return blocks.queue(max_size=32)


def serve(
    loaded: Loaded,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits | None = None,
    open_: bool = False,
) -> None:
    """Serves the page until it is interrupted. Files of visitors are removed with the process.

    Args:
        loaded: The prior.
        host: Address to listen at.
        port: Port; the first free one from 7860 if None.
        limits: What a visitor may ask.
        open_: Whether to open a browser.

    Raises:
        OSError: If the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="reddiff-jax-app-") as folder:
        # What visitors upload and what they download is copied there by Gradio, and nowhere else.
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        limits = limits or Limits()
        page(loaded, limits).launch(
            server_name=host,
            server_port=port,
            inbrowser=open_,
            share=False,
            ssr_mode=False,
            quiet=True,
            max_file_size=f"{limits.megabytes}mb",
            footer_links=[],
            css=_CSS,
        )


_BEST = "what does the task best"
_CSS = "#status progress {width: 100%} .wrong {color: var(--error-text-color, #b00020)}"


def _opened(path: Path, limits: Limits) -> tuple[np.ndarray, str]:
    """What is painted on, and what is said of the picture; checks its size before it is decoded."""
    height, width = pictures.picture_size(path)
    if height * width > limits.pixels:
        raise ValueError(
            f"{path.name} has {width} x {height} pixels but the page takes {limits.pixels:,} at most; make it smaller, "
            "or use the command line."
        )
    x = pictures.to_uint8(pictures.read_picture(path))
    from PIL import Image

    image = Image.fromarray(x[..., 0] if x.shape[2] == 1 else x).convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image), f"{path.name}: {width} x {height} pixels."


def _begin(form: Form, painted: Any, loaded: Loaded, limits: Limits) -> Restoration:
    """The restoration, with the mask that was painted as its file."""
    from dataclasses import replace

    size = pictures.picture_size(form.picture)
    if size[0] * size[1] > limits.pixels:
        raise ValueError(f"{form.picture.name} is too large for the page.")
    hole = hole_of(painted["layers"], size) if painted and form.task == "inpaint" and form.mask is None else None
    restoration = Restoration(form, loaded, seconds=limits.seconds)
    if hole is not None:
        path = restoration.folder / PAINTED
        write_mask(path, hole)
        restoration.form = replace(form, mask=path, painted=True)
    return restoration


def _finished(restoration: Restoration, lines: list[str]) -> tuple[Any, ...]:
    from PIL import Image

    form, files = restoration.form, restoration.files
    means = [file for file in files if file.stem == f"{form.picture.stem}_mean"]
    after = means[0] if means else files[0]
    with Image.open(after) as image:
        size = image.size
    before, shown_after = (restoration.folder / f"{name}.png" for name in ("before", "after"))
    for source, target in ((form.picture, before), (after, shown_after)):
        x = pictures.to_uint8(pictures.read_picture(source))
        image = Image.fromarray(x[..., 0] if x.shape[2] == 1 else x).convert("RGB")
        image.resize(size, Image.Resampling.NEAREST).save(target)
    several = [str(file) for file in files if file.suffix == ".png"] if form.samples > 1 else None
    gallery = gr.update(value=several, visible=several is not None)
    told = [str(file) for file in files] + ([str(form.mask)] if form.painted else [])
    return _line("restored.", lines), (str(before), str(shown_after)), gallery, told, form.command()


def _brush(side: int) -> gr.Brush:
    """A brush for a picture whose longer side this is."""
    return gr.Brush(default_size=max(2, side // 40), colors=[_RED], color_mode="fixed")


def _progress(event: Event, lines: list[str]) -> str:
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
    return bar + _line(f"{words.get(event.kind, event.kind)}{left}", lines)


def _line(text: str, lines: list[str] | None = None) -> str:
    """Text of files and jobs, as HTML that a browser shows and does not obey."""
    return "".join(f"<p>{html.escape(shown(each, limit=None))}</p>" for each in [*(lines or []), text] if each)


def _wrong(text: str, lines: list[str] | None = None) -> str:
    return _line("", lines) + f'<p class="wrong">{html.escape(shown(text, limit=None))}</p>'
