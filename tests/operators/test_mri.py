"""Cartesian MRI against its definition by dense matrices, and solved with a Gaussian prior."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd
import reddiff_jax.operators as ops


def _mask(seed, *shape):
    return np.random.default_rng(seed).random(shape) > 0.4


def _centred_dft(side):
    """The orthonormal matrix of frequencies and positions counted from the middle."""
    index = np.arange(side) - side // 2
    return np.exp(-2j * np.pi * np.outer(index, index) / side) / np.sqrt(side)


def _dense_mri(mask, shape, maps):
    """The matrix of ``mri`` by its formula: from the entries of x to real and imaginary parts of y."""
    h, w, channels = shape
    fourier = np.kron(_centred_dft(h), _centred_dft(w)) * mask.reshape(-1, 1)  # (H W, H W)
    coils = np.ones((h * w, 1)) if maps is None else np.asarray(maps).reshape(h * w, -1)
    complex_rows = np.einsum("kp,pc->kcp", fourier, coils).reshape(-1, h * w)  # y's order: frequencies, coils
    parts = np.stack([complex_rows, 1j * complex_rows][:channels], axis=2).reshape(len(complex_rows), -1)
    return np.concatenate([parts.real, parts.imag])


CASES = [(shape, coils) for shape in ((4, 7, 2), (5, 6, 1)) for coils in (0, 2)] + [((6, 4, 1), 0), ((7, 3, 2), 1)]


@pytest.mark.parametrize(("shape", "coils"), CASES)
def test_mri_and_its_adjoint_are_the_formulas_matrix(shape, coils, rng):
    with jax.enable_x64(True):
        mask, maps = _mask(1, *shape[:2]), ops.coil_maps(coils, shape) if coils else None
        operator, dense = ops.mri(mask, shape, coil_maps=maps), _dense_mri(mask, shape, maps)
        x, y = rng.normal(size=shape), rng.normal(size=(2, *operator.out_shape))
        measured = np.ravel(jax.jit(operator.__call__)(jnp.asarray(x)))
        # float64: sums of up to 84 products.
        np.testing.assert_allclose(np.concatenate([measured.real, measured.imag]), dense @ x.ravel(), atol=1e-13)
        back = jax.jit(operator.adjoint)(jnp.asarray(y[0] + 1j * y[1]))
        np.testing.assert_allclose(np.ravel(back), dense.T @ y.ravel(), atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6, 4, 1), (5, 6, 1), (4, 7, 2)])
def test_pinv_of_a_single_coil_is_the_matrixs_for_any_measurement(shape, rng):
    with jax.enable_x64(True):
        mask = _mask(1, *shape[:2])
        operator, dense = ops.mri(mask, shape), _dense_mri(mask, shape, None)
        y = rng.normal(size=(2, *operator.out_shape))
        x = operator.pinv(jnp.asarray(y[0] + 1j * y[1]))
        np.testing.assert_allclose(np.ravel(x), np.linalg.pinv(dense) @ y.ravel(), atol=1e-12)  # float64 SVD


@pytest.mark.slow
def test_pinv_of_a_complex_picture_is_zero_filling(rng):
    operator = ops.mri(_mask(1, 8, 6), (8, 6, 2))
    y = operator(jnp.asarray(rng.normal(size=(8, 6, 2)), dtype=float))
    np.testing.assert_allclose(operator.pinv(y), operator.adjoint(y), atol=1e-6)  # float32


@pytest.mark.slow
def test_a_real_picture_is_known_from_half_of_k_space(rng):
    upper = np.broadcast_to(np.arange(8)[:, None] <= 4, (8, 6))  # and the one row without a mirror image
    operator, x = ops.mri(upper, (8, 6, 1)), jnp.asarray(rng.normal(size=(8, 6, 1)), dtype=float)
    np.testing.assert_allclose(operator.pinv(operator(x)), x, atol=1e-6)  # float32


def test_dc_is_in_the_middle():
    y = ops.mri(np.ones((5, 8)), (5, 8, 1))(jnp.ones((5, 8, 1)))
    expected = np.zeros((5, 8))
    expected[2, 4] = np.sqrt(40)  # orthonormal
    np.testing.assert_allclose(y, expected, atol=1e-5)  # float32


@pytest.mark.slow
def test_many_coils_recover_what_one_does_not(rng):
    shape = (16, 12, 2)
    mask = rd.masks.cartesian(jax.random.key(0), shape, acceleration=2, kind=rd.masks.Undersampling.EQUISPACED)
    x = jnp.asarray(rng.normal(size=shape), dtype=float)
    errors = []
    for maps in (None, ops.coil_maps(6, shape)):
        operator = ops.mri(mask, shape, coil_maps=maps)
        errors.append(float(jnp.linalg.norm(operator.pinv(operator(x)) - x) / jnp.linalg.norm(x)))
    # One coil loses half of white noise's energy, sqrt(1/2); six overdetermine it, up to 30 steps of an iteration.
    assert errors[0] > 0.6
    assert errors[1] < 0.05


@pytest.mark.slow
def test_masks_and_maps_for_each_image_equal_a_loop(rng):
    shape = (6, 8, 2)
    masks = np.stack([_mask(seed, 6, 8) for seed in range(2)])
    maps = jnp.stack([ops.coil_maps(3, shape, radius=radius) for radius in (1.5, 2.0)])
    operators = jax.vmap(lambda mask, maps: ops.mri(mask, shape, coil_maps=maps))(masks, maps)
    xs = jnp.asarray(rng.normal(size=(2, *shape)), dtype=float)
    expected = [ops.mri(mask, shape, coil_maps=each)(x) for mask, each, x in zip(masks, maps, xs, strict=True)]
    np.testing.assert_allclose(jax.vmap(lambda a, x: a(x))(operators, xs), jnp.stack(expected), atol=1e-6)  # float32


@pytest.mark.slow
@pytest.mark.parametrize("coils", [0, 2])
def test_misfit_gradient_of_a_complex_measurement_is_the_derivative(coils, rng):
    with jax.enable_x64(True):
        shape = (5, 6, 2)
        operator = ops.mri(_mask(1, 5, 6), shape, coil_maps=ops.coil_maps(coils, shape) if coils else None)
        x, truth = jnp.asarray(rng.normal(size=(2, *shape)))
        problem = rd.measure(jax.random.key(0), operator, rd.gaussian(0.1), truth)
        assert jnp.iscomplexobj(problem.y)
        gradients = jax.jit(lambda problem, x: (problem.misfit_gradient(x), jax.grad(problem.misfit)(x)))
        np.testing.assert_allclose(*gradients(problem, x), atol=1e-12)


def _all_timesteps(key, step, timesteps):
    return timesteps.ravel()


@pytest.mark.slow
def test_reddiff_finds_the_posterior_mode_of_a_gaussian_for_a_batch_of_masks():
    shape, lam, variance, num_steps = (8, 6, 2), 0.5, 0.25, 100
    mean = jnp.asarray(np.random.default_rng(1).normal(size=shape), dtype=float)
    schedule = rd.schedules.linear()
    prior = rd.gaussian_prior(mean, variance, schedule)

    def pose(key):
        key_mask, key_x, key_noise = jax.random.split(key, 3)
        mask = rd.masks.cartesian(key_mask, shape, acceleration=2)
        x = mean + jnp.sqrt(variance) * jax.random.normal(key_x, shape)
        return rd.measure(key_noise, ops.mri(mask, shape), rd.gaussian(0.1), x)

    problems = jax.vmap(pose)(jax.random.split(jax.random.key(0), 2))
    assert jnp.any(problems.operator.mask[0] != problems.operator.mask[1])
    # All timesteps in each step, and steps that shrink, leave the mean of the noisy gradient.
    rates = optax.cosine_decay_schedule(1.0, num_steps)
    solver = rd.reddiff(
        prior, optax.sgd(rates), lam=lam, num_steps=num_steps, order=_all_timesteps, init=rd.solvers.init_zeros
    )
    keys = jax.random.split(jax.random.key(1), 2)
    mu = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, problems).x

    # |M F mu - y|^2 + kappa |mu - mean|^2, with the precision kappa that the weighted sweep over t implies.
    alpha_t, sigma_t = (
        np.asarray(scale, np.float64) for scale in schedule(np.asarray(solver.levels.timesteps).ravel())
    )
    kappa = lam * np.mean(sigma_t**2 / (alpha_t**2 * variance + sigma_t**2))

    def mode(operator, y):
        spectrum = (operator.Ut(y) + kappa * operator.Vt(mean)) / (operator.singulars**2 + kappa)
        return operator.V(spectrum)

    expected = jax.vmap(mode)(problems.operator, problems.y)
    # Each step's gradient has noise of at most lam sqrt(variance) / 2 / sqrt(100 timesteps) = 0.0125. At a rate of
    # 0.05, as 15 steps before the end, and a curvature of 0.4, 0.003 of it would stay; the last steps average further.
    np.testing.assert_allclose(mu, expected, atol=0.01)
    assert float(jnp.abs(expected - jax.vmap(lambda a, y: a.pinv(y))(problems.operator, problems.y)).max()) > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.mri(np.ones((8, 6)), (8, 6, 3)), "Colours are not measured"),
        (lambda: ops.mri(np.ones((6, 8)), (8, 6, 2)), r"mask has shape \(6, 8\) but must be \(8, 6\)"),
        (
            lambda: ops.mri(np.full((8, 6), 0.5), (8, 6, 2)),
            "mask has values from 0.5 to 0.5 but must be 0 .* mask > 0.5",
        ),
        (lambda: ops.mri(np.ones((8, 6)), (8, 6, 2), coil_maps=np.ones((4, 8, 6))), "the coils last"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
