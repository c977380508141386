"""What several commands share: options, consoles, the prior, the end of a job."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff_jax.cli._cache import keep_programs
from reddiff_jax.cli._errors import FAILED, FAILED_PARTLY, UserError, fail, lacks_memory, printable

if TYPE_CHECKING:
    from rich.console import Console

    from reddiff_jax.jobs import Failure, Item, Outcome

SIGMA = (
    "Standard deviation of the noise, for pixels in [-1, 1] (twice that of pixels in [0, 1]); or 25/255: "
    "25 gray levels of 255, which is 0.196."
)
PRIOR = "Folder of a prior, or name of a bundled one; photo if left out."

PriorOption = Annotated[Path | None, typer.Option("--prior", help=PRIOR, show_default=False)]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything drawn.")]
SolverOption = Annotated[
    str | None,
    typer.Option("--solver", help="Solver; `reddiff-jax info` lists them.", show_default="what does the task best"),
]
OutOption = Annotated[Path, typer.Option("--out", help="Output folder.")]
MaskOption = Annotated[
    Path | None,
    typer.Option("--mask", help="Mask: a picture, .npy or .npz; or a folder with one a picture."),
]
KernelOption = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        help="Blur kernel: a picture or .npy; a folder with one a picture; or gaussian:2.5 (standard deviation), "
        "defocus:4 (radius), motion:15@30 (length, degrees anticlockwise from the horizontal), in pixels.",
    ),
]


def parse_sigma(text: str) -> float:
    """A noise level for pixels in [-1, 1] from the words of the command line. Says what a fraction is.

    Raises:
        ValueError: If it is none.
    """
    from reddiff_jax.jobs import sigma_in_words

    sigma = sigma_in_words(text)
    if "/" in text:
        stderr().print(f"sigma {text} is {sigma:.4g} for pixels in [-1, 1].")
    return sigma


def stdout() -> "Console":
    """Where results go. Tables are not cut where there is no terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def stderr() -> "Console":
    """Where progress and errors go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def check_exist(*paths: Path | None) -> None:
    """Raises UserError if none of some files and folders exists: before anything is loaded that takes a second."""
    if any(path is None or os.path.lexists(path) for path in paths):
        return  # what is wrong with some of them is theirs alone
    raise UserError(f"{paths[0]} does not exist; check the name.")


def check_found(inputs: "Sequence[Path]", *, out: Path | None = None, measured: bool = True) -> "list[Item]":
    """Returns what there is to work on, or exits if there is nothing: before a prior is loaded."""
    from reddiff_jax import jobs
    from reddiff_jax.jobs.errors import attempt
    from reddiff_jax.jobs.headers import check_kind

    items, failures = jobs.find_inputs(inputs, out=out, measured=measured)
    if measured and all(wrong := [attempt(check_kind, item) for item in items]):
        failures += [jobs.Failure(item.name, str(error)) for item, error in zip(items, wrong, strict=True)]
        items = []
    if not items:
        conclude_with(failures, FAILED)
    return items


def load_prior(folder: Path | None) -> tuple[Any, int, str]:
    """Loads a prior; returns it, the channels of its pictures, and its fingerprint."""
    from reddiff_jax import hub, io, jobs

    keep_programs()
    found = hub.find_prior(folder)
    if hub.is_on_hub(folder):
        stdout().print(f"prior: {folder}, licence {hub.licence_of(found) or 'not stated'}", markup=False)
    folder = found
    try:
        prior = io.load_prior(folder)
    except UserError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise
        # Orbax and TensorStore raise nearly anything for a broken checkpoint.
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(f"no prior could be loaded from {folder}: {reason}") from error
    channels: int = prior.net.in_channels  # type: ignore[attr-defined]
    return prior, channels, jobs.fingerprint(folder)


def show_settings(settings: Any) -> str:
    """Settings in the words of the command line."""
    from dataclasses import asdict

    from reddiff_jax.settings import WORDS

    values = asdict(settings)
    own = [f"{name}={str(value).lower()}" for name, value in values.items() if name not in WORDS]
    shared = [f"--{word} {values[name]:g}" for name, word in WORDS.items() if name in values]
    return " ".join([f"--solver {settings.name}", *shared, *(f"--set {each}" for each in own)])


@contextmanager
def progress_bar(description: str) -> Iterator[Any]:
    """A progress bar on stderr; yields ``update(fraction, text)``, whose ``console`` is for what is said meanwhile."""
    from reddiff_jax import _bars

    console = stderr()
    with _bars.progress(description, console) as move:

        def update(fraction: float, text: str, left: float | None = None) -> None:
            move(fraction, printable(text), left)

        # On a terminal only the bar's own console can write above the bar.
        above = console.is_terminal and stdout().is_terminal
        update.console = console if above else stdout()  # type: ignore[attr-defined]
        yield update


def conclude(outcome: "Outcome", done: str) -> None:
    """Names what failed, and exits with the status that says so."""
    summarise(outcome, done)
    conclude_with(outcome.failures, FAILED_PARTLY if outcome.done or outcome.skipped else FAILED)


def summarise(outcome: "Outcome", done: str) -> None:
    """Counts what was done, found done, failed and left."""
    parts = [f"{len(outcome.done)} {done}"]
    if outcome.skipped:
        parts.append(f"{len(outcome.skipped)} found done")
    if outcome.failures:
        parts.append(f"{len(outcome.failures)} failed")
    if outcome.left:
        parts.append(f"{len(outcome.left)} left")
    if outcome.done or outcome.skipped or outcome.left:
        stdout().print(", ".join(parts), soft_wrap=True, markup=False)


def conclude_with(failures: "Sequence[Failure]", status: int) -> None:
    """Names what failed, and exits with the status if anything did."""
    for failure in failures:
        fail(failure.reason, status)
    if failures:
        raise typer.Exit(status)
