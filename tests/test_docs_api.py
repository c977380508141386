"""Every public name is in the API pages, once."""

import ast
import importlib
import re
import types
from pathlib import Path

import pytest
from docs_pages import DOCS

import reddiff_jax as rd

TEXT = "\n".join(path.read_text() for path in sorted((DOCS / "api").glob("*.md")))
DOCUMENTED = re.findall(r"^::: rd\.([\w.]+)$", TEXT, re.MULTILINE)


def _resolve(path: str):
    """What ``rd.PATH`` is; modules that the package does not import are imported."""
    parent, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"reddiff_jax.{parent}") if parent else rd, name)


def _re_exported(module: types.ModuleType) -> list[str]:
    """Names that a package re-exports."""
    path = Path(module.__file__)  # type: ignore[arg-type]
    stub = path.with_suffix(".pyi")  # of a package whose names are imported when they are used
    nodes = ast.parse((stub if stub.exists() else path).read_text()).body
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = [each.asname or each.name for each in node.names]
            found += importlib.import_module(node.module or "").__all__ if names == ["*"] else names
    return found


def _own(module: types.ModuleType) -> list[str]:
    """Functions and classes that a module defines."""
    nodes = ast.parse(Path(module.__file__).read_text()).body  # type: ignore[arg-type]
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _public() -> list[str]:
    found = []
    for name in _re_exported(rd):
        value = getattr(rd, name)
        if not isinstance(value, types.ModuleType):
            found.append(name)
            continue
        inside = _re_exported(value) if hasattr(value, "__path__") else _own(value)
        found += [f"{name}.{each}" for each in inside]
    found += [f"settings.{each}" for each in _re_exported(importlib.import_module("reddiff_jax.settings"))]
    return [
        name
        for name in found
        if not name.rsplit(".", 1)[-1].startswith("_") and not isinstance(_resolve(name), types.ModuleType)
    ]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_is_documented_exists(name):
    assert _resolve(name) is not None


def test_nothing_is_documented_twice():
    ids = [id(_resolve(name)) for name in DOCUMENTED]
    assert [name for name in DOCUMENTED if ids.count(id(_resolve(name))) > 1] == []


@pytest.mark.parametrize("name", _public())
def test_every_public_name_is_documented(name):
    assert any(_resolve(path) is _resolve(name) for path in DOCUMENTED), f"add '::: rd.{name}' to a page of docs/api"
