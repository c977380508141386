"""What mkdocs does beside Markdown, so that the site needs no network and keeps nothing twice.

Formulas become MathML, which browsers draw themselves; pictures are taken from the benchmarks' results; the one script
that the theme would fetch is replaced by assets/worker.js. In the API pages ``::: rd.NAME`` stands for where the name
is defined, which mkdocstrings must be told.
"""

import ast
import functools
import html
import logging
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
_log = logging.getLogger("mkdocs.hooks")  # a warning there fails the strict build
_SIZES = re.compile(r"\\[bB]igg?[lr]?(?![a-zA-Z])")
# Browsers know the letters of other alphabets but not the attribute that stands for them.
_ALPHABET = re.compile(r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>')
_LETTERS = {
    ("double-struck", "E"): "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL E}",
    ("script", "N"): "\N{MATHEMATICAL SCRIPT CAPITAL N}",
}
_FETCHED = "https://unpkg.com/iframe-worker/shim"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_NAME = re.compile(r"^::: rd\.([\w.]+)\n(    options:\n)?", re.MULTILINE)


def on_files(files: Files, config) -> Files:
    """Adds the pictures of benchmarks/results as pictures/NAME."""
    for path in sorted((ROOT / "benchmarks" / "results").iterdir()):
        if path.suffix in (".png", ".jpg"):
            files.append(File.generated(config, f"pictures/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Says where each documented name is defined, and what it is called by users."""
    return _NAME.sub(_defined, markdown)


def on_page_content(content: str, page, config, files) -> str:
    """Turns TeX into MathML."""
    return _FORMULA.sub(_mathml, content)


def on_post_page(output: str, page, config) -> str:
    """Takes the search's worker from the site itself."""
    return output.replace(_FETCHED, get_relative_url("assets/worker.js", page.url))


def on_post_template(output: str, template_name: str, config) -> str:
    """The same for 404.html."""
    return output.replace(_FETCHED, "assets/worker.js")


def _defined(found: re.Match) -> str:
    name = found.group(1)
    path = _definition("reddiff_jax", *name.split("."))
    return f"::: {path}\n    options:\n      heading: rd.{name}\n      toc_label: {name.rsplit('.', 1)[-1]}\n"


def _definition(module: str, name: str, *rest: str) -> str:
    """The path of a name in the module that defines it: re-exports are followed."""
    if rest:
        return _definition(f"{module}.{name}", *rest)
    source, original = _imports(module).get(name, (module, name))
    return f"{module}.{name}" if source == module else _definition(source, original)


@functools.cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """Name in a module -> the module and name that it is imported from."""
    folder = ROOT / module.replace(".", "/")
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return {
        each.asname or each.name: (node.module, each.name)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module
        for each in node.names
    }


def _mathml(found: re.Match) -> str:
    tag, opening, tex = found.groups()
    tex = _SIZES.sub("", html.unescape(tex)).replace(
        r"\log", r"\log\,"
    )  # fences stretch by themselves, names need a space
    result = convert(tex, display="block" if opening == "[" else "inline")
    result = _ALPHABET.sub(lambda letter: f"<mi>{_LETTERS[letter.groups()]}</mi>", result)
    if "\\" in result:
        _log.warning(f"not TeX that latex2mathml knows: {tex}")
    return f'<{tag} class="formula">{result}</{tag}>'
