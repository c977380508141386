"""A run as a file: what it computes without this package, and for what it cannot be written."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import exporting

SHAPE = (8, 6, 3)
SEEDS = np.array([3, 5, 8])

# What the docstring says, where this package cannot be imported.
ALONE = """
import sys
sys.modules["reddiff_jax"] = None
import hashlib, json, jax, numpy as np

FILE, MEASURED, OUT = sys.argv[1:]
file = np.load(FILE)
sha256 = json.loads(str(file["meta"]))["sha256"]
assert all(hashlib.sha256(file[name].tobytes()).hexdigest() == sha256[name] for name in sha256)
solve = jax.jit(jax.export.deserialize(bytearray(file["program"])).call)
arrays = {
    part: {name[len(part) :]: file[name] for name in file if name.startswith(part)}
    for part in ("problem.", "solver.")
}
measured = dict(np.load(MEASURED))
seeds = measured.pop("seeds")
x = solve(seeds, arrays["problem."] | measured, arrays["solver."])
np.save(OUT, x)
"""


def _problem(i: int) -> rd.Problem:
    rng = np.random.default_rng(i)
    y = jnp.asarray(0.5 * rng.normal(size=SHAPE), jnp.float32)
    return rd.problem(y, rd.inpainting(rng.random(SHAPE[:2]) > 0.4), rd.gaussian(0.1))


@pytest.fixture(scope="module")
def solver():
    return rd.reddiff(rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, rd.schedules.linear()), num_steps=4)


def _run_alone(folder, **measured: np.ndarray) -> np.ndarray:
    np.savez(folder / "measured.npz", **measured)
    files = [str(folder / name) for name in ("run.npz", "measured.npz", "x.npy")]
    subprocess.run([sys.executable, "-c", textwrap.dedent(ALONE), *files], check=True)
    return np.load(folder / "x.npy")


@pytest.mark.slow
def test_the_file_runs_without_this_package_for_any_number_of_images(tmp_path, solver):
    exporting.export_run(tmp_path / "run.npz", solver, _problem(0))
    problems = rd.stack([_problem(i) for i in range(3)])
    arrays = {"y": problems.y, "operator.mask": problems.operator.mask, "noise.sigma_y": problems.noise.sigma_y}
    x = _run_alone(tmp_path, seeds=SEEDS, **{name: np.asarray(leaf) for name, leaf in arrays.items()})
    singles = [rd.run(jax.random.key(seed), solver, _problem(i)).x for i, seed in enumerate(SEEDS)]
    # Compiled for a batch: float32 roundings of mu of order 1.
    np.testing.assert_allclose(x, singles, atol=1e-5)


@pytest.mark.slow
def test_a_shared_operator_comes_with_the_file(tmp_path, solver):
    exporting.export_run(tmp_path / "run.npz", solver, _problem(0), batch_size=3, shared_operator=True)
    ys = np.stack([_problem(i).y for i in range(3)])
    x = _run_alone(tmp_path, seeds=SEEDS, y=ys)
    singles = [
        rd.run(jax.random.key(seed), solver, _problem(0).replace(y=jnp.asarray(y))).x
        for seed, y in zip(SEEDS, ys, strict=True)
    ]
    np.testing.assert_allclose(x, singles, atol=1e-5)


def test_the_file_names_its_arrays(tmp_path, solver):
    exporting.export_run(tmp_path / "run.npz", solver, _problem(0))
    with np.load(tmp_path / "run.npz") as file:
        assert {"program", "problem.y", "problem.operator.mask", "solver.lam", "solver.prior.mean"} <= set(file)
        assert file["problem.y"].shape == (1, *SHAPE)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_an_operator_that_a_platform_lacks_is_an_error_that_says_what_to_do(tmp_path):
    pytest.importorskip("jax_finufft")
    shape = (6, 5, 2)
    operator = rd.radial_mri(rd.radial_trajectory(5, 10), shape)
    prior = rd.gaussian_prior(jnp.zeros(shape), 0.25, rd.schedules.linear())
    problem = rd.problem(jnp.zeros(operator.out_shape, complex), operator)
    with pytest.raises(ValueError, match=r"RadialMri cannot be exported.*platforms=\(\"cpu\",\)"):
        exporting.export_run(tmp_path / "run.npz", rd.reddiff(prior, num_steps=2), problem, batch_size=2)
    assert not list(tmp_path.iterdir())
