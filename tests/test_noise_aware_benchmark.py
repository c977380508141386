"""The goals of benchmarks/noise_aware.py, on rows made up for it."""

import pytest

from benchmarks.noise_aware import goals


def _row(method, psnr, evaluations, lpips=0.1):
    return {
        "method": method,
        "task": "sr4",
        "sigma": 0.1,
        "evaluations": evaluations,
        "PSNR": psnr,
        "LPIPS": lpips,
    }


ROWS = [
    _row("noise_aware", 25.0, 20),
    _row("noise_aware", 26.0, 100),
    _row("noise_aware, tuned", 26.1, 100),
    _row("noise_aware, one run", 26.3, 100),
    _row("noise_aware, sample", 22.0, 100, lpips=0.3),
    _row("published", 24.5, 100, lpips=0.25),
    _row("published, tuned", 24.0, 100, lpips=0.2),
    _row("published", 24.8, 1000),
]


def test_each_goal_is_against_the_best_rival_of_the_same_case():
    own, published, with_noise, short, sample = goals(ROWS)
    assert (own["cases"], own["worst"], own["worst at"]) == (1, pytest.approx(-0.3), "`sr4` 0.1, 100")
    assert (published["cases"], published["worst"]) == (1, pytest.approx(1.5))
    assert with_noise["mean"] == pytest.approx(1.5)
    assert (short["cases"], short["mean"]) == (1, pytest.approx(0.2))
    assert (sample["worst"], sample["missed"]) == (pytest.approx(-0.05), 1)  # lower LPIPS is better


def test_a_case_that_lacks_a_rival_is_not_counted():
    own, *_ = goals([row for row in ROWS if row["method"] != "noise_aware, one run"])
    assert own == {"goal": own["goal"], "cases": 0}
