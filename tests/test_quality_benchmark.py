"""The quality benchmark: classical methods at their best use, and what is committed of them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from docs_pages import ROOT

import reddiff_jax as rd
from reddiff_jax import metrics

classical = pytest.importorskip("benchmarks._classical")
tables = pytest.importorskip("benchmarks._tables_quality")
pytest.importorskip("skimage")

PRIOR = rd.gaussian_prior(jnp.zeros((1, 1, 1)), 0.3, rd.schedules.linear())
ROWS = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())["rows"]
CASES = sorted({(row["task"], row["sigma"]) for row in ROWS})


def _photo(seed: int, size: int = 48) -> jax.Array:
    rows, columns = np.mgrid[:size, :size] / size
    waves = [np.sin((5 + c) * rows + 4 * columns + seed) + 0.3 * (rows > 0.3 + 0.1 * c) for c in range(3)]
    return jnp.asarray(np.clip(np.stack(waves, axis=-1) / 1.4, -1, 1), jnp.float32)


def _measured(operator: rd.Operator, sigma: float, seed: int) -> rd.Problem:
    return rd.measure(jax.random.key(seed), operator, rd.gaussian(sigma), _photo(seed))


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.0, 0.05])
@pytest.mark.parametrize("task", ["deblur", "sr", "inpaint", "hdr"])
def test_no_baseline_is_worse_than_the_measurement(task, sigma):
    shape = (48, 48, 3)
    operator = {
        "deblur": rd.gaussian_blur(shape, sigma=1.5, size=9),
        "sr": rd.super_resolution(shape, 4),
        "inpaint": rd.inpainting(np.random.default_rng(0).random(shape[:2]) > 0.5, channels=3),
        "hdr": rd.hdr(shape),
    }[task]
    problem, others = _measured(operator, sigma, 0), [_measured(operator, sigma, seed) for seed in (1, 2)]
    truths = np.stack([_photo(1), _photo(2)])
    least = metrics.psnr(jnp.clip(operator.pinv(problem.y), -1, 1), _photo(0))
    if operator.out_shape == operator.in_shape:
        least = jnp.maximum(least, metrics.psnr(jnp.clip(problem.y, -1, 1), _photo(0)))
    found = {}
    for name, method in classical.methods(task, problem, PRIOR).items():
        restored = method[1](classical.chosen(method, others, truths), problem)
        assert restored.shape == shape
        found[name] = float(metrics.psnr(jnp.clip(jnp.asarray(restored), -1, 1), _photo(0)))
    assert max(found.values()) >= least - 0.05, found


@pytest.mark.parametrize(("task", "sigma"), CASES)
def test_committed_baselines_are_no_worse_than_the_measurement(task, sigma):
    psnr = {row["method"]: row["PSNR"] for row in ROWS if (row["task"], row["sigma"]) == (task, sigma)}
    least = psnr.get("y", -np.inf)
    worse = {name: psnr[name] for name in tables.CLASSICAL if name in psnr and psnr[name] < least}
    assert not worse, f"y itself has {least} dB"
