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
) -> None:
    """Restores six bundled photos from four kinds of measurements, and emoji where a prior of them is bundled.

    All pictures of a task are restored in one compiled call, by noise-aware RED-diff and by DiffPIR. Writes
    OUT/panel.png, a panel for each task, the restored pictures, and OUT/metrics.json; of the emoji to OUT/emoji.
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
    said, parts = itertools.count(), 4 * sum(len(show.tasks) for show in shows)  # two solvers, compiled and run
    with progress_bar("demo") as update:
        update(0.0, "loading the pictures")

        def say(text: str) -> None:
            update(next(said) / parts, text)

        for result in jobs.demonstrate(shows, out, steps=steps, seed=seed, say=say):
            results.append(result)
    table = Table("task", "sigma", "", title=f"{len(results[0].names)} pictures a task, {steps} evaluations")
    for column in ("PSNR", "SSIM", "compile s", "solve s"):
        table.add_column(column, justify="right")
    for result in results:
        for row in _rows(result):
            table.add_row(*row)
        table.add_section()
    console = stdout()
    console.print(table)
    console.print(f"pictures: {out / 'panel.png'}", soft_wrap=True, markup=False)


def _rows(result: "DemoResult") -> list[tuple[Any, ...]]:
    def mean(scores: list[dict[str, float]], key: str) -> float:
        return sum(score[key] for score in scores) / len(scores)

    what = f"{result.task}, {result.show.size} x {result.show.size}"
    of_method = zip(result.methods, (result.pinv_scores, result.scores, result.baseline_scores), strict=True)
    pinv, ours, other = (
        (name, f"{mean(scores, 'psnr'):.2f}", f"{mean(scores, 'ssim'):.3f}") for name, scores in of_method
    )
    return [
        (what, f"{result.sigma:g}", *pinv, "", ""),
        ("", "", *ours, f"{result.compile_seconds:.1f}", f"{result.solve_seconds:.1f}"),
        ("", "", *other, "", ""),
    ]
