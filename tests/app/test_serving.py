"""Where the page is served, to whom, and that nothing is left of it."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from reddiff_jax.app import serving
from reddiff_jax.cli import app

OWN = {"host": "127.0.0.1:7860"}
PAGE = serving.SameHost(None, "127.0.0.1", public=False)
PUBLIC = serving.SameHost(None, "0.0.0.0", public=True)


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {"host": "localhost:7860"},
        {"host": "[::1]:7860"},
        OWN | {"origin": "http://127.0.0.1:7860"},
    ],
)
def test_this_machine_is_answered(headers):
    assert PAGE.admits(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "rebound.example:7860"},
        {"host": "127.0.0.1.example"},
        {"host": "[::1"},
        OWN | {"origin": "http://evil.example"},
        OWN | {"origin": "http://127.0.0.1:8000"},
        OWN | {"origin": "null"},
    ],
)
def test_names_and_pages_of_others_are_refused(headers):
    assert not PAGE.admits(headers)


def test_a_public_page_answers_to_any_name_but_not_to_the_pages_of_others():
    assert PUBLIC.admits({"host": "lab.example"})
    assert PUBLIC.admits({"host": "lab.example", "origin": "https://lab.example"})
    assert not PUBLIC.admits({"host": "lab.example", "origin": "https://evil.example"})


def test_an_address_that_cannot_be_is_one_line():
    said = {
        ("--port", "99999"): "error: port is 99999 but must be from 1 to 65535; leave --port out for a free one.",
        ("--port", "0"): "error: port is 0 but must be from 1 to 65535; leave --port out for a free one.",
        ("--host", "0.0.0.0"): "error: host is '0.0.0.0', which other machines may reach; say --public, too",
        (
            "--host",
            "no.such.host.invalid",
            "--public",
        ): "error: host is 'no.such.host.invalid', which no address is known",
    }
    for words, line in said.items():
        result = CliRunner().invoke(app, ["app", *words])
        assert result.exit_code == 2
        assert result.stderr.startswith(line)
        assert result.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line_and_is_passed_over_where_none_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["app", "--port", str(port)])
        assert result.stderr == (
            f"error: port is {port}, which is in use; give another one with --port, or leave it out for a free one.\n"
        )
    assert serving.free_port("127.0.0.1", None) in serving.PORTS


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_is_ended(number, tmp_path):
    pytest.importorskip("gradio")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {
        "TMPDIR": str(tmp_path / "temporary"),
        "GRADIO_ALLOWED_PATHS": str(tmp_path),
        "GRADIO_TEMP_DIR": str(tmp_path / "elsewhere"),
    }
    environment.pop("PYTEST_CURRENT_TEST")  # which keeps the process from ending as a user's does
    code = "from reddiff_jax.cli import app; app()"
    words = [sys.executable, "-u", "-c", code, "app", "--no-browser"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("the page is at http://127.0.0.1:")
            address = line.split()[4]
            assert [path.name.startswith("reddiff-jax-app-") for path in (tmp_path / "temporary").iterdir()] == [True]
            import httpx

            root, secret = httpx.get(address), httpx.get(f"{address}/gradio_api/file={tmp_path}/secret.txt")
            foreign = httpx.get(address, headers={"host": "rebound.example"})
            assert (root.status_code, secret.status_code, foreign.status_code) == (200, 403, 403)
            file = {"files": ("a.png", b"123")}
            assert httpx.post(f"{address}/gradio_api/upload", files=file).status_code == 200
        finally:
            process.send_signal(number)
        assert process.wait(60) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "elsewhere").exists()
