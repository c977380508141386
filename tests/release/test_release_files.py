"""The files that a release and a repository need: citation, metadata, issue forms, contributing."""

import re
import tomllib

import distributions
import pytest
import yaml
from docs_pages import README, ROOT

import reddiff_jax as rd

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CODE = re.compile(r"`([^`\s]+)`")


def _described() -> str:
    """README as the package has it: pyproject's substitutions applied to it."""
    text = README.read_text()
    for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text.replace("$HFPR_VERSION", PROJECT["version"])


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {rd.__version__, PROJECT["version"], citation["version"]} == {rd.__version__}
    assert f"## {rd.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_is_that_of_the_paper_in_readme():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["references"][0]
    assert paper == citation["preferred-citation"]
    assert paper["url"] == PROJECT["urls"]["Paper"]
    bibtex = README.read_text().split("```bibtex")[1]
    assert all(word in bibtex for word in (paper["title"], str(paper["year"]), paper["identifiers"][0]["value"]))
    assert all(f"{author['family-names']}, {author['given-names']}" in bibtex for author in paper["authors"])
    assert citation["license"] == PROJECT["license"]


def test_links_of_the_packages_description_are_absolute_and_lead_to_files():
    base = f"{PROJECT['urls']['Repository']}/"
    targets = distributions.targets(_described())
    assert [target for target in targets if not target.startswith("https://")] == []
    ours = [target.removeprefix(base) for target in targets if target.startswith(base)]
    assert len(ours) == len([target for target in distributions.targets(README.read_text()) if "://" not in target])
    for target in ours:
        _, tag, path = target.split("/", 2)
        assert tag == f"v{PROJECT['version']}"
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_have_what_the_format_asks_for(path):
    form = yaml.safe_load(path.read_text())
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    for field in form["body"]:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]
        assert field["type"] != "checkboxes" or all(option["label"] for option in field["attributes"]["options"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_contributing_names_files_that_exist():
    names = set(CODE.findall((ROOT / "CONTRIBUTING.md").read_text()))
    # Words with capitals stand for names that the reader chooses.
    files = {name for name in names if re.fullmatch(r"[a-z0-9_./-]+(\.(py|pyi|md|json|sh)|/)|\.ci/run", name)}
    files -= {"dist/", "site/"}  # what commands make
    assert len(files) > 10
    places = (ROOT, ROOT / "reddiff_jax", ROOT / "reddiff_jax" / "solvers", ROOT / "tests")
    assert [name for name in sorted(files) if not any((place / name).exists() for place in places)] == []


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "reddiff_jax" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_lower_bounds_and_python_versions_are_declared():
    assert [each for each in PROJECT["dependencies"] if ">=" not in each] == []
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Programming Language :: Python :: 3.13" in PROJECT["classifiers"]
