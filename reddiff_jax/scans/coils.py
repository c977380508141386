"""Noise of coils, and their combination to one picture."""

import dataclasses
import math

import numpy as np
from jaxtyping import Complex, Float

from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.kspace import KSpace

_CORNER = 0.35  # of the sides: points farther from DC in both directions are in a corner
_FEWEST = 32  # numbers from which a level is estimated


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
    """Standard deviation of the noise, of real and of imaginary parts, from the corners of k-space of one slice.

    There pictures have little signal. Where corners were not measured, the measured points farthest from DC serve. The
    median of |y|^2 over all coils is 2 ln 2 times the variance, whatever a few points are.

    Raises:
        ScanError: If less than 32 points are measured.
    """
    values, measured = kspace.values[index], kspace.sampling(index) > 0
    height, width = measured.shape
    rows, columns = (np.abs(np.arange(side) - side // 2) / side for side in (height, width))
    nearest = np.minimum(rows[:, None], columns[None, :])
    corner = measured & (nearest > _CORNER)
    if corner.sum() < _FEWEST:
        if measured.sum() < _FEWEST:
            raise ScanError(f"{measured.sum()} points of k-space are measured, too few to estimate their noise.")
        far = np.maximum(rows[:, None], columns[None, :])
        corner = measured & (far >= np.sort(far[measured])[-max(_FEWEST, int(0.05 * measured.sum()))])
    return float(np.sqrt(np.median(np.abs(values[corner]) ** 2) / (2 * math.log(2))))
