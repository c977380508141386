"""``rd.reddiff_published`` against the published method, written out in float64 NumPy from its description.

The oracle is batched and takes its means over the batch, as the published code does; the library runs one image at a
time under vmap. Both get the same noise arrays. In 50 steps most timesteps are so noisy that eps_hat - eps cancels to
1e-5 relative in float32 and Adam divides small gradients by themselves, so those comparisons run in float64, where they
are sharp; whole runs of 1000 steps are compared in float32, as users have them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd
from reddiff_jax import schedules

BATCH, SIZE = 2, 16
SHAPE = (SIZE, SIZE, 3)
LEARNING_RATE, LAM = 0.1, 0.25

WEIGHTS = {
    "linear": lambda r: r,
    "sqrt": lambda r: r**0.5,
    "square": lambda r: r * r,
    "log": lambda r: np.log(1 + r),
    "trunc_linear": lambda r: min(r, 1.0),
    "power2over3": lambda r: r ** (2 / 3),
    "const": lambda r: 1.0,
}


class Scene:
    """The problem's data and the oracle's operators, batched and in float64."""

    def __init__(self, task: str):
        rng = np.random.default_rng(0)
        self.mean = rng.normal(0, 0.2, SHAPE)
        self.variances = rng.uniform(0.05, 0.4, SHAPE)
        x = self.mean + np.sqrt(self.variances) * rng.normal(size=(BATCH, *SHAPE))
        self.mask = (rng.random((BATCH, SIZE, SIZE, 1)) > 0.5).astype(np.float64)
        self.task = task
        self.y = self.measure(x) + 0.02 * rng.normal(size=self.measure(x).shape)

    def measure(self, x):
        if self.task == "inpainting":
            return self.mask * x
        return x.reshape(BATCH, SIZE // 4, 4, SIZE // 4, 4, 3).mean((2, 4))

    def pinv(self, y):
        return self.mask * y if self.task == "inpainting" else y.repeat(4, 1).repeat(4, 2)

    def adjoint(self, y):
        return self.mask * y if self.task == "inpainting" else y.repeat(4, 1).repeat(4, 2) / 16

    def problems(self, dtype) -> rd.Problem:
        if self.task == "inpainting":
            operators = [rd.inpainting(mask) for mask in self.mask]
        else:
            operators = [rd.super_resolution(SHAPE, 4)] * BATCH
        return rd.stack([rd.problem(jnp.asarray(y, dtype), op) for y, op in zip(self.y, operators, strict=True)])

    def prior(self) -> rd.Prior:
        return rd.gaussian_prior(self.mean, self.variances, schedules.linear())


def _noise(num_steps):
    """z and z0 of every step."""
    return np.random.default_rng(1).normal(size=(2, num_steps, BATCH, *SHAPE)).astype(np.float32)


def _scales():
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000))
    return np.sqrt(alphas_cumprod), np.sqrt(1 - alphas_cumprod)


def _published(scene, num_steps, weighting, sigma_x0, optimizer):
    """The published method; returns the image it saves and the mu that it leaves."""
    a, s = _scales()
    skip = 1000 // num_steps
    grid = list(range(0, 1000, skip))[::-1]
    z, z0 = _noise(len(grid)).astype(np.float64)
    mu = scene.pinv(scene.y)
    for k, t in enumerate(grid):
        x0 = mu + sigma_x0 * z0[k]
        x_t = a[t] * x0 + s[t] * z[k]
        eps_hat = s[t] * (x_t - a[t] * scene.mean) / (a[t] ** 2 * scene.variances + s[t] ** 2)
        residual = scene.measure(x0) - scene.y
        data = scene.adjoint(residual) / residual.size
        prior = WEIGHTS[weighting](s[t] / a[t]) * (eps_hat - z[k]) / mu.size
        mu = optimizer(k + 1, mu, data + LAM * prior)
    return x0, mu


def _adam():
    """Adam with PyTorch's defaults for what the published code leaves out."""
    m = v = 0.0

    def update(k, x, gradient, b1=0.9, b2=0.99, eps=1e-8):
        nonlocal m, v
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        return x - LEARNING_RATE * (m / (1 - b1**k)) / (np.sqrt(v / (1 - b2**k)) + eps)

    return update


def _torch_adam():
    torch = pytest.importorskip("torch")
    x = optimizer = None

    def update(k, mu, gradient):
        nonlocal x, optimizer
        if k == 1:
            x = torch.tensor(mu, requires_grad=True)
            optimizer = torch.optim.Adam([x], lr=LEARNING_RATE, betas=(0.9, 0.99))
        x.grad = torch.tensor(gradient)
        optimizer.step()
        return x.detach().numpy().copy()

    return update


ADAM = optax.adam(LEARNING_RATE, b1=0.9, b2=0.99)


@functools.partial(jax.jit, static_argnames="jitter")
def _replay(solver, problems, z, z0, jitter):
    """Runs all items through ``RedDiff.update`` with the noise given."""

    def one(problem, z, z0):  # (N, H, W, C)
        def step(state, noise):
            t, z, z0 = noise
            return solver.update(z[None], t, state, problem, z0 if jitter else None)[0], None

        state = solver.init(jax.random.key(0), problem)
        return jax.lax.scan(step, state, (solver.levels.timesteps, z, z0))[0]

    return jax.vmap(one, in_axes=(0, 1, 1))(problems, z, z0)


def _library(scene, num_steps, weighting="linear", sigma_x0=0.0, batch_size=BATCH, dtype=jnp.float64):
    """The library's published form; returns its estimates and its mu."""
    with jax.enable_x64(dtype == jnp.float64):
        solver = rd.reddiff_published(
            scene.prior(),
            ADAM,
            lam=LAM,
            num_steps=num_steps,
            weighting=rd.weightings.WEIGHTINGS[weighting],
            sigma_x0=sigma_x0,
            batch_size=batch_size,
        )
        z, z0 = _noise(solver.num_steps).astype(dtype)
        state = _replay(solver, scene.problems(dtype), z, z0, jitter=sigma_x0 > 0)
        assert state.mu.dtype == dtype
        return np.asarray(jax.vmap(solver.estimate)(state)), np.asarray(state.mu)


every_task = pytest.mark.parametrize("task", ["inpainting", "super_resolution"])

# float64 (1e-16) on both sides; Adam multiplies the rounding of a gradient that happens to be near its epsilon by 1e6.
SHARP = 1e-8
# float32: mu of order 1 is rounded at 6e-8 in every step, and the last, clean timesteps pull it to where it belongs.
SINGLE = 1e-5


@pytest.mark.parametrize("weighting", WEIGHTS)
@every_task
def test_trajectory_is_the_published_one(task, weighting):
    scene = Scene(task)
    _, expected = _published(scene, 50, weighting, 0.0, _adam())
    _, mu = _library(scene, 50, weighting)
    np.testing.assert_allclose(mu, expected, atol=SHARP)


@pytest.mark.parametrize("sigma_x0", [0.0, 0.1], ids=["exact", "perturbed"])
@every_task
def test_returned_image_is_the_published_one_of_before_the_last_update(task, sigma_x0):
    scene = Scene(task)
    expected = _published(scene, 50, "linear", sigma_x0, _adam())
    actual = _library(scene, 50, "linear", sigma_x0)
    np.testing.assert_allclose(actual, expected, atol=SHARP)
    assert np.abs(np.subtract(*actual)).mean() > 1e-3


@every_task
def test_trajectory_of_1000_steps_in_float32_is_the_published_one(task):
    scene = Scene(task)
    expected = _published(scene, 1000, "linear", 0.0, _adam())
    np.testing.assert_allclose(_library(scene, 1000, dtype=jnp.float32), expected, atol=SINGLE)


def test_number_of_steps_is_the_published_one_where_it_does_not_divide():
    scene = Scene("inpainting")
    expected = _published(scene, 300, "linear", 0.0, _adam())
    np.testing.assert_allclose(_library(scene, 300), expected, atol=SHARP)


def test_batch_size_matters_as_in_the_published_code():
    scene = Scene("inpainting")
    small, large = (_library(scene, 50, batch_size=size)[1] for size in (1, 1000))
    assert np.abs(small - large).max() > 0.01


@pytest.mark.oracle
@pytest.mark.slow
def test_trajectory_with_torchs_adam_is_the_published_one():
    scene = Scene("inpainting")
    expected = _published(scene, 1000, "linear", 0.0, _torch_adam())
    np.testing.assert_allclose(_library(scene, 1000), expected, atol=SHARP)


@pytest.mark.oracle
def test_optax_adam_is_torchs_adam_on_recorded_gradients():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    # Of the published sizes: from 1e-6 in the beginning down to Adam's epsilon.
    gradients = (rng.normal(size=(1000, 50)) * np.geomspace(1e-6, 1e-9, 1000)[:, None]).astype(np.float32)
    x = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([x], lr=LEARNING_RATE, betas=(0.9, 0.99))
    expected = []
    for gradient in gradients.astype(np.float64):
        x.grad = torch.tensor(gradient)
        adam.step()
        expected.append(x.detach().numpy().copy())

    def step(carry, gradient):
        x, state = carry
        updates, state = ADAM.update(gradient, state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    with jax.enable_x64(True):
        zeros = jnp.zeros(50)
        _, actual = jax.lax.scan(step, (zeros, ADAM.init(zeros)), jnp.asarray(gradients, dtype=float))
    # float64 sums of 1000 steps of up to 0.1.
    np.testing.assert_allclose(actual, expected, atol=1e-10)
