"""Linear operators against deepinv's, where both define the same one."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax as rd
import reddiff_jax.operators as ops

pytestmark = pytest.mark.oracle

SHAPE = (16, 24, 3)
B = ops.Boundary
PADDING = {B.REFLECT: "reflect", B.EDGE: "replicate", B.ZERO: "constant", B.CIRCULAR: "circular"}


@pytest.fixture(scope="module")
def physics():
    return oracles.deepinv().physics


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def agree(torch, rng):
    """Compares the measurement and the adjoint of random images, to float32 sums of values of order 1."""

    def channels_first(image):
        return torch.tensor(np.moveaxis(np.asarray(image), 2, 0)[None])

    def channels_last(tensor):
        return np.moveaxis(tensor[0].numpy(), 0, 2)

    def compare(operator, oracle, pinv=False):
        x = rng.normal(size=operator.in_shape).astype(np.float32)
        y = rng.normal(size=operator.out_shape).astype(np.float32)
        np.testing.assert_allclose(operator(jnp.asarray(x)), channels_last(oracle.A(channels_first(x))), atol=2e-6)
        adjoint = channels_last(oracle.A_adjoint(channels_first(y)))
        np.testing.assert_allclose(operator.adjoint(jnp.asarray(y)), adjoint, atol=2e-6)
        if pinv:
            inverse = channels_last(oracle.A_dagger(channels_first(y)))
            np.testing.assert_allclose(operator.pinv(jnp.asarray(y)), inverse, atol=1e-5)  # entries up to 16

    return compare


def _filter(torch, kernel):
    return torch.tensor(np.asarray(kernel, np.float32)[None, None])


@pytest.mark.parametrize("channels", [1, 3])
def test_inpainting_and_its_inverse(physics, torch, agree, rng, channels):
    mask = (rng.random((*SHAPE[:2], channels)) > 0.5).astype(np.float32)
    oracle = physics.Inpainting((3, *SHAPE[:2]), mask=torch.tensor(np.moveaxis(mask, 2, 0)))
    agree(ops.inpainting(mask), oracle, pinv=True)


@pytest.mark.parametrize("boundary", PADDING)
def test_blur_with_a_lopsided_kernel(physics, torch, agree, rng, boundary):
    kernel = rng.random((5, 3))
    oracle = physics.Blur(filter=_filter(torch, kernel / kernel.sum()), padding=PADDING[boundary])
    agree(ops.blur(kernel, SHAPE, boundary=boundary, normalize=True), oracle)


@pytest.mark.parametrize("boundary", PADDING)
def test_gaussian_blur(physics, torch, agree, boundary):
    oracle = physics.Blur(filter=_filter(torch, rd.kernels.gaussian(7, 1.5)), padding=PADDING[boundary])
    agree(ops.gaussian_blur(SHAPE, sigma=1.5, size=7, boundary=boundary), oracle)


@pytest.mark.parametrize("boundary", [B.REFLECT, B.CIRCULAR])
def test_motion_blur(physics, torch, agree, key, boundary):
    kernel = jax.jit(rd.kernels.motion, static_argnums=1)(key, 9)
    oracle = physics.Blur(filter=_filter(torch, kernel), padding=PADDING[boundary])
    agree(ops.blur(kernel, SHAPE, boundary=boundary, normalize=True), oracle)


def test_circular_blur_by_fft(physics, torch, agree, rng):
    kernel = rng.random((5, 3))
    oracle = physics.BlurFFT((3, *SHAPE[:2]), filter=_filter(torch, kernel / kernel.sum()))
    agree(ops.blur(kernel, SHAPE, boundary=B.CIRCULAR, normalize=True), oracle)


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution_by_averages(physics, torch, agree, factor):
    # Without padding, a filter of the factor's size covers each block once.
    kernel = np.full((factor, factor), factor**-2.0)
    oracle = physics.Downsampling((3, *SHAPE[:2]), filter=_filter(torch, kernel), factor=factor, padding="valid")
    agree(ops.super_resolution(SHAPE, factor), oracle)


@pytest.mark.parametrize("factor", [2, 4])
def test_bicubic_super_resolution(physics, agree, factor):
    # Theirs is MATLAB's imresize, whose "reflect" repeats the edge pixel, as ours does.
    agree(ops.bicubic(SHAPE, factor), physics.DownsamplingMatlab(factor=factor))


def test_colorization_and_its_inverse(physics, agree):
    weights = (0.3333, 0.3334, 0.3333)
    agree(ops.colorization(SHAPE), physics.Decolorize(channels=3, srf=weights), pinv=True)
