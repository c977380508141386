"""Calibration of posterior samples: coverage, scores, ranks, TARP, spread and modes, of (truth, samples).

Samples of a posterior are calibrated if, over problems whose truths come from the prior, the truth cannot be told from
them. So simulate problems, solve each several times, and compare::

    truths, problems = simulate(key, rd.ddim(prior, eta=1.0, num_steps=1000), operator, rd.gaussian(0.1), 64)
    samples = draw(key, rd.noise_aware(prior, sample=True), problems, 39)
    print(calibration(truths, samples))

Below, a truth has any shape and its K samples one more axis in front. Every axis of the truth counts alike, so one of
them may be the problems; or ``jax.vmap`` gives each problem its own number. Pixels of one picture depend on one
another: error bars come from the number of problems, not of pixels. Calibrated samples need not be good ones: the prior
itself, which ignores y, is calibrated as well.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import check_type, check_whole
from reddiff_jax._chunks import images_at_once, map_in_chunks
from reddiff_jax._keys import as_key
from reddiff_jax._types import Image, Key
from reddiff_jax.noise import Noise
from reddiff_jax.operators import Operator
from reddiff_jax.problems import Problem, measure, unconditional
from reddiff_jax.running import run
from reddiff_jax.solvers import Solver

LEVELS = (0.5, 0.8, 0.9)


# ---- one number for each entry of the truth


def z_scores(truth: Float[Array, "..."], samples: Float[Array, "K ..."]) -> Float[Array, "..."]:
    """Standard scores ``(truth - mean) / (std sqrt(1 + 1 / K))``, K >= 2; infinite where all samples are equal.

    Calibrated Gaussian samples: Student's t of K - 1 degrees of freedom, mean 0, variance (K - 1) / (K - 3). Mean: bias
    in units of the spread. Variance: above is overconfident, below is underconfident.
    """
    num_samples = _num_samples(truth, samples, 2)
    std = jnp.std(samples, axis=0, ddof=1) * (1 + 1 / num_samples) ** 0.5
    return (truth - jnp.mean(samples, axis=0)) / std


def ranks(truth: Float[Array, "..."], samples: Float[Array, "K ..."]) -> Int[Array, "..."]:
    """Number of the K samples that are below the truth.

    Calibrated: uniform on 0, ..., K. Many at both ends: overconfident; in the middle: underconfident; at one: biased.

    Source:
        Talts et al. 2018 (arXiv 1804.06788), algorithm 1.
    """
    _num_samples(truth, samples, 1)
    return jnp.sum(samples < truth[None], axis=0)


def tarp_fraction(
    reference: Float[Array, "..."], truth: Float[Array, "..."], samples: Float[Array, "K ..."]
) -> Float[Array, ""]:
    """Fraction of one problem's samples that are nearer to a reference point than the truth is.

    ``(1 / K) sum_k [|x_k - reference| < |truth - reference|]``, Euclidean. Calibrated: uniform over problems, whatever
    the references, if they depend on the truth only through y. It judges all entries together; ``ranks`` judges them
    one by one.

    Source:
        Lemos et al. 2023 (arXiv 2302.03026), algorithm 2.
    """
    _num_samples(truth, samples, 1)
    squares = jnp.sum((samples - reference[None]) ** 2, axis=tuple(range(1, samples.ndim)))  # (K,)
    return jnp.mean(squares < jnp.sum((truth - reference) ** 2))


# ---- over entries, or over problems


def coverage(
    truth: Float[Array, "..."], samples: Float[Array, "K ..."], levels: Sequence[float] = LEVELS
) -> Float[Array, "L"]:
    """Fraction of the truth's entries within the samples' central intervals.

    The interval of a level runs between order statistics (interpolated), chosen so that with K samples it holds the
    truth with just that probability. Calibrated: ``levels``. Less is overconfident, more is underconfident.

    Args:
        truth: Any shape.
        samples: K of them; at least 2 / (1 - level) - 1, i.e. 19 for 90 %, 39 for 95 %.
        levels: Nominal probabilities, between 0 and 1.

    Raises:
        ValueError: If a level is not between 0 and 1, or there are too few samples for it.
    """
    num_samples, ordered = _num_samples(truth, samples, 1), jnp.sort(samples, axis=0)
    covered = []
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"a level is {level} but must lie between 0 and 1.")
        place = (1 - level) / 2 * (num_samples + 1) - 1
        if place < -1e-6:
            needed = math.ceil(2 / (1 - level) - 1 - 1e-6)
            raise ValueError(f"{num_samples} samples have no {level:g} interval; draw {needed} or lower the levels.")
        low, high = (_order_statistic(ordered, at) for at in (max(place, 0.0), num_samples - 1 - max(place, 0.0)))
        covered.append(jnp.mean((low <= truth) & (truth <= high)))
    return jnp.stack(covered)


def rank_histogram(ranks: Int[Array, "..."], num_samples: int, num_bins: int | None = None) -> Float[Array, "num_bins"]:
    """How often each rank occurs, in units of the expected number: 1 everywhere if calibrated.

    Args:
        ranks: Results of ``ranks``, any number of them.
        num_samples: K.
        num_bins: Bins of equally many ranks, a divisor of K + 1; one for each rank if None.

    Raises:
        ValueError: If the bins do not divide the ranks.
    """
    num_bins = num_samples + 1 if num_bins is None else num_bins
    if num_bins < 1 or (num_samples + 1) % num_bins:
        raise ValueError(
            f"num_bins is {num_bins} but must divide the {num_samples + 1} ranks of {num_samples} samples."
        )
    bins = ranks.reshape(-1) * num_bins // (num_samples + 1)
    return jnp.bincount(bins, length=num_bins) * (num_bins / ranks.size)


def expected_coverage(fractions: Float[Array, "B"], levels: Sequence[float] = LEVELS) -> Float[Array, "L"]:
    """TARP's expected coverage: the fraction of problems whose ``tarp_fraction`` is below each level.

    Calibrated: ``levels``. For truths that the references surround: overconfident samples give too much at low levels
    and too little at high ones, underconfident ones do the reverse; biased ones deviate with one sign throughout.

    Source:
        Lemos et al. 2023 (arXiv 2302.03026), algorithm 2.
    """
    return jnp.mean(fractions[:, None] < jnp.asarray(levels)[None], axis=0)


def spread_skill_ratio(truth: Float[Array, "..."], samples: Float[Array, "K ..."]) -> Float[Array, ""]:
    """Root mean square of the spread over that of the mean's error: ``sqrt((1 + 1 / K) mean(var) / mean(error^2))``.

    Calibrated: 1. Below is overconfident, above is underconfident. Means are over all entries; K >= 2.

    Source:
        Fortin et al. 2014, "Why should ensemble spread match the RMSE of the ensemble mean?", eq. 15.
    """
    num_samples = _num_samples(truth, samples, 2)
    spread = (1 + 1 / num_samples) * jnp.mean(jnp.var(samples, axis=0, ddof=1))
    return jnp.sqrt(spread / jnp.mean((truth - jnp.mean(samples, axis=0)) ** 2))


# ---- modes


def mode_shares(modes: Float[Array, "M ..."], samples: Float[Array, "K ..."]) -> Float[Array, "M"]:
    """Fraction of the samples that are nearest (Euclidean) to each of M known modes. Ideal: the modes' weights."""
    if modes.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"modes have shape {modes.shape[1:]} but samples {samples.shape[1:]}; both need an axis in front."
        )
    modes, samples = modes.reshape(len(modes), -1), samples.reshape(len(samples), -1)
    # The square of a sample is common to all its distances.
    distances = jnp.sum(modes**2, axis=1)[None] - 2 * jnp.matmul(samples, modes.T, precision="highest")  # (K, M)
    return jnp.bincount(jnp.argmin(distances, axis=1), length=len(modes)) / len(samples)


def mode_recall(
    modes: Float[Array, "M ..."],
    samples: Float[Array, "K ..."],
    weights: Float[Array, "M"] | None = None,
    *,
    least: float = 0.01,
) -> Float[Array, ""]:
    """Fraction of the modes that are the nearest to some sample. Ideal: near 1 for K well above 1 / least.

    Args:
        modes: The posterior's M modes.
        samples: K of them.
        weights: The modes' weights; all modes count if None.
        least: Modes of a smaller weight do not count.
    """
    found = mode_shares(modes, samples) > 0
    kept = jnp.ones(found.shape, bool) if weights is None else weights >= least
    return jnp.sum(found & kept) / jnp.maximum(jnp.sum(kept), 1)


# ---- simulated problems, and all of it at once


def simulate(
    key: Key, prior: Solver | Callable[[Key], Image], operator: Operator, noise: Noise, count: int
) -> tuple[Float[Array, "B H W C"], Problem]:
    """Draws truths from the prior and measures them.

    Args:
        key: PRNG key.
        prior: What draws an image: a sampler of the network's own prior, e.g. ``rd.ddim(prior, eta=1.0,
            num_steps=1000)``, run without a measurement; or a function of a key, where the prior can be drawn exactly.
            Errors of a sampler look like miscalibration of the solver: few steps spread too little.
        operator: How images become measurements.
        noise: Measurement noise.
        count: Number of problems, B.

    Returns:
        B truths, and B problems stacked.

    Raises:
        ValueError: If ``count`` is below 1, or images do not fit the operator.
    """
    if count < 1:
        raise ValueError(f"count is {count} but must be at least 1.")
    free = unconditional(operator.in_shape)

    def one(key: Key) -> tuple[Image, Problem]:
        key_x, key_y = jax.random.split(key)
        x = run(key_x, prior, free).x if isinstance(prior, Solver) else prior(key_x)
        return x, measure(key_y, operator, noise, x)

    return jax.vmap(one)(jax.random.split(as_key("simulate: key", key), check_whole("simulate: count", count)))


def draw(key: Key, solver: Solver, problems: Problem, num_samples: int) -> Float[Array, "B K H W C"]:
    """Runs a solver several times on each problem, one problem after the other, its runs at once.

    Args:
        key: PRNG key.
        solver: The solver to judge.
        problems: B problems, stacked.
        num_samples: K; memory grows with it.
    """
    count = jax.tree.leaves(problems)[0].shape[0]
    check_type("draw: solver", solver, Solver, "a Solver, for example rd.noise_aware(prior, sample=True)")
    check_type("draw: problems", problems, Problem, "a batch of problems, as of simulate or rd.stack")
    keys = jax.random.split(as_key("draw: key", key), (count, check_whole("draw: num_samples", num_samples)))
    return _draw(keys, solver, problems)


@jax.jit
def _draw(keys: jax.Array, solver: Solver, problems: Problem) -> jax.Array:
    runs = map_in_chunks(run, (0, None, None), images_at_once(problems.operator.in_shape))
    return jax.lax.map(lambda pair: runs(pair[0], solver, pair[1]).x, (keys, problems))


@struct.dataclass
class Calibration:
    """Results of ``calibration``; the comments say what a calibrated sampler has."""

    levels: jax.Array  # (L,) nominal
    coverage: jax.Array  # (L,) of entries; calibrated: levels
    expected_coverage: jax.Array  # (L,) of problems by TARP; calibrated: levels
    z_mean: jax.Array  # of all entries; calibrated: 0
    z_std: jax.Array  # calibrated Gaussian: sqrt((K - 1) / (K - 3))
    spread_skill_ratio: jax.Array  # calibrated: 1
    ranks: jax.Array  # (K + 1,) histogram; calibrated: 1


def calibration(
    truths: Float[Array, "B ..."], samples: Float[Array, "B K ..."], levels: Sequence[float] = LEVELS
) -> Calibration:
    """All measures that need no modes, over problems and their entries; TARP's references are other truths.

    Args:
        truths: One for each of B problems; B >= 2.
        samples: K of each problem's posterior.
        levels: Nominal probabilities.

    Raises:
        ValueError: If shapes do not fit, a level is not between 0 and 1, or there are too few problems or samples.
    """
    if len(truths) < 2 or samples.ndim != truths.ndim + 1 or len(samples) != len(truths):
        raise ValueError(
            f"truths have shape {truths.shape} and samples {samples.shape} but "
            "(B, ...) and (B, K, ...) with B >= 2 are needed."
        )
    references = jnp.roll(truths, 1, axis=0)
    fractions = jax.vmap(tarp_fraction)(references, truths, samples)
    samples = jnp.moveaxis(samples, 1, 0)  # (K, B, ...)
    z = z_scores(truths, samples)
    return Calibration(
        levels=jnp.asarray(levels),
        coverage=coverage(truths, samples, levels),
        expected_coverage=expected_coverage(fractions, levels),
        z_mean=jnp.mean(z),
        z_std=jnp.std(z),
        spread_skill_ratio=spread_skill_ratio(truths, samples),
        ranks=rank_histogram(ranks(truths, samples), len(samples)),
    )


def _num_samples(truth: jax.Array, samples: jax.Array, least: int) -> int:
    """K, or ValueError if shapes do not fit or it is too small."""
    if samples.shape[1:] != truth.shape or samples.ndim == 0:
        raise ValueError(
            f"truth has shape {truth.shape} and samples {samples.shape} but (...) and (K, ...) are needed."
        )
    if len(samples) < least:
        raise ValueError(f"there are {len(samples)} samples but at least {least} are needed.")
    return len(samples)


def _order_statistic(ordered: Float[Array, "K ..."], place: float) -> Float[Array, "..."]:
    """Order statistic, interpolated between neighbours; place 0 is the smallest."""
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
