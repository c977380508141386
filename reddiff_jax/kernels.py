"""Blur kernels, (size, size) with sum 1: Gaussian, defocus, straight motion, and random camera shake."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_non_negative, check_odd, check_positive, is_concrete
from reddiff_jax._keys import as_key

_POINTS_PER_TAP = 8
_NUM_HARMONICS = 5


def gaussian(size: int = 61, sigma: float | Float[Array, ""] = 3.0) -> Float[Array, "size size"]:
    """Isotropic Gaussian, ``k[i, j] ~ exp(-((i - c)^2 + (j - c)^2) / (2 sigma^2))``, with sum 1.

    Args:
        size: Side in pixels, odd. Default as in DPS.
        sigma: Standard deviation in pixels, above 0; may be traced, so that ``jax.vmap`` gives one for each image.
            Default as in DPS.

    Raises:
        ValueError: If ``size`` is not odd or a concrete ``sigma`` is not above 0.
    """
    check_odd("kernels.gaussian: size", size)
    check_positive("kernels.gaussian: sigma", sigma, "For no blur use rd.denoising.")
    offsets = jnp.arange(size) - size // 2
    taps = jnp.exp(-0.5 * (offsets / sigma) ** 2)
    taps = taps / taps.sum()
    return taps[:, None] * taps[None, :]


def defocus(radius: float | Float[Array, ""], size: int | None = None) -> Float[Array, "size size"]:
    """Lens out of focus: a disk, ``k[i, j] ~ clip(radius + 1/2 - d, 0, 1)``, d = distance to the centre, with sum 1.

    Args:
        radius: Of the disk in pixels, above 0; may be traced if ``size`` is given.
        size: Side in pixels, odd; the smallest that holds the disk if None.

    Raises:
        ValueError: If ``radius`` is not above 0 or traced without ``size``, or ``size`` is not odd.
    """
    check_positive("kernels.defocus: radius", radius, "For no blur use rd.denoising.")
    offsets = _offsets("kernels.defocus", size, "radius", radius, lambda radius: radius + 0.5)
    distance = jnp.hypot(offsets[:, None], offsets[None, :])
    # The edge is a pixel wide, as pixels on it are partly covered; where none is, the central one counts.
    disk = jnp.clip(radius + 0.5 - distance, 0.0, 1.0)
    return disk / disk.sum()


def line(
    length: float | Float[Array, ""], angle: float | Float[Array, ""] = 0.0, size: int | None = None
) -> Float[Array, "size size"]:
    """Motion along a straight line at constant speed, with sum 1.

    The time that a point which moves by ``length`` pixels spends in each pixel, by bilinear weights. A motion and its
    reverse have the same kernel.

    Args:
        length: Of the path in pixels, above 0; may be traced if ``size`` is given.
        angle: Direction in radians, anticlockwise as one sees the picture: 0 is horizontal, pi / 2 vertical, pi / 4
            rises to the right. May be traced.
        size: Side in pixels, odd; the smallest that holds the path at any angle if None.

    Raises:
        ValueError: If ``length`` is not above 0 or traced without ``size``, or ``size`` is not odd.
    """
    check_positive("kernels.line: length", length, "For no blur use rd.denoising.")
    offsets = _offsets("kernels.line", size, "length", length, lambda length: length / 2 + 1)
    num = _POINTS_PER_TAP * offsets.size
    way = length * ((jnp.arange(num) + 0.5) / num - 0.5)  # (N,), from one end to the other
    # Rows count downwards.
    rows, columns = (
        jnp.maximum(1 - jnp.abs(offsets[:, None] - direction * way[None, :]), 0.0)  # (size, N)
        for direction in (-jnp.sin(angle), jnp.cos(angle))
    )
    kernel = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)
    return kernel / kernel.sum()


def _offsets(
    name: str, size: int | None, what: str, value: float | Float[Array, ""], reach: Callable[[float], float]
) -> Float[Array, "size"]:
    """Distances of the taps from the central one; ``reach(value)`` is the largest at which there is no weight."""
    if size is None:
        if not is_concrete(value):
            raise ValueError(
                f"{name}: {what} is traced, so the kernel's size must be given: {name}(..., size=31), say."
            )
        size = 2 * max(0, math.ceil(reach(float(value))) - 1) + 1
    check_odd(f"{name}: size", size)
    return jnp.arange(size) - size // 2.0


def motion(key: PRNGKeyArray, size: int = 61, intensity: float | Float[Array, ""] = 0.5) -> Float[Array, "size size"]:
    """A random camera shake: the time that a smooth random path spends in each pixel, with sum 1.

    The path's heading and speed are random smooth functions of time (a few cosines with falling amplitudes) that
    ``intensity`` scales. The path reaches a uniformly random 0.5 to 1 of the way from the centre to the border. The
    centroid is the centre of the kernel, so that pictures are not shifted. Works under ``jax.jit`` and ``jax.vmap``.

    Args:
        key: PRNG key.
        size: Side in pixels, odd. Default as in DPS.
        intensity: 0 = a straight line at constant speed, 1 = very shaky.

    Raises:
        ValueError: If ``size`` is not odd or a concrete ``intensity`` is negative.

    Source:
        Our own. The published evaluations (Chung et al. 2022, arXiv 2209.14687) draw kernels of size 61 and intensity
        0.5 from another random path; ours resemble these in looks and extent, not in distribution.
    """
    key = as_key("kernels.motion: key", key)
    check_odd("kernels.motion: size", size)
    check_non_negative("kernels.motion: intensity", intensity, "0 is a straight line, 1 is very shaky.")
    key_heading, key_turn, key_speed, key_extent = jax.random.split(key, 4)
    time = (jnp.arange(_POINTS_PER_TAP * size) + 0.5) / (_POINTS_PER_TAP * size)  # (N,)
    start = jax.random.uniform(key_heading, maxval=2 * jnp.pi)
    heading = start + jnp.pi * intensity * _smooth_noise(key_turn, time)
    speed = jnp.exp(intensity * _smooth_noise(key_speed, time))
    path = jnp.cumsum(speed[None, :] * jnp.stack([jnp.sin(heading), jnp.cos(heading)]), axis=1)  # (2, N)
    path = path - path.mean(axis=1, keepdims=True)
    half = (size - 1) / 2
    path = path * (half * jax.random.uniform(key_extent, minval=0.5, maxval=1.0) / jnp.max(jnp.abs(path)))

    # Bilinear splatting keeps the centroid exactly.
    row, column = jnp.clip(path + half, 0, size - 1)
    top, left = jnp.floor(row).astype(int), jnp.floor(column).astype(int)
    kernel = jnp.zeros((size, size))
    for i, weight_i in ((top, 1 - (row - top)), (top + 1, row - top)):
        for j, weight_j in ((left, 1 - (column - left)), (left + 1, column - left)):
            kernel = kernel.at[i, j].add(weight_i * weight_j, mode="drop")
    return kernel / kernel.sum()


def _smooth_noise(key: PRNGKeyArray, time: Float[Array, "N"]) -> Float[Array, "N"]:
    """A random smooth function on [0, 1] of standard deviation about 0.9."""
    key_amplitude, key_phase = jax.random.split(key)
    order = jnp.arange(1, _NUM_HARMONICS + 1)
    amplitude = jax.random.normal(key_amplitude, (_NUM_HARMONICS,)) / order
    phase = jax.random.uniform(key_phase, (_NUM_HARMONICS,), maxval=2 * jnp.pi)
    waves = jnp.cos(jnp.pi * order[:, None] * time[None, :] + phase[:, None])  # (harmonics, N)
    return jnp.sum(amplitude[:, None] * waves, axis=0)


def simplex(kernel: Float[Array, "kh kw"]) -> Float[Array, "kh kw"]:
    """The nearest kernel without negative weights whose sum is 1: ``max(k - tau, 0)`` with the tau that makes it so.

    Args:
        kernel: Of any shape, real.

    Source:
        Held, Wolfe & Crowder 1974 (Mathematical Programming 6).
    """
    flat = jnp.sort(kernel.ravel())[::-1]
    # The mean excess of the k largest weights over 1 / k; those above their own excess stay.
    excess = (jnp.cumsum(flat) - 1) / jnp.arange(1, flat.size + 1)
    tau = excess[jnp.sum(flat > excess) - 1]
    return jnp.maximum(kernel - tau, 0.0)
