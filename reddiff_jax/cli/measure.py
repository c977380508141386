"""`reddiff-jax measure`: simulated measurements of pictures."""

from pathlib import Path
from typing import Annotated

import typer

from reddiff_jax.cli._common import (
    SIGMA,
    KernelOption,
    MaskOption,
    OutOption,
    SeedOption,
    check_exist,
    conclude,
    parse_sigma,
    printable,
    progress_bar,
)
from reddiff_jax.cli._early import check_level
from reddiff_jax.cli._names import check_names
from reddiff_jax.cli._pictures import HoleOption, PageOption, WhiteOption, check_hole, parse_hole


def measure(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.", show_default=False)],
    task: Annotated[str, typer.Option(help="What is measured; `reddiff-jax info` lists the tasks.")],
    out: OutOption,
    sigma: Annotated[str, typer.Option(help=SIGMA)] = "0",
    seed: SeedOption = 0,
    mask: MaskOption = None,
    hole: HoleOption = "auto",
    kernel: KernelOption = None,
    white: WhiteOption = None,
    page: PageOption = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Measure the central square, reduced to this many pixels a side.", show_default="whole picture"
        ),
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Make gray pictures of them first.")] = False,
) -> None:
    """Simulates measurements of pictures, for `restore` and `evaluate`.

    Writes OUT/NAME.npz (lossless, with all that `restore` must know), OUT/preview/NAME.png to look at, and
    OUT/reference/NAME.png, the original as it was measured. Whole pictures are cut to what the task divides by.
    """
    check_names(task)
    check_exist(*images)
    check_hole(hole)
    level = parse_sigma(sigma)
    check_level(level, task)
    from reddiff_jax import jobs

    with progress_bar("measuring") as update:

        def report(event: "jobs.Event") -> None:
            if event.kind == "note":
                update.console.print(printable(event.name), soft_wrap=True, markup=False)
            else:
                update(event.done, event.name)

        outcome = jobs.measure_pictures(
            images,
            task=task,
            sigma=level,
            out=out,
            seed=seed,
            mask=mask,
            hole=parse_hole(hole),
            kernel=kernel,
            white=white,
            page=page,
            size=size,
            channels=1 if gray else 3,
            report=report,
        )
    conclude(outcome, f"measured into {out}")
