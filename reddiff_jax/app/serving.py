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
import time
from collections.abc import Callable
from contextlib import ExitStack
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


def prepare(folder: Path) -> None:
    """Loads Gradio without what the environment tells it, and with a folder for all of its files.

    Its variables would open folders of this machine, share it with the world or watch its files. Some are read as it is
    loaded, the name of the folder among them.

    Raises:
        ImportError: Without Gradio.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    importlib.import_module("reddiff_jax.app.page")


def serve(
    load: Callable[[], Loaded],
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
        load: Loads the prior.
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
        ImportError: Without Gradio.
    """
    with (
        _Signals() as signals,
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder,
        ExitStack() as ends,
    ):
        try:
            prepare(Path(folder))
            blocks, visits = launched(
                load(), Path(folder), host=host, port=port, public=public, limits=limits, open_=open_
            )
            ends.callback(visits.end_all, _PATIENCE)
            ends.callback(blocks.close, verbose=False)
            ends.callback(signals.calm)  # the ends are not to be interrupted; the last is called first
            ready(_address(host, port))
            while True:
                time.sleep(1)
        except _EndedError as ended:
            return ended.number


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
    prepare(folder)
    from starlette.middleware import Middleware

    from reddiff_jax.app.page import page
    from reddiff_jax.app.showing import CSS
    from reddiff_jax.app.visits import Visits

    limits, visits = limits or Limits(), Visits()
    blocks = page(loaded, limits, visits=visits, folder=folder)
    try:
        blocks.launch(
            server_name=_bracketed(host),
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


class _EndedError(BaseException):
    """A signal came that ends the server; nothing catches it on its way."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class _Signals:
    """Within, the first of the signals that end a server raises ``_EndedError``; further ones change nothing."""

    def __enter__(self) -> "_Signals":
        self._calm = False
        # nohup leaves SIGHUP to be ignored.
        noted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in noted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def calm(self) -> None:
        """From now on none raises."""
        self._calm = True

    def _note(self, number: int, _: Any) -> None:
        if not self._calm:
            self._calm = True
            raise _EndedError(number)


def _address(host: str, port: int) -> str:
    return f"http://{_bracketed({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host))}:{port}"


def _bracketed(host: str) -> str:
    """A host as in an address of the web."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
