"""`reddiff-jax restore` of scans: what is told of them, and options of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from reddiff_jax.cli._common import conclude, load_prior, parse_sigma, progress_bar, summarise
from reddiff_jax.cli._errors import Stopped, UserError
from reddiff_jax.cli._stopping import Stopping
from reddiff_jax.cli._told import Told

TASKS = ("mri", "ct")
"""Tasks that restore scans; a test compares them with ``jobs.scanning.TASKS``."""

AnglesOption = Annotated[
    str | None,
    typer.Option(
        "--angles",
        help="For `--task ct`: angles of the views in degrees, FIRST:LAST without the last, such as 0:180; or a file.",
        show_default=False,
    ),
]
CenterOption = Annotated[
    str | None,
    typer.Option(
        "--center",
        help="For `--task ct`: the detector element where the axis of rotation is seen, or `auto` to find it.",
        show_default="the layout's",
    ),
]
VolumeOption = Annotated[
    bool,
    typer.Option(
        "--volume",
        help="Inputs are volumes: NIfTI, DICOM files or folders of a series, stacks of TIFF, .npy; for denoise.",
    ),
]
LamZOption = Annotated[
    float,
    typer.Option(
        "--lam-z",
        help="For scans, volumes and clips: weight of the coupling of neighbouring slices or frames; 0 couples none. "
        "(sigma / s)^2 where they differ by about s, such as 0.06.",
    ),
]
MotionOption = Annotated[
    bool,
    typer.Option("--motion", help="For clips with `--lam-z`: frames are compared where their pixels moved."),
]
CLIPS = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm")
"""Suffixes of clips; a test compares them with ``scans.video.SUFFIXES``."""
LayoutOption = Annotated[
    str,
    typer.Option(
        "--layout", help="For `--task ct`: whose conventions the sinogram has, scikit-image, astra or tomopy."
    ),
]


def restore_scans(
    inputs: list[Path],
    prior: Path | None,
    *,
    out: Path,
    layout: str,
    sigma: str,
    solver: str | None,
    settings: Path | None,
    share: Any,
    log: Path | None,
    tensorboard: Path | None,
    **options: Any,
) -> None:
    """Restores scans and tells what was decided."""
    from dataclasses import replace

    from reddiff_jax import scans
    from reddiff_jax.jobs import scanning
    from reddiff_jax.settings import read_settings

    try:
        chosen = scanning.Layout(layout)
    except ValueError:
        raise UserError(f"layout is {layout!r} but must be one of {', '.join(scanning.Layout)}.") from None
    level = None if sigma == "auto" else parse_sigma(sigma)
    asked = scanning.ScanOptions(layout=chosen, sigma=level, solver=solver, **_known(options))
    asked.check()
    with progress_bar("restoring") as update:
        update(0.0, "loading the prior")
        loaded, channels, prior_name = load_prior(prior)
        if settings is not None:
            asked = replace(asked, tuned=read_settings(settings, prior_name))
        with Stopping() as stopping:
            try:
                outcome = scanning.restore_scans(
                    inputs,
                    loaded,
                    out=out,
                    options=asked,
                    prior_name=prior_name,
                    channels=channels,
                    share=share,
                    log=log,
                    tensorboard=tensorboard,
                    report=Told(update),
                    stop=stopping.asked,
                )
            except scans.ScanError as error:
                raise UserError(str(error)) from None
    if outcome.left:
        summarise(outcome, f"restored into {out}")
        raise Stopped
    conclude(outcome, f"restored into {out}")


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that scans have; others must be left out."""
    from dataclasses import fields

    from reddiff_jax.jobs.scanning import ScanOptions

    names = {each.name for each in fields(ScanOptions)}
    for name, value in options.items():
        if name not in names and value not in (None, False, 0, ()):
            raise UserError(f"{name.replace('_', '-')} is not for scans; leave --{name.replace('_', '-')} out.")
    return {name: value for name, value in options.items() if name in names}
