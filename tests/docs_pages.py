"""The site's pages, README and the examples' text, for the tests that read and run them."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [README, *sorted(DOCS.rglob("*.md"))]}
EXAMPLES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "examples").glob("*.py"))}
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)


def text(page: str) -> str:
    """What a page says; of an example, its comments."""
    if page in PAGES:
        return PAGES[page].read_text()
    lines = EXAMPLES[page].read_text().splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#"))


def blocks(page: str, language: str) -> list[str]:
    """A page's blocks of code in a language, in order."""
    found = _FENCE.finditer(text(page))
    return [textwrap.dedent(each["code"]) for each in found if each["language"] == language]
