"""`reddiff-jax app`: the page in the browser."""

import signal
from typing import Annotated

import typer

from reddiff_jax.cli._cache import cache_folder
from reddiff_jax.cli._common import PriorOption, load_prior, stdout
from reddiff_jax.cli._errors import INTERRUPTED, TERMINATED, UserError
from reddiff_jax.cli._processes import use_cores


def serve(
    prior: PriorOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine's need --public.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(help="Port.", show_default="the first free one from 7860")] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let other machines in: whoever reaches HOST may use this one.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, help="Longest restoration.")] = 3600,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Serves a page: open a picture, paint what is missing, restore, compare, download. Ctrl-C ends it.

    The files are those of `reddiff-jax restore` with the command that the page shows, bit for bit. The page keeps
    nothing: what was opened and what was restored is removed with the visit, or when the page is ended.
    """
    use_cores()
    from reddiff_jax.app import serving
    from reddiff_jax.app.limits import Limits
    from reddiff_jax.app.restoration import Loaded

    if not public and not serving.is_loopback(host):
        raise UserError(f"host is {host!r}, which other machines may reach; say --public, too, if you want that.")
    port = serving.free_port(host, port)

    def load() -> Loaded:
        loaded, channels, name = load_prior(prior)
        return Loaded(loaded, channels, name, cache_folder())

    number = serving.serve(
        load,
        host=host,
        port=port,
        public=public,
        limits=Limits(seconds=seconds),
        open_=browser,
        ready=lambda address: stdout().print(f"the page is at {address} ; Ctrl-C ends it."),
    )
    # Threads that are still computing would be waited for: these statuses end the process at once.
    raise typer.Exit(INTERRUPTED if number == signal.SIGINT else TERMINATED)
