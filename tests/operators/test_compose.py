import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
import reddiff_jax.operators as ops

RGB = (8, 12, 3)
GREY = (8, 12, 1)


@pytest.fixture
def x(rng) -> jax.Array:
    return jnp.asarray(rng.uniform(-1, 1, RGB), dtype=jnp.float32)


def _square(x: jax.Array) -> jax.Array:
    return x**2


SQUARE = ops.operator(_square, RGB)
GREYED = ops.colorization(RGB)
SMALL = ops.super_resolution(GREY, 2)


def test_the_last_operator_acts_first(x):
    np.testing.assert_array_equal(ops.compose(SMALL, GREYED)(x), SMALL(GREYED(x)))


def test_compose_takes_any_number_of_operators(x):
    # float32: eager and composed sums of three channels
    np.testing.assert_allclose(ops.compose(2.0 * SMALL, GREYED, SQUARE)(x), 2 * SMALL(GREYED(SQUARE(x))), atol=1e-6)


def test_composition_is_linear_iff_all_are():
    assert isinstance(SMALL @ GREYED, ops.LinearOperator)
    assert not isinstance(GREYED @ SQUARE, ops.LinearOperator)


def test_an_rgb_prior_restores_a_grey_measurement(x):
    operator = ops.inpainting(np.arange(96).reshape(8, 12) % 2, channels=1) @ GREYED
    solver = rd.reddiff(rd.gaussian_prior(jnp.zeros(RGB), 1.0, rd.schedules.linear()), num_steps=2)
    assert rd.run(jax.random.key(0), solver, rd.problem(operator(x), operator)).x.shape == RGB


def test_crop_of_a_blur_depends_on_no_boundary(x):
    kernel = np.random.default_rng(1).random((5, 3))
    ys = [ops.crop(RGB, (2, 1)) @ ops.blur(kernel, RGB, boundary=boundary) for boundary in ops.Boundary]
    for operator in ys[1:]:
        np.testing.assert_allclose(operator(x), ys[0](x), atol=1e-6)  # float32 FFTs of other sizes


def test_split_undoes_join(x):
    operator = ops.stacked(SQUARE, GREYED, weights=[2.0, 0.5])
    square, grey = operator.split(operator.join(SQUARE(x), GREYED(x)))
    np.testing.assert_allclose(square, SQUARE(x), atol=1e-7)  # times and over a power of 2
    np.testing.assert_allclose(grey, GREYED(x), atol=1e-7)


def test_split_gives_real_measurements_back_as_real(x):
    fourier = ops.linear_operator(jnp.fft.fft2, RGB)
    operator = ops.stacked(fourier, GREYED)
    assert [part.dtype for part in operator.split(operator(x))] == [jnp.complex64, jnp.float32]


def test_stacked_measurements_equal_each_of_them(x):
    operator = ops.stacked(SQUARE, GREYED, weights=[2.0, 0.5])
    expected = np.concatenate([2 * np.ravel(SQUARE(x)), 0.5 * np.ravel(GREYED(x))])
    np.testing.assert_allclose(operator(x), expected, atol=1e-6)  # float32


def test_two_halves_stacked_determine_the_picture(x):
    mask = np.arange(96).reshape(8, 12) % 2
    operator = ops.stacked(ops.inpainting(mask), ops.inpainting(1 - mask))
    np.testing.assert_allclose(operator.pinv(operator(x)), x, atol=1e-6)  # A^T A = I: one step


def test_numpy_numbers_scale_operators(x):
    assert isinstance(np.float64(2.0) * GREYED, ops.SpectralScaled)
    np.testing.assert_allclose((np.float32(2.0) * GREYED)(x), 2 * GREYED(x))


def test_scaling_keeps_what_an_operator_can_do():
    kinds = [type(2.0 * operator) for operator in (GREYED, SMALL @ GREYED, SQUARE)]
    assert kinds == [ops.SpectralScaled, ops.LinearScaled, ops.Scaled]


@pytest.mark.parametrize("margins", [2, (2, 2), ((2, 2), (2, 2))])
def test_margins_are_given_in_three_ways(margins, x):
    np.testing.assert_array_equal(ops.crop(RGB, margins)(x), x[2:6, 2:10])


def test_crop_undoes_pad(x):
    margins = ((1, 2), (3, 0))
    for boundary in ops.Boundary:
        padded = ops.pad(RGB, margins, boundary=boundary)
        np.testing.assert_array_equal((ops.crop(padded.out_shape, margins) @ padded)(x), x)


def test_operator_on_channels_leaves_the_others_out(x):
    operator = ops.on_channels(SMALL, 1, RGB)
    np.testing.assert_array_equal(operator(x), SMALL(x[:, :, 1:2]))
    assert not operator.pinv(operator(x))[:, :, (0, 2)].any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GREYED @ SMALL, ValueError, r"SuperResolution maps \(8, 12, 1\) to \(4, 6, 1\), but Colorization"),
        (lambda: ops.compose(GREYED), ValueError, "1 operators came but at least 2"),
        (lambda: GREYED @ jnp.zeros(RGB), TypeError, r"measure by operator\(x\)"),
        (lambda: ops.compose(jnp.tanh, GREYED), TypeError, r"operators\[0\] is a .* rd\.operator\(fn, in_shape\)"),
        (lambda: ops.stacked(GREYED, SMALL), ValueError, r"operators\[1\], SuperResolution, takes \(8, 12, 1\)"),
        (lambda: ops.stacked(GREYED, SQUARE, weights=[1.0]), ValueError, "must be 2 positive numbers"),
        (lambda: ops.stacked(GREYED, weights=[0.0]), ValueError, "must be 1 positive numbers"),
        (lambda: ops.scale(GREYED, 0.0), ValueError, "factor is 0.0 but must be one finite number other than 0"),
        (lambda: ops.scale(GREYED, np.ones(3)), ValueError, "must be one finite number"),
        (lambda: ops.crop(RGB, 4), ValueError, "leave nothing"),
        (lambda: ops.crop(RGB, -1), ValueError, "must be whole numbers, not negative"),
        (lambda: ops.pad(RGB, (1, 2, 3)), ValueError, "must be whole numbers, not negative"),
        (lambda: ops.pad(RGB, 1, boundary="mirror"), ValueError, "pad: boundary is 'mirror'"),
        (lambda: ops.on_channels(SMALL, 3, RGB), ValueError, "must be different numbers from 0 to 2"),
        (lambda: ops.on_channels(SMALL, (0, 1), RGB), ValueError, r"maps \(8, 12, 3\) to \(8, 12, 2\)"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call()
