"""Serves the page: at which address, to whom, until when, and what is left then, which is nothing.

No Gradio here until the page is made: what Gradio reads from the environment as it is loaded is removed before.
"""

import errno
import importlib
import ipaddress
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reddiff_jax.app.limits import Limits
from reddiff_jax.app.restoration import PREFIX, Loaded

PORTS = range(7860, 7960)
_PATIENCE = 20.0  # seconds for which the end of what is being computed is waited for
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class AddressError(ValueError):
    """An address at which nothing can be served; the message is one line."""


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int | None) -> int:
    """The port to listen at: what is given, or the first free one of ``PORTS``; looked for before a prior is loaded.

    Raises:
        AddressError: If it is taken, is no port, or the host is not this machine.
    """
    if port is not None and not 1 <= port <= 65535:
        raise AddressError(f"port is {port} but must be from 1 to 65535; leave --port out for a free one.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise AddressError(
            f"host is {host!r}, which no address is known for; give one of this machine, such as 127.0.0.1."
        ) from None
    for candidate in PORTS if port is None else (port,):
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address[0], candidate, *address[2:]))
                return candidate
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise AddressError(
                        f"host is {host!r}, which is no address of this machine; give one, such as 127.0.0.1."
                    ) from None
                if error.errno == errno.EACCES:
                    raise AddressError(
                        f"port is {candidate}, which this user may not listen at; give one from 1024 with --port."
                    ) from None
    if port is None:
        raise AddressError(f"ports {PORTS[0]} to {PORTS[-1]} are in use; give another one with --port.")
    raise AddressError(
        f"port is {port}, which is in use; give another one with --port, or leave it out for a free one."
    )


class SameHost:
    """ASGI middleware: refuses requests to other names than this machine's, and those of other sites' pages.

    Another site's page reaches a server of this machine by a name of its own that resolves to 127.0.0.1, or by the
    visitor's browser: the first has a foreign ``Host``, the second a foreign ``Origin``.

    Args:
        app: What is served.
        host: The address listened at.
        public: Whether other names of the machine are right, too.
    """

    def __init__(self, app: Any, host: str, public: bool):
        self.app, self.host, self.public = app, host.strip("[]").lower(), public

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes a request on, or answers 403."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self.admits(headers):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            text = b"This page is for the machine that serves it; open it by the address that was printed there."
            kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": kind})
            await send({"type": "http.response.body", "body": text})

    def admits(self, headers: dict[str, str]) -> bool:
        """Whether a request with these headers is the page's own."""
        host = headers.get("host", "")
        if not self.public:
            name = _name(f"//{host}")
            if not name or not (is_loopback(name) or name == self.host):
                return False
        origin = headers.get("origin")
        if origin is None:
            return True
        own = {host.lower()} | ({headers["x-forwarded-host"].lower()} if "x-forwarded-host" in headers else set())
        return origin.partition("://")[2].lower() in own


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def prepare() -> None:
    """Loads Gradio without what the environment tells it.

    Its variables would open folders of this machine, share it with the world or watch its files, and some are read as
    it is loaded.

    Raises:
        ImportError: Without Gradio.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    importlib.import_module("reddiff_jax.app.page")


def serve(
    loaded: Loaded,
    *,
    host: str = "127.0.0.1",
    port: int,
    public: bool = False,
    limits: Limits | None = None,
    open_: bool = False,
    ready: Callable[[str], None] = lambda address: None,
) -> int:
    """Serves the page until a signal ends it. Whatever visitors opened and restored is removed then.

    Args:
        loaded: The prior.
        host: Address to listen at.
        port: Port.
        public: Whether it answers to other names than this machine's own and ``host``.
        limits: What a visitor may ask.
        open_: Whether to open a browser.
        ready: Called with the page's address once it is served.

    Returns:
        The number of the signal.

    Raises:
        AddressError: If the port is taken meanwhile.
    """
    with _until_signal() as ended, tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        blocks, visits = launched(loaded, Path(folder), host=host, port=port, public=public, limits=limits, open_=open_)
        try:
            ready(_address(host, port))
            number = ended()
        finally:
            blocks.close(verbose=False)
            visits.end_all(_PATIENCE)
    return number


def launched(
    loaded: Loaded,
    folder: Path,
    *,
    host: str,
    port: int,
    public: bool = False,
    limits: Limits | None = None,
    open_: bool = False,
) -> tuple[Any, Any]:
    """The page being served, in threads, and its visits; all files of visitors are in the folder."""
    prepare()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    from starlette.middleware import Middleware

    from reddiff_jax.app.page import page
    from reddiff_jax.app.showing import CSS
    from reddiff_jax.app.visits import Visits

    limits, visits = limits or Limits(), Visits()
    blocks = page(loaded, limits, visits=visits, folder=folder)
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,
            quiet=True,
            prevent_thread_lock=True,
            allowed_paths=[],
            strict_cors=True,
            app_kwargs={"middleware": [Middleware(SameHost, host=host, public=public)]},
            max_file_size=f"{limits.megabytes}mb",
            footer_links=[],
            css=CSS,
        )
    except OSError:
        raise AddressError(f"port is {port}, which is in use on this machine; give another one with --port.") from None
    return blocks, visits


@contextmanager
def _until_signal() -> Iterator[Callable[[], int]]:
    """What waits for the first of the signals that end a server, and returns its number.

    Until the context ends further ones change nothing, so that all is removed.
    """
    came: list[int] = []
    ended = threading.Event()

    def note(number: int, _: Any) -> None:
        came.append(number)
        ended.set()

    def wait() -> int:
        while not ended.wait(0.2):  # a wait without an end would let no handler run on some systems
            pass
        return came[0]

    # nohup leaves SIGHUP to be ignored.
    noted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in noted}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _address(host: str, port: int) -> str:
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"http://{f'[{named}]' if ':' in named and not named.startswith('[') else named}:{port}"
