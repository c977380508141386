"""The published blurs against their description, written out with dense matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

N, C = 16, 3
GAUSSIAN = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 25**2))
TAPS = {"uniform": np.ones(9) / 9, "gaussian": GAUSSIAN / GAUSSIAN.sum()}
FACTORIES = {"uniform": ops.legacy_uniform_blur, "gaussian": ops.legacy_gaussian_blur}
both = pytest.mark.parametrize("name", TAPS)


def _axis(name: str, size: int) -> np.ndarray:
    """Row i has the taps 0 to n - 2 at columns i - n // 2 onwards."""
    taps = TAPS[name]
    matrix = np.zeros((size, size))
    for i in range(size):
        for k in range(len(taps) - 1):
            if 0 <= i - len(taps) // 2 + k < size:
                matrix[i, i - len(taps) // 2 + k] = taps[k]
    return matrix


@functools.cache
def _dense(name: str) -> tuple[np.ndarray, np.ndarray]:
    """H and its published inverse: a matrix (N N, N N) for each channel, between which there are no entries."""
    u, s, vt = np.linalg.svd(_axis(name, N))
    s = np.where(s < 3e-2, 0, s)
    pairs = sorted(((s[i] * s[j], i, j) for i in range(N) for j in range(N)), key=lambda pair: -pair[0])
    singulars = np.tile([value for value, _, _ in pairs], C)
    forward, inverse = np.zeros((2, C, N * N, N * N))
    for p, (_, i, j) in enumerate(pairs):
        left, right = np.outer(u[:, i], u[:, j]).ravel(), np.outer(vt[i], vt[j]).ravel()
        for c in range(C):
            value = singulars[p * C + c]  # coefficients are interleaved, singular values are not
            forward[c] += value * np.outer(left, right)
            inverse[c] += np.outer(right, left) / (value if value > 0 else 1)
    return forward, inverse


def _apply(matrices: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.stack([(matrices[c] @ x[:, :, c].ravel()).reshape(N, N) for c in range(C)], axis=2)


@both
@pytest.mark.usefixtures("x64")
def test_it_equals_the_dense_construction(name, rng):
    x = rng.normal(size=(N, N, C))
    y = FACTORIES[name]((N, N, C))(jnp.asarray(x))
    np.testing.assert_allclose(y, _apply(_dense(name)[0], x), atol=1e-12)  # float64


@both
@pytest.mark.usefixtures("x64")
def test_its_inverse_leaves_in_what_it_does_not_know(name, rng):
    y = rng.normal(size=(N, N, C))  # noise, not in the range of the operator
    x = FACTORIES[name]((N, N, C)).pinv(jnp.asarray(y))
    expected = _apply(_dense(name)[1], y)
    np.testing.assert_allclose(x, expected, atol=1e-12 * np.abs(expected).max())  # float64; conditioned by 1000


def test_the_inverse_may_be_the_identity(rng):
    y = rng.normal(size=(N, N, C)).astype(np.float32)
    np.testing.assert_array_equal(ops.legacy_uniform_blur((N, N, C), identity_pinv=True).pinv(jnp.asarray(y)), y)


@pytest.mark.parametrize(("name", "gain", "count", "zeroed"), [("uniform", 8 / 9, 8, 28), ("gaussian", 0.8, 4, 15)])
def test_the_last_tap_is_missing_and_small_singular_values_are_zero(name, gain, count, zeroed):
    operator = FACTORIES[name]((256, 256, 1))
    row = np.asarray(operator.height.matrix)[128]
    assert row.sum() == pytest.approx(gain, abs=1e-3)  # 0.800 is rounded: a Gaussian's four of five taps
    assert np.flatnonzero(row).tolist() == list(range(128 - count // 2, 128 + count // 2))
    assert int((np.asarray(operator.height.s) < 3e-2).sum()) == zeroed


@pytest.mark.parametrize(("name", "scrambled", "truncated"), [("uniform", 1.02, 0.047), ("gaussian", 0.88, 0.017)])
def test_its_error_on_white_noise_is_the_one_measured_of_the_published_code(name, scrambled, truncated):
    errors = {}
    for channels in (1, 3):
        operator, axis = FACTORIES[name]((32, 32, channels)), _axis(name, 32)
        measure = jax.jit(jax.vmap(operator))
        x = np.random.default_rng(0).normal(size=(100, 32, 32, channels)).astype(np.float32)
        true = np.einsum("ij,njkc,lk->nilc", axis, x, axis, optimize=True)
        difference = np.asarray(measure(jnp.asarray(x))) - true
        ratios = np.linalg.norm(difference.reshape(100, -1), axis=1) / np.linalg.norm(true.reshape(100, -1), axis=1)
        errors[channels] = ratios.mean(), ratios.std()
    # The published code was measured on one draw: three standard deviations. One channel has nothing to scramble, which
    # leaves the truncation alone.
    assert abs(errors[3][0] - scrambled) < 3 * errors[3][1]
    assert abs(errors[1][0] - truncated) < 3 * errors[1][1]
    assert errors[1][0] < 0.1 < errors[3][0]


def test_one_channel_is_not_scrambled(rng):
    x = rng.normal(size=(N, N, 1)).astype(np.float32)
    u, s, vt = np.linalg.svd(_axis("gaussian", N))
    axis = (u * np.where(s < 3e-2, 0, s)) @ vt
    y = ops.legacy_gaussian_blur((N, N, 1))(jnp.asarray(x))
    np.testing.assert_allclose(y[:, :, 0], axis @ x[:, :, 0] @ axis.T, atol=2e-6)  # float32


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"legacy_gaussian_blur: in_shape is .* batches go through jax\.vmap"):
        ops.legacy_gaussian_blur((2, 16, 16, 3))
