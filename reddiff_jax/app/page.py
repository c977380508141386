"""The page itself, by Gradio: what is where, and what happens on a click."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from reddiff_jax import tasks
from reddiff_jax.app import showing
from reddiff_jax.app.forms import MASKS, TASKS, Form, painted_name, whole_in_words
from reddiff_jax.app.limits import Limits
from reddiff_jax.app.painting import hole_of, write_mask
from reddiff_jax.app.restoration import Loaded, Restoration
from reddiff_jax.app.turns import Turns
from reddiff_jax.app.visits import Visits
from reddiff_jax.app.wording import BEST, FIELDS
from reddiff_jax.settings import SETTINGS

try:
    import gradio as gr
except ImportError:
    raise ImportError('the page in the browser needs Gradio; pip install "reddiff_jax[app]".') from None

_RED = "#e00000"
_LOOK = 0.5  # seconds after which one who waits looks whether it was stopped
_BRUSH = "The lowest button beside the picture sets the size of the brush, the eraser takes paint away."
_WORDS = (
    "*Missing* is the painted part of the picture; it is *grown* by a rim of pixels, as paint and JPEG smear. *sigma* "
    "is the noise's standard deviation for pixels from -1 (black) to 1 (white). The *spread* of several samples is "
    "their standard deviation: bright where they differ, so where the result is a guess."
)


def page(
    loaded: Loaded, limits: Limits | None = None, *, visits: Visits | None = None, folder: Path | None = None
) -> gr.Blocks:
    """The page, to be served by ``serving.serve`` or within a larger Gradio app.

    Args:
        loaded: The prior.
        limits: What a visitor may ask.
        visits: Where restorations are noted, for who must end them.
        folder: Where their files lie; the system's for such files if None.
    """
    limits, visits, turns = limits or Limits(), Visits() if visits is None else visits, Turns()
    no_results = (None, gr.update(value=None, visible=False), None, "")

    def open_picture(path: str | None, request: gr.Request) -> tuple[Any, ...]:
        visits.end(_visitor(request))  # what was restored of the picture before is not this one's
        if path is None:
            return None, None, "", *no_results
        try:
            preview, said = showing.opened(Path(path), limits)
        except (ValueError, OSError) as error:
            return None, None, showing.wrong(str(error)), *no_results
        value = {"background": preview, "layers": [], "composite": None}
        return gr.update(value=value, brush=_brush(*preview.shape[:2])), preview, showing.line(said), *no_results

    def restore(
        path: str | None,
        painted: Any,
        mask: str | None,
        task: str,
        kernel: str,
        sigma: str,
        samples: float,
        seed: str,
        solver: str,
        steps: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        if path is None:
            yield showing.wrong("open a picture first."), *no_results
            return
        if len(turns) >= limits.visitors:
            yield showing.wrong("too many are waiting; try again later."), *no_results
            return
        try:
            form = _form(Path(path), mask, task, kernel, sigma, samples, seed, solver, steps, limits=limits)
            restoration = _begun(form, painted, loaded, limits, folder)
        except (ValueError, OSError) as error:
            yield showing.wrong(str(error)), *no_results
            return
        visitor = _visitor(request)
        if not visits.begin(visitor, restoration):  # a second click
            restoration.remove()
            yield (gr.skip(),) * 5
            return
        for shown in _statuses(restoration, turns):
            yield (shown, *no_results) if visits.has(visitor, restoration) else (gr.skip(),) * 5
        if not visits.has(visitor, restoration):  # another picture was opened
            yield (gr.skip(),) * 5
        elif restoration.files:
            yield _results(restoration)

    def stop(request: gr.Request) -> Any:
        return showing.line("stopping...") if visits.stop(_visitor(request)) else gr.skip()

    def leave(request: gr.Request) -> None:
        visits.end(_visitor(request))

    def needed(task: str) -> tuple[Any, ...]:
        inpaint, deblur = TASKS[task] == "inpaint", TASKS[task] == "deblur"
        return tuple(gr.update(visible=visible) for visible in (inpaint, inpaint, not inpaint, deblur, inpaint))

    with gr.Blocks(title="reddiff-jax", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown("# Restore a picture")
        with gr.Row():
            with gr.Column():
                file = gr.File(label="Picture (JPEG, PNG, TIFF, WebP)", type="filepath", elem_id="picture")
                task = gr.Dropdown(list(TASKS), value=next(iter(TASKS)), label=FIELDS["task"], elem_id="task")
                editor = gr.ImageEditor(
                    label="Paint over what is missing",
                    type="numpy",
                    sources=(),
                    transforms=(),
                    layers=False,
                    format="png",
                    brush=_brush(showing.SIDE, showing.SIDE),
                    elem_id="editor",
                )
                hint = gr.HTML(_BRUSH, elem_id="hint")
                picture = gr.Image(label="The picture", interactive=False, buttons=[], visible=False, elem_id="opened")
                kernel = gr.Textbox(
                    label=FIELDS["kernel"],
                    value="gaussian:2",
                    info="gaussian:SIGMA, defocus:RADIUS or motion:LENGTH@DEGREES, in pixels",
                    max_length=100,
                    visible=False,
                    elem_id="kernel",
                )
                with gr.Accordion("More", open=False):
                    mask = gr.File(
                        label="A mask instead of painting: white is the hole, black is kept (or the other way: "
                        "the smaller part is the hole)",
                        type="filepath",
                        elem_id="mask",
                    )
                    sigma = gr.Textbox(
                        label=FIELDS["sigma"],
                        value="auto",
                        info="auto: estimated from the picture; or the standard deviation, such as 0.1 for pixels from "
                        "-1 to 1, or 25/255 in gray levels",
                        max_length=100,
                        elem_id="sigma",
                    )
                    samples = gr.Slider(
                        1,
                        limits.samples,
                        value=1,
                        step=1,
                        label=FIELDS["samples"],
                        info="several show how sure it is",
                        elem_id="samples",
                    )
                    seed = gr.Textbox(
                        label=FIELDS["seed"], value="0", info="of the random numbers", max_length=20, elem_id="seed"
                    )
                    solver = gr.Dropdown([BEST, *SETTINGS], value=BEST, label=FIELDS["solver"])
                    steps = gr.Textbox(
                        label=FIELDS["steps"],
                        value="",
                        placeholder="as tuned",
                        info="empty: what was tuned for the task",
                        max_length=20,
                        elem_id="steps",
                    )
                with gr.Row():
                    go = gr.Button("Restore", variant="primary", elem_id="restore")
                    halt = gr.Button("Stop", elem_id="stop")
            with gr.Column():
                status = gr.HTML(elem_id="status")
                slider = gr.ImageSlider(
                    label="Before and after",
                    type="filepath",
                    format="png",
                    buttons=["fullscreen"],  # its download would be another file than that below
                    elem_id="slider",
                    interactive=False,
                )
                drawn = gr.Gallery(
                    label="Samples, their mean and their spread",
                    columns=3,
                    buttons=["fullscreen"],
                    elem_id="drawn",
                    visible=False,
                )
                download = gr.File(label="Download", file_count="multiple", interactive=False, elem_id="download")
                command = gr.Textbox(
                    label="The same on the command line; with a folder's name, a folder",
                    buttons=["copy"],
                    elem_id="command",
                )
                gr.Markdown(_WORDS, elem_id="words")
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        results = [status, slider, drawn, download, command]
        file.change(open_picture, file, [editor, picture, *results], **quiet)
        task.change(needed, task, [editor, hint, picture, kernel, mask], **quiet)
        go.click(
            restore,
            [file, editor, mask, task, kernel, sigma, samples, seed, solver, steps],
            results,
            concurrency_limit=None,  # the line is kept here, so that those who wait are told and can leave
            trigger_mode="once",
            **quiet,
        )
        halt.click(stop, None, status, queue=False, **quiet)
        blocks.unload(leave)
    return blocks.queue(max_size=2 * limits.visitors)


def _visitor(request: gr.Request) -> str:
    return request.session_hash or ""


def _form(
    picture: Path,
    mask: str | None,
    task: str,
    kernel: str,
    sigma: str,
    samples: float,
    seed: str,
    solver: str,
    steps: str,
    *,
    limits: Limits,
) -> Form:
    """What the visitor chose.

    Raises:
        ValueError: For fields that hold no number.
    """
    if TASKS[task] == "deblur" and not kernel.strip():
        raise ValueError(f"{FIELDS['kernel']} is empty; say {tasks.FORMS}.")
    form = Form(
        picture=picture,
        task=TASKS[task],
        mask=Path(mask) if mask is not None and TASKS[task] == "inpaint" else None,
        kernel=kernel.strip() if TASKS[task] == "deblur" else "",
        sigma=sigma.strip() or "auto",
        samples=max(1, min(int(samples or 1), limits.samples)),
        seed=whole_in_words(FIELDS["seed"], seed) or 0,
        solver="" if solver == BEST else solver,
        steps=whole_in_words(FIELDS["steps"], steps),
    )
    form.options()
    return form


def _begun(form: Form, painted: Any, loaded: Loaded, limits: Limits, folder: Path | None) -> Restoration:
    """The restoration, with the mask that was painted as its file."""
    size = showing.check_size(form.picture, limits)
    hole = hole_of(painted["layers"], size) if painted and form.task == "inpaint" and form.mask is None else None
    restoration = Restoration(form, loaded, seconds=limits.seconds, within=folder)
    if hole is not None:
        path = restoration.folder / painted_name(form.picture)
        write_mask(path, hole)
        restoration.form = replace(form, mask=path, painted=True)
    return restoration


def _statuses(restoration: Restoration, turns: Turns) -> Iterator[str]:
    """Waits for its turn, does it, and yields what is to be shown meanwhile; of an error, too."""
    lines: list[str] = []
    turns.join(restoration)
    try:
        told = 0
        while (before := turns.before(restoration)) and not restoration.stopped:
            if before != told:
                yield showing.line(f"waiting: {before} before you.")
                told = before
            turns.wait(_LOOK)
        if restoration.stopped:
            yield showing.wrong("stopped.")
            return
        for event in restoration.events():
            status = showing.progress(event, lines)
            yield showing.line("stopping...", lines) if restoration.stopped else status
        if restoration.error:
            yield showing.wrong(restoration.error.removeprefix(f"{restoration.form.picture.name}: "), lines)
        else:
            restoration.said = lines
    finally:
        turns.leave(restoration)


def _results(restoration: Restoration) -> tuple[Any, ...]:
    form, several = restoration.form, showing.samples_of(restoration)
    lines = list(restoration.said)
    if form.is_mask_apart:
        lines.append(f"for the command below, put the mask into the folder {MASKS}.")
    download = [str(file) for file in restoration.files] + ([str(form.mask)] if form.painted else [])
    return (
        showing.line("restored.", lines),
        showing.before_and_after(restoration),
        gr.update(value=several or None, visible=bool(several)),
        download,
        form.command(),
    )


def _brush(height: int, width: int) -> gr.Brush:
    """A brush for a picture that is shown at this size."""
    return gr.Brush(default_size=showing.brush_radius(height, width), colors=[_RED], color_mode="fixed")
