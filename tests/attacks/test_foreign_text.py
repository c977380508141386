"""Text of strangers as a terminal sees it."""

import subprocess
import sys

import pytest

from reddiff_jax._text import MAX_SHOWN, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", "a b"),
        ("Ärger 图 é", "Ärger 图 é"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("caf\udce9.png", r"caf\xe9.png"),
        ("\ud800", r"\ud800"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("\u2028", r"\u2028"),
        ("\U000e0041", r"\U000e0041"),
        ("o[/x]", "o[/x]"),
    ],
)
def test_what_is_printable_stays_and_what_is_not_is_escaped(text, expected):
    assert shown(text) == expected


def test_every_character_can_be_shown():
    everything = shown("".join(map(chr, range(0x110000))), None)
    assert everything.isprintable()
    everything.encode()


def test_escaping_twice_is_escaping_once():
    once = shown("\x1b\udce9\u202e")
    assert shown(once) == once


def test_long_text_is_cut():
    assert shown("x" * 10**6) == "x" * MAX_SHOWN + "..."


def test_the_command_line_escapes_what_it_names():
    code = (
        "import sys; from reddiff_jax.cli._errors import fail; [fail(each + ' is no file', 2) for each in sys.argv[1:]]"
    )
    names = [b"\x1b[2Jx.png", b"caf\xe9.png", "\u202egnp.x".encode()]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, check=True)
    expected = [r"\x1b[2Jx.png", r"caf\xe9.png", r"\u202egnp.x"]
    assert done.stderr.decode().splitlines() == [f"error: {each} is no file" for each in expected]
