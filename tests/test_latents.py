"""Latent priors: with an orthonormal decoder the posterior of latents is that of pixels, and what else holds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import SOLVERS

import reddiff_jax as rd
from reddiff_jax.autoencoders import FunctionAutoencoder, LinearAutoencoder, OrthonormalAutoencoder
from reddiff_jax.nets import AutoencoderKL, parameter_shapes
from reddiff_jax.nets.layers import depth_to_space, space_to_depth
from reddiff_jax.operators import Decoded, LinearDecoded, SpectralDecoded, decoded
from reddiff_jax.solvers import init_given, init_smooth

SHAPE, LATENT = (8, 8, 1), (4, 4, 4)
HAAR = 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])


def haar(x):
    return space_to_depth(x, 2) @ HAAR.astype(x.dtype)


def inverse_haar(z):
    return depth_to_space(z @ HAAR.T.astype(z.dtype), 2)


def curved_encode(x):
    return jnp.arctanh(0.5 * haar(x) / 2)


def curved_decode(z):
    return inverse_haar(4 * jnp.tanh(z))


@pytest.fixture(scope="module")
def wavelets():
    return rd.linear_autoencoder(haar, inverse_haar, SHAPE)


def picture(dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).uniform(-0.8, 0.8, SHAPE), dtype)


def problem_of(dtype=jnp.float32):
    return rd.measure(jax.random.key(0), rd.super_resolution(SHAPE, 2), rd.gaussian(0.1), picture(dtype))


def priors():
    """A prior of pixels that is no Gaussian, and the same of its wavelets; new functions, so that nothing is cached."""

    def eps(x_t, t, cond):
        return 0.6 * x_t + 0.2 * jnp.sin(3 * x_t)

    def eps_of_latents(z_t, t, cond):
        return haar(eps(inverse_haar(z_t), t, cond))

    schedule = rd.schedules.linear()
    return rd.prior(eps, schedule), rd.prior(eps_of_latents, schedule)


SGD = optax.sgd(0.05)


def equivariant(solver):
    """The solver with gradient descent: Adam's steps depend on the basis."""
    changes = {}
    for field in dataclasses.fields(solver):
        value = getattr(solver, field.name)
        if isinstance(value, optax.GradientTransformation):
            changes[field.name] = SGD
        elif isinstance(value, rd.Solver | rd.solvers.Step):
            changes[field.name] = equivariant(value)
    return solver.replace(**changes)


# Those whose noise is given, whose renderer is, that only denoise pixels, or learn a deviation of each pixel, which is
# another family in another basis.
OTHERS = ("parametrised", "perturb_and_optimise", "tweedie", "latent_solver", "reddiff_var")
TAKING_THE_OPERATOR = [case for case in SOLVERS if case.factory not in OTHERS]
QUICK = ("reddiff", "noise_aware_sample", "ddrm", "dps")


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, marks=() if each.name in QUICK else pytest.mark.slow) for each in TAKING_THE_OPERATOR],
    ids=lambda case: case.name,
)
def test_with_an_orthonormal_decoder_a_run_is_that_in_pixels(case, monkeypatch, key):
    with jax.enable_x64(True):
        of_pixels, of_latents = priors()
        latent = rd.latent(of_latents, rd.linear_autoencoder(haar, inverse_haar, SHAPE))
        problem = problem_of(float)
        found = rd.run(key, rd.latent_solver(equivariant(case.make(of_latents)), latent), problem)

        normal = jax.random.normal

        def rotated(key, shape=(), dtype=float):
            """The noise that the run of latents had, in pixels."""
            if tuple(shape[-3:]) != SHAPE:
                return normal(key, shape, dtype)
            drawn = normal(key, (*shape[:-3], *LATENT), dtype).reshape(-1, *LATENT)
            return jax.vmap(inverse_haar)(drawn).reshape(shape)

        monkeypatch.setattr(jax.random, "normal", rotated)
        expected = rd.run(key, equivariant(case.make(of_pixels)), problem)
    # float64, but for tables of schedules, which are the same; conjugate gradients amplify rounding.
    np.testing.assert_allclose(found.x, expected.x, atol=1e-6)


@pytest.mark.parametrize(
    "operator",
    [
        rd.super_resolution(SHAPE, 2),
        rd.gaussian_blur(SHAPE, sigma=1.0, size=5),
        rd.operator(jnp.sinh, SHAPE, pinv=jnp.arcsinh),
    ],
)
def test_the_pixel_step_is_the_proximal_step_of_an_orthonormal_decoder(operator, key, wavelets):
    problem = rd.measure(key, operator, rd.gaussian(0.1), picture())
    _, of_latents = priors()
    latent = rd.latent(of_latents, wavelets)

    def run(step):
        solver = rd.noise_aware(of_latents, step, num_steps=4, num_cg=30)
        return rd.run(key, rd.latent_solver(solver, latent), problem).x

    ours, theirs = run(rd.pixel_step(num_cg=30, num_newton=3)), run(rd.proximal_step(num_cg=30, num_newton=3))
    # float32, 30 steps of conjugate gradients in another basis
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_principal_components_reach_the_closed_form(key):
    # A prior without variance pulls towards its mean at every level alike, without noise: a quadratic objective.
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        basis = np.linalg.qr(rng.normal(size=(64, 6)))[0].reshape(*SHAPE, 6)

        def encode(basis, x):
            return jnp.tensordot(x, basis, 3)[None, None]

        def decode(basis, z):
            return jnp.tensordot(basis, z[0, 0], 1)

        components = rd.linear_autoencoder(encode, decode, SHAPE, params=jnp.asarray(basis))
        mean, problem = rng.normal(size=(1, 1, 6)), problem_of(float)
        prior = rd.gaussian_prior(jnp.asarray(mean), 0.0, rd.schedules.linear())
        solver = rd.reddiff(prior, optax.sgd(0.2), lam=0.3, num_steps=1000)
        x = rd.run(key, rd.latent_solver(solver, rd.latent(prior, components)), problem).x
        columns = basis.reshape(64, 6)
        measured = np.stack([np.ravel(problem.operator(jnp.asarray(basis[..., i]))) for i in range(6)], axis=1)
        # n / m of the data term: unknowns a measurement
        scale = 6 / problem.y.size
        right = scale * measured.T @ np.ravel(problem.y) + 0.3 * mean.ravel()
        expected = columns @ np.linalg.solve(scale * measured.T @ measured + 0.3 * np.eye(6), right)
    assert type(components) is LinearAutoencoder
    # The tables of the schedule are float32.
    np.testing.assert_allclose(np.ravel(x), expected, atol=1e-5)


def test_of_a_curved_decoder_the_gradient_goes_through_it(key):
    curved = rd.autoencoder(curved_encode, curved_decode, SHAPE)
    problem = problem_of()
    latent = rd.latent(priors()[1], curved)
    z = jnp.asarray(np.random.default_rng(1).normal(size=LATENT), jnp.float32)
    expected = jax.grad(lambda z: problem.misfit(curved_decode(z)))(z)
    np.testing.assert_allclose(problem.through(latent).misfit_gradient(z), expected, rtol=1e-5, atol=1e-6)


def test_what_a_decoder_keeps_decides_what_the_operator_is(wavelets):
    curved = rd.autoencoder(curved_encode, curved_decode, SHAPE)
    doubled = rd.linear_autoencoder(haar, inverse_haar, SHAPE, scale=2.0)
    operator, other = rd.super_resolution(SHAPE, 2), rd.hdr(SHAPE)
    assert (type(wavelets), type(doubled), type(curved)) == (
        OrthonormalAutoencoder,
        LinearAutoencoder,
        FunctionAutoencoder,
    )
    assert [type(decoded(operator, each)) for each in (wavelets, doubled, curved)] == [
        SpectralDecoded,
        LinearDecoded,
        Decoded,
    ]
    assert type(decoded(other, wavelets)) is Decoded


@pytest.mark.parametrize(
    "make", [lambda wavelets: wavelets, lambda _: rd.linear_autoencoder(haar, inverse_haar, SHAPE, scale=2.0)]
)
def test_the_adjoint_goes_through_the_decoder(make, wavelets, rng):
    operator = decoded(rd.gaussian_blur(SHAPE, sigma=1.0, size=5), make(wavelets))
    z, y = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (LATENT, operator.out_shape))
    np.testing.assert_allclose(jnp.vdot(operator(z), y), jnp.vdot(z, operator.adjoint(y)), rtol=1e-4)


def test_scale_and_shift_are_undone(rng):
    plain = rd.autoencoder(curved_encode, curved_decode, SHAPE)
    moved = rd.autoencoder(curved_encode, curved_decode, SHAPE, scale=3.0, shift=np.array([0.1, 0.0, -0.2, 0.3]))
    x = picture()
    np.testing.assert_allclose(
        moved.encode(x), 3 * (plain.encode(x) - jnp.asarray([[[0.1, 0.0, -0.2, 0.3]]])), rtol=1e-5
    )
    np.testing.assert_allclose(moved.decode(moved.encode(x)), x, atol=1e-5)
    np.testing.assert_allclose(moved.gain * 3, plain.gain, rtol=0.5)


@pytest.mark.slow
def test_a_run_starts_from_the_latent_of_the_picture(key, wavelets):
    _, of_latents = priors()
    problem = problem_of().replace(init=picture())
    latent = rd.latent(of_latents, wavelets)
    for init, expected in ((init_given, picture()), (init_smooth, init_smooth(key, problem, 1.0, 0.0))):
        solver = rd.latent_solver(rd.reddiff(of_latents, init=init, num_steps=2), latent)
        state = solver.init(key, problem)
        # The smooth picture's probe has a key of its own.
        np.testing.assert_allclose(solver.estimate(state), expected, atol=1e-5 if init is init_given else 0.1)


def redrawn(net):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: 0.3 * rng.standard_normal(leaf.shape, np.float32), parameter_shapes(net))


def network(**changes):
    options = {
        "block_out_channels": (4, 8),
        "norm_num_groups": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "mid_block_add_attention": False,
    }
    net = AutoencoderKL(**{**options, **changes})
    return net, redrawn(net)


@pytest.mark.slow
def test_a_picture_of_any_size_is_padded_and_cropped(key):
    net, params = network()
    prior = rd.gaussian_prior(jnp.zeros((1, 1, 4)), 1.0, rd.schedules.linear())
    latent = rd.latent(prior, rd.net_autoencoder(net, params, scale=2.0))
    problem = rd.problem(jnp.zeros((7, 6, 3)), rd.denoising((7, 6, 3)), rd.gaussian(0.1))
    assert problem.through(latent).operator.in_shape == (4, 3, 4)
    solver = rd.latent_solver(rd.noise_aware(prior, rd.pixel_step(), num_steps=2), latent)
    solution = rd.run(key, solver, problem)
    assert solution.x.shape == (7, 6, 3)
    assert solution.finite


@pytest.mark.slow
def test_gray_pictures_go_through_an_autoencoder_of_colours():
    net, params = network()
    prior = rd.gaussian_prior(jnp.zeros((1, 1, 4)), 1.0, rd.schedules.linear())
    latent = rd.latent(prior, rd.net_autoencoder(net, params))
    problem = rd.problem(jnp.zeros((8, 8, 1)), rd.denoising((8, 8, 1)), rd.gaussian(0.1)).through(latent)
    z = jnp.ones(problem.operator.in_shape)
    np.testing.assert_allclose(problem.operator(z), latent.decode(z).mean(2, keepdims=True), atol=1e-6)


@pytest.mark.slow
def test_tiles_are_the_whole_where_they_see_enough():
    net, params = network(
        block_out_channels=(4,), down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",)
    )
    whole = rd.net_autoencoder(net, params, gain=1.0)
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (24, 20, 3)), jnp.float32)
    # Normalisation has other means in tiles: only shapes and the order of size can agree.
    tiled = whole.replace(tile=16)
    z = whole.encode(x)
    assert tiled.encode(x).shape == z.shape
    assert tiled.decode(z).shape == whole.decode(z).shape
    np.testing.assert_allclose(tiled.decode(z[:16, :16]), whole.decode(z[:16, :16]), atol=1e-5)
    gradient = jax.grad(lambda z: jnp.sum(tiled.decode(z) ** 2))(z)
    assert jnp.isfinite(gradient).all()


def test_what_does_not_fit_is_named(key, wavelets):
    prior, of_latents = priors()
    latent = rd.latent(of_latents, wavelets)
    net, params = network()
    cases = [
        (TypeError, lambda: rd.latent(wavelets, of_latents), "prior is .*Orthonormal.* must be a Prior"),
        (TypeError, lambda: rd.latent(of_latents, haar), "autoencoder is .*haar.* must be an Autoencoder"),
        (TypeError, lambda: rd.latent_solver(of_latents, latent), "solver is .* must be a Solver of latent.prior"),
        (
            TypeError,
            lambda: rd.reddiff(latent),
            "prior is a Latent but must be a Prior: build the solver with latent.prior",
        ),
        (ValueError, lambda: rd.linear_autoencoder(curved_encode, curved_decode, SHAPE), "decode is not linear"),
        (
            ValueError,
            lambda: rd.autoencoder(haar, jnp.sin, SHAPE),
            r"encode maps \(8, 8, 1\) to \(4, 4, 4\), which decode",
        ),
        (ValueError, lambda: rd.autoencoder(haar, inverse_haar, SHAPE, scale=0.0), "scale is 0.0 but must be finite"),
        (ValueError, lambda: rd.net_autoencoder(net, params, tile=4), "tile is 4 but must be at least 8, four latents"),
        (
            TypeError,
            lambda: rd.run(key, rd.noise_aware(prior, rd.pixel_step(), num_steps=2), problem_of()),
            "pixel_step needs a problem of latents; .* measures pixels",
        ),
        (
            ValueError,
            lambda: rd.problem(jnp.zeros((8, 8, 2)), rd.denoising((8, 8, 2))).through(
                rd.latent(of_latents, rd.net_autoencoder(net, params))
            ),
            "the image has 2 channels but the autoencoder's pictures have 3",
        ),
    ]
    for kind, make, said in cases:
        with pytest.raises(kind, match=said):
            make()
