"""Compressed sensing: the fast transform against matrices, and the Gaussian one against its law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard

import reddiff_jax.operators as ops
from reddiff_jax.operators.compressed_sensing import orthonormal_transform


def _hartley(size):
    angle = 2 * np.pi * np.outer(np.arange(size), np.arange(size)) / size
    return (np.cos(angle) + np.sin(angle)) / np.sqrt(size)


@pytest.mark.parametrize("n", [16, 12, 15])
def test_fast_transform_is_the_kronecker_product_of_hadamard_and_hartley(n):
    power = n & -n
    matrix = np.kron(hadamard(power) / np.sqrt(power), _hartley(n // power))
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(orthonormal_transform)(jnp.eye(n)), matrix, atol=1e-14)  # float64


@pytest.mark.slow
def test_measurements_are_the_rows_of_the_signed_transform(key, rng):
    operator = ops.compressed_sensing(key, (4, 4, 2), ratio=0.5)
    x = rng.normal(size=(4, 4, 2))
    transformed = hadamard(16) / 4 @ (np.asarray(operator.signs) * x).reshape(16, 2)
    expected = np.take_along_axis(transformed, np.asarray(operator.rows), axis=0)
    np.testing.assert_allclose(operator(jnp.asarray(x, dtype=float)), expected, atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("options", "count"), [({}, 12), ({"ratio": 0.1}, 5), ({"num_measurements": 7}, 7), ({"ratio": 1.0}, 48)]
)
def test_number_of_measurements_of_each_channel_is_the_one_asked_for(options, count, key):
    operator = ops.compressed_sensing(key, (6, 8, 3), **options)
    assert operator.out_shape == (count, 3)
    assert all(np.unique(rows).size == count for rows in np.asarray(operator.rows).T)
    assert set(np.unique(operator.signs)) == {-1.0, 1.0}


@pytest.mark.slow
def test_all_measurements_determine_the_picture(key, rng):
    operator = ops.compressed_sensing(key, (6, 5, 3), ratio=1.0)
    x = jnp.asarray(rng.normal(size=(6, 5, 3)), dtype=float)
    np.testing.assert_allclose(operator.pinv(operator(x)), x, atol=1e-6)  # float32


@pytest.mark.slow
def test_operator_of_each_key_equals_a_loop(rng):
    keys = jax.random.split(jax.random.key(0), 3)
    xs = jnp.asarray(rng.normal(size=(3, 4, 4, 2)), dtype=float)
    measured = jax.jit(jax.vmap(lambda key, x: ops.compressed_sensing(key, (4, 4, 2))(x)))(keys, xs)
    expected = [ops.compressed_sensing(key, (4, 4, 2))(x) for key, x in zip(keys, xs, strict=True)]
    np.testing.assert_allclose(measured, jnp.stack(expected), atol=1e-6)  # float32


@pytest.mark.slow
def test_gaussian_sensing_keeps_the_energy_on_average(key):
    operator = ops.gaussian_sensing(key, (6, 5, 2), 40)
    matrix = jax.vmap(lambda x: operator(x))(jnp.eye(60).reshape(60, 6, 5, 2)).T
    # 2400 independent N(0, 1/40): their mean square has the relative standard deviation sqrt(2 / 2400) = 0.03.
    assert float(jnp.mean(matrix**2)) * 40 == pytest.approx(1, abs=0.12)
    assert abs(float(jnp.mean(matrix))) < 4 * (2400 * 40) ** -0.5


@pytest.mark.parametrize("shape", [(5, 12), (12, 12), (20, 12)])
def test_matrix_operator_is_the_matrix(shape, rng):
    matrix, x, y = rng.normal(size=shape), rng.normal(size=(2, 3, 2)), rng.normal(size=shape[0])
    with jax.enable_x64(True):
        operator = ops.matrix_operator(matrix, (2, 3, 2))
        # float64 decompositions.
        np.testing.assert_allclose(operator(jnp.asarray(x)), matrix @ x.ravel(), atol=1e-12)
        np.testing.assert_allclose(operator.adjoint(jnp.asarray(y)).ravel(), matrix.T @ y, atol=1e-12)
        np.testing.assert_allclose(operator.pinv(jnp.asarray(y)).ravel(), np.linalg.pinv(matrix) @ y, atol=1e-9)


@pytest.mark.slow
def test_matrix_without_full_rank_has_its_pseudo_inverse(rng):
    matrix, y = np.outer(rng.normal(size=4), rng.normal(size=6)), rng.normal(size=4)
    with jax.enable_x64(True):
        operator = ops.matrix_operator(matrix, (2, 3, 1))
        np.testing.assert_allclose(operator.pinv(jnp.asarray(y)).ravel(), np.linalg.pinv(matrix) @ y, atol=1e-12)
        assert int((operator.singulars > 0).sum()) == 1


def test_matrix_operator_holds_no_square_of_the_pixels(key):
    operator = ops.gaussian_sensing(key, (20, 20, 1), 5)
    assert sum(leaf.size for leaf in jax.tree.leaves(operator)) < 2 * 5 * 400


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: ops.compressed_sensing(key, (8, 8, 1), ratio=25), r"ratio is 25 .* in \(0, 1\]"),
        (lambda key: ops.compressed_sensing(key, (8, 8, 1), ratio=0.5, num_measurements=4), "give one of them"),
        (lambda key: ops.compressed_sensing(key, (8, 8, 1), num_measurements=65), "from 1 to the 64 pixels"),
        (lambda key: ops.gaussian_sensing(key, (8, 8, 1), 0), "num_measurements is 0"),
        (lambda key: ops.gaussian_sensing(key, (256, 256, 3), 1000), r"Use rd\.compressed_sensing"),
        (lambda key: ops.matrix_operator(np.ones((12, 5)), (2, 3, 2)), r"must be \(m, 12\)"),
        (lambda key: ops.matrix_operator(np.full((1, 4), np.nan), (2, 2, 1)), "not finite"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
