"""What README says is what happens."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from readme_code import README, code

import reddiff_jax as rd


@pytest.fixture(scope="module")
def readers_variables():
    key = jax.random.key(0)
    y = jnp.zeros((16, 24, 3))
    mask = rd.masks.random(key, (16, 24))
    problems = rd.stack([rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))] * 2)
    return {"key": key, "y": y, "mask": mask, "problems": problems}


@pytest.fixture(scope="module")
def after_the_snippet(readers_variables):
    variables = dict(readers_variables)
    # A smaller batch: the tests' programs are compiled quickly, not well.
    assert code("snippet").count("split(key, 16)") == 1
    exec(code("snippet").replace("split(key, 16)", "split(key, 2)"), variables)
    return variables


def test_the_snippet_restores_one_picture_and_a_batch(after_the_snippet):
    assert after_the_snippet["x"].shape == (16, 24, 3)
    assert after_the_snippet["xs"].shape == (2, 16, 24, 3)
    assert np.isfinite(after_the_snippet["xs"]).all()


@pytest.mark.slow
def test_the_mesh_lines_give_the_unsharded_result(after_the_snippet):
    # A solver that is cheap to compile for 8 devices; the lines name only what is in scope.
    prior = rd.gaussian_prior(jnp.zeros((16, 24, 3)), 0.25, rd.schedules.linear())
    solver = rd.reddiff(prior, optax.adam(0.1, b2=0.99), num_steps=5)
    variables = {**after_the_snippet, "solver": solver}
    variables |= {"keys": jax.random.split(variables["key"], 8), "problems": rd.stack([variables["problem"]] * 8)}
    exec(code("mesh"), variables)
    alone = variables["runs"](variables["keys"], solver, variables["problems"]).x
    # A sharded program may sum in another order: float32 rounding, over 5 steps of size 0.1.
    np.testing.assert_allclose(variables["xs"], alone, atol=1e-5)


def test_own_priors_and_operators_are_made_as_written():
    variables = {
        "rd": rd,
        "params": jnp.ones(()),
        "my_denoiser": lambda x_t, t, cond: 0.5 * x_t,
        "my_net": lambda params, x_t, t, cond: params * x_t,
        "my_edm": lambda params, x, sigma, cond: params * x,
    }
    exec(code("own"), variables)
    assert variables["operator"].out_shape == (32, 32, 3)
    assert variables["prior"].eps(jnp.ones((4, 4, 3)), 10).shape == (4, 4, 3)


@pytest.mark.slow
def test_operators_and_noises_are_made_and_solved_as_written():
    key, shape = jax.random.key(0), (16, 16, 3)
    variables = {
        "rd": rd,
        "key": key,
        "H": 16,
        "W": 16,
        "x": jax.random.uniform(key, shape, minval=-1),
        "mask": rd.masks.random(key, shape),
        "kernels": jnp.ones((9, 5, 5)),
        "prior": rd.gaussian_prior(jnp.zeros(shape), 0.25, rd.schedules.linear()),
    }
    exec(code("operators"), variables)
    assert variables["residuals"].shape == (4,)
    assert bool(variables["solution"].finite)
    for name in ("coils", "ct", "lens", "both", "field"):
        assert variables[name].out_shape


def _small_problem():
    key, shape = jax.random.key(0), (8, 8, 3)
    problem = rd.measure(key, rd.super_resolution(shape, 2), rd.gaussian(0.1), jnp.zeros(shape))
    prior = rd.gaussian_prior(jnp.zeros(shape), 0.25, rd.schedules.linear())
    return {"rd": rd, "key": key, "prior": prior, "problem": problem}


@pytest.mark.slow
def test_the_other_solvers_run_as_written():
    variables = {**_small_problem(), "prior_shape": (8, 8, 3)}
    exec(code("solvers"), variables)
    assert variables["x"].shape == variables["std"].shape == (8, 8, 3)


@pytest.mark.slow
def test_the_published_form_takes_the_remedies_as_written():
    variables = {**_small_problem(), "optax": optax}
    exec(code("remedies"), variables)
    assert (variables["solver"].lam, variables["solver"].num_steps) == (1.0, 100)
    assert variables["exact"].levels.to_timestep is rd.Schedule.fractional
    assert all(np.isfinite(variables[name]).all() for name in ("x", "mean", "std"))


@pytest.mark.slow
def test_samples_are_judged_as_written():
    key, shape = jax.random.key(0), (8, 8, 3)
    prior = rd.gaussian_prior(jnp.zeros(shape), 0.25, rd.schedules.linear())
    modes = jnp.zeros((2, *shape))
    variables = {"rd": rd, "key": key, "prior": prior, "operator": rd.super_resolution(shape, 2), "modes": modes}
    exec(code("diagnostics").replace("64)", "4)").replace("num_steps=1000", "num_steps=50"), variables)
    assert variables["samples"].shape == (4, 19, *shape)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables["judged"]))
    assert variables["shares"].shape == (2,)


@pytest.mark.slow
def test_gray_priors_serve_complex_pictures_as_written():
    key, mask = jax.random.key(0), jnp.ones((8, 8, 1))
    variables = {"rd": rd, "key": key, "mask": mask, "y": jnp.zeros((8, 8), complex), "h": 8, "w": 8}
    exec(code("gray").replace("aware(gray)", "aware(gray, num_steps=2)"), variables)
    assert np.isfinite(variables["x"]).all()


def test_the_tables_are_those_of_the_committed_results():
    benchmarks = pytest.importorskip("benchmarks.readme")
    assert benchmarks.filled(README) == README
