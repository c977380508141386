"""By how many pixels the holes of a painted mask should be grown: PSNR around strokes that were burnt into photos.

    python -m benchmarks.growing [--size 64]

Antialiased strokes in red, white and black are painted onto the bundled photos, which are kept as they are or saved as
JPEG of quality 75. The mask is painted by the same strokes, antialiased, too. Holes are grown by 0 to 6 pixels and
filled in by what ``reddiff-jax restore --task inpaint`` uses. PSNR is that of the pixels within 8 of a stroke, the same
ones for each growth.
"""

import argparse
import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

import reddiff_jax as rd
from benchmarks import _report
from reddiff_jax import jobs, pictures
from reddiff_jax.masks.holes import PAINT
from reddiff_jax.settings import default_settings

GROWTHS = (0, 1, 2, 3, 4, 6)
COLOURS = ((255, 0, 0), (255, 255, 255), (0, 0, 0))
QUALITIES = (None, 75)
SIGMAS = {None: pictures.ROUNDING_SIGMA, 75: 0.03}
AROUND = 8

run = jax.jit(lambda key, solver, problem: rd.run(key, solver, problem).x)


def strokes(seed: int, size: int) -> np.ndarray:
    """Part of each pixel (size, size, 1) that two antialiased strokes of 3 and 5 pixels cover."""
    rng, fine = np.random.default_rng(seed), 8
    large = Image.new("L", (fine * size, fine * size))
    for width in (3, 5):
        points = [tuple(point) for point in rng.uniform(0, fine * size, (3, 2))]
        ImageDraw.Draw(large).line(points, fill=255, width=fine * width, joint="curve")
    return np.asarray(large.resize((size, size), Image.Resampling.BOX), np.float32)[:, :, None] / 255


def middle(photo: np.ndarray, size: int) -> np.ndarray:
    """The central square as it is: a reduced photo has more detail in a pixel than strokes are painted onto."""
    top, left = ((side - size) // 2 for side in photo.shape[:2])
    return photo[top : top + size, left : left + size]


def painted(photo: np.ndarray, cover: np.ndarray, colour: tuple[int, int, int], quality: int | None) -> np.ndarray:
    """The photo, uint8, with strokes, as it comes out of a file."""
    array = np.round((1 - cover) * photo + cover * np.asarray(colour)).astype(np.uint8)
    if quality is None:
        return array
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def main() -> None:
    """Measures and writes results/growing.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="folder of the result, in place of benchmarks/results")
    args = parser.parse_args()
    prior, rows = rd.load_prior(), []
    photos = [middle(pictures.read_uint8(path), args.size) for path in jobs.sample_photos()]
    for quality in QUALITIES:
        psnr = np.zeros((len(GROWTHS), len(photos)))
        for i, photo in enumerate(photos):
            cover = strokes(i, args.size)
            y = pictures.to_float(painted(photo, cover, COLOURS[i % len(COLOURS)], quality))
            mask = (cover <= PAINT).astype(np.float32)
            near = rd.masks.grow((cover == 0).astype(np.float32), AROUND)[..., 0] == 0
            for j, growth in enumerate(GROWTHS):
                grown = jnp.asarray(rd.masks.grow(mask, growth))
                problem = rd.problem(jnp.asarray(y) * grown, rd.inpainting(grown), rd.gaussian(SIGMAS[quality]))
                x = np.clip(run(jax.random.key(i), default_settings(problem).solver(prior), problem), -1, 1)
                psnr[j, i] = 10 * np.log10(4 / np.mean((x - pictures.to_float(photo))[near] ** 2))
        for growth, of_photos in zip(GROWTHS, psnr, strict=True):
            rows.append(
                {"quality": quality, "growth": growth, "psnr": float(of_photos.mean()), "photos": of_photos.tolist()}
            )
            print(rows[-1], flush=True)
        _report.write("growing", settings={"size": args.size, "around": AROUND}, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
