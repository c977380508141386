"""Priors whose posteriors are known in closed form, random measurements of them, and how far samples are from exact.

All here is float64 NumPy. A Gaussian is a mixture of one component.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

import reddiff_jax as rd

NUM_ROWS = 4  # of every matrix, the last ones zero where fewer numbers are measured
NUM_SLICES = 500
LEAST_WEIGHT = 0.01  # of a mode that counts for recall


@dataclass(frozen=True)
class Mixture:
    """``sum_k weights_k N(means_k, covariance)``."""

    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, n)
    covariance: np.ndarray  # (n, n), of every component

    def given(self, matrix: np.ndarray, y: np.ndarray, sigma_y: float) -> "Mixture":
        """The posterior after ``y = matrix @ x + sigma_y n``: a mixture again."""
        predicted = matrix @ self.covariance @ matrix.T + sigma_y**2 * np.eye(len(y))
        gain = np.linalg.solve(predicted, matrix @ self.covariance).T  # (n, m)
        missing = y - self.means @ matrix.T  # (K, m)
        logs = np.log(self.weights) - 0.5 * np.sum(missing * np.linalg.solve(predicted, missing.T).T, axis=1)
        weights = np.exp(logs - logs.max())
        covariance = self.covariance - gain @ matrix @ self.covariance
        return Mixture(weights / weights.sum(), self.means + missing @ gain.T, (covariance + covariance.T) / 2)

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draws, (count, n)."""
        z = rng.normal(size=(count, len(self.covariance)))
        chosen = rng.choice(len(self.weights), count, p=self.weights)
        return self.means[chosen] + z @ np.linalg.cholesky(self.covariance).T

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n,) and covariance (n, n) of the whole."""
        mean = self.weights @ self.means
        between = self.means - mean
        return mean, self.covariance + (between.T * self.weights) @ between

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Distribution function of each coordinate, (n,)."""
        return self.weights @ ndtr((x - self.means) / np.sqrt(np.diag(self.covariance)))

    def nearest(self, samples: np.ndarray) -> np.ndarray:
        """Component whose mean is the nearest in the covariance's metric, for each sample."""
        white = np.linalg.solve(self.covariance, self.means.T)  # (n, K)
        return np.argmax(samples @ white - 0.5 * np.sum(self.means * white.T, axis=1), axis=1)


@dataclass(frozen=True)
class Family:
    """A prior, known to the solvers and in closed form; ``unit`` is what distances are quoted in."""

    name: str
    exact: Mixture
    prior: rd.Prior
    unit: float
    ranks: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number n of unknowns."""
        return self.exact.means.shape[1]


def gmm(size: int) -> Family:
    """25 Gaussians of standard deviation 1 at (8 i, 8 j, 8 i, 8 j, ...), i and j from -2 to 2.

    The protocol of Cardoso et al. 2023 (arXiv 2308.07983) and Boys et al. 2023 (arXiv 2310.06721). Departures: all is
    divided by 20, so that values lie in about [-1, 1] where the solvers expect them (``unit`` undoes it), and the
    random weights are drawn once for each size.
    """
    unit = 1 / 20
    grid = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3), indexing="ij"), axis=-1).reshape(25, 2)
    weights = np.random.default_rng(size).chisquare(1, 25)
    exact = Mixture(weights / weights.sum(), unit * 8.0 * np.tile(grid, size // 2), unit**2 * np.eye(size))
    prior = isotropic_mixture(exact.weights, exact.means, unit**2, (size, 1, 1))
    return Family(f"GMM {size}", exact, prior, unit, (1, 2, 4))


def gaussian(*, full: bool, size: int = 16) -> Family:
    """A Gaussian with a diagonal covariance, or a full one whose standard deviations fall from 0.5 to 0.02."""
    rng = np.random.default_rng(7)
    mean = rng.uniform(-0.5, 0.5, size)
    if full:
        directions = np.linalg.qr(rng.normal(size=(size, size)))[0]
        covariance = directions * np.geomspace(0.5, 0.02, size) ** 2 @ directions.T
    else:
        covariance = np.diag(rng.uniform(0.1, 0.5, size) ** 2)
    shape, unit = (size, 1, 1), float(np.sqrt(np.trace(covariance) / size))
    known = covariance if full else np.diag(covariance).reshape(shape)
    prior = rd.gaussian_prior(jnp.asarray(mean.reshape(shape)), jnp.asarray(known), rd.schedules.linear())
    name = "Gaussian full" if full else "Gaussian diagonal"
    return Family(name, Mixture(np.ones(1), mean[None], covariance), prior, unit, (NUM_ROWS,))


def isotropic_mixture(weights: np.ndarray, means: np.ndarray, variance: float, shape: tuple[int, int, int]) -> rd.Prior:
    """``rd.mixture_prior`` of one variance as two products with the matrix of means, which many draws share."""
    params = {"log_weights": np.log(weights), "means": means, "variance": variance}
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), params)
    params["scales"] = jnp.stack([rd.schedules.linear().alphas, rd.schedules.linear().sigmas])
    return rd.prior(_mixture_mean, rd.schedules.linear(), params=params, to_eps=rd.from_x0)


def _mixture_mean(params: dict[str, jax.Array], x_t: jax.Array, t: jax.Array, cond: None) -> jax.Array:
    """E[x_0 | x_t]."""
    alpha_t, sigma_t = params["scales"][:, t]
    means, flat = params["means"], x_t.reshape(-1)
    variance = alpha_t**2 * params["variance"] + sigma_t**2
    # The square of x_t is common to all components.
    logits = params["log_weights"] + (alpha_t * (means @ flat) - 0.5 * alpha_t**2 * jnp.sum(means**2, 1)) / variance
    mean = jax.nn.softmax(logits) @ means
    return ((sigma_t**2 * mean + alpha_t * params["variance"] * flat) / variance).reshape(x_t.shape)


@dataclass(frozen=True)
class Case:
    """One measurement, and its exact posterior."""

    problem: rd.Problem
    posterior: Mixture
    unit: float


def case(family: Family, rank: int, seed: int) -> Case:
    """A random linear measurement of ``rank`` numbers.

    As in the protocol: A = U diag(s) V^T of a random matrix's U and V, s uniform in [0, 1], sigma_y uniform in
    [0, max s], y of a draw of the prior.
    """
    rng = np.random.default_rng([family.size, rank, seed])
    left, _, right = np.linalg.svd(rng.normal(size=(rank, family.size)), full_matrices=False)
    singulars = rng.uniform(size=rank)
    sigma_y = family.unit * rng.uniform(0, singulars.max())
    matrix, y = np.zeros((NUM_ROWS, family.size)), np.zeros(NUM_ROWS)
    # Rows of zeros, whose y is zero, tell nothing: one shape, one compilation for all ranks.
    matrix[:rank] = left * singulars @ right
    y[:rank] = matrix[:rank] @ family.exact.sample(rng, 1)[0] + sigma_y * rng.normal(size=rank)
    operator = rd.matrix_operator(matrix, (family.size, 1, 1))
    problem = rd.problem(jnp.asarray(y, jnp.float32), operator, rd.gaussian(jnp.float32(sigma_y)))
    return Case(problem, family.exact.given(matrix, y, sigma_y), family.unit)


def sliced_wasserstein(a: np.ndarray, b: np.ndarray, *, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance of two sets of as many samples: the root mean square over random directions."""
    directions = np.random.default_rng(seed).normal(size=(a.shape[1], NUM_SLICES))
    directions /= np.linalg.norm(directions, axis=0)
    difference = np.sort((a @ directions).T) - np.sort((b @ directions).T)  # (slices, samples)
    return float(np.sqrt(np.mean(difference**2)))


def distances(samples: np.ndarray, case: Case, seed: int) -> dict[str, float]:
    """How far samples (N, n) are from the exact posterior.

    SW: ``sliced_wasserstein`` to as many exact draws, in units of the prior's components. mean: root mean square over
    coordinates, in posterior standard deviations. covariance: Frobenius norm of the error over that of the truth.
    coverage: the exact probability between the samples' 5 % and 95 % quantiles, mean over coordinates (0.9 is right).
    recall: modes of weight above 1 % that are nearest to some sample. weights: total variation of the modes' weights.
    spread: root of the variance of samples around their mode's mean, relative to the exact one.
    """
    exact = case.posterior
    mean, covariance = exact.moments()
    centred = samples - samples.mean(0)
    low, high = np.quantile(samples, [0.05, 0.95], axis=0)
    nearest = exact.nearest(samples)
    members = np.eye(len(exact.weights))[nearest]  # (N, K)
    counts = members.sum(0)
    within = samples - members @ (members.T @ samples / np.maximum(counts, 1)[:, None])
    free = max(len(samples) - np.count_nonzero(counts), 1)
    kept = exact.weights > LEAST_WEIGHT
    draws = exact.sample(np.random.default_rng([seed, 2]), len(samples))
    return {
        "SW": sliced_wasserstein(samples, draws, seed=seed) / case.unit,
        "mean": float(np.sqrt(np.mean((samples.mean(0) - mean) ** 2 / np.diag(covariance)))),
        "covariance": float(
            np.linalg.norm(centred.T @ centred / len(samples) - covariance) / np.linalg.norm(covariance)
        ),
        "coverage": float(np.mean(exact.cdf(high) - exact.cdf(low))),
        "recall": float(np.mean(counts[kept] > 0)),
        "weights": float(0.5 * np.sum(np.abs(counts / len(samples) - exact.weights))),
        "spread": float(np.sqrt(np.sum(within**2) / free / np.trace(exact.covariance))),
    }
