"""README is short, names the two commands, and like all pages has the tables of the committed results."""

import pytest
from docs_pages import DOCS, PAGES, README, ROOT

LARGEST_PICTURE = 500_000  # bytes
PICTURES = sorted(path for path in (ROOT / "benchmarks" / "results").iterdir() if path.suffix in (".png", ".jpg"))


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


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_every_committed_picture_is_small_and_shown(picture):
    assert picture.stat().st_size <= LARGEST_PICTURE
    assert any(picture.name in path.read_text() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_at_most_one_picture(page):
    assert PAGES[page].read_text().count("![") <= 1
