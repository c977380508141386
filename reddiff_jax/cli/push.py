"""`reddiff-jax push`: a prior's folder to a hub."""

from pathlib import Path
from typing import Annotated

import typer

from reddiff_jax.cli._common import stdout


def push(
    folder: Annotated[Path, typer.Argument(help="Folder of the prior.", show_default=False)],
    repository: Annotated[str, typer.Argument(help="owner/name on the hub; made if need be.", show_default=False)],
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence of the weights, if the prior's card states none.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Uploads a prior to a Hugging Face hub, with a model card: licence, library, network, schedule, data.

    --prior hf:owner/name then loads it anywhere. Log in once with `hf auth login`.
    """
    from reddiff_jax import hub

    address = hub.push(folder, repository, licence=licence, private=private)
    stdout().print(f"pushed: {address}", soft_wrap=True, markup=False)
