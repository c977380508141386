"""Particles of one problem that repel each other: several different solutions, where independent runs find one.

P runs of a solver minimise KL(q || posterior) together if each is driven by the posterior's score less the score of
their own density q. A kernel estimate stands for q. With the distance d of two images, a mean over the entries of their
features (pixels by default), particle i at level r = sigma_t / alpha_t sees the prior

    eps_hat(x_t) + weight r n grad_{x_i} log sum_j exp(-d(x_i, x_j) / h),   h = median_{i<j} d(x_i, x_j) / log P + 2 r^2

n is the number of pixels: in high dimension the score of a kernel of the median's width is n times too small. The
width grows with r as the prior is blurred by r; with a fixed width particles would fly apart while r is large. For a
Gaussian prior and large r, weight 1 then cancels the pull that would gather the particles: a larger weight drives them
out of the picture's range.

**Repulsion gives different solutions, not calibrated ones.** It pushes in all directions alike, for any posterior. On a
mixture of 25 Gaussians (benchmarks/repulsion.py) four particles at weight 0.1 find 6 % more of the posterior's modes
than independent runs; from 0.3 on they are pushed into modes that have hardly any weight, and are worse in every
respect. Samples come from ``rd.noise_aware(prior, sample=True)``.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_callable, check_non_negative, check_whole
from reddiff_jax._keys import numbered_keys
from reddiff_jax._repr import Repr
from reddiff_jax._types import Condition, Image, Key, Timestep
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers import Solver
from reddiff_jax.solvers._base import scalar

Features = Callable[[Image], jax.Array]
"""Features of an image by which images are compared."""


def pixels(x: Image) -> Image:
    """Features: the image itself."""
    return x


def repulsion(
    x: Image, particles: Float[Array, "P H W C"], r: Float[Array, ""] | float, features: Features = pixels
) -> Image:
    """The gradient ``n grad_x log sum_j exp(-d(x, x_j) / h)``, which points towards near particles.

    Args:
        x: The image, (H, W, C).
        particles: P >= 2 images from which it keeps away; ``x`` itself may be among them.
        r: Noise level in pixel units, at least 0.
        features: Function of an image; d is the mean square difference of its entries, and 2 r^2 is scaled from pixels
            to it by the ratio of the medians.
    """
    others = jax.vmap(features)(particles)
    median, median_pixels = (_median_square(each) for each in (others, particles))
    scale = jnp.where(median_pixels > 0, median / jnp.where(median_pixels > 0, median_pixels, 1.0), 1.0)
    width = median / jnp.log(len(particles)) + 2 * r**2 * scale
    # Identical particles have no width at r = 0, and no direction either.
    width = jnp.where(width > 0, width, 1.0)

    def log_density(x: Image) -> Float[Array, ""]:
        squares = jnp.mean((features(x)[None] - others) ** 2, axis=tuple(range(1, others.ndim)))  # (P,)
        return jax.nn.logsumexp(-squares / width)

    return x.size * jax.grad(log_density)(x)


@struct.dataclass
class Repelled(Prior):
    """A prior, with the repulsion of one particle by the others."""

    prior: Prior
    weight: jax.Array
    x: jax.Array  # (H, W, C), where the particle is
    particles: jax.Array  # (P, H, W, C), where all of them are
    features: Any

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, plus a term that drives the particle away from the others."""
        alpha_t, sigma_t = self.schedule(t)
        r = sigma_t / alpha_t
        return self.prior.eps(x_t, t, cond) + self.weight * r * repulsion(self.x, self.particles, r, self.features)


@struct.dataclass
class RepulsiveInfo(Repr):
    """Scalars to watch during a run."""

    particles: Any  # the solver's Info, each leaf (P,)
    distance: jax.Array  # root mean square difference of two particles, before the step


@struct.dataclass
class RepulsiveState(Repr):
    """All that the next step needs."""

    particles: Any  # the solver's State, each leaf (P, ...)
    step: jax.Array  # int32, number of steps done


@struct.dataclass
class Repulsive(Solver[RepulsiveState]):
    """Particles that repel each other; build it with ``repulsive``."""

    solver: Solver
    weight: jax.Array
    features: Any  # a jax.tree_util.Partial
    num_particles: int = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.solver.num_steps

    def init(self, key: Key, problem: Problem) -> RepulsiveState:
        """Returns the state before the first step."""
        particles = jax.vmap(self.solver.init, in_axes=(0, None))(self.keys(key), problem)
        return RepulsiveState(particles, jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: RepulsiveState, problem: Problem) -> tuple[RepulsiveState, RepulsiveInfo]:
        """Does one step of each particle among the others."""
        xs = self.estimate(state)

        def one(key: Key, x: Image, particle: Any) -> tuple[Any, Any]:
            prior: Prior = self.solver.prior  # type: ignore[attr-defined]
            prior = Repelled(prior.schedule, prior, self.weight, x, xs, self.features)
            return self.solver.replace(prior=prior).step(key, particle, problem)  # type: ignore[attr-defined]

        particles, info = jax.vmap(one)(self.keys(key), xs, state.particles)
        spread = jnp.mean(jnp.var(xs, axis=0, ddof=1))
        return RepulsiveState(particles, state.step + 1), RepulsiveInfo(info, jnp.sqrt(2 * spread))

    def estimate(self, state: RepulsiveState) -> Float[Array, "P H W C"]:
        """Returns the image of each particle."""
        return jax.vmap(self.solver.estimate)(state.particles)

    def keys(self, key: Key) -> jax.Array:
        """The particles' own keys of one step, (num_particles,)."""
        return numbered_keys(key, self.num_particles)


def repulsive(
    solver: Solver,
    num_particles: int = 4,
    *,
    weight: jax.Array | float = 0.1,
    features: Features = pixels,
) -> Repulsive:
    """Several runs of a solver on one problem, which repel each other.

    ``rd.run(key, rd.repulsive(solver, 4), problem).x`` is (4, H, W, C); a batch of problems is ``jax.vmap`` as usual,
    and the particles of different problems do not know each other.

    Args:
        solver: Any solver with a prior: ``rd.reddiff``, ``rd.noise_aware``, ... The repulsion acts
            on the solver's estimates, which are noisy images until the last step of a sampler such as ``rd.ddim``.
        num_particles: P, at least 2; memory and time grow with it.
        weight: Weight of the repulsion; 0 makes P independent runs, and above 1 particles leave the prior.
        features: Function of an image; what counts when images are compared, e.g. a network's features. With weights:
            ``jax.tree_util.Partial(fn, params)``, called as ``fn(params, x)``. Define it once: another function object
            is another compilation.

    Raises:
        ValueError: If there are fewer than 2 particles, or the weight is negative.
        TypeError: If the solver has no prior.

    Source:
        Zilberstein et al. 2024 (arXiv 2406.16683), the repulsion with a radial kernel of the median's width.
        Departures: the factor n, the width's term 2 r^2, and no latent space.
    """
    check_whole("num_particles", num_particles, 2, "A single one is the solver itself.")
    check_non_negative("weight", weight)
    if not isinstance(getattr(solver, "prior", None), Prior):
        raise TypeError(f"repulsive needs a solver with a prior; {type(solver).__name__} has none.")
    if not isinstance(features, jax.tree_util.Partial):
        check_callable("features", features, "a function of an image")
        features = jax.tree_util.Partial(features)
    return Repulsive(solver=solver, weight=scalar(weight), features=features, num_particles=num_particles)


def _median_square(images: Float[Array, "P ..."]) -> Float[Array, ""]:
    """Median over pairs of the mean square difference."""
    first, second = jnp.triu_indices(len(images), 1)
    squares = jnp.mean((images[first] - images[second]) ** 2, axis=tuple(range(1, images.ndim)))
    return jnp.median(squares)
