"""The closed-form posteriors and the distances that benchmarks/posterior.py compares solvers with."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

posteriors = pytest.importorskip("benchmarks._posteriors")


def test_the_posterior_of_a_mixture_is_bayes_rule_on_a_grid():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(2, 2))
    prior = posteriors.Mixture(np.array([0.5, 0.3, 0.2]), rng.normal(0, 2, (3, 2)), factor @ factor.T + 0.3 * np.eye(2))
    matrix, y, sigma_y = rng.normal(size=(1, 2)), np.array([0.7]), 0.5
    axis = np.linspace(-12, 12, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    away = grid[:, None] - prior.means
    density = np.exp(-0.5 * np.einsum("nki,ij,nkj->nk", away, np.linalg.inv(prior.covariance), away)) @ prior.weights
    density *= np.exp(-0.5 * ((grid @ matrix.T - y)[:, 0] / sigma_y) ** 2)
    density /= density.sum()
    posterior = prior.given(matrix, y, sigma_y)
    mean, covariance = posterior.moments()
    # The sum over a grid of 0.04 of something smooth that ends at 0 is its integral to rounding.
    np.testing.assert_allclose(mean, density @ grid, atol=1e-8)
    np.testing.assert_allclose(covariance, (grid * density[:, None]).T @ grid - np.outer(mean, mean), atol=1e-8)
    below = density @ (grid <= [0.02, -0.5 + 0.02])  # half a cell further
    np.testing.assert_allclose(posterior.cdf(np.array([0.04, -0.46])), below, atol=0.01)


def test_the_mixture_by_products_is_the_librarys_mixture():
    family = posteriors.gmm(8)
    exact = family.exact
    same = rd.mixture_prior(exact.weights, exact.means.reshape(-1, 8, 1, 1), family.unit**2, rd.schedules.linear())
    x = jnp.asarray(exact.sample(np.random.default_rng(0), 20).reshape(-1, 8, 1, 1), jnp.float32)
    ts = jnp.asarray([5, 200, 500, 900])

    @jax.jit
    def eps(prior):
        alphas, sigmas = prior.schedule(ts)
        noised = alphas.reshape(4, 1, 1, 1, 1) * x[None] + 0.5 * sigmas.reshape(4, 1, 1, 1, 1)
        return jax.vmap(lambda x_t, t: jax.vmap(lambda x: prior.eps(x, t))(x_t))(noised, ts)

    # float32; x_0 is known to 1e-6 of 1 and divided by sigma_5 = 0.03.
    np.testing.assert_allclose(eps(family.prior), eps(same), atol=1e-4)


def test_a_shift_has_its_sliced_distance():
    samples, shift = np.random.default_rng(0).normal(size=(200, 3)), np.array([3.0, 0, 4])
    # The mean of (direction . shift)^2 is |shift|^2 / 3; 500 directions know it to 4 %.
    actual = posteriors.sliced_wasserstein(samples, samples + shift)
    np.testing.assert_allclose(actual, 5 / np.sqrt(3), rtol=0.05)


def test_exact_draws_are_found_exact_and_a_point_is_not():
    case = posteriors.case(posteriors.gmm(8), 1, seed=3)
    drawn = case.posterior.sample(np.random.default_rng(5), 4000)
    right = posteriors.distances(drawn, case, seed=3)
    # 4000 draws: quantiles are known to 0.5 %, weights to 1 %, a mode of 1 % is hit 40 times.
    assert abs(right["coverage"] - 0.9) < 0.02
    assert abs(right["spread"] - 1) < 0.03
    assert right["recall"] == 1
    assert right["weights"] < 0.05
    assert right["mean"] < 0.1
    point = posteriors.distances(np.tile(drawn[:1], (100, 1)), case, seed=3)
    assert point["coverage"] == 0
    assert point["spread"] == pytest.approx(0, abs=1e-12)
    assert point["covariance"] == pytest.approx(1)
    assert point["SW"] > 2 * right["SW"]


@pytest.mark.slow
def test_runs_keep_the_rows_of_other_solvers(tmp_path):
    from benchmarks import posterior

    size = ["--repeats", "2", "--samples", "30", "--dims", "8", "--out", str(tmp_path)]
    posterior.main(["--only", "exact", *size])
    posterior.main(["--only", "mmps", *size])
    rows = json.loads((tmp_path / "posterior.json").read_text())["rows"]
    # Two Gaussians, and 1, 2 or 4 numbers measured of the mixture.
    assert [row["solver"] for row in rows] == ["exact", "mmps"] * 5
    assert all(np.isfinite(row["SW"]) and row["finite"] == 1 for row in rows)
