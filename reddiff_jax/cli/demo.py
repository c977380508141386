"""`reddiff-jax demo`: the bundled prior on the bundled photos."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff_jax.cli._common import OutOption, PriorOption, SeedOption, UserError, load_prior, progress_bar, stdout
from reddiff_jax.cli._processes import use_cores

if TYPE_CHECKING:
    from reddiff_jax.jobs import DemoResult

# Task, and standard deviation of the measurement noise for pixels in [-1, 1].
TASKS = (("inpaint_freeform", 0.0), ("inpaint_random", 0.05), ("sr4", 0.0), ("deblur_gauss61", 0.05))
EMOJI_STEPS = 3  # times as many as for photos
EMOJI_TASKS = (("inpaint_box", 0.0), ("inpaint_random", 0.05), ("sr4", 0.0))


def demo(
    out: OutOption = Path("demo"),
    prior: PriorOption = None,
    steps: Annotated[
        int, typer.Option(help="Evaluations of the network for each restoration, 1 to 1000; for emoji thrice.")
    ] = 40,
    size: Annotated[int, typer.Option(help="Side of the photos in pixels, 32 to 256, a multiple of 4.")] = 128,
    seed: SeedOption = 0,
    full: Annotated[
        bool,
        typer.Option("--full", help="All six pictures of each task, by DiffPIR, too; takes about four times as long."),
    ] = False,
) -> None:
    """Restores bundled photos from four kinds of measurements, and emoji where a prior of them is bundled.

    Writes OUT/index.html, which shows what is finished, OUT/panel.png, a panel for each task, the restored pictures,
    and OUT/metrics.json; of the emoji to OUT/emoji.
    """
    if not 32 <= size <= 256 or size % 4:
        raise UserError(f"size is {size} but must be a multiple of 4 from 32 to 256.")
    from rich.table import Table

    from reddiff_jax import io, jobs

    use_cores()
    loaded, channels, name = load_prior(prior)
    if channels != 3:
        raise UserError("the demo's photos have colours; take a prior of colour pictures.")
    shows = [jobs.Show(loaded, name, jobs.sample_photos(), size, TASKS)]
    if prior is None and "emoji64" in io.bundled_priors():
        emoji, _, name = load_prior(io.bundled_priors()["emoji64"])
        # What a box hides is decided at high noise levels; small pictures are cheap.
        options: Any = {"evaluations": min(EMOJI_STEPS * steps, 1000), "settings": {"sigma_max": 6.0}}
        shows.append(jobs.Show(emoji, name, jobs.sample_emoji(), 64, EMOJI_TASKS, **options, folder="emoji"))
    results = []
    # Each solver is compiled and run.
    said, parts = itertools.count(), (4 if full else 2) * sum(len(show.tasks) for show in shows)
    with progress_bar("demo") as update:
        update(0.0, "loading the pictures")

        def say(text: str) -> None:
            update(next(said) / parts, text)

        for result in jobs.demonstrate(shows, out, steps=steps, seed=seed, full=full, say=say):
            if not results:
                update.console.print(f"first picture: {out / result.task}.png", soft_wrap=True, markup=False)
            results.append(result)
    count = len(results[0].names)
    title = f"{count} picture{'s' if count > 1 else ''} a task, {steps} evaluations"
    table = Table("task", "sigma", "", title=title)
    for column in ("PSNR", "SSIM", "compile s", "solve s"):
        table.add_column(column, justify="right")
    for result in results:
        for row in _rows(result):
            table.add_row(*row)
        table.add_section()
    console = stdout()
    console.print(table)
    console.print(f"pictures: {out / 'panel.png'}", soft_wrap=True, markup=False)
    console.print(f"open in a browser: {out / 'index.html'}", soft_wrap=True, markup=False)


def _rows(result: "DemoResult") -> list[tuple[str, ...]]:
    """A row for each method; the first names the task, and the default solver's has the seconds."""
    rows = []
    for index, (name, scores) in enumerate(zip(result.methods, result.scores.values(), strict=True)):
        what = (
            (f"{result.task}, {result.show.size} x {result.show.size}", f"{result.sigma:g}") if not index else ("", "")
        )
        seconds = (f"{result.compile_seconds:.1f}", f"{result.solve_seconds:.1f}") if index == 1 else ("", "")
        psnr, ssim = (sum(score[key] for score in scores) / len(scores) for key in ("psnr", "ssim"))
        rows.append((*what, name, f"{psnr:.2f}", f"{ssim:.3f}", *seconds))
    return rows
