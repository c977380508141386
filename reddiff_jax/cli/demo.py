"""`reddiff-jax demo`: the bundled prior on the bundled photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff_jax.cli._common import OutOption, PriorOption, SeedOption, UserError, load_prior, stderr, stdout

if TYPE_CHECKING:
    from reddiff_jax.jobs import DemoResult

# Task, and standard deviation of the measurement noise for pixels in [-1, 1].
TASKS = (("inpaint_freeform", 0.0), ("inpaint_random", 0.05), ("sr4", 0.0), ("deblur_gauss61", 0.05))


def demo(
    out: OutOption = Path("demo"),
    prior: PriorOption = None,
    steps: Annotated[int, typer.Option(help="Steps of each restoration, 1 to 1000.")] = 40,
    size: Annotated[int, typer.Option(help="Side of the photos in pixels, 32 to 256, a multiple of 4.")] = 128,
    seed: SeedOption = 0,
) -> None:
    """Restores six bundled photos from four kinds of measurements.

    All photos of a task are restored in one compiled call. Writes OUT/panel.png, a panel for each task, the restored
    pictures, and OUT/metrics.json.
    """
    if not 32 <= size <= 256 or size % 4:
        raise UserError(f"size is {size} but must be a multiple of 4 from 32 to 256.")
    from rich.table import Table

    from reddiff_jax import jobs

    loaded, channels, name = load_prior(prior)
    if channels != 3:
        raise UserError("the demo's photos have colours; take a prior of colour pictures.")
    results = []
    with stderr().status("loading the photos") as status:
        for result in jobs.demonstrate(
            loaded, out, TASKS, prior_name=name, steps=steps, size=size, seed=seed, say=status.update
        ):
            results.append(result)
    table = Table("task", "sigma", "", title=f"{len(results[0].names)} photos, {size} x {size}, {steps} steps, {name}")
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

    baseline, ours = result.pinv_scores, result.scores
    return [
        (
            result.task,
            f"{result.sigma:g}",
            "A+ y",
            f"{mean(baseline, 'psnr'):.2f}",
            f"{mean(baseline, 'ssim'):.3f}",
            "",
            "",
        ),
        (
            "",
            "",
            "RED-diff",
            f"{mean(ours, 'psnr'):.2f}",
            f"{mean(ours, 'ssim'):.3f}",
            f"{result.compile_seconds:.1f}",
            f"{result.solve_seconds:.1f}",
        ),
    ]
