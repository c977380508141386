"""Scans as inverse problems, slice by slice, and pictures of them in the scan's own units."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from reddiff_jax import pictures, scans, tasks
from reddiff_jax.estimating import estimate_sigma
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.inputs import own_arrays
from reddiff_jax.jobs.scanning.options import AUTO, CT, DENOISE, MRI, Layout, ScanOptions
from reddiff_jax.noise import gaussian
from reddiff_jax.operators import denoising
from reddiff_jax.problems import Problem, pose
from reddiff_jax.scans.arrays import read_array


@dataclass(frozen=True)
class Posed:
    """A scan posed slice by slice."""

    problems: list[Problem]
    images: Callable[[int, np.ndarray], np.ndarray]  # (slice, x) -> the picture in the units of the scan
    finished: Callable[[np.ndarray], np.ndarray]  # all pictures (S, H, W), frames (T, H, W, C), as they are written
    like: Any
    said: str

    @property
    def sigma(self) -> float:
        """The level of the noise, the median of the slices."""
        return float(np.median([float(each.noise.sigma_y) for each in self.problems]))  # type: ignore[attr-defined]


def pose_scan(path: Path, options: ScanOptions) -> Posed:
    """Reads a scan and poses each of its slices.

    Raises:
        ValueError: In one line, if it cannot be done so.
    """
    ways = {MRI: _posed_mri, CT: _posed_ct, DENOISE: _posed_volume}
    posed = (_posed_clip if options.clips else ways[options.task])(path, options)
    if options.sigma is None:
        return replace(posed, said=f"{posed.said}, sigma {posed.sigma:.3g} (estimated)")
    problems = [replace(each, noise=gaussian(options.sigma)) for each in posed.problems]
    return replace(posed, problems=problems, said=f"{posed.said}, sigma {options.sigma:.3g} (given)")


def _posed_mri(path: Path, options: ScanOptions) -> Posed:
    kspace = scans.read_kspace(path)
    mask = None
    if options.mask is not None and str(options.mask) != AUTO:
        mask = np.asarray(read_array(Path(options.mask), ("mask",)))
    white = scans.white_of(kspace)
    indices = range(len(kspace.values))
    slices = [scans.pose_mri(kspace, index, white=white, mask=mask) for index in indices]
    share = float(np.mean([np.asarray(each.problem.operator.observed).mean() for each in slices]))
    said = (
        f"{len(slices)} slices of {kspace.values.shape[1]} x {kspace.values.shape[2]}, {kspace.num_coils} coils, "
        f"{100 * share:.0f} % of k-space measured"
    )
    return Posed(
        [each.problem for each in slices],
        lambda index, x: slices[index].image(jnp.asarray(x)),
        kspace.cropped,
        kspace,
        said,
    )


def _posed_ct(path: Path, options: ScanOptions) -> Posed:
    projections = scans.read_projections(path)
    sinogram = sinogram_of(projections, options)
    if options.center == AUTO:
        sinogram = sinogram.centered()
    elif options.center is not None:
        sinogram = sinogram.centered(_number("center", options.center))
    white = sinogram.white()
    problems = [sinogram.problem(index, white=white) for index in range(len(sinogram.values))]
    views, detectors = sinogram.values.shape[1:]
    said = f"{len(problems)} slices of {views} views and {detectors} detector elements, center {sinogram.center:.2f}"
    return Posed(
        problems,
        lambda index, x: sinogram.to_attenuation(jnp.asarray(x), white),
        lambda images: images,
        None,
        said,
    )


def _posed_volume(path: Path, options: ScanOptions) -> Posed:
    volume = scans.read_volume(path)
    limits = volume.limits()
    pixels = volume.pixels(limits)
    operator = denoising(pixels.shape[1:])
    middle = jnp.asarray(pixels[len(pixels) // 2])
    sigma = float(estimate_sigma(jnp.clip(middle, -1, 1))) if options.sigma is None else options.sigma
    problems = [pose(jnp.asarray(each), operator, gaussian(sigma)) for each in pixels]
    unit = f" {volume.unit}" if volume.unit else ""
    said = f"{len(problems)} slices of {pixels.shape[1]} x {pixels.shape[2]}, {limits[0]:.4g} to {limits[1]:.4g}{unit}"
    return Posed(
        problems,
        lambda index, x: volume.of_pixels(x[None], limits)[0],
        lambda images: images,
        volume,
        said,
    )


def _posed_clip(path: Path, options: ScanOptions) -> Posed:
    clip = scans.read_clip(path)
    task = tasks.by_name(options.task)
    in_shape = task.in_shape(clip.values.shape[1:], clip.values.shape[3])
    arrays, own = own_arrays(options.mask, None, in_shape, path.stem, hole=options.hole)
    if task.needs is not None and not arrays:
        raise JobError(f"{options.task} needs to know which pixels are missing in all frames: --mask FILE.")
    operator = task.operator(in_shape, arrays)
    frames = clip.values
    if own is not None:
        frames = np.where(arrays["mask"] > 0, frames, 0).astype(np.float32)  # what it hides was never seen
    sigma = options.sigma
    if sigma is None:
        sigma = max(float(estimate_sigma(jnp.asarray(frames[len(frames) // 2]))), pictures.ROUNDING_SIGMA)
    problems = [pose(jnp.asarray(each), operator, gaussian(sigma)) for each in frames]
    said = f"{len(frames)} frames of {frames.shape[2]} x {frames.shape[1]}, {float(clip.rate):.4g} a second"
    if own is not None:
        said += f", {own.said}"
    return Posed(problems, lambda index, x: x, lambda images: images, clip, said)


def sinogram_of(projections: np.ndarray, options: ScanOptions) -> scans.Sinogram:
    """The sinogram that an array is, by the conventions of the options.

    Raises:
        ValueError: If shapes and angles do not fit.
    """
    if projections.ndim not in (2, 3):
        raise JobError(f"the sinogram has shape {projections.shape} but one slice has two axes, several have three.")
    match options.layout:
        case Layout.TOMOPY:
            projections = projections[:, None] if projections.ndim == 2 else projections
            return scans.from_tomopy(projections, _angles(options, projections.shape[0]))
        case Layout.ASTRA:
            stack = projections[None] if projections.ndim == 2 else projections
            of_slice = lambda each: scans.from_astra(each, _angles(options, stack.shape[1]))  # noqa: E731
        case Layout.SCIKIT_IMAGE:
            stack = projections[None] if projections.ndim == 2 else projections
            of_slice = lambda each: scans.from_scikit_image(each, degrees(options, stack.shape[2]))  # noqa: E731
    slices = [of_slice(each) for each in stack]
    return replace(slices[0], values=np.concatenate([each.values for each in slices]))


def _angles(options: ScanOptions, views: int) -> np.ndarray:
    return np.deg2rad(degrees(options, views))


def degrees(options: ScanOptions, views: int) -> np.ndarray:
    """Angles in degrees from the words of the command line."""
    text = str(options.angles)
    first, colon, last = text.partition(":")
    if colon and not Path(text).exists():
        return np.linspace(_number("angles", first), _number("angles", last), views, endpoint=False)
    path = Path(text)
    if not path.is_file():
        raise JobError(f"angles is {text!r} but must be FIRST:LAST in degrees, such as 0:180, or a file of degrees.")
    if path.suffix.lower() in (".npy", ".npz", ".mat"):
        return np.ravel(read_array(path, ("angles", "theta")))
    try:
        return np.ravel(np.loadtxt(path, delimiter="," if "," in path.read_text() else None))
    except ValueError as error:
        raise JobError(f"{path} cannot be read as angles ({str(error).splitlines()[0]}).") from None


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise JobError(f"{name} is {text!r} but must be a number{', or auto' if name == 'center' else ''}.")
    return value
