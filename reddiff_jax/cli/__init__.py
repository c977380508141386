"""The command line `reddiff-jax`: one file a command."""

from typing import Annotated

import typer

from reddiff_jax import __version__
from reddiff_jax.cli._errors import OneLineErrors
from reddiff_jax.cli.convert import convert
from reddiff_jax.cli.demo import demo
from reddiff_jax.cli.evaluate import evaluate
from reddiff_jax.cli.gallery import gallery
from reddiff_jax.cli.info import info
from reddiff_jax.cli.measure import measure
from reddiff_jax.cli.push import push
from reddiff_jax.cli.restore import restore
from reddiff_jax.cli.serve import serve
from reddiff_jax.cli.train import train
from reddiff_jax.cli.tune import tune

app = typer.Typer(
    cls=OneLineErrors,
    help="Restores pictures with a diffusion prior, by RED-diff and others. Start with [bold]reddiff-jax demo[/bold].",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"reddiff-jax {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None: ...


for command in (demo, measure, restore, evaluate, train, convert, push, gallery, tune, info):
    app.command()(command)
app.command("app")(serve)


def main() -> None:
    """Entry point."""
    app(prog_name="reddiff-jax")
