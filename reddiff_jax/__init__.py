"""RED-diff in JAX: inverse problems with diffusion priors, many different measurements in one compiled call.

A Solver turns a Problem (measurement y, Operator, Noise, condition) and a Prior into a Solution::

    import jax, reddiff_jax as rd

    problem = rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))
    solver = rd.default_solver(rd.load_prior(), problem)
    x = rd.run(jax.random.key(0), solver, problem).x

Everything is written for one image ``(H, W, C)`` in [-1, 1]; a batch is ``jax.vmap``.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.2.0"


def _parse(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


def _read_stub() -> dict[str, str]:
    """Public name -> the module that holds it: ``__init__.pyi`` lists them, for type checkers, too.

    A package that the stub imports with ``*`` lists its public names itself, in ``__all__``.
    """
    root = Path(__file__).parent
    homes = {}
    for node in _parse(root / "__init__.pyi"):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [alias.name for alias in node.names]
            if names == ["*"]:
                package = _parse(root / node.module.rpartition(".")[2] / "__init__.py")
                names = next(ast.literal_eval(line.value) for line in package if isinstance(line, ast.Assign))
            homes |= dict.fromkeys(names, node.module)
    return homes


_HOMES = _read_stub()


def __getattr__(name: str) -> Any:
    # Imported when first used: the command line prints its help without JAX, which takes a second to load.
    if name not in _HOMES:
        raise AttributeError(f"module 'reddiff_jax' has no attribute {name!r}")
    home = _HOMES[name]
    value = import_module(f"{home}.{name}") if home == __name__ else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
