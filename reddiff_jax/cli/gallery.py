"""`reddiff-jax gallery`: what each task measures."""

from pathlib import Path
from typing import Annotated

import typer

from reddiff_jax.cli._common import SIGMA, OutOption, SeedOption, check_exist, parse_sigma, progress_bar, stdout
from reddiff_jax.cli._names import check_names


def gallery(
    out: OutOption,
    task: Annotated[
        list[str] | None, typer.Option(help="Draw this task; repeat the option.", show_default="all")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture to measure.", show_default="sample photos")] = None,
    size: Annotated[int, typer.Option(min=32, help="Side of the central square, in pixels.")] = 128,
    sigma: Annotated[str, typer.Option(help=SIGMA)] = "0",
    seed: SeedOption = 0,
) -> None:
    """Draws what each task measures: OUT/gallery.png with original, measurement, and its pseudo-inverse A+ y."""
    for each in task or ():
        check_names(each)
    check_exist(picture)
    from reddiff_jax import jobs

    with progress_bar("drawing") as update:
        file = jobs.draw_gallery(
            out, names=task, picture=picture, size=size, sigma=parse_sigma(sigma), seed=seed, say=update
        )
    stdout().print(f"drawn: {file}", soft_wrap=True, markup=False)
