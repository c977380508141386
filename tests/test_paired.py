"""Two methods on the same pictures: differences by hand, and intervals that cover as often as they say."""

import numpy as np
import pytest
from scipy import stats

from benchmarks._paired import paired


def test_differences_are_those_of_the_same_picture():
    found = paired({"a": 3.0, "b": 5.0, "c": 1.0}, {"c": 2.5, "b": 4.0, "a": 1.0})
    assert (found.mean, found.won, found.count) == (pytest.approx(0.5), 2, 3)
    assert (found.worst, found.worst_difference) == ("c", -1.5)
    assert found.low < found.mean < found.high


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=24)
    found = paired(dict(enumerate(values)), dict.fromkeys(range(24), 1.0))
    theirs = stats.bootstrap(
        (values - 1.0,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose([found.low, found.high], theirs, atol=0.03)  # 10,000 resamples each


def test_the_same_values_have_no_interval():
    found = paired({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0})
    assert (found.mean, found.low, found.high, found.won) == (0, 0, 0, 0)


@pytest.mark.parametrize("second", [{}, {"a": 1.0}, {"a": 1.0, "c": 1.0}])
def test_other_pictures_are_refused(second):
    with pytest.raises(ValueError, match="must be the same pictures"):
        paired({"a": 1.0, "b": 2.0}, second)
