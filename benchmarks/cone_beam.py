"""Cone-beam CT through ``rd.linear_operator``, with the projector of another package: RTK, on CPUs.

    pip install itk-rtk && python -m benchmarks.cone_beam [--size 32] [--slices 16] [--views 16]

A cone mixes slices, so that the unknown is the whole volume (H, W, D), with the slices as channels, each of which
``rd.gray_prior`` takes for a picture. RTK's back-projector of Joseph's kind is the adjoint of its projector.
"""

import argparse
import importlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report

SIGMA = 0.01


def cone_beam(
    shape: tuple[int, int, int],
    angles: np.ndarray,
    *,
    source_distance: float,
    detector_distance: float,
    detector: tuple[int, int],
    spacing: float,
) -> rd.LinearOperator:
    """Line integrals of a volume along the rays from a point source to a flat detector, divided by its width.

    Args:
        shape: (H, W, D) of the volume, whose voxels are 1; the axis of rotation runs along D.
        angles: Of the views, in radians.
        source_distance: From the source to the axis.
        detector_distance: From the source to the detector.
        detector: Rows, along D, and columns.
        spacing: Of the detector's elements.

    Raises:
        ImportError: Without itk-rtk.
    """
    itk: Any = importlib.import_module("itk")
    rtk = itk.RTK
    height, width, depth = shape
    measured = (len(angles), *detector)
    volume = itk.Image[itk.F, 3]
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in np.rad2deg(angles):
        geometry.AddProjection(source_distance, detector_distance, float(angle))

    def image(array: np.ndarray, *spacings: float) -> Any:
        """ITK's image of an array (z, y, x), around the origin."""
        made = itk.image_from_array(np.ascontiguousarray(array, np.float32))
        made.SetSpacing(spacings[::-1])
        made.SetOrigin([-(n - 1) / 2 * each for n, each in zip(array.shape[::-1], spacings[::-1], strict=True)])
        return made

    def filtered(kind: Any, empty: Any, given: Any) -> np.ndarray:
        made = kind[volume, volume].New()
        made.SetGeometry(geometry)
        made.SetInput(0, empty)
        made.SetInput(1, given)
        made.Update()
        return itk.array_from_image(made.GetOutput()) / width

    # RTK turns around its second axis: (H, W, D) is its (z, x, y).
    def project(x: np.ndarray) -> np.ndarray:
        empty = image(np.zeros(measured), 1.0, spacing, spacing)
        given = image(np.moveaxis(np.asarray(x), 2, 1), 1.0, 1.0, 1.0)
        return filtered(rtk.JosephForwardProjectionImageFilter, empty, given)

    def project_back(y: np.ndarray) -> np.ndarray:
        empty = image(np.zeros((height, depth, width)), 1.0, 1.0, 1.0)
        given = image(np.asarray(y), 1.0, spacing, spacing)
        return np.moveaxis(filtered(rtk.JosephBackProjectionImageFilter, empty, given), 1, 2)

    call = partial(jax.pure_callback, vmap_method="sequential")
    return rd.linear_operator(
        lambda x: call(project, jax.ShapeDtypeStruct(measured, jnp.float32), x),
        shape,
        adjoint=lambda y: call(project_back, jax.ShapeDtypeStruct(shape, jnp.float32), y),
    )


def main() -> None:
    """Restores a head of few views and writes results/cone_beam.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="folder or bundled name")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--out", type=Path, help="folder for the JSON; results/ if left out")
    args = parser.parse_args()
    size, depth = args.size, args.slices
    fractions = 0.5 + 4 * (np.arange(depth) - depth // 2) / 189  # 4 mm apart, of the 189 mm of the template
    truth = jnp.asarray(
        np.stack([_pictures.head_slice(size, each)[..., 0] for each in fractions], axis=-1), jnp.float32
    )
    operator = cone_beam(
        (size, size, depth),
        np.linspace(0, 2 * np.pi, args.views, endpoint=False),
        source_distance=3.0 * size,
        detector_distance=5.0 * size,
        detector=(2 * depth + 8, 2 * size + 16),
        spacing=1.2,
    )
    problem = rd.measure(jax.random.key(0), operator, rd.gaussian(SIGMA), truth)
    rows = []

    def score(way: str, x: jax.Array, seconds: float) -> None:
        error = jnp.clip(x, -1, 1) - truth
        rows.append({"way": way, "PSNR": float(10 * jnp.log10(4 / jnp.mean(error**2))), "CPU seconds": seconds})
        print(rows[-1], flush=True)

    started = time.process_time()
    score("pseudo-inverse", operator.pinv(problem.y), round(time.process_time() - started, 1))
    solver = rd.noise_aware(rd.gray_prior(rd.load_prior(args.prior)), rd.proximal_step())
    started = time.process_time()
    x = rd.run(jax.random.key(1), solver, problem).x.block_until_ready()
    score("noise-aware RED-diff", x, round(time.process_time() - started, 1))
    settings = {"size": size, "slices": depth, "views": args.views, "sigma": SIGMA, "prior": args.prior or "photo64"}
    _report.write("cone_beam", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
