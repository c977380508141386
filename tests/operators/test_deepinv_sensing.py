"""MRI and compressed sensing against deepinv's, with the same masks, maps and matrices."""

import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import reddiff_jax.operators as ops

pytestmark = pytest.mark.oracle

SHAPE = (12, 9, 2)


def _torch(array):
    """(H, W, C) to a batch of one, channels first."""
    import torch

    return torch.from_numpy(np.moveaxis(np.array(array), 2, 0)[None].astype(np.float32))


def _numpy(tensor):
    return np.moveaxis(tensor[0].numpy(), 0, -1)


def _complex(tensor):
    """(1, 2, ...) real and imaginary to (...) complex."""
    return tensor[0, 0].numpy() + 1j * tensor[0, 1].numpy()


def _draw(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_single_coil_mri_is_deepinvs(rng):
    mask, x = rng.random(SHAPE[:2]) > 0.5, _draw(rng, *SHAPE)
    oracle = oracles.deepinv().physics.MRI(mask=mask.astype(np.float32))
    operator = ops.mri(mask, SHAPE)
    y = oracle.A(_torch(x))
    # float32 on both sides, here and below.
    np.testing.assert_allclose(operator(jnp.asarray(x)), _complex(y), atol=1e-5)
    np.testing.assert_allclose(operator.adjoint(jnp.asarray(_complex(y))), _numpy(oracle.A_adjoint(y)), atol=1e-5)
    np.testing.assert_allclose(operator.pinv(jnp.asarray(_complex(y))), _numpy(oracle.A_dagger(y)), atol=1e-5)


def test_multi_coil_mri_is_deepinvs(rng):
    torch = pytest.importorskip("torch")

    mask, x, maps = rng.random(SHAPE[:2]) > 0.5, _draw(rng, *SHAPE), np.asarray(ops.coil_maps(3, SHAPE))
    oracle = oracles.deepinv().physics.MultiCoilMRI(
        mask=mask.astype(np.float32), coil_maps=torch.from_numpy(np.moveaxis(maps, 2, 0)[None].copy())
    )
    operator = ops.mri(mask, SHAPE, coil_maps=maps)
    y = oracle.A(_torch(x))
    ours = np.moveaxis(_complex(y), 0, 2)  # coils last
    np.testing.assert_allclose(operator(jnp.asarray(x)), ours, atol=1e-5)
    np.testing.assert_allclose(operator.adjoint(jnp.asarray(ours)), _numpy(oracle.A_adjoint(y)), atol=1e-5)


def test_compressed_sensing_without_signs_is_deepinvs_single_pixel_camera(rng):
    oracle = oracles.deepinv().physics.SinglePixelCamera(m=20, img_size=(1, 8, 16), fast=True)
    rows = np.flatnonzero(oracle.mask.numpy().ravel())[:, None]
    operator = ops.CompressedSensing(in_shape=(8, 16, 1), signs=jnp.ones((8, 16, 1)), rows=jnp.asarray(rows))
    x = _draw(rng, 8, 16, 1)
    y = oracle.A(_torch(x))  # an image of coefficients, zero where not measured
    ours = jnp.asarray(y.numpy().reshape(-1, 1)[rows[:, 0]])
    np.testing.assert_allclose(operator(jnp.asarray(x)), ours, atol=1e-5)
    np.testing.assert_allclose(operator.pinv(ours), _numpy(oracle.A_dagger(y)), atol=1e-5)


def test_gaussian_sensing_is_deepinvs_dense_compressed_sensing(rng):
    oracle = oracles.deepinv().physics.CompressedSensing(m=15, img_size=(1, 6, 7))
    operator = ops.matrix_operator(oracle._A.numpy(), (6, 7, 1))
    x = _draw(rng, 6, 7, 1)
    y = oracle.A(_torch(x))
    ours = jnp.asarray(y[0].numpy())
    np.testing.assert_allclose(operator(jnp.asarray(x)), ours, atol=1e-5)
    np.testing.assert_allclose(operator.adjoint(ours), _numpy(oracle.A_adjoint(y)), atol=1e-5)
    np.testing.assert_allclose(operator.pinv(ours), _numpy(oracle.A_dagger(y)), atol=1e-4)
