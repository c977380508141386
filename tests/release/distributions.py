"""Checks what is in a wheel and an sdist: `python tests/release/distributions.py FOLDER`; needs no package."""

import re
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_WHEEL = 30_000_000
"""Bytes of the wheel: 25 million of them are the weights of the two bundled priors and the sample photos."""
MAX_SDIST = 35_000_000
"""Bytes of the sdist, which adds tests, benchmarks with their results, and the site's pages."""
NEEDED = (
    "reddiff_jax/__init__.py",
    "reddiff_jax/__init__.pyi",
    "reddiff_jax/py.typed",
    "reddiff_jax/cli/__init__.py",
    "reddiff_jax/data/photo/card.json",
    "reddiff_jax/data/emoji64/card.json",
)
"""Files that a wheel must hold, beside each module of the checkout."""
NEEDED_OF_SDIST = (
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"),
    *("CITATION.cff", "Makefile", "mkdocs.yml", "tests/conftest.py", "benchmarks/__init__.py", "docs/index.md"),
    *("convert/__main__.py", "tests/release/distributions.py"),
)
_TARGET = re.compile(r"\]\(([^)\s]+)[^)]*\)|<(?:img|a)[^>]+(?:src|href)=[\"']([^\"']+)")


def wheel_faults(names: list[str], size: int, version: str) -> list[str]:
    """What is wrong with a wheel of these members and this size in bytes, a line each."""
    own = f"reddiff_jax-{version}.dist-info/"
    faults = [f"wheel: {name} should not be in it" for name in names if not name.startswith(("reddiff_jax/", own))]
    faults += [f"wheel: {name} should not be in it" for name in names if "/tests/" in name or name.endswith(".pyc")]
    modules = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "reddiff_jax").rglob("*.py"))]
    stored = [path.relative_to(ROOT).as_posix() for path in (ROOT / "reddiff_jax/data").rglob("*") if path.is_file()]
    needed = [*NEEDED, *modules, *stored, f"{own}licenses/LICENSE", f"{own}entry_points.txt"]
    faults += [f"wheel: {name} is missing" for name in sorted(set(needed) - set(names))]
    return faults + _too_large("wheel", size, MAX_WHEEL)


def sdist_faults(names: list[str], size: int, version: str) -> list[str]:
    """What is wrong with an sdist of these members and this size in bytes, a line each."""
    top = f"reddiff_jax-{version}/"
    faults = [f"sdist: {name} is missing" for name in NEEDED_OF_SDIST if top + name not in names]
    faults += [f"sdist: {name} should not be in it" for name in names if "/.venv" in name or name.endswith(".pyc")]
    return faults + _too_large("sdist", size, MAX_SDIST)


def metadata_faults(metadata: Message, project: dict) -> list[str]:
    """Where a wheel's metadata is not what pyproject's table [project] and PyPI ask for, a line each."""
    description = str(metadata.get_payload())
    faults = [f"README: {target} is not absolute" for target in targets(description) if not _is_absolute(target)]
    if "](" not in description:
        faults.append("README: has no link: is it the whole?")
    if metadata["Version"] != project["version"]:
        faults.append(f"metadata: version {metadata['Version']}, pyproject.toml says {project['version']}")
    required = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    if len(required) != len(project["dependencies"]):
        faults.append(f"metadata: requires {sorted(required)}, pyproject.toml {project['dependencies']}")
    return faults


def targets(text: str) -> list[str]:
    """Where the links and pictures of a Markdown text lead, code left out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [markdown or html for markdown, html in _TARGET.findall(re.sub(r"`[^`\n]*`", "", text))]


def main(folder: Path) -> int:
    """Prints what is in the folder's wheel and sdist, and what is wrong with them; returns the exit status."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    wheel, sdist = folder / f"reddiff_jax-{version}-py3-none-any.whl", folder / f"reddiff_jax-{version}.tar.gz"
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        metadata = message_from_string(opened.read(f"reddiff_jax-{version}.dist-info/METADATA").decode())
    with tarfile.open(sdist) as packed:
        packed_names = packed.getnames()
    for path, count in ((wheel, len(names)), (sdist, len(packed_names))):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {count} files")
    faults = wheel_faults(names, wheel.stat().st_size, version)
    faults += sdist_faults(packed_names, sdist.stat().st_size, version)
    faults += metadata_faults(metadata, project)
    print(*faults, sep="\n", end="\n" * bool(faults))
    if "example.org" in project["urls"]["Repository"]:
        print("before an upload: give the repository's address in pyproject.toml, where example.org stands for it.")
    return 1 if faults else 0


def _is_absolute(target: str) -> bool:
    return target.startswith(("https://", "http://", "#"))


def _too_large(name: str, size: int, largest: int) -> list[str]:
    return [f"{name}: {size} bytes, at most {largest} are allowed"] if size > largest else []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
