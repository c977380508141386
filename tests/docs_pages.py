"""The site's pages and README, for the tests that read and run them."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [README, *sorted(DOCS.rglob("*.md"))]}
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)


def blocks(page: str, language: str) -> list[str]:
    """A page's blocks of code in a language, in order."""
    found = _FENCE.finditer(PAGES[page].read_text())
    return [textwrap.dedent(each["code"]) for each in found if each["language"] == language]
