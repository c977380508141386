"""What tests/release/distributions.py finds wrong with a wheel or an sdist."""

from email.message import Message

import distributions
import pytest
from docs_pages import ROOT

VERSION = "1.2.3"
OWN = f"reddiff_jax-{VERSION}.dist-info/"


@pytest.fixture(scope="module")
def whole():
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "reddiff_jax").rglob("*") if path.is_file()]
    names = [name for name in names if not name.endswith(".pyc")]
    return [*names, *(OWN + name for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"))]


def _message(description: str, **fields: str) -> Message:
    message = Message()
    for name, value in ({"Version": VERSION} | fields).items():
        message[name.replace("_", "-")] = value
    message.set_payload(description)
    return message


def test_a_whole_wheel_has_no_fault(whole):
    assert distributions.wheel_faults(whole, distributions.MAX_WHEEL, VERSION) == []


@pytest.mark.parametrize("name", ["reddiff_jax/py.typed", "reddiff_jax/data/photo/card.json", OWN + "licenses/LICENSE"])
def test_what_a_wheel_lacks_is_named(whole, name):
    left = [each for each in whole if each != name]
    assert distributions.wheel_faults(left, 1, VERSION) == [f"wheel: {name} is missing"]


@pytest.mark.parametrize("name", ["tests/conftest.py", "benchmarks/quality.py", "convert/__main__.py"])
def test_a_wheel_holds_the_package_alone(whole, name):
    assert distributions.wheel_faults([*whole, name], 1, VERSION) == [f"wheel: {name} should not be in it"]


def test_a_large_wheel_is_a_fault(whole):
    size = distributions.MAX_WHEEL + 1
    assert distributions.wheel_faults(whole, size, VERSION) == [
        f"wheel: {size} bytes, at most {distributions.MAX_WHEEL} are allowed"
    ]


def test_an_sdist_holds_what_builds_and_tests_the_package():
    names = [f"reddiff_jax-{VERSION}/{name}" for name in distributions.NEEDED_OF_SDIST]
    assert distributions.sdist_faults(names, 1, VERSION) == []
    assert distributions.sdist_faults(names[1:], 1, VERSION) == [
        f"sdist: {distributions.NEEDED_OF_SDIST[0]} is missing"
    ]


def test_relative_links_of_the_description_are_named():
    project = {"version": VERSION, "dependencies": []}
    good = "[a](https://a.org/b.md) ![p](https://a.org/p.png) [c](#c) `[x](y)`\n```md\n[in code](z.md)\n```\n"
    assert distributions.metadata_faults(_message(good), project) == []
    bad = '[a](docs/a.md) ![p](p.png "title") <img src="q.png">'
    targets = ["docs/a.md", "p.png", "q.png"]
    assert distributions.metadata_faults(_message(bad), project) == [
        f"README: {target} is not absolute" for target in targets
    ]


def test_version_and_dependencies_are_those_of_the_project():
    project = {"version": "1.2.4", "dependencies": ["jax", "numpy"]}
    faults = distributions.metadata_faults(_message("[a](https://a.org)", Requires_Dist="jax"), project)
    assert [fault.split(",")[0] for fault in faults] == ["metadata: version 1.2.3", "metadata: requires ['jax']"]
