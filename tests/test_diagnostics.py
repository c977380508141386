"""Diagnostics of calibration: exact samples pass, others fail on the side where they are wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import diagnostics

B, K, N = 400, 39, 3


@functools.cache
def _drawn(width=1.0, shift=0.0):
    """Truths (B, N), and samples (B, K, N) of normal posteriors that are ``width`` times as wide as they should be."""
    rng = np.random.default_rng(0)
    center, std = rng.normal(0, 2, (2, B, N))
    std = np.abs(std) + 0.1
    truths = center + std * rng.normal(size=(B, N))
    samples = (center + shift * std)[:, None] + width * std[:, None] * rng.normal(size=(B, K, N))
    return jnp.asarray(truths, jnp.float32), jnp.asarray(samples, jnp.float32)


def _judged(width=1.0, shift=0.0):
    return diagnostics.calibration(*_drawn(width, shift))


def _error(level, count):
    """Four standard deviations of a binomial share."""
    return 4 * np.sqrt(level * (1 - level) / count)


@pytest.mark.slow
def test_exact_samples_are_calibrated_within_binomial_error():
    judged = _judged()
    for i, level in enumerate(diagnostics.LEVELS):
        assert abs(float(judged.coverage[i]) - level) < _error(level, B * N)
        assert abs(float(judged.expected_coverage[i]) - level) < _error(level, B)
    # 1200 scores; their variance is (K - 1) / (K - 3), and that of a squared normal number is 2.
    assert abs(float(judged.z_mean)) < 4 / np.sqrt(B * N)
    assert abs(float(judged.z_std) - np.sqrt((K - 1) / (K - 3))) < 4 / np.sqrt(2 * B * N)
    # Widths differ, so that the widest third of 1200 decides: 4 / sqrt(2 * 400).
    assert abs(float(judged.spread_skill_ratio) - 1) < 0.14
    counts = np.asarray(judged.ranks) * B * N / (K + 1)
    # Chi squared of 39 degrees of freedom: mean 39, standard deviation 8.8.
    assert np.sum((counts - 30) ** 2 / 30) < 39 + 4 * 8.8


@pytest.mark.parametrize(("width", "sign"), [(0.6, -1), (1.6, 1)])
def test_samples_too_narrow_or_too_wide_are_found_on_their_side(width, sign):
    judged = _judged(width)
    levels = np.asarray(diagnostics.LEVELS)
    assert (sign * (np.asarray(judged.coverage) - levels) > 0.03).all()
    assert sign * (float(judged.z_std) - 1) < -0.2
    assert sign * (float(judged.spread_skill_ratio) - 1) > 0.2
    ends, middle = float(judged.ranks[0] + judged.ranks[-1]) / 2, float(judged.ranks[15:25].mean())
    assert sign * (middle - ends) > 0.5
    # Reference points outside: narrow samples are all on one side of the truth.
    assert sign * (float(judged.expected_coverage[-1]) - levels[-1]) > 0.02


def test_a_bias_shifts_scores_and_ranks():
    judged = _judged(shift=0.7)
    assert float(judged.z_mean) < -0.5
    assert float(judged.ranks[0]) > 2 > 0.5 > float(judged.ranks[-1])


@pytest.mark.parametrize("num_samples", [3, 7, 19])
def test_coverage_is_exact_for_few_samples(num_samples):
    level = 0.5  # between order statistics where 4 does not divide K + 1
    rng = np.random.default_rng(1)
    truth, samples = rng.random(40_000, np.float32), rng.random((num_samples, 40_000), np.float32)
    # Interpolated order statistics of uniform numbers have the exact expectation.
    share = float(diagnostics.coverage(jnp.asarray(truth), jnp.asarray(samples), (level,))[0])
    assert abs(share - level) < _error(level, truth.size)


def test_a_problem_and_a_batch_agree():
    truths, samples = _drawn()
    each = jax.vmap(diagnostics.coverage)(truths, samples).mean(axis=0)
    whole = diagnostics.coverage(truths, jnp.moveaxis(samples, 1, 0))
    np.testing.assert_allclose(each, whole, atol=1e-6)  # float32 means


def test_ranks_are_pooled_into_equal_bins():
    ranks = jnp.asarray([0, 1, 2, 3, 4, 5, 5, 5])
    np.testing.assert_allclose(diagnostics.rank_histogram(ranks, 5, 3), np.array([2, 2, 4]) * 3 / 8)


@pytest.mark.oracle
def test_tarp_is_the_published_packages():
    tarp = pytest.importorskip("tarp")
    truths, samples = _drawn(0.8)
    references = np.random.default_rng(2).normal(0, 3, (B, N)).astype(np.float32)
    expected, levels = tarp.get_tarp_coverage(
        np.moveaxis(np.asarray(samples), 1, 0), np.asarray(truths), references=references, norm=False, num_alpha_bins=17
    )
    fractions = jax.vmap(diagnostics.tarp_fraction)(references, truths, samples)
    # Its levels are the edges of a histogram, of which the last one holds its end too.
    actual = diagnostics.expected_coverage(fractions, tuple(map(float, levels[:-1])))
    np.testing.assert_allclose(actual, expected[:-1], atol=1.5 / B)  # a fraction that is an edge to rounding


def test_modes_have_the_shares_of_the_samples_next_to_them():
    modes = jnp.asarray([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]).reshape(3, 1, 2, 1)
    samples = modes[jnp.asarray([0, 0, 1, 0])] + 0.5
    np.testing.assert_allclose(diagnostics.mode_shares(modes, samples), [0.75, 0.25, 0.0])
    weights = jnp.asarray([0.5, 0.495, 0.005])
    recalls = [diagnostics.mode_recall(modes, samples, *given) for given in ((), (weights,))]
    np.testing.assert_allclose(recalls, [2 / 3, 1])


SHAPE = (4, 4, 1)


def _draw_image(key):
    return 0.5 * jax.random.normal(key, SHAPE)


@pytest.mark.slow
def test_posterior_samples_of_simulated_problems_are_calibrated():
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    truths, problems = diagnostics.simulate(
        jax.random.key(0), _draw_image, rd.super_resolution(SHAPE, 2), rd.gaussian(0.2), 40
    )
    solver = rd.noise_aware(prior, sample=True, num_steps=40)
    samples = diagnostics.draw(jax.random.key(1), solver, problems, 19)
    judged = diagnostics.calibration(truths, samples)
    assert samples.shape == (40, 19, *SHAPE)
    # 640 pixels, independent under this prior but for the sum of each block; the solver's own bias is under 0.02.
    np.testing.assert_allclose(judged.coverage, diagnostics.LEVELS, atol=0.08)


@pytest.mark.slow
def test_truths_of_a_sampler_have_the_priors_spread():
    prior = rd.gaussian_prior(jnp.full(SHAPE, 0.2), 0.25, rd.schedules.linear())
    sampler = rd.ddim(prior, eta=1.0, num_steps=300)
    truths, problems = diagnostics.simulate(jax.random.key(0), sampler, rd.denoising(SHAPE), rd.gaussian(0.1), 64)
    # 1024 pixels: the mean is known to 0.016, the standard deviation to 0.011, of which 40 steps would lose 14 %.
    assert abs(float(truths.mean()) - 0.2) < 0.07
    assert abs(float(truths.std()) - 0.5) < 0.05
    assert abs(float((problems.y - truths).std()) - 0.1) < 0.01


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: diagnostics.coverage(x, jnp.zeros((9, 3)), (0.9,)), "draw 19 or lower"),
        (lambda x: diagnostics.coverage(x, jnp.zeros((9, 3)), (1.0,)), "between 0 and 1"),
        (lambda x: diagnostics.z_scores(x, jnp.zeros((1, 3))), "at least 2"),
        (lambda x: diagnostics.ranks(x, jnp.zeros((5, 4))), r"\(5, 4\) but \(\.\.\.\) and \(K, \.\.\.\)"),
        (lambda x: diagnostics.rank_histogram(x, 9, 3), "must divide the 10 ranks"),
        (lambda x: diagnostics.calibration(x, x), "B >= 2 are needed"),
        (lambda x: diagnostics.mode_shares(x, jnp.zeros((5, 4))), "an axis in front"),
        (lambda x: diagnostics.simulate(jax.random.key(0), _draw_image, None, None, 0), "count is 0"),
    ],
)
def test_what_does_not_fit_is_an_error(call, said):
    with pytest.raises(ValueError, match=said):
        call(jnp.zeros(3))
