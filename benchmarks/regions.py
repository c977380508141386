"""How much of what was seen a window around a hole needs: PSNR in the hole by the margin around it.

    python -m benchmarks.regions [--widths 3 6 12] [--margins 4 8 16 32]

Straight scratches of a width through the middle of the reporting photos, in random directions. A window holds a piece
of 32 x 32 pixels and a margin around it; the PSNR is that of the piece's missing pixels, with the settings of the
command line.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax.pictures import ROUNDING_SIGMA
from reddiff_jax.settings import default_settings

PIECE = 32

runs = jax.jit(jax.vmap(lambda key, solver, problem: rd.run(key, solver, problem).x, in_axes=(0, None, 0)))


def scratched(size: int, width: int, seed: int) -> np.ndarray:
    """A mask (size, size, 1), 0 on a straight line near the middle."""
    rng = np.random.default_rng(seed)
    angle, shift = rng.uniform(0, np.pi), rng.uniform(-8, 8)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.cos(angle) * rows + np.sin(angle) * columns - shift
    return (np.abs(distance) > width / 2).astype(np.float32)[..., None]


def main() -> None:
    """Measures and writes results/regions.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--widths", nargs="*", type=int, default=(3, 6, 12))
    parser.add_argument("--margins", nargs="*", type=int, default=(4, 8, 16, 32))
    parser.add_argument("--scratches", type=int, default=2, help="for each photo")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, rows, photos = rd.load_prior(args.prior), [], list(_pictures.held_out(256).values())
    settings = {"prior": str(args.prior or "bundled"), "piece": PIECE, "scratches": args.scratches}
    for width in args.widths:
        for margin in args.margins:
            side, inside = PIECE + 2 * margin, slice(margin, margin + PIECE)
            part = slice(128 - side // 2, 128 + side // 2)
            xs = [x[part, part] for x in photos for _ in range(args.scratches)]
            masks = [scratched(256, width, seed)[part, part] for seed in range(len(xs))]
            problems = [
                rd.problem(jnp.asarray(x * mask), rd.inpainting(mask, channels=3), rd.gaussian(ROUNDING_SIGMA))
                for x, mask in zip(xs, masks, strict=True)
            ]
            solver = default_settings(problems[0]).solver(prior)
            restored = np.clip(runs(jax.random.split(jax.random.key(0), len(xs)), solver, rd.stack(problems)), -1, 1)
            errors = [
                np.mean(((r - x) ** 2)[inside, inside][mask[inside, inside, 0] == 0])
                for r, x, mask in zip(restored, xs, masks, strict=True)
            ]
            rows.append({"width": width, "margin": margin, "PSNR": float(np.mean(10 * np.log10(4 / np.array(errors))))})
            print(rows[-1], flush=True)
            _report.write("regions", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
