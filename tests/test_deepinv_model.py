"""This package's solvers as a model of deepinv's: operators, measurements, noise, and restorations by both bridges."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from docs_pages import blocks

import reddiff_jax as rd

deepinv_model = pytest.importorskip("benchmarks.deepinv_model")
pytestmark = pytest.mark.oracle

SHAPE = (3, 16, 12)
HWC = (16, 12, 3)
CASES = ("inpainting", "masks", "denoising", "blur", "fft", "super-resolution", "levels")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def physics(torch):
    theirs = oracles.deepinv().physics
    generator = torch.Generator().manual_seed(0)
    noise = theirs.GaussianNoise(sigma=0.05)
    kernel = torch.rand((1, 1, 5, 3), generator=generator)
    kernel = kernel / kernel.sum()
    masks = (torch.rand((2, 1, *SHAPE[1:]), generator=generator) > 0.4).float()
    return {
        "inpainting": theirs.Inpainting(SHAPE, mask=masks[0], noise_model=noise),
        "masks": theirs.Inpainting(SHAPE, mask=masks, noise_model=noise),
        "denoising": theirs.Denoising(noise),
        "blur": theirs.Blur(filter=kernel, padding="reflect", noise_model=noise),
        "fft": theirs.BlurFFT(SHAPE, filter=kernel, noise_model=noise),
        "super-resolution": theirs.Downsampling(SHAPE, filter="bicubic", factor=2, noise_model=noise),
        "levels": theirs.Denoising(theirs.GaussianNoise(sigma=torch.tensor([0.05, 0.2]))),
        "colours": theirs.Decolorize(channels=3, noise_model=noise),
        "valid": theirs.Blur(filter=kernel, padding="valid", noise_model=noise),
    }


@pytest.fixture
def x(torch):
    return torch.rand((2, *SHAPE), generator=torch.Generator().manual_seed(1))


def _ours(tensor) -> np.ndarray:
    """Pictures (B, C, H, W) in [0, 1] as ours."""
    return 2 * np.moveaxis(tensor.numpy(), 1, -1) - 1


@pytest.mark.parametrize("called_back", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_noiseless_measurement_of_ours_is_theirs(name, called_back, physics, x):
    theirs = physics[name]
    found = deepinv_model.problems(theirs.A(x), theirs, called_back=called_back)
    for image, problem in zip(_ours(x), found, strict=True):
        # Values of order 1 in float32; deepinv's blur by FFT sums over the picture.
        np.testing.assert_allclose(problem.residual(jnp.asarray(image)), 0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_both_have_is_not_called_back(name, physics, x):
    for problem in deepinv_model.problems(physics[name].A(x), physics[name]):
        assert getattr(problem.operator, "params", None) is None


@pytest.mark.parametrize("name", ["colours", "valid"])
def test_other_linear_physics_is_called_back_with_its_adjoint(name, physics, x, rng):
    theirs = physics[name]
    found = deepinv_model.problems(theirs.A(x), theirs)
    for image, problem in zip(_ours(x), found, strict=True):
        np.testing.assert_allclose(problem.residual(jnp.asarray(image)), 0, atol=1e-5)  # float32
        operator = problem.operator
        u, v = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in (operator.in_shape, operator.out_shape))
        np.testing.assert_allclose(jnp.vdot(operator(u), v), jnp.vdot(u, operator.adjoint(v)), rtol=1e-3)  # float32


def test_the_noise_is_twice_theirs_and_may_differ(physics, x):
    for name, levels in (("blur", [0.1, 0.1]), ("levels", [0.1, 0.4])):
        found = deepinv_model.problems(physics[name].A(x), physics[name])
        np.testing.assert_allclose([problem.noise.sigma_y for problem in found], levels, rtol=1e-6)
    found = deepinv_model.problems(x, physics["levels"], sigma=0.3)
    np.testing.assert_allclose([problem.noise.sigma_y for problem in found], [0.6, 0.6], rtol=1e-6)


def test_what_cannot_be_bridged_is_told(torch, physics, x):
    theirs = oracles.deepinv().physics
    with pytest.raises(TypeError, match=r"physics is \w+ but must be a deepinv.physics.LinearPhysics"):
        deepinv_model.problems(x, theirs.Physics(A=lambda x: x**2))
    poisson = theirs.Denoising(theirs.PoissonNoise(gain=0.1))
    with pytest.raises(TypeError, match=r"noise_model is PoissonNoise but must be GaussianNoise; or give sigma"):
        deepinv_model.problems(x, poisson)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:non_blocking_transfers")  # deepinv's own, on a CPU
@pytest.mark.parametrize("name", ["inpainting", "denoising", "super-resolution", "blur"])
def test_deepinvs_test_takes_the_model_and_both_bridges_restore_alike(name, torch, physics, x):
    deepinv = oracles.deepinv()
    prior = rd.gaussian_prior(jnp.zeros(HWC), jnp.full(HWC, 0.3), rd.schedules.linear())
    theirs, y = physics[name], physics[name](x)
    pairs = [{"x": image, "y": measured} for image, measured in zip(x, y, strict=True)]
    data = torch.utils.data.DataLoader(pairs, batch_size=2)
    restored = []
    for called_back in (False, True):
        model = deepinv_model.reconstructor(lambda _: rd.noise_aware(prior, num_steps=3), called_back=called_back)
        judged = deepinv.test(model, data, theirs, verbose=False, show_progress_bar=False, compare_no_learning=False)
        restored.append(model(y, theirs))
        expected = deepinv.loss.metric.PSNR()(restored[-1], x).mean()
        assert judged["PSNR"] == pytest.approx(float(expected), abs=0.01)
    np.testing.assert_allclose(restored[0], restored[1], atol=1e-3)  # three conjugate gradients in float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:non_blocking_transfers")  # deepinv's own, on a CPU
@pytest.mark.filterwarnings("ignore:Update progress bar")
def test_the_pages_code_runs(torch, physics, x):
    (code,) = blocks("docs/guides/enter.md", "py")  # not "python", which runs without deepinv
    prior = rd.gaussian_prior(jnp.zeros(HWC), jnp.full(HWC, 0.3), rd.schedules.linear())
    theirs = physics["inpainting"]
    pairs = [{"x": image, "y": theirs(image[None])[0]} for image in x]
    found = {"rd": rd, "prior": prior, "physics": theirs, "dataloader": torch.utils.data.DataLoader(pairs)}
    exec(code, found)
    assert found["model"](theirs(x), theirs).shape == x.shape


@pytest.mark.slow
def test_the_model_is_the_solver_with_the_same_keys(physics, x):
    prior = rd.gaussian_prior(jnp.zeros(HWC), jnp.full(HWC, 0.3), rd.schedules.linear())
    solver = rd.noise_aware(prior, num_steps=3)
    y = physics["masks"](x)
    restored = deepinv_model.reconstructor(lambda _: solver, seed=3)(y, physics["masks"])
    found = deepinv_model.problems(y, physics["masks"])
    keys = jax.random.split(jax.random.key(3), 2)
    expected = [rd.run(key, solver, problem).x for key, problem in zip(keys, found, strict=True)]
    np.testing.assert_allclose(_ours(restored), np.stack(expected), atol=1e-5)  # float32, batched or not
