import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax.operators as ops

SHAPE = (16, 12, 3)
measure = jax.jit(lambda operator, x: operator(x))


@pytest.fixture
def x(rng) -> jax.Array:
    return jnp.asarray(rng.uniform(-1, 1, SHAPE), dtype=jnp.float32)


@pytest.mark.parametrize("weights_first", [False, True])
def test_one_kernel_everywhere_is_a_blur(weights_first, x, rng):
    kernel = rng.random((5, 3))
    weights = ops.grid_weights(SHAPE, (2, 3))
    operator = ops.varying_blur(np.stack([kernel] * 6), weights, SHAPE, weights_first=weights_first, normalize=True)
    np.testing.assert_allclose(
        measure(operator, x), measure(ops.blur(kernel, SHAPE, normalize=True), x), atol=2e-6
    )  # float32 FFTs


def test_measured_pixels_collect_by_the_kernel_of_their_place(x, rng):
    kernels = rng.random((2, 5, 3, 3))
    left = np.broadcast_to(np.arange(12)[None, :] < 5, (16, 12)).astype(float)
    y = measure(ops.varying_blur(kernels, np.stack([left, 1 - left]), SHAPE, normalize=True), x)
    for kernel, columns in zip(kernels, (slice(5), slice(5, None)), strict=True):
        np.testing.assert_allclose(
            y[:, columns], measure(ops.blur(kernel, SHAPE, normalize=True), x)[:, columns], atol=2e-6
        )  # float32


def test_with_weights_first_a_bright_pixel_spreads_as_the_kernels_of_its_place(rng):
    kernels = rng.random((2, 5, 3))
    weights = ops.grid_weights((16, 12, 1), (2, 1))
    operator = ops.varying_blur(kernels, weights, (16, 12, 1), weights_first=True, normalize=False)
    y = measure(operator, jnp.zeros((16, 12, 1)).at[7, 6, 0].set(1.0))
    expected = np.einsum("k,kij->ij", weights[:, 7, 6, 0], kernels)
    np.testing.assert_allclose(y[5:10, 5:8, 0], expected, atol=1e-6)  # float32


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 4)])
def test_grid_weights_sum_to_one_and_each_is_one_somewhere_near_its_middle(grid):
    weights = np.asarray(ops.grid_weights((20, 36, 1), grid))
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)  # float32
    # A middle may lie half a pixel beside the nearest pixels, of at least 4 a patch.
    assert weights.max((1, 2, 3)).min() > (1 - 1 / 8) ** 2


@pytest.mark.slow
def test_kernels_of_a_batch_are_a_vmap_of_the_factory(x, rng):
    kernels = jnp.asarray(rng.random((2, 4, 5, 3)), dtype=jnp.float32)
    weights = ops.grid_weights(SHAPE, (2, 2))
    operators = jax.vmap(lambda k: ops.varying_blur(k, weights, SHAPE, normalize=True))(kernels)
    ys = jax.vmap(lambda operator: operator(x))(operators)
    np.testing.assert_allclose(
        ys[1], measure(ops.varying_blur(kernels[1], weights, SHAPE, normalize=True), x), atol=2e-6
    )  # float32


@pytest.mark.oracle
@pytest.mark.parametrize("weights_first", [False, True])
def test_varying_blur_equals_deepinv(weights_first, x, rng):
    torch = pytest.importorskip("torch")
    kernels = rng.random((4, 5, 3)).astype(np.float32)
    weights = rng.random((4, 16, 12)).astype(np.float32)
    theirs = oracles.deepinv().physics.SpaceVaryingBlur(
        filters=torch.tensor(kernels)[None, None],
        multipliers=torch.tensor(weights)[None, None],
        padding="circular",
        mask_first=weights_first,
    )(torch.tensor(np.asarray(x)).permute(2, 0, 1)[None])
    ours = ops.varying_blur(
        kernels, weights, SHAPE, boundary=ops.Boundary.CIRCULAR, normalize=False, weights_first=weights_first
    )
    np.testing.assert_allclose(measure(ours, x), theirs[0].permute(1, 2, 0), atol=2e-5)  # float32, values up to 30


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.varying_blur(np.ones((2, 3, 3)), np.ones((3, 16, 12)), SHAPE), r"need \(2, 16, 12, 1\)"),
        (lambda: ops.varying_blur(np.ones((0, 3, 3)), np.ones((0, 16, 12)), SHAPE), "0 kernels"),
        (lambda: ops.varying_blur(np.ones((1, 3, 3)), np.full((1, 16, 12), np.nan), SHAPE), "not finite"),
        (lambda: ops.varying_blur(np.zeros((1, 3, 3)), np.ones((1, 16, 12)), SHAPE), "normalize=False"),
        (lambda: ops.grid_weights(SHAPE, (0, 2)), r"grid is \(0, 2\) but must be rows and columns"),
        (lambda: ops.grid_weights(SHAPE, (2, 13)), r"grid is \(2, 13\)"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
