"""Packages whose public names are imported when they are first used.

The command line prints its help, and says what is wrong with its options, without JAX, which takes half a second to
load.
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def attributes(package: str, path: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose ``__init__.pyi`` lists its public names.

    A package that the stub imports with ``*`` lists its public names itself, in ``__all__``.

    Args:
        package: The package's ``__name__``.
        path: Its ``__file__``.
    """
    homes = _read_stub(Path(path).parent)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = import_module(f"{home}.{name}") if home == package else getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


def _read_stub(folder: Path) -> dict[str, str]:
    """Public name -> the module that holds it."""
    homes = {}
    for node in _parse(folder / "__init__.pyi"):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [alias.name for alias in node.names]
            if names == ["*"]:
                package = _parse(folder / node.module.rpartition(".")[2] / "__init__.py")
                names = next(ast.literal_eval(line.value) for line in package if isinstance(line, ast.Assign))
            homes |= dict.fromkeys(names, node.module)
    return homes


def _parse(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body
