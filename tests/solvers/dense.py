"""Small problems in float64 NumPy with dense matrices, for the oracles that samplers' updates are compared with.

Images are flat here, (n,); t = -1 is the clean image. All is written from the papers' formulas, with other means than
the library's: textbook coefficients, whole Jacobians, NumPy's pseudo-inverse and singular value decomposition.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd

SHAPE = (8, 8, 1)
N = 64
NUM_STEPS = 20

# float64 on both sides; 20 steps, the noisiest of which divide by alpha = 0.006.
SHARP = 1e-9


class Scene:
    """A prior, an operator and a measurement; ``prior`` and ``problem`` are the library's, made under x64."""

    def __init__(self, task: str, components: int, sigma_y: float = 0.0):
        rng = np.random.default_rng(0)
        self.weights = np.array([0.3, 0.7])[:components] / np.array([0.3, 0.7])[:components].sum()
        self.means = rng.normal(0, 0.4, (components, N))
        self.variances = rng.uniform(0.05, 0.4, (components, N))
        self.mask = (rng.random(N) > 0.5).astype(float)
        blocks = np.kron(np.eye(2), np.full((1, 4), 0.25))
        self.task, self.matrix = task, np.diag(self.mask) if task == "inpainting" else np.kron(blocks, blocks)
        self.sigma_y = sigma_y
        x = self.means[0] + np.sqrt(self.variances[0]) * rng.normal(size=N)
        clean = self.matrix @ x
        measured = self.mask if task == "inpainting" else 1.0
        self.y = clean + sigma_y * measured * rng.normal(size=clean.shape)
        self.pinv = np.linalg.pinv(self.matrix)
        alphas_cumprod = np.append(np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000)), 1.0)
        self.alphas, self.sigmas = np.sqrt(alphas_cumprod), np.sqrt(1 - alphas_cumprod)
        self.z = rng.normal(size=(NUM_STEPS, N))
        self.x_start = rng.normal(size=N)

    @property
    def prior(self) -> rd.Prior:
        means, variances = (table.reshape(-1, *SHAPE) for table in (self.means, self.variances))
        if len(means) == 1:
            return rd.gaussian_prior(means[0], variances[0], rd.schedules.linear())
        return rd.mixture_prior(self.weights, means, variances, rd.schedules.linear())

    @property
    def problem(self) -> rd.Problem:
        if self.task == "inpainting":
            operator = rd.inpainting(self.mask.reshape(SHAPE), channels=1)
        else:
            operator = rd.super_resolution(SHAPE, 4)
        return rd.problem(jnp.asarray(self.y.reshape(operator.out_shape)), operator, rd.gaussian(self.sigma_y))

    def estimates(self, x_t: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x_hat, eps_hat and d x_hat / d x_t (n, n)."""
        a, s = self.alphas[t], self.sigmas[t]
        spread = a**2 * self.variances + s**2  # (K, n)
        deviation = x_t - a * self.means
        logs = np.log(self.weights) - 0.5 * np.sum(deviation**2 / spread + np.log(spread), axis=1)
        share = np.exp(logs - logs.max())
        share /= share.sum()
        pulls = -deviation / spread
        score = share @ pulls
        hessian = np.einsum("k,ki,kj->ij", share, pulls, pulls) - np.diag(share @ (1 / spread))
        hessian -= np.outer(score, score)
        return (x_t + s**2 * score) / a, -s * score, (np.eye(N) + s**2 * hessian) / a

    def ddim_scales(self, t: int, s: int, eta: float) -> tuple[float, float]:
        """c1 and c2 of Song et al. 2021, eq. 16."""
        ab_t, ab_s = self.alphas[t] ** 2, self.alphas[s] ** 2
        c1 = eta * np.sqrt((1 - ab_t / ab_s) * (1 - ab_s) / (1 - ab_t))
        return c1, np.sqrt(1 - ab_s - c1**2)

    def ddim(self, z: np.ndarray, x_hat: np.ndarray, eps_hat: np.ndarray, t: int, s: int, eta: float) -> np.ndarray:
        c1, c2 = self.ddim_scales(t, s, eta)
        return self.alphas[s] * x_hat + c1 * z + c2 * eps_hat

    def walk(self, update: Callable[..., np.ndarray]) -> np.ndarray:
        """All the x_s of ``update(scene, z, x_t, t, s)`` from ``x_start``, (num_steps, n)."""
        timesteps = [*np.round(np.linspace(999, 0, NUM_STEPS)).astype(int), -1]
        x, xs = self.x_start, []
        for z, t, s in zip(self.z, timesteps, timesteps[1:], strict=False):
            x = update(self, z, x, t, s)
            xs.append(x)
        return np.stack(xs)


def check_walk(make: Callable[[rd.Prior], rd.solvers.Sampler], scene: Scene, update: Callable[..., np.ndarray]) -> None:
    """Asserts that the first step, and each of 20 on the solver's own trajectory, is the oracle's."""
    actual, expected = walk(make, scene), scene.walk(update)
    assert np.isfinite(expected).all()
    assert np.ptp(expected[-1]) > 0.1
    np.testing.assert_allclose(actual, expected, rtol=SHARP, atol=SHARP)


def walk(make: Callable[[rd.Prior], rd.solvers.Sampler], scene: Scene, **changes: np.ndarray) -> np.ndarray:
    """All the x_s of the library's walk from ``x_start``, (num_steps, n); ``changes`` of the problem, flat."""
    with jax.enable_x64(True):
        problem = scene.problem
        problem = problem.replace(**{name: jnp.asarray(v.reshape(problem.y.shape)) for name, v in changes.items()})
        xs = _replay(
            make(scene.prior), problem, scene.x_start.reshape(SHAPE), scene.z.reshape(*scene.z.shape[:-1], *SHAPE)
        )
    return np.asarray(xs).reshape(NUM_STEPS, N)


@jax.jit
def _replay(solver: rd.solvers.Sampler, problem: rd.Problem, x_start: jax.Array, z: jax.Array) -> jax.Array:
    def step(x_t, k_z):
        x_s, _ = solver.update(k_z[1], x_t, *solver.levels(k_z[0]), problem)
        return x_s, x_s

    return jax.lax.scan(step, x_start, (jnp.arange(len(z)), z))[1]


@jax.jit
def one_update(
    solver: rd.solvers.Sampler, problem: rd.Problem, x_t: jax.Array, z: jax.Array, t: int, s: int
) -> jax.Array:
    """A single update."""
    return solver.update(z, x_t, t, s, problem)[0]
