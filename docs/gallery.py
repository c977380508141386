"""The site's examples: a page and a notebook for each script of examples/, and a gallery of their pictures.

Scripts are in the format "py:percent", which jupytext reads. Their order is that of mkdocs.yml. Pictures are committed
beside docs/examples/index.md, where ``python -m benchmarks.examples`` writes them; nothing is executed here.
"""

import html
import re
from pathlib import Path

import jupytext
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}
_FOLDER = "examples"
_PLACE = "<!-- gallery -->"


def on_files(files: Files, config) -> Files:
    """Adds examples/NAME.md, and beside it the notebook."""
    for name, path in SCRIPTS.items():
        notebook = jupytext.read(path, fmt="py:percent")
        files.append(File.generated(config, f"{_FOLDER}/{name}.md", content=page(name, notebook)))
        text = jupytext.writes(_for_jupyter(notebook), fmt="ipynb")
        files.append(File.generated(config, f"{_FOLDER}/{name}.ipynb", content=text))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Puts the gallery into its page."""
    if _PLACE not in markdown:
        return markdown
    return markdown.replace(_PLACE, gallery(_in_order(config["nav"])))


def page(name: str, notebook) -> str:
    """A script as Markdown: its title and first paragraph, its picture, the rest, and where to get it."""
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    (_, head), *rest = cells
    title, lead, *more = head.split("\n\n")
    parts = [title, lead, f"![{_one_line(lead)}]({name}.webp)", *more]
    parts += [source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in rest]
    parts.append(f'[Download as a notebook]({name}.ipynb){{ download="{name}.ipynb" }} · `python examples/{name}.py`')
    return "\n\n".join(parts) + "\n"


def gallery(names: list[str]) -> str:
    """Cards: the picture, the title and the first sentence of each example."""
    cards = []
    for name in names:
        title, lead = summary(SCRIPTS[name].read_text())
        cards.append(
            f'<a class="example" href="{name}.html"><img src="{name}.webp" alt="" loading="lazy">'
            f"<strong>{_inline(title)}</strong><span>{_inline(lead)}</span></a>"
        )
    return f'<div class="examples">{"".join(cards)}</div>'


def summary(script: str) -> tuple[str, str]:
    """(title, first sentence) of a script."""
    head = jupytext.reads(script, fmt="py:percent").cells[0].source
    title, lead, *_ = head.split("\n\n")
    sentence = re.split(r"(?<=\.)\s", _one_line(lead))[0]
    return title.removeprefix("# "), sentence


def _in_order(nav: list) -> list[str]:
    """Names of the examples as the navigation has them."""
    (entries,) = (section["Examples"] for section in nav if "Examples" in section)
    paths = [next(iter(entry.values())) for entry in entries]
    return [Path(path).stem for path in paths if Path(path).stem != "index"]


def _for_jupyter(notebook):
    """The notebook with the kernel that every Jupyter has."""
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def _inline(text: str) -> str:
    """Text with its `code`, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
