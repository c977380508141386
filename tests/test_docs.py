"""Each Python block of the site and of README runs, page by page, with small stand-ins for what a reader has."""

import docs_readers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from docs_pages import PAGES, blocks

import reddiff_jax as rd

WITH_CODE = [page for page in PAGES if blocks(page, "python")]


def _run(page: str) -> dict:
    """Runs a page's blocks one after another in one namespace, which is returned."""
    variables = docs_readers.variables() | docs_readers.EXTRA.get(page, dict)()
    found = blocks(page, "python")
    for old, new in docs_readers.SMALLER.get(page, []):
        assert any(old in block for block in found), f"{page} has no {old!r} any more"
        found = [block.replace(old, new) for block in found]
    with jax.numpy_rank_promotion("allow"):  # as for a reader
        for number, block in enumerate(found, 1):
            exec(compile(block, f"{page}, block {number}", "exec"), variables)
    return variables


def _readme(found: dict) -> None:
    assert found["x"].shape == docs_readers.SHAPE
    assert np.isfinite(found["x"]).all()


def _batches(found: dict) -> None:
    # A sharded program may sum in another order: float32 rounding, over 100 steps of size 0.1.
    np.testing.assert_allclose(found["sharded"], found["xs"], atol=1e-4)
    assert found["recorded"].shape == (10, *docs_readers.SHAPE)
    solved = found["solve"](np.zeros(3, np.int32), _batched(found, 3), found["arrays"]["solver."])
    assert solved.shape == (3, *docs_readers.SHAPE)


def _batched(found: dict, count: int) -> dict:
    """The example problem with several measurements; its operator is shared."""
    arrays = found["arrays"]["problem."]
    return arrays | {"y": np.repeat(np.asarray(found["problem"].y)[None], count, axis=0)}


def _samples(found: dict) -> None:
    assert found["draws"].shape == (8, *docs_readers.SHAPE)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found["judged"]))


def _operators(found: dict) -> None:
    for name in ("both", "lens", "field", "half", "wells"):
        assert found[name].out_shape


def _solvers(found: dict) -> None:
    assert found["residuals"].shape == (4,)
    assert bool(found["solution"].finite)
    assert (found["solver"].lam, found["exact"].levels.to_timestep) == (1.0, rd.Schedule.fractional)


def _volumes(found: dict) -> None:
    assert found["xs"].shape == found["volume"].shape
    assert found["thin"].shape == (16, 16, 2)
    assert np.isfinite(found["thin"]).all()


def _derivatives(found: dict) -> None:
    way = jax.random.normal(jax.random.key(1), found["y"].shape)
    length = 1e-2  # float32: a hundredth of a pixel's range changes the error by more than its rounding
    ends = [found["error"](found["problem"].y + sign * length * way) for sign in (1, -1)]
    np.testing.assert_allclose(jnp.vdot(found["slope"], way), (ends[0] - ends[1]) / (2 * length), rtol=0.02)
    approximate = float(found["direction"] / found["better_direction"])
    assert 0.5 < approximate < 2


def _extending(found: dict) -> None:
    assert bool(found["solution"].finite)
    assert found["swept"].shape == (2, 8, 8, 3)


CHECKS = {
    "README.md": _readme,
    "docs/guides/batches.md": _batches,
    "docs/guides/samples.md": _samples,
    "docs/guides/operators.md": _operators,
    "docs/guides/solvers.md": _solvers,
    "docs/guides/differentiating.md": _derivatives,
    "docs/guides/extending.md": _extending,
    "docs/guides/volumes.md": _volumes,
}
"""What the page says of its results."""


QUICK = ("README.md",)
"""Pages that run in `make test`; the others take more than a minute and are slow tests."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in QUICK else pytest.mark.slow) for page in WITH_CODE]
)
def test_the_code_of_a_page_runs(page, monkeypatch, tmp_path):
    monkeypatch.setattr(rd, "load_prior", lambda *args, **kwargs: docs_readers.PRIOR)
    monkeypatch.chdir(tmp_path)
    docs_readers.files(tmp_path)
    found = _run(page)
    if page in CHECKS:
        CHECKS[page](found)


@pytest.mark.parametrize("page", PAGES)
def test_code_fits_the_page(page):
    lines = "\n".join(blocks(page, "python") + blocks(page, "sh")).splitlines()
    assert [line for line in lines if len(line) > 96] == []
