"""DiffPIR: its updates against NumPy and deepinv, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from dense import NUM_STEPS, SHAPE, Scene, check_walk, one_update, walk

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)


def _update(lam, zeta):
    def update(scene, z, x_t, t, s):
        x_0, _, _ = scene.estimates(x_t, t)
        rho = lam * scene.sigma_y**2 * (scene.alphas[t] / scene.sigmas[t]) ** 2
        normal = scene.matrix.T @ scene.matrix + rho * np.eye(len(x_0))
        x_hat = np.linalg.solve(normal, scene.matrix.T @ scene.y + rho * x_0)
        eps_hat = (x_t - scene.alphas[t] * x_hat) / scene.sigmas[t]
        noise = np.sqrt(1 - zeta) * eps_hat + np.sqrt(zeta) * z
        return scene.alphas[s] * x_hat + scene.sigmas[s] * noise

    return update


@every_scene
def test_updates_are_the_formulas(task, components):
    scene = Scene(task, components, sigma_y=0.1)
    check_walk(lambda prior: rd.diffpir(prior, lam=0.7, zeta=0.3, num_steps=NUM_STEPS), scene, _update(0.7, 0.3))


def _pooled(x):
    return x.reshape(2, 4, 2, 4, 1).mean((1, 3))


@pytest.mark.parametrize("sigma_y", [0.1, 0.0])
@pytest.mark.slow
def test_conjugate_gradients_take_the_place_of_singular_vectors(sigma_y):
    scene = Scene("super_resolution", components=1, sigma_y=sigma_y)

    class Plain(Scene):
        @property
        def problem(self):
            return super().problem.replace(operator=rd.linear_operator(_pooled, SHAPE))

    plain = Plain("super_resolution", components=1, sigma_y=sigma_y)
    spectral, iterative = (walk(lambda prior: rd.diffpir(prior, num_steps=NUM_STEPS), s) for s in (scene, plain))
    # A^T A has two eigenvalues, so that two steps are exact; float64, 20 steps.
    np.testing.assert_allclose(iterative, spectral, atol=1e-9)


def test_a_noiseless_measurement_is_met_exactly():
    scene = Scene("super_resolution", components=1)
    x = walk(lambda prior: rd.diffpir(prior, num_steps=NUM_STEPS), scene)[-1]
    np.testing.assert_allclose(scene.matrix @ x, scene.y, atol=1e-12)  # float64


def test_what_says_nothing_leaves_the_sampler_of_the_prior():
    scene = Scene("inpainting", components=2, sigma_y=1e8)
    blind = walk(lambda prior: rd.diffpir(prior, zeta=0.0, num_steps=NUM_STEPS), scene, y=0 * scene.y)
    np.testing.assert_allclose(blind, walk(lambda prior: rd.ddim(prior, num_steps=NUM_STEPS), scene), atol=1e-9)


def test_clipping_bounds_the_priors_estimate():
    scene = Scene("inpainting", components=1)
    with jax.enable_x64(True):
        problem, x_t = scene.problem, 10 * scene.x_start.reshape(SHAPE)
        solver = rd.diffpir(scene.prior, zeta=0.0, clip=True)
        x_s = one_update(solver, problem.replace(y=0 * problem.y), x_t, 0 * x_t, 10, -1)
    hole = 1 - scene.mask.reshape(SHAPE)
    np.testing.assert_allclose(x_s, hole * np.clip(x_s, -1, 1), atol=1e-12)
    assert np.abs(x_s).max() == 1


@pytest.mark.oracle
def test_a_run_is_deepinvs():
    deepinv = oracles.deepinv()
    torch = pytest.importorskip("torch")
    scene, num_steps = Scene("inpainting", components=1, sigma_y=0.1), 8
    scene.means *= 0.5  # estimates stay within [-1, 1], to which it clips them
    mean, variance, mask = (
        torch.tensor(table.reshape(1, 1, 8, 8), dtype=torch.float32)
        for table in (scene.means[0], scene.variances[0], scene.mask)
    )
    rng = np.random.default_rng(5)
    draws = rng.normal(size=(num_steps, *SHAPE)).astype(np.float32)
    y = scene.y.astype(np.float32)

    def denoise(x, sigma):  # in [0, 1]
        v = variance / 4
        return (mean + 1) / 2 + v / (v + sigma**2) * (x - (mean + 1) / 2)

    # It quotes sigma for images in [0, 1] and the levels r_t for [-1, 1], and its misfit has a factor 1/2.
    physics = deepinv.physics.Inpainting(
        (1, 8, 8), mask=mask, noise_model=deepinv.physics.GaussianNoise(scene.sigma_y / 2)
    )
    model = deepinv.sampling.DiffPIR(
        denoise, deepinv.optim.data_fidelity.L2(), max_iter=num_steps, zeta=0.3, lambda_=2.0
    )
    noises = iter(draws)
    original, torch.randn_like = torch.randn_like, lambda x: torch.tensor(next(noises).reshape(1, 1, 8, 8))
    try:
        image = model(torch.tensor((y.reshape(1, 1, 8, 8) + mask.numpy()) / 2), physics, x_init=0.5 * mask)
    finally:
        torch.randn_like = original
    expected = 2 * image.numpy().reshape(SHAPE) - 1

    timesteps = 999 - np.minimum(np.sqrt(np.linspace(0, 1000**2, num_steps)).astype(int), 999)
    with jax.enable_x64(True):
        r = scene.sigmas[999] / scene.alphas[999]
        start = (mask.numpy().reshape(SHAPE) - 1) + np.sqrt(r**2 - 4 * 0.05**2) * draws[0]
        x_t = jnp.asarray(scene.alphas[999] * start)
        solver, problem = rd.diffpir(scene.prior, lam=1.0, zeta=0.3, clip=True), scene.problem
        for z, t, s in zip(draws[1:], timesteps, timesteps[1:], strict=False):
            x_t = one_update(solver, problem, x_t, jnp.asarray(z, dtype=float), int(t), int(s))
    np.testing.assert_allclose(x_t, expected, atol=2e-4)  # its tables and images are float32


def test_what_it_cannot_do_is_an_error_that_names_the_remedy(key):
    solver = rd.diffpir(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear()), num_steps=2)
    nonlinear = rd.operator(jnp.tanh, SHAPE)
    with pytest.raises(TypeError, match=r"diffpir needs a LinearOperator; FunctionOperator .*rd\.daps"):
        rd.run(key, solver, rd.problem(jnp.zeros(SHAPE), nonlinear))
    with pytest.raises(TypeError, match=r"diffpir needs Gaussian noise.*Poisson"):
        rd.run(key, solver, rd.problem(jnp.ones(SHAPE), rd.denoising(SHAPE), rd.poisson(1.0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"zeta": 1.5}, "zeta is 1.5"), ({"lam": -1.0}, "lam is -1.0"), ({"num_cg": 0}, "num_cg is 0")],
    ids=["zeta", "lam", "num_cg"],
)
def test_options_that_make_no_sense_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        rd.diffpir(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear()), **options)
