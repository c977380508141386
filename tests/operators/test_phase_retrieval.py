import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax.operators as ops

SHAPE = (8, 12, 3)


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)


def test_published_size_is_384():
    operator = ops.phase_retrieval((256, 256, 3))
    assert (operator.padding, operator.out_shape) == ((64, 64), (384, 384, 3))


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ({}, (12, 18, 3)),
        ({"oversampling": 4.0}, (16, 24, 3)),
        ({"oversampling": 0.0}, (8, 12, 3)),
        ({"padding": 3}, (14, 18, 3)),
        ({"padding": (0, 5)}, (8, 22, 3)),
    ],
)
def test_padding_follows_each_side(options, out):
    assert ops.phase_retrieval(SHAPE, **options).out_shape == out


def test_norm_is_kept(x):
    y = ops.phase_retrieval(SHAPE)(x)
    assert float(jnp.linalg.norm(y.ravel())) == pytest.approx(float(jnp.linalg.norm(x.ravel())), rel=1e-6)


def test_magnitude_is_numpy_s_of_the_picture_in_the_middle_of_zeros(x):
    padded = np.pad(np.asarray(x, np.float64), ((2, 2), (3, 3), (0, 0)))
    centred = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(padded, axes=(0, 1)), axes=(0, 1), norm="ortho"), axes=(0, 1)
    )
    # float32 sums of 96 pixels.
    np.testing.assert_allclose(ops.phase_retrieval(SHAPE)(x), np.abs(centred), atol=2e-6)


def test_unit_range_measures_the_intensity(x):
    y = ops.phase_retrieval(SHAPE, unit_range=True)(2 * x - 1)
    np.testing.assert_allclose(y, ops.phase_retrieval(SHAPE)(x), atol=2e-6)  # 2 x - 1 and back, in float32


def test_sign_and_turn_cannot_be_told(x):
    operator = ops.phase_retrieval(SHAPE)
    for other in (-x, x[::-1, ::-1]):
        np.testing.assert_allclose(operator(other), operator(x), atol=2e-6)  # float32 sums of 96 pixels


def test_gradient_at_zero_magnitude_is_finite():
    operator = ops.phase_retrieval(SHAPE)

    def misfit(x):
        return jnp.sum((operator(x) - 1) ** 2)

    black = jax.jit(jax.grad(misfit))(jnp.zeros(SHAPE))
    # A constant picture without padding has one frequency, and exact zeros elsewhere.
    operator = ops.phase_retrieval(SHAPE, padding=0)
    constant = jax.jit(jax.grad(misfit))(jnp.ones(SHAPE))
    assert jnp.isfinite(black).all()
    assert jnp.isfinite(constant).all()
    assert not black.any()


def test_a_picture_that_is_not_finite_has_no_finite_measurement():
    assert jnp.isnan(ops.phase_retrieval(SHAPE)(jnp.full(SHAPE, jnp.nan))).all()


def test_gradient_is_the_analytic_one(x):
    operator = ops.phase_retrieval(SHAPE)
    target = jnp.ones(operator.out_shape)
    gradient = jax.jit(jax.grad(lambda x: 0.5 * jnp.sum((operator(x) - target) ** 2)))(x)
    spectrum = np.fft.fft2(np.pad(np.asarray(x, np.float64), ((0, 4), (0, 6), (0, 0))), axes=(0, 1), norm="ortho")
    back = np.fft.ifft2(spectrum * (1 - 1 / np.abs(spectrum)), axes=(0, 1), norm="ortho").real
    # float32; a magnitude near zero magnifies the rounding of its phase.
    np.testing.assert_allclose(gradient, back[:8, :12], atol=1e-5)


def test_start_is_the_published_one(x):
    operator = ops.phase_retrieval(SHAPE)
    y = np.asarray(operator(x), np.float64)
    centred = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(y, axes=(0, 1)), axes=(0, 1), norm="ortho"), axes=(0, 1))
    np.testing.assert_allclose(operator.pinv(operator(x)), np.abs(centred)[2:-2, 3:-3], atol=2e-6)  # float32


@pytest.mark.oracle
def test_squares_are_deepinv_s_phase_retrieval(x):
    physics = oracles.deepinv().physics
    torch = pytest.importorskip("torch")

    def transform(image):
        padded = torch.nn.functional.pad(image, (3, 3, 2, 2))
        return torch.fft.fftshift(torch.fft.fft2(padded, norm="ortho"), dim=(-2, -1))

    theirs = physics.PhaseRetrieval(B=physics.LinearPhysics(A=transform))(
        torch.tensor(np.asarray(x).transpose(2, 0, 1))[None]
    )
    # Theirs is |B x|^2, up to 20; float32.
    np.testing.assert_allclose(
        ops.phase_retrieval(SHAPE)(x) ** 2, theirs[0].numpy().transpose(1, 2, 0), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("options", [{"oversampling": -1.0}, {"padding": -1}, {"padding": 1.5}, {"padding": (1, 2, 3)}])
def test_impossible_padding_is_refused(options):
    with pytest.raises(ValueError, match=f"phase_retrieval: {next(iter(options))} is"):
        ops.phase_retrieval(SHAPE, **options)
