import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

import reddiff_jax as rd
import reddiff_jax.operators as ops
from reddiff_jax._tree import index

B = ops.Boundary
# What SciPy calls these: its "reflect" repeats the edge pixel.
SCIPY = {B.REFLECT: "mirror", B.SYMMETRIC: "reflect", B.EDGE: "nearest", B.ZERO: "constant", B.CIRCULAR: "wrap"}
SHAPE = (16, 24, 3)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(-1, 1, SHAPE).astype(np.float32)


@pytest.mark.parametrize("boundary", B)
@pytest.mark.parametrize("size", [(3, 5), (4, 6), (41, 37)])
def test_blur_equals_scipy_convolution(boundary, size, x, rng):
    kernel = rng.random(size)
    y = ops.blur(kernel, SHAPE, boundary=boundary, normalize=True)(jnp.asarray(x))
    expected = ndimage.convolve(x.astype(float), (kernel / kernel.sum())[:, :, None], mode=SCIPY[boundary])
    np.testing.assert_allclose(y, expected, atol=2e-6)  # float32 FFTs of values up to 1


@pytest.mark.parametrize("boundary", B)
@pytest.mark.parametrize("size", [5, 61])
def test_gaussian_blur_equals_scipy_on_rows_and_columns(boundary, size, x):
    taps = signal.windows.gaussian(size, std=2.0)
    expected = x.astype(float)
    for axis in (0, 1):
        expected = ndimage.convolve1d(expected, taps / taps.sum(), axis=axis, mode=SCIPY[boundary])
    y = ops.gaussian_blur(SHAPE, sigma=2.0, size=size, boundary=boundary)(jnp.asarray(x))
    np.testing.assert_allclose(y, expected, atol=2e-6)  # float32


@pytest.mark.parametrize("boundary", B)
def test_gaussian_blur_equals_blur_with_a_gaussian_kernel(boundary, x):
    by_fft = ops.blur(rd.kernels.gaussian(11, 1.5), SHAPE, boundary=boundary)(jnp.asarray(x))
    by_matrices = ops.gaussian_blur(SHAPE, sigma=1.5, size=11, boundary=boundary)(jnp.asarray(x))
    np.testing.assert_allclose(by_fft, by_matrices, atol=2e-6)  # float32


@pytest.mark.parametrize("boundary", B)
def test_uniform_blur_has_all_its_nine_taps(boundary):
    impulse = jnp.zeros((32, 32, 1)).at[16, 16, 0].set(1.0)
    expected = np.zeros((32, 32, 1))
    expected[12:21, 12:21] = 1 / 81
    np.testing.assert_allclose(ops.uniform_blur((32, 32, 1), boundary=boundary)(impulse), expected, atol=1e-7)


@pytest.mark.parametrize("boundary", [B.REFLECT, B.SYMMETRIC, B.EDGE, B.CIRCULAR])
def test_blur_keeps_constant_pictures(boundary):
    # Zeros beyond the border are the one boundary that darkens it.
    y = ops.gaussian_blur((20, 12, 1), boundary=boundary)(jnp.ones((20, 12, 1)))
    np.testing.assert_allclose(y, 1.0, atol=2e-6)  # float32 sums of 61 taps on each axis


@pytest.mark.parametrize("boundary", B)
def test_a_bright_pixel_becomes_the_kernel_not_its_mirror_image(boundary, rng):
    kernel = rng.random((5, 3))
    impulse = jnp.zeros((11, 9, 1)).at[5, 4, 0].set(1.0)
    y = ops.blur(kernel, (11, 9, 1), boundary=boundary, normalize=False)(impulse)
    np.testing.assert_allclose(y[3:8, 3:6, 0], kernel, atol=1e-6)  # float32


def test_a_kernel_for_each_channel_is_a_blur_of_each_channel(x, rng):
    kernel = rng.random((5, 3, 3))
    y = ops.blur(kernel, SHAPE, normalize=True)(jnp.asarray(x))
    alone = [
        ops.blur(kernel[:, :, c], (*SHAPE[:2], 1), normalize=True)(jnp.asarray(x[:, :, c : c + 1])) for c in range(3)
    ]
    np.testing.assert_allclose(y, jnp.concatenate(alone, axis=2), atol=1e-6)  # float32


def test_only_the_circular_blur_is_spectral():
    operators = {boundary: ops.blur(np.full((3, 3), 1 / 9), SHAPE, boundary=boundary) for boundary in B}
    assert [b for b, operator in operators.items() if isinstance(operator, ops.SpectralOperator)] == [B.CIRCULAR]


@pytest.mark.slow
@pytest.mark.parametrize("boundary", [B.REFLECT, B.CIRCULAR])
def test_blurs_of_a_batch_are_a_vmap_of_the_factory(boundary, rng):
    keys = jax.random.split(jax.random.key(3), 2)
    xs = jnp.asarray(rng.random((2, *SHAPE)), dtype=jnp.float32)
    build = jax.jit(lambda key: ops.motion_blur(key, SHAPE, size=9, boundary=boundary))
    operators = jax.vmap(build)(keys)
    ys = jax.jit(jax.vmap(lambda operator, x: operator(x)))(operators, xs)
    np.testing.assert_allclose(ys[1], build(keys[1])(xs[1]), atol=1e-6)  # float32
    assert index(operators, 1).in_shape == SHAPE


def test_batched_kernels_make_no_convolution(rng):
    operators = jax.vmap(lambda kernel: ops.blur(kernel, SHAPE, normalize=True))(jnp.asarray(rng.random((2, 5, 5))))
    program = str(jax.make_jaxpr(jax.vmap(lambda operator, x: operator(x)))(operators, jnp.zeros((2, *SHAPE))))
    assert "conv_general_dilated" not in program


def test_a_larger_rcond_leaves_out_more_of_the_inverse(x):
    y = ops.gaussian_blur(SHAPE)(jnp.asarray(x))
    norms = [float(jnp.linalg.norm(ops.gaussian_blur(SHAPE, rcond=rcond).pinv(y))) for rcond in (1e-2, 1e-1, 0.9)]
    assert norms == sorted(norms, reverse=True)


@pytest.mark.slow
def test_conjugate_gradients_stand_still_once_they_have_converged():
    # A^T A = 0.09 converges in one step; plain CG would go on to 0 / 0.
    operator = ops.blur(np.array([[0.3]]), (4, 4, 1), normalize=False)
    x = jnp.linspace(-1, 1, 16).reshape(4, 4, 1)
    np.testing.assert_allclose(operator.pinv(operator(x)), x, atol=1e-6)  # float32


def test_conjugate_gradients_of_zero_are_zero():
    assert not ops.blur(np.full((3, 3), 1 / 9), (4, 4, 1)).pinv(jnp.zeros((4, 4, 1))).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.gaussian_blur(SHAPE, sigma=0.0), "sigma is 0.0 but must be finite and above 0"),
        (lambda: ops.gaussian_blur(SHAPE, size=4), "size is 4 but must be odd"),
        (lambda: ops.uniform_blur(SHAPE, size=0), "size is 0 but must be odd"),
        (
            lambda: ops.uniform_blur(SHAPE, boundary="mirror"),
            r"boundary is 'mirror' but must be one of Boundary\.REFLECT",
        ),
        (lambda: ops.uniform_blur(SHAPE, rcond=1.0), r"rcond is 1\.0 but must be in \[0, 1\)"),
        (lambda: ops.blur(np.ones((2, 3, 4)), SHAPE), r"kernel has shape \(2, 3, 4\) but one kernel is"),
        (lambda: ops.blur(np.array([[1.0, -1.0]]), SHAPE), "normalize=False"),
        (lambda: ops.blur(np.array([[np.nan]]), SHAPE), "not finite"),
        (
            lambda: ops.blur(np.ones((3, 3)), SHAPE),
            r"kernel sums to 9 but must sum to 1.* Give kernel / kernel.sum\(\)",
        ),
        (
            lambda: jax.jit(lambda s: ops.gaussian_blur(SHAPE, sigma=s).singulars)(1.0),
            r"rd\.blur\(rd\.kernels\.gaussian",
        ),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_blur_may_be_built_within_jit():
    blurred = jax.eval_shape(lambda x: ops.gaussian_blur((8, 8, 1), sigma=1.0, size=5)(x), jnp.zeros((8, 8, 1)))
    assert blurred.shape == (8, 8, 1)
