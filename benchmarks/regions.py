"""How much of what was seen a window around a hole needs, and what windows save.

    python -m benchmarks.regions [--widths 3 6 12] [--margins 4 8 16 32]

Rows "margins" have the PSNR in the hole by the margin around it. Straight scratches of a width go through the middle of
the reporting photos, in random directions. A window holds a piece of 32 x 32 pixels and a margin around it; the PSNR is
that of the piece's missing pixels, with the settings of the command line.

Rows "shares" count the pixels of the windows that the command line would restore, for scratches through the middle of
pictures of some sizes. A row "cost" has the CPU seconds (not of the wall clock; without compiling) of a whole picture
and of its windows, and the PSNR of what was missing.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax.jobs.regions import Region, find_regions, pasted, whole
from reddiff_jax.pictures import ROUNDING_SIGMA
from reddiff_jax.settings import default_settings

PIECE = 32
SIZES = ((512, 512), (1000, 1500), (3000, 4000))  # height and width
SCRATCH = 4
COST_SIDE = 192

runs = jax.jit(jax.vmap(lambda key, solver, problem: rd.run(key, solver, problem).x, in_axes=(0, None, 0)))


def scratched(size: int | tuple[int, int], width: int, seed: int) -> np.ndarray:
    """A mask (H, W, 1), 0 on a straight line near the middle."""
    rng = np.random.default_rng(seed)
    angle, shift = rng.uniform(0, np.pi), rng.uniform(-8, 8)
    h, w = (size, size) if isinstance(size, int) else size
    rows, columns = np.mgrid[:h, :w].astype(float)
    rows, columns = rows - (h - 1) / 2, columns - (w - 1) / 2
    distance = np.cos(angle) * rows + np.sin(angle) * columns - shift
    return (np.abs(distance) > width / 2).astype(np.float32)[..., None]


def margins(prior: rd.Prior, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each width and margin."""
    rows, photos = [], list(_pictures.held_out(256).values())
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
            rows.append(
                {
                    "what": "margins",
                    "width": width,
                    "margin": margin,
                    "PSNR": float(np.mean(10 * np.log10(4 / np.array(errors)))),
                }
            )
            print(rows[-1], flush=True)
    return rows


def shares() -> list[dict[str, Any]]:
    """A row for each size of a picture and number of scratches."""
    rows = []
    for size in SIZES:
        for count in (1, 4):
            mask = np.min([scratched(size, SCRATCH, seed) for seed in range(count)], axis=0)
            regions = find_regions(mask)
            row = {"what": "shares", "height": size[0], "width": size[1], "scratches": count}
            row |= {"missing %": round(100 * float(1 - mask.mean()), 2), "windows": len(regions)}
            row |= {"side": regions[0].height}
            row |= {"pixels %": round(100 * sum(each.height * each.width for each in regions) / mask.size, 1)}
            rows.append(row)
            print(row, flush=True)
    return rows


def cost(prior: rd.Prior) -> dict[str, Any]:
    """What the first reporting photo with a scratch costs as a whole and in windows."""
    name, photo = next(iter(_pictures.held_out(256).items()))
    x, mask = photo[:COST_SIDE, :COST_SIDE], scratched(COST_SIDE, SCRATCH, 0)
    row: dict[str, Any] = {"what": "cost", "picture": name, "side": COST_SIDE}
    for said, regions in (("whole", (whole(x.shape),)), ("windows", find_regions(mask))):

        def restored(regions: tuple[Region, ...] = regions) -> np.ndarray:
            problems = [
                rd.problem(
                    jnp.asarray(each.of(x * mask)),
                    rd.inpainting(each.of(mask), channels=3),
                    rd.gaussian(ROUNDING_SIGMA),
                )
                for each in regions
            ]
            solver = default_settings(problems[0]).solver(prior)
            found = runs(jax.random.split(jax.random.key(0), len(problems)), solver, rd.stack(problems))
            return pasted(x, mask, regions, list(np.clip(found, -1, 1)))

        restored()  # compiles
        began = time.process_time()
        error = (restored() - x)[mask[..., 0] == 0]
        row[f"{said}, CPU s"] = round(time.process_time() - began, 1)
        row[f"{said}, PSNR"] = round(float(10 * np.log10(4 / np.mean(error**2))), 2)
        row[f"{said}, number"] = len(regions)
        print(row, flush=True)
    return row


def main() -> None:
    """Measures and writes results/regions.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--widths", nargs="*", type=int, default=(3, 6, 12), help="none: no rows of margins")
    parser.add_argument("--margins", nargs="*", type=int, default=(4, 8, 16, 32))
    parser.add_argument("--scratches", type=int, default=2, help="for each photo")
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior = rd.load_prior(args.prior)
    settings = {"prior": str(args.prior or "bundled"), "piece": PIECE, "scratches": args.scratches, "width": SCRATCH}
    rows = [*shares(), cost(prior), *margins(prior, args)]
    _report.write("regions", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
