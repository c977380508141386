"""README's code, for the tests that run it."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def code(marker: str) -> str:
    """The Python block behind a marker."""
    return re.search(rf"<!-- {marker} -->\n```python\n(.*?)```", README, re.DOTALL).group(1)
