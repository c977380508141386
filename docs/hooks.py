"""What mkdocs does beside Markdown: formulas become MathML, and pictures are taken from the benchmarks' results.

Both work without a network: browsers draw MathML themselves, and no picture is kept twice.
"""

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config) -> Files:
    """Adds the pictures of benchmarks/results as pictures/NAME."""
    for path in sorted(RESULTS.iterdir()):
        if path.suffix in (".png", ".jpg"):
            files.append(File.generated(config, f"pictures/{path.name}", abs_src_path=str(path)))
    return files


def on_page_content(content: str, page, config, files) -> str:
    """Turns TeX into MathML."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match) -> str:
    tag, opening, tex = found.groups()
    display = "block" if opening == "[" else "inline"
    return f'<{tag} class="formula">{convert(html.unescape(tex), display=display)}</{tag}>'
