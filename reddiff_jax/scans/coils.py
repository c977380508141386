"""Noise of coils, and their combination to one picture."""

import dataclasses
import math

import numpy as np
from jaxtyping import Complex, Float

from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.kspace import KSpace

_CORNER = 0.35  # of the sides: points farther from DC in both directions are in a corner
_FEWEST = 32  # numbers from which a level is estimated
_AWAY = 0.1  # of the sides: windows are farther from DC in both directions
_LONGEST, _FEWEST_NUMBERS, _MOST_NUMBERS = 12, 8, 96  # points of a window along the readout; numbers of a window
_MOST_WINDOWS = 8192


def root_sum_of_squares(images: Complex[np.ndarray, "*S H W K"]) -> Float[np.ndarray, "*S H W"]:
    """The coils' pictures combined without maps, as fastMRI's references are."""
    return np.sqrt((np.abs(images) ** 2).sum(axis=-1))


def sense(
    images: Complex[np.ndarray, "*S H W K"], maps: Complex[np.ndarray, "*S H W K"]
) -> Complex[np.ndarray, "*S H W"]:
    """The coils' pictures combined by their maps, ``sum conj(S_c) z_c / sum |S_c|^2``, 0 where there are none."""
    total = (np.abs(maps) ** 2).sum(axis=-1)
    return (np.conj(maps) * images).sum(axis=-1) / np.where(total > 0, total, 1)


def prewhitened(kspace: KSpace) -> KSpace:
    """The same with coils mixed so that their noise is independent and of standard deviation 1, by the noise scan.

    Noise has the covariance ``L L^H`` (of complex numbers whose parts have variance 1); the coils become ``L^-1 y``.

    Raises:
        ScanError: If there is no noise scan, or one of too few samples.
    """
    if kspace.noise is None:
        raise ScanError("the file has no noise scan; without one coils are taken for independent.")
    count, coils = kspace.noise.shape
    if count < 2 * coils:
        raise ScanError(f"the noise scan has {count} samples of {coils} coils, too few for their covariance.")
    covariance = kspace.noise.T @ np.conj(kspace.noise) / (2 * count)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    return dataclasses.replace(kspace, values=kspace.values @ whitening.T, noise=kspace.noise @ whitening.T)


def noise_level(kspace: KSpace, index: int = 0) -> float:
    """Standard deviation of the noise, of real and of imaginary parts, from k-space of one slice away from DC.

    A picture that does not fill its field of view, and the coils' smooth maps, make neighbouring points of k-space
    dependent: short windows along the readout, of all coils, lie near a subspace, and outside of it is the noise alone,
    even where the picture is sharp. The least eigenvalues of the windows' covariance, relative to those of white noise
    in the same windows, are its variance. Of scans too small for that the median of |y|^2 in the corners is taken,
    which is 2 ln 2 times the variance and too large by the picture's share.

    Raises:
        ScanError: If less than 32 points are measured.
    """
    values, measured = kspace.values[index], kspace.sampling(index) > 0
    if measured.sum() < _FEWEST:
        raise ScanError(f"{measured.sum()} points of k-space are measured, too few to estimate their noise.")
    # The readout is the axis along which more neighbours are measured.
    if (measured[:, 1:] & measured[:, :-1]).sum() > (measured[1:] & measured[:-1]).sum():
        values, measured = values.swapaxes(0, 1), measured.T
    height, width = measured.shape
    rows, columns = (np.abs(np.arange(side) - side // 2) / side for side in (height, width))
    nearest = np.minimum(rows[:, None], columns[None, :])
    away = measured & (nearest > _AWAY)
    for length in range(min(_LONGEST, height), 0, -1):
        size = length * kspace.num_coils
        at = np.argwhere(np.lib.stride_tricks.sliding_window_view(away, length, axis=0).all(axis=-1))
        if size <= _MOST_NUMBERS and size >= _FEWEST_NUMBERS and len(at) >= 2 * size:
            at = at[:: -(-len(at) // _MOST_WINDOWS)]
            rng = np.random.default_rng(0)
            white = rng.normal(size=values.shape) + 1j * rng.normal(size=values.shape)
            return math.sqrt(_least_variance(values, at, length) / _least_variance(white, at, length))
    corner = measured & (nearest > _CORNER)
    if corner.sum() < _FEWEST:
        far = np.maximum(rows[:, None], columns[None, :])
        corner = measured & (far >= np.sort(far[measured])[-max(_FEWEST, int(0.05 * measured.sum()))])
    return float(np.sqrt(np.median(np.abs(values[corner]) ** 2) / (2 * math.log(2))))


def _least_variance(values: np.ndarray, at: np.ndarray, length: int) -> float:
    """Mean of the least tenth of the eigenvalues of the covariance of windows (length, coils) that begin at places."""
    rows = at[:, :1] + np.arange(length)  # (N, length)
    windows = values[rows, at[:, 1:]].reshape(len(at), -1).astype(np.complex128)
    eigenvalues = np.linalg.eigvalsh(np.conj(windows.T) @ windows / len(at))
    least = eigenvalues[: max(1, len(eigenvalues) // 10)]
    return max(float(least.mean()), float(np.finfo(np.float32).tiny))
