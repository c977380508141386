"""The scripts of examples/: what the site shows of them, and in slow tests, what comes out of them."""

import ast
import re
from collections.abc import Callable

import pytest
from docs_pages import ROOT

SCRIPTS = {path.stem: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))}
NAV = re.findall(r": examples/(\w+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
PICTURES = {path.stem: path for path in (ROOT / "docs" / "examples").glob("*.webp")}
SECONDS = 120  # of all cores together


def _gains(before: str, after: str, decibels: float) -> Callable[[dict[str, float]], bool]:
    """A check that the PSNR of one variable is so much above another's."""
    return lambda found: found[f"psnr_{after}"] > found[f"psnr_{before}"] + decibels


# What each example shows. Limits are two thirds of the gain measured, as versions and processors round differently.
CHECKS = {
    "compare_solvers": _gains("measured", "noise_aware", 2.5),
    "ct": _gains("back_projection", "restored", 7.5),
    "first_restoration": _gains("measured", "restored", 10),
    # The command was stopped in time and ended its work; that nothing was done twice the example asserts itself.
    "folder": lambda found: 2 <= found["num_first"] < found["num_all"] == 6,
    "many_masks": lambda found: found["least_gain"] > 3 and found["mean_restored"] > found["mean_measured"] + 6,
    "mri": _gains("least_squares", "restored", 10),
    "own_network": _gains("measured", "restored", 6),
    "own_operator": _gains("least_squares", "restored", 1),
    "own_photo": _gains("scratched", "restored", 15),
    "posterior_samples": lambda found: found["psnr_mean"] > found["psnr_sample"] + 1 and found["correlation"] > 0.3,
    "sweep": lambda found: 0 < found["best"] < 11 and _gains("measured", "best", 1.5)(found),
}


def test_the_gallery_lists_every_example():
    assert sorted(NAV) == sorted(["index", *SCRIPTS])


def test_every_example_has_its_picture_and_every_picture_its_example():
    assert sorted(PICTURES) == sorted(SCRIPTS), "run python -m benchmarks.examples"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small(name):
    assert PICTURES[name].stat().st_size <= 100_000


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_begins_with_a_title_and_a_sentence_and_ends_in_a_picture(name):
    first = SCRIPTS[name].split("\n\n")[0].splitlines()
    assert first[:3] == ["# %% [markdown]", first[1], "#"]
    assert first[1].startswith("# # ")
    assert first[3].startswith("# ")
    assert SCRIPTS[name].rstrip().endswith("plt.show()")
    assert "rd.plot." in SCRIPTS[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_uses_public_names_only(name):
    tree = ast.parse(SCRIPTS[name])
    used = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used += [f"{node.module}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [each for each in used if re.search(r"(^|\.)_(?!_)", each)] == []


def test_every_example_has_a_check():
    assert sorted(CHECKS) == sorted(SCRIPTS)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # where all cores are shared
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_runs_and_keeps_its_promise(name, tmp_path):
    for module in ("matplotlib", "nilearn", "skimage"):
        pytest.importorskip(module)
    examples = pytest.importorskip("benchmarks.examples")
    found = examples.run(name, tmp_path / "picture.webp")
    assert (tmp_path / "picture.webp").stat().st_size > 10_000
    assert found["cpu_seconds"] < SECONDS
    assert CHECKS[name](found), found
