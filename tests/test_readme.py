"""README is short, names the two commands, and like all pages has the tables of the committed results."""

import pytest
from docs_pages import DOCS, PAGES, README, ROOT

LARGEST = 500_000  # bytes
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = sorted(path for path in RESULTS.iterdir() if path.suffix in (".png", ".jpg"))


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_are_those_of_the_committed_results(page):
    benchmarks = pytest.importorskip("benchmarks.pages")
    text = PAGES[page].read_text()
    assert benchmarks.filled(text) == text, "run python -m benchmarks.pages"


def test_every_table_is_on_one_page():
    benchmarks = pytest.importorskip("benchmarks.pages")
    everything = "".join(path.read_text() for path in PAGES.values())
    assert {name: everything.count(f"<!-- {name}:begin -->") for name in benchmarks.TABLES} == dict.fromkeys(
        benchmarks.TABLES, 1
    )


def test_readme_is_short_and_names_the_two_commands():
    text = README.read_text()
    assert len(text.encode()) <= 8192
    assert "make demo" in text
    assert "make test" in text


def test_committed_results_are_small():
    sizes = {path.name: path.stat().st_size for path in RESULTS.iterdir()}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_every_committed_picture_is_shown(picture):
    assert any(picture.name in path.read_text() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_at_most_one_picture(page):
    assert PAGES[page].read_text().count("![") <= 1
