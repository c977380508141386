"""Who may import whom, read from the source; and what ``import reddiff_jax`` leaves alone."""

import ast
import graphlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import reddiff_jax

PACKAGE = Path(reddiff_jax.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# Each part may import those of the rows above it, never one of its own row.
ORDER = [
    {
        "_bars",
        "_types",
        "_checks",
        "_chunks",
        "_tree",
        "_conjugate_gradients",
        "_overlapping",
        "_files",
        "_text",
        "_versions",
        "_caches",
        "_lazy",
        "_noise_levels",
    },
    {"_repr", "_rules", "_npz", "_keys", "pictures"},
    {"schedules", "weightings", "nets", "noise", "masks", "kernels", "metrics", "sharding"},
    {"autoencoders"},
    {"operators"},
    {"_ranges"},
    {"priors", "problems"},
    {"guidance", "latents", "cards", "estimating", "blurs", "tiling", "scans", "volumes", "motion"},
    {"solvers"},
    {"running", "io", "parametrising", "repulsion"},
    {"converting", "exporting", "diagnostics", "progress"},
    {"batching", "tasks", "settings", "plot", "hub"},
    {"measurements", "tuning", "training"},
    {"jobs"},
    {"app"},
    {"cli", "__main__"},
]
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
ANYTHING_BELOW = {"__init__", "cli"}

HEAVY = {"torch", "matplotlib", "PIL"}
MAY_IMPORT_HEAVY_AT_THE_TOP = {"cli"}
OUTSIDE = {"convert", "tests", "benchmarks"}


def _part(name: str) -> str:
    """'reddiff_jax.solvers.reddiff' -> 'solvers'."""
    return [*name.split("."), "__init__"][1]


def _imports(tree: ast.AST) -> list[str]:
    """Dotted names of what is imported, wherever it stands."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            base = node.module or ""
            if base == "reddiff_jax":
                names += [f"{base}.{alias.name}" for alias in node.names]
            elif base.startswith("reddiff_jax.") and not (ROOT / Path(*base.split("."))).with_suffix(".py").is_file():
                names += [f"{base}.{alias.name}" for alias in node.names]  # a package's submodule, or its names
            else:
                names.append(base)
    return names


def _in_package(name: str) -> bool:
    return name.split(".")[0] == "reddiff_jax"


def _top_level(path: Path) -> ast.Module:
    """The module without its functions, whose imports only happen when they are called, and what is for types."""

    class DropFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

        def visit_If(self, node):
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else node

    return DropFunctions().visit(ast.parse(path.read_text()))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


every_module = pytest.mark.parametrize("path", MODULES, ids=_name)


@every_module
def test_every_module_has_a_place_in_the_order(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part == "__init__" or part in LEVEL, f"add {part} to ORDER"


@every_module
def test_a_module_imports_only_parts_below_its_own(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in ANYTHING_BELOW:
        return
    imported = {_part(name) for name in _imports(ast.parse(path.read_text())) if _in_package(name)}
    above = {other for other in imported - {part} if LEVEL.get(other, len(ORDER)) >= LEVEL[part]}
    assert not above


def test_no_modules_import_each_other_in_a_circle():
    names = {_name(path).removesuffix(".__init__"): path for path in MODULES}

    def module(name: str) -> str:
        """The module that an imported name stands in, or is."""
        return name if name in names else module(name.rpartition(".")[0])

    graph = {
        name: {module(imported) for imported in _imports(ast.parse(path.read_text())) if _in_package(imported)}
        for name, path in names.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", sorted((PACKAGE / "solvers").glob("*.py")), ids=_name)
def test_solvers_import_no_other_solver(path):
    if path.stem == "__init__":
        return
    names = [name.split(".") for name in _imports(ast.parse(path.read_text()))]
    modules = {name[2] for name in names if name[:2] == ["reddiff_jax", "solvers"] and len(name) > 2}
    assert all(module.startswith("_") for module in modules)


@every_module
def test_the_package_imports_nothing_that_is_built_on_it(path):
    assert not {name.split(".")[0] for name in _imports(ast.parse(path.read_text()))} & OUTSIDE


@every_module
def test_heavy_libraries_are_imported_only_when_needed(path):
    if path.relative_to(PACKAGE).parts[0] in MAY_IMPORT_HEAVY_AT_THE_TOP:
        return
    assert not {name.split(".")[0] for name in _imports(_top_level(path))} & HEAVY


@pytest.fixture(scope="module")
def loaded():
    """Names of the modules that all public names together load."""
    code = "import sys, reddiff_jax as rd; [getattr(rd, name) for name in dir(rd)]; print('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("library", ["torch", "torchvision", "matplotlib", "PIL", "typer", "skimage", "scipy.stats"])
def test_importing_the_package_leaves_heavy_libraries_alone(library, loaded):
    assert library not in loaded


def test_importing_the_package_does_not_load_jax_before_something_is_used():
    code = "import sys, reddiff_jax as rd; print('jax' in sys.modules); rd.run; print('jax' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["False", "True"]


def test_the_package_has_exactly_the_names_of_its_stub():
    names = set()
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            listed = {alias.asname or alias.name for alias in node.names}
            names |= set(importlib.import_module(node.module).__all__) if listed == {"*"} else listed
    assert {"stack", "ddim", "gaussian", "inpainting"} <= names
    assert all(hasattr(reddiff_jax, name) for name in names)
    assert names <= set(dir(reddiff_jax))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        reddiff_jax.nothing  # noqa: B018
