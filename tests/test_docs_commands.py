"""Commands in the pages exist, with the options that they are given."""

import importlib.util
import itertools
import re
import shlex

import pytest
import typer
from docs_pages import EXAMPLES, PAGES, ROOT, blocks, text

from reddiff_jax import io, settings, tasks
from reddiff_jax.cli import app
from reddiff_jax.jobs import scanning

_GROUP = typer.main.get_command(app)
_CONTEXT = typer.Context(_GROUP)
COMMANDS = {name: _GROUP.get_command(_CONTEXT, name) for name in _GROUP.list_commands(_CONTEXT)}  # type: ignore[attr-defined]
KNOWN = {"--task": {*tasks.TASKS, *scanning.TASKS}, "--solver": settings.SETTINGS}
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _lines(page: str) -> list[list[str]]:
    """Words of each command in a page's shell blocks, and in its text."""
    inline = re.findall(r"`((?:reddiff-jax|make|python -m) [^`]+)`", text(page))
    lines = "\n".join([*blocks(page, "sh"), *inline]).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _commands() -> list:
    found = [(page, words) for page in [*PAGES, *EXAMPLES] for words in _lines(page)]
    return [pytest.param(words, id=f"{page}: {' '.join(words)[:60]}") for page, words in found]


@pytest.mark.parametrize("words", _commands())
def test_a_command_in_a_page_exists(words):
    while "=" in words[0] or words[0] == "srun":
        words = words[1:]
    program, *rest = words
    if program == "reddiff-jax":
        _check_call(rest)
    elif program == "make":
        assert set(rest) <= TARGETS
    elif program == "python" and rest[:1] == ["-m"]:
        assert importlib.util.find_spec(rest[1]) is not None
    elif program == "python":
        assert (ROOT / rest[0]).is_file()
    else:
        assert program in ("pip", "npm", "git", "cd", "tensorboard", "export"), f"{program} is not known to this test"


def _check_call(words: list[str]) -> None:
    if words[0].startswith("-"):
        return
    command = COMMANDS[words[0]]
    options = {name: each for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for word, following in itertools.pairwise([*words[1:], ""]):
        if word.startswith("--"):
            assert word in options, f"reddiff-jax {words[0]} has no {word}"
        if word in KNOWN:
            assert following in KNOWN[word]
        if word == "--prior":
            assert (
                following.startswith("hf:")
                or following in io.bundled_priors()
                or "/" not in following.removesuffix("/prior")
            )


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES])
def test_an_option_in_the_text_exists(page):
    known = {
        name for each in COMMANDS.values() for param in each.params for name in (*param.opts, *param.secondary_opts)
    }
    assert set(re.findall(r"`(--[a-z-]+)", text(page))) <= known
