"""Scores of folders."""

import math

from reddiff_jax import jobs


def test_an_identical_pair_does_not_make_a_folders_mean_infinite():
    assert jobs.mean([20.0, math.inf, 30.0]) == 25.0


def test_the_mean_of_identical_pairs_alone_is_infinite():
    assert jobs.mean([math.inf, math.inf]) == math.inf


def test_the_mean_of_nothing_is_nan():
    assert math.isnan(jobs.mean([]))
