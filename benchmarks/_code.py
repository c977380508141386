"""Which code a result was measured with, and whether that code has changed since.

A result keeps a digest of every module of the package and of the benchmarks that its run had imported, and of the cards
of the bundled priors, whose checksums tell the weights. A digest is that of what Python sees: comments, docstrings and
layout do not count.
"""

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_DIGITS = 8  # of a digest
# What writes and shows results, and what no result depends on.
_APART = ("benchmarks/_code.py", "benchmarks/_report.py", "reddiff_jax/plot/figures.py", "reddiff_jax/plot/sheets.py")


def loaded() -> dict[str, str]:
    """Digests of what this process has imported, and of the bundled priors' cards if it can read priors."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = {Path(file).relative_to(ROOT).as_posix() for file in files if file and Path(file).is_relative_to(ROOT)}
    ours = {path for path in paths if path.startswith(("reddiff_jax/", "benchmarks/")) and path not in _APART}
    if "reddiff_jax/io.py" in ours:
        ours |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("reddiff_jax/data/*/card.json")}
    return digests(sorted(ours))


def digests(paths: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Path below the root -> digest, "" of a file that is not there."""
    return {path: _digest(root / path) for path in paths}


def changed(code: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """The files of a result's record that have changed since, or gone."""
    return [path for path, digest in code.items() if _digest(root / path) != digest]


@functools.cache
def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    content = path.read_bytes()
    if path.suffix == ".py":
        content = _meaning(content.decode()).encode()
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _meaning(source: str) -> str:
    """What Python sees of a module, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
