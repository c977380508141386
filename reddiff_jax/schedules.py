"""Noise schedules: what ``x_t = alpha_t x_0 + sigma_t eps`` means at each timestep.

A solver asks only two things of a schedule: ``alpha_t, sigma_t = schedule(t)`` and ``schedule.timesteps(n)``. Tables
are built in float64 on the host and stored for alpha and sigma both: ``1 - alpha ** 2`` in float32 is off by 8e-5 at
t = 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import check_array, check_callable, check_non_negative, check_type, check_whole
from reddiff_jax._repr import Detail, Repr

_LEAST_ALPHA = 1e-15  # so that (sigma_t / alpha_t)^2 is a number in float32

Spacing = Callable[[int, int], np.ndarray]
"""``(num_timesteps of the schedule, n) -> (n,)`` timesteps, descending."""


@struct.dataclass
class Schedule(Repr):
    """A table of signal and noise scales, indexed by integer timesteps; t = -1 is the clean image.

    Between integers both scales are interpolated linearly, for networks that take any t.

    Args (fields):
        alphas: Signal scales sqrt(alphas_cumprod), shape (T,); all ones for variance-exploding schedules.
        sigmas: Noise scales, shape (T,), ascending.
    """

    alphas: jax.Array  # (T,)
    sigmas: jax.Array  # (T,)

    def __call__(
        self, t: Int[Array, "..."] | Float[Array, "..."] | float
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns ``(alpha_t, sigma_t)``; ``(1, 0)`` for t = -1."""
        t = jnp.asarray(t)
        if jnp.issubdtype(t.dtype, jnp.floating):
            below = jnp.floor(t).astype(jnp.int32)
            here, there = self(below), self(jnp.minimum(below + 1, self.num_timesteps - 1))
            alpha_t, sigma_t = (low + (t - below) * (high - low) for low, high in zip(here, there, strict=True))
            return alpha_t, sigma_t
        index = jnp.maximum(t, 0)
        return jnp.where(t < 0, 1.0, self.alphas[index]), jnp.where(t < 0, 0.0, self.sigmas[index])

    def _repr_parts(self, detail: Detail) -> list[str]:
        return [f"{self.num_timesteps} timesteps"]

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps T of the table (1000 for the published networks)."""
        return self.alphas.shape[-1]

    def timesteps(
        self, n: int, *, spacing: Spacing | None = None, fractional: bool = False
    ) -> Int[Array, "n"] | Float[Array, "n"]:
        """Returns descending timesteps.

        Args:
            n: Number of timesteps.
            spacing: ``linspace`` (default): exactly n, from T - 1 down to 0. ``published``: the grid of the published
                code. Or any function ``(T, n) -> timesteps``.
            fractional: Whether the spacing may choose timesteps between integers.

        Raises:
            ValueError: If ``n`` is not between 1 and T, or the spacing leaves the table or is not descending.
        """
        total = self.num_timesteps
        n = check_whole("num_steps", n, None)
        if spacing is not None:
            check_callable("spacing", spacing, "a function (T, n) -> timesteps, such as rd.schedules.linspace")
        if not 1 <= n <= total:
            raise ValueError(f"cannot choose {n} of {total} timesteps; num_steps must be between 1 and {total}.")
        chosen = np.asarray((spacing or linspace)(total, n))
        real = fractional and np.issubdtype(chosen.dtype, np.floating)
        if chosen.ndim != 1 or chosen.size == 0 or not (real or np.issubdtype(chosen.dtype, np.integer)):
            allowed = "numbers" if fractional else "integers"
            raise ValueError(f"the spacing must return {allowed} (n,), got {chosen.dtype} of shape {chosen.shape}.")
        if not (chosen[0] <= total - 1 and chosen[-1] >= 0 and (np.diff(chosen) < 0).all()):  # also False for NaN
            raise ValueError(f"the spacing must descend within 0..{total - 1}, got {chosen[:3]}...{chosen[-3:]}.")
        return jnp.asarray(chosen, float if real else jnp.int32)

    def nearest(self, ratio: Float[Array, ""] | float) -> Int[Array, ""]:
        """Returns the timestep whose noise-to-signal ratio sigma_t / alpha_t is nearest to this one, in its logarithm.

        Args:
            ratio: Noise level in pixel units, above 0; one beyond the table gives its first or last timestep.
        """
        return jnp.argmin(jnp.abs(jnp.log(self.sigmas / self.alphas) - jnp.log(ratio))).astype(jnp.int32)

    def fractional(self, ratio: Float[Array, ""] | float) -> Float[Array, ""]:
        """Returns the timestep, not an integer, whose noise-to-signal ratio sigma_t / alpha_t is this one.

        Args:
            ratio: As for ``nearest``.
        """
        last = self.num_timesteps - 1
        lower = jnp.clip(jnp.searchsorted(self.sigmas / self.alphas, ratio) - 1, 0, max(last - 1, 0)).astype(jnp.int32)
        (alpha, sigma), (above_alpha, above_sigma) = self(lower), self(jnp.minimum(lower + 1, last))
        slope = above_sigma - sigma - ratio * (above_alpha - alpha)
        part = (ratio * alpha - sigma) / jnp.where(slope > 0, slope, 1.0)
        return jnp.minimum(lower + jnp.clip(part, 0.0, 1.0), float(last))


def linspace(total: int, n: int) -> np.ndarray:
    """Spacing: exactly n timesteps from total - 1 down to 0, as even as integers allow."""
    return np.round(np.linspace(total - 1, 0, n)).astype(np.int64)


def published(total: int, n: int) -> np.ndarray:
    """Spacing of the published code: multiples of ``total // n``, so the top one is ``total - total // n``.

    Where n does not divide total there are more than n: 300 of 1000 gives 334.
    """
    return np.arange(0, total, total // n)[::-1]


def between(start: int, end: int = 0) -> Spacing:
    """Spacing: n timesteps from ``start`` down to ``end``, both included.

    Raises:
        ValueError: If ``end`` is not below ``start``, or n timesteps do not fit between them.
    """
    if not 0 <= end < start:
        raise ValueError(f"timesteps run from start down to end, but start={start} and end={end}.")

    def spacing(total: int, n: int) -> np.ndarray:
        if start >= total or n > start - end + 1:
            raise ValueError(f"cannot choose {n} timesteps from {start} down to {end} in a schedule of {total}.")
        return np.round(np.linspace(start, end, n)).astype(np.int64)

    return spacing


def log_even(
    schedule: Schedule,
    sigma_max: float = 3.0,
    sigma_min: float = 0.02,
    *,
    to_timestep: Callable[[Schedule, jax.Array], jax.Array] = Schedule.nearest,
) -> Spacing:
    """Spacing: n timesteps whose noise levels sigma_t / alpha_t fall by a constant factor from sigma_max to sigma_min.

    Where the table has fewer levels, neighbouring ones are taken, so that the lowest lie further apart.

    Args:
        schedule: The prior's.
        sigma_max: First noise level.
        sigma_min: Last noise level.
        to_timestep: ``Schedule.nearest``; or ``Schedule.fractional``, which gives exactly these levels within the
            table, for priors that take any t.

    Raises:
        ValueError: If ``sigma_min`` is not below ``sigma_max``, or the table has fewer than n levels between them.
    """
    check_type("log_even: schedule", schedule, Schedule, "a Schedule: prior.schedule")
    check_non_negative("sigma_max", sigma_max)
    check_non_negative("sigma_min", sigma_min)
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"noise levels fall from sigma_max to sigma_min; these are {sigma_max} and {sigma_min}.")
    with np.errstate(divide="ignore"):  # the last level may be pure noise
        ratios = np.log(np.asarray(schedule.sigmas, np.float64) / np.asarray(schedule.alphas, np.float64))

    def spacing(total: int, n: int) -> np.ndarray:
        if to_timestep is not Schedule.nearest:
            first, last = np.clip(np.log([sigma_max, sigma_min]), ratios[0], ratios[-1])
            return np.asarray(jax.vmap(lambda r: to_timestep(schedule, r))(jnp.exp(np.linspace(first, last, n))))
        levels = np.linspace(np.log(sigma_max), np.log(sigma_min), n)
        nearest = np.abs(ratios[:, None] - levels).argmin(axis=0)
        if (available := nearest[0] - nearest[-1] + 1) < n:
            raise ValueError(
                f"cannot choose {n} timesteps from noise level {sigma_max} down to {sigma_min}, where the schedule has "
                f"{available}; take fewer, or a wider range."
            )
        # Each at least one above the next, and none above the first.
        rank = np.arange(n)
        above = np.maximum.accumulate((nearest + rank)[::-1])[::-1] - rank
        return np.minimum(above, nearest[0] - rank)

    return spacing


def from_betas(betas: np.ndarray) -> Schedule:
    """Variance-preserving schedule of given betas: alphas_cumprod = cumprod(1 - beta).

    Args:
        betas: Variances of the forward steps, shape (T,), each in (0, 1).

    Raises:
        ValueError: If they are no such betas, or the signal scale alpha_t falls below 1e-15.

    Source:
        Ho et al. 2020 (arXiv 2006.11239), section 2.
    """
    betas = _host_numbers("from_betas: betas", betas)
    if betas.ndim != 1 or betas.size == 0 or not ((betas > 0) & (betas < 1)).all():
        raise ValueError("betas must have shape (T,) and lie strictly between 0 and 1.")
    log_alphas_cumprod = np.cumsum(np.log1p(-betas))
    if (left := int((log_alphas_cumprod > 2 * np.log(_LEAST_ALPHA)).sum())) < betas.size:
        raise ValueError(
            f"betas leave no signal: alpha_t is below {_LEAST_ALPHA:g} from timestep {left} of {betas.size}, where x_0 "
            f"cannot be estimated in float32. Take smaller betas, or the first ones alone: betas[:{left}]."
        )
    # dtype=float is JAX's default float: float32 unless jax_enable_x64 is set.
    return Schedule(
        alphas=jnp.asarray(np.exp(0.5 * log_alphas_cumprod), dtype=float),
        sigmas=jnp.asarray(np.sqrt(-np.expm1(log_alphas_cumprod)), dtype=float),
    )


def linear(num_timesteps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 2e-2) -> Schedule:
    """Linear betas (Ho et al. 2020); the schedule of nearly all published checkpoints."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    return from_betas(np.linspace(beta_start, beta_end, num_timesteps))


def quad(num_timesteps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 2e-2) -> Schedule:
    """Betas whose square root is linear."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    return from_betas(np.linspace(np.sqrt(beta_start), np.sqrt(beta_end), num_timesteps) ** 2)


def const(num_timesteps: int = 1000, *, beta: float = 2e-2) -> Schedule:
    """One beta for all timesteps."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    return from_betas(np.full(num_timesteps, beta))


def jsd(num_timesteps: int = 1000, *, max_beta: float = 0.999) -> Schedule:
    """Betas 1/T, 1/(T-1), ..., 1 (Sohl-Dickstein et al. 2015, arXiv 1503.03585, appendix B.2.1).

    The last one is cut to ``max_beta``: at beta = 1 the signal is gone and x_0 cannot be estimated.
    """
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    return from_betas(np.minimum(1.0 / np.arange(num_timesteps, 0, -1), max_beta))


def sigmoid(num_timesteps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 2e-2) -> Schedule:
    """Betas that follow a logistic curve over [-6, 6]."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    rise = 1 / (1 + np.exp(-np.linspace(-6, 6, num_timesteps)))
    return from_betas(beta_start + (beta_end - beta_start) * rise)


def cosine(num_timesteps: int = 1000, *, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """Squared-cosine alphas_cumprod (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17); the 64 x 64 checkpoint's."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    u = np.arange(num_timesteps + 1) / num_timesteps
    alphas_cumprod = np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
    return from_betas(np.minimum(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], max_beta))


def laplace(num_timesteps: int = 1000, *, max_beta: float = 0.999) -> Schedule:
    """The "laplace" of diffusers: alphas_cumprod = sqrt(r / (1 + r)), ln r a quantile of a Laplace density (scale 1/2).

    The densities are those of Hang & Gu 2024 (arXiv 2407.03297, table 1), for the signal-to-noise ratio r itself; the
    root is that of diffusers. At t = 0 there is next to no noise.
    """
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    u = np.arange(num_timesteps + 1) / num_timesteps
    # 1e-6 bounds the ratio at both ends.
    log_snr = -0.5 * np.copysign(1, 0.5 - u) * np.log(1 - 2 * np.abs(0.5 - u) + 1e-6)
    alphas_cumprod = 1 / np.sqrt(1 + np.exp(-log_snr))
    return from_betas(np.minimum(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], max_beta))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """A variance-preserving schedule, shifted and scaled so that its last level has no signal; that one is left out.

    Networks trained so predict v or x_0. Without signal no image can be estimated, so the table has one level less.

    Args:
        schedule: One of ``from_betas``, with at least two timesteps.

    Source:
        Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
    """
    check_type("zero_terminal_snr: schedule", schedule, Schedule, "a Schedule, such as rd.schedules.linear()")
    a, s = (_host_numbers("schedule", each) for each in (schedule.alphas, schedule.sigmas))
    if a.size < 2 or not np.allclose(a**2 + s**2, 1, atol=1e-5):
        raise ValueError("zero_terminal_snr: schedule must preserve the variance and have at least 2 timesteps.")
    first, last = a[0], a[-1]
    scaled = (a - last) * first / (first - last)
    # 1 - scaled^2 = s^2 + (a - scaled) (a + scaled), with both differences taken where they are exact.
    lost = last * (s**2 - s[0] ** 2) / (first + a) / (first - last)
    sigmas = np.sqrt(s**2 + lost * (a + scaled))
    return Schedule(jnp.asarray(scaled[:-1], dtype=float), jnp.asarray(sigmas[:-1], dtype=float))


def rectified_flow(num_timesteps: int = 1000, *, shift: float = 1.0) -> Schedule:
    """Straight lines from pictures to noise: x_t = (1 - s) x_0 + s eps, alpha_t = 1 - s, sigma_t = s.

    With u = t / T of the T timesteps, s = shift u / (1 + (shift - 1) u). Level 0 has half a timestep's noise, because
    a solver divides by sigma_t, and the last one keeps signal: s < 1, so that x_0 can be estimated.

    Args:
        num_timesteps: Number of timesteps T.
        shift: Above 1 it has more levels of much noise, for large pictures: 3 in Stable Diffusion 3. It changes which
            levels a solver visits, not what a network is to predict at one.

    Source:
        Liu et al. 2023 (arXiv 2209.03003), eq. 1; Lipman et al. 2023 (arXiv 2210.02747), example II. The shift: Esser
        et al. 2024 (arXiv 2403.03206), eq. 23.
    """
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    check_non_negative("shift", shift)
    if not shift > 0:
        raise ValueError(f"rectified_flow: shift is {shift} but must be positive; 1 leaves the levels evenly spaced.")
    u = np.maximum(np.arange(num_timesteps), 0.5) / num_timesteps
    denominator = 1 + (shift - 1) * u
    return Schedule(jnp.asarray((1 - u) / denominator, dtype=float), jnp.asarray(shift * u / denominator, dtype=float))


def from_sigmas(sigmas: np.ndarray) -> Schedule:
    """Variance-exploding schedule: x_t = x_0 + sigma_t eps.

    Args:
        sigmas: Noise levels in pixel units ([-1, 1] images), shape (T,), positive and ascending.
    """
    sigmas = _host_numbers("from_sigmas: sigmas", sigmas)
    if sigmas.ndim != 1 or sigmas.size == 0 or not np.isfinite(sigmas).all():
        raise ValueError(f"sigmas must have shape (T,) and be finite, got shape {sigmas.shape}.")
    if sigmas[0] <= 0 or (np.diff(sigmas) <= 0).any():
        raise ValueError("sigmas must be positive and ascend; reverse them if they descend.")
    return Schedule(jnp.ones(sigmas.size), jnp.asarray(sigmas, dtype=float))


def ve(num_timesteps: int = 1000, *, sigma_min: float = 0.01, sigma_max: float = 50.0) -> Schedule:
    """Geometric noise levels (Song et al. 2021, arXiv 2011.13456, appendix C)."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    return from_sigmas(np.geomspace(sigma_min, sigma_max, num_timesteps))


def edm(num_timesteps: int = 1000, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Schedule:
    """Noise levels evenly spaced in sigma ** (1 / rho) (Karras et al. 2022, arXiv 2206.00364, eq. 5), ascending."""
    num_timesteps = check_whole("num_timesteps", num_timesteps)
    return from_sigmas(np.linspace(sigma_min ** (1 / rho), sigma_max ** (1 / rho), num_timesteps) ** rho)


def _host_numbers(name: str, values: Any) -> np.ndarray:
    values = list(values) if isinstance(values, tuple) else values
    check_array(name, values, "numbers (T,), one for each timestep")
    return np.asarray(values, np.float64)
