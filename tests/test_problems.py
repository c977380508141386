"""Problems: the misfit, its gradient, the simulator, the checks."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

SHAPE = (8, 6, 3)


def _masked(x):
    return jnp.tanh(2 * x)[::2]


def _magnitude(x):
    return jnp.abs(jnp.fft.fft2(x, axes=(0, 1), norm="ortho"))


def _fourier(x):
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


OPERATORS = {
    "inpainting": rd.inpainting(np.random.default_rng(0).random(SHAPE[:2]) > 0.5),
    "super_resolution": rd.super_resolution(SHAPE, 2),
    "complex_linear": rd.linear_operator(_fourier, SHAPE),
    "nonlinear": rd.operator(_masked, SHAPE),
    "magnitude": rd.operator(_magnitude, SHAPE),
}
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def _image(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=SHAPE), jnp.float32)


@every_operator
def test_misfit_is_half_the_squared_residual(operator):
    problem = rd.problem(operator(_image(0)), operator)
    residual = np.asarray(operator(_image(1))) - np.asarray(operator(_image(0)))
    np.testing.assert_allclose(problem.misfit(_image(1)), 0.5 * np.sum(np.abs(residual) ** 2), rtol=1e-5)  # float32 sum


@every_operator
def test_rms_residual_is_over_the_real_numbers_of_the_measurement(operator):
    problem = rd.problem(operator(_image(0)), operator)
    residual = np.asarray(operator(_image(1)) - problem.y)
    numbers = np.stack([residual.real, residual.imag]) if np.iscomplexobj(residual) else residual
    np.testing.assert_allclose(problem.rms_residual(_image(1)), np.sqrt(np.mean(numbers**2)), rtol=1e-5)  # float32 sum


@every_operator
def test_misfit_gradient_is_the_derivative_of_the_misfit(operator):
    problem = rd.problem(operator(_image(0)), operator)
    gradient = problem.misfit_gradient(_image(1))
    np.testing.assert_allclose(gradient, jax.grad(problem.misfit)(_image(1)), atol=2e-6)  # float32, entries of order 1


@every_operator
def test_misfit_gradient_vanishes_where_the_measurement_is_explained(operator):
    problem = rd.problem(operator(_image(0)), operator)
    np.testing.assert_allclose(problem.misfit_gradient(_image(0)), 0, atol=1e-6)


def test_measure_adds_the_noise_of_its_key(key):
    operator, noise, x = OPERATORS["inpainting"], rd.gaussian(0.1), _image(0)
    problem = rd.measure(key, operator, noise, x, cond=jnp.int32(3))
    assert np.array_equal(problem.y, jnp.where(operator.mask == 1, noise.sample(key, operator(x)), 0))
    assert problem.cond == 3


def test_measure_adds_no_noise_where_nothing_is_measured(key):
    mask = jnp.zeros(SHAPE[:2]).at[:4].set(1)
    kspace, coils = rd.mri(mask, (*SHAPE[:2], 2)), rd.coil_maps(2, SHAPE)
    operators = {
        "inpainting": rd.inpainting(mask),
        "mri": kspace,
        "real mri": rd.mri(mask, (*SHAPE[:2], 1)),
        "coils": rd.mri(mask, (*SHAPE[:2], 2), coil_maps=coils),
        "scaled": 2.0 * kspace,
        "composed": rd.inpainting(mask) @ rd.denoising(SHAPE),
    }
    for name, operator in operators.items():
        y = rd.measure(key, operator, rd.gaussian(0.5), jnp.ones(operator.in_shape)).y
        assert not y[4:].any(), name
        assert y[:4].all(), name
    both = rd.operators.stacked(rd.inpainting(mask), rd.denoising(SHAPE))
    inpainted, denoised = both.split(rd.measure(key, both, rd.gaussian(0.5), jnp.ones(SHAPE)).y)
    assert not inpainted[4:].any()
    assert denoised.all()


def test_what_was_not_measured_does_not_count_in_y():
    mask = jnp.zeros(SHAPE[:2]).at[:4].set(1)
    whole, masked = (rd.problem(y, rd.inpainting(mask)) for y in (_image(0), mask[:, :, None] * _image(0)))
    assert np.array_equal(whole.y, masked.y)


def test_measure_maps_over_a_batch(key):
    xs, keys = jnp.stack([_image(i) for i in range(3)]), jax.random.split(key, 3)
    masks = jnp.asarray(np.random.default_rng(1).random((3, *SHAPE[:2])) > 0.5)
    operators, noises = jax.vmap(rd.inpainting)(masks), jax.vmap(rd.gaussian)(jnp.asarray([0.0, 0.1, 0.2]))
    batched = jax.vmap(rd.measure)(keys, operators, noises, xs)
    singles = [
        rd.measure(keys[i], rd.inpainting(masks[i]), rd.gaussian(sigma), xs[i]) for i, sigma in enumerate((0, 0.1, 0.2))
    ]
    np.testing.assert_allclose(batched.y, rd.stack(singles).y, atol=1e-7)  # one rounding: sums may be fused
    assert jax.tree.structure(batched) == jax.tree.structure(rd.stack(singles))


def test_a_measurement_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"y has shape \(8, 6, 1\) but operator Inpainting maps \(8, 6, 3\) to \(8, 6"):
        rd.problem(jnp.zeros((8, 6, 1)), OPERATORS["inpainting"])


def test_an_initial_image_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="init has shape"):
        rd.problem(jnp.zeros(SHAPE), OPERATORS["inpainting"], init=jnp.zeros((4, 4, 3)))


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_a_measurement_that_is_not_finite_is_an_error_that_says_where_it_belongs(value):
    with pytest.raises(ValueError, match=r"2 of the 144 entries of y are not finite\. .*rd\.inpainting with a mask"):
        rd.problem(jnp.zeros(SHAPE).at[0, 0, :2].set(value), OPERATORS["inpainting"])


def test_a_complex_measurement_that_is_not_finite_is_an_error():
    y = OPERATORS["complex_linear"](_image(0))
    with pytest.raises(ValueError, match=r"1 of the \d+ entries of y"):
        rd.problem(y.at[0, 0, 0].set(jnp.nan * 1j), OPERATORS["complex_linear"])


def test_inside_jit_measurements_that_are_not_finite_pass():
    ys = jnp.zeros((2, *SHAPE)).at[1, 0, 0, 0].set(jnp.nan)
    problems = jax.jit(jax.vmap(lambda y: rd.problem(y, rd.denoising(SHAPE))))(ys)
    assert np.array_equal(problems.y, ys, equal_nan=True)


def test_an_initial_image_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="1 of the 144 entries of init are not finite"):
        rd.problem(jnp.zeros(SHAPE), OPERATORS["inpainting"], init=jnp.zeros(SHAPE).at[0, 0, 0].set(jnp.nan))


def test_measuring_an_image_of_another_shape_is_an_error(key):
    with pytest.raises(ValueError, match=r"x has shape .* takes \(8, 6, 3\)"):
        rd.measure(key, OPERATORS["inpainting"], rd.gaussian(), jnp.zeros((2, *SHAPE)))


def test_an_unconditional_problem_is_fitted_by_every_image():
    problem = rd.unconditional((4, 6, 2), cond=3)
    x = jnp.arange(48.0).reshape(4, 6, 2)
    assert (problem.operator.in_shape, problem.cond, float(problem.misfit(x))) == ((4, 6, 2), 3, 0.0)


def test_an_unconditional_problem_of_a_batch_is_an_error():
    with pytest.raises(ValueError, match="batches go through"):
        rd.unconditional((2, 4, 6, 3))


@pytest.mark.parametrize(
    ("fn", "warned"),
    [
        (lambda x: x[::2], True),
        (lambda x: x.at[:, :4].set(0), True),
        (lambda x: (x[::2] + x[1::2]) / 2, True),
        (lambda x: 3 * x, False),
        (lambda x: x[1:] - x[:-1], False),
    ],
)
def test_an_own_operator_that_keeps_constants_warns_of_unit_range(fn, warned):
    x = jnp.linspace(0, 1, 16 * 16).reshape(16, 16, 1)
    operator = rd.linear_operator(fn, (16, 16, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rd.problem(operator(x), operator)
        rd.problem(operator(2 * x - 1), operator)
    said = [str(each.message) for each in caught]
    assert len(said) == warned, said
    assert all("as pictures in [0, 1] do" in each for each in said)
