"""What it costs to restore a picture of an odd size within a larger frame: PSNR against that of its own size.

    python -m benchmarks.framing [--height 76] [--width 92]

The centres of the five reporting pictures and the bundled prior, with each task's settings in the command line,
the same measurements and keys. ``worst`` is the largest loss of a picture. The frames are those of ``reddiff-jax
restore``.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report, _settings
from reddiff_jax import measurements, metrics, tasks
from reddiff_jax.jobs.framing import frame_header, framed

TASKS = ("inpaint_random", "inpaint_freeform", "sr2", "sr4")

runs = jax.jit(jax.vmap(lambda key, solver, problem: rd.run(key, solver, problem).x, in_axes=(0, None, 0)))


def main() -> None:
    """Measures and writes results/framing.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--height", type=int, default=76)
    parser.add_argument("--width", type=int, default=92)
    parser.add_argument("--sigmas", nargs="*", type=float, default=(0.0, 0.05))
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, rows = rd.load_prior(args.prior), []
    side = max(args.height, args.width)
    pictures = _pictures.held_out(side)
    top, left = (side - args.height) // 2, (side - args.width) // 2
    xs = [x[top : top + args.height, left : left + args.width] for x in pictures.values()]
    keys = jax.random.split(jax.random.key(0), len(xs))
    settings = {"prior": str(args.prior or "bundled"), "pictures": len(xs)}
    settings |= {name: getattr(args, name) for name in ("height", "width")}
    for name in args.tasks:
        task = tasks.by_name(name)
        for sigma in args.sigmas:
            problems: dict[str, list[rd.Problem]] = {"exact": [], "framed": []}
            for i, x in enumerate(xs):
                key = jax.random.key(1 + i)
                arrays = task.simulate(key, x.shape)
                y = rd.measure(key, task.operator(x.shape, arrays), rd.gaussian(sigma), jnp.asarray(x)).y
                measurement = measurements.make_measurement(name, sigma, np.asarray(y), x.shape, arrays)
                frame = frame_header(measurement.header)
                settings["frame"] = frame.in_shape[:2]
                problems["exact"].append(measurement.problem())
                problems["framed"].append(framed(measurement, frame))
            solver = _settings.built_in(name, sigma).solver(prior)
            psnr = {}
            for way, of_pictures in problems.items():
                restored = np.asarray(runs(keys, solver, rd.stack(of_pictures)))[:, : args.height, : args.width]
                each = [metrics.psnr(jnp.clip(r, -1, 1), jnp.asarray(x)) for r, x in zip(restored, xs, strict=True)]
                psnr[way] = np.asarray(each, float)
            row = {"task": name, "sigma": sigma, **{way: float(values.mean()) for way, values in psnr.items()}}
            rows.append({**row, "worst": float((psnr["framed"] - psnr["exact"]).min())})
            print(rows[-1], flush=True)
            _report.write("framing", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
