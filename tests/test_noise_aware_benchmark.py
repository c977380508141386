"""The goals of benchmarks/noise_aware.py, on rows made up for it; and that its results are of the code as it is."""

import json

import pytest

from benchmarks import _report, noise_aware
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


@pytest.mark.slow
def test_what_was_measured_without_tuning_has_the_settings_that_the_methods_have_now():
    rows = json.loads((_report.RESULTS / "noise_aware.json").read_text())["rows"]
    fixed = [
        name for name in noise_aware.METHODS if name.startswith(("published", "noise_aware")) and "tuned" not in name
    ]
    for row in rows:
        if row["method"] in fixed:
            now = noise_aware.method(row["method"], _no_settings, row["task"], row["sigma"], row["evaluations"])
            assert row["settings"] == now.describe(), row


def _no_settings(*place):
    raise AssertionError(f"{place} should not be tuned")
