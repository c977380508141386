"""What the prior `emoji64` has learned, and whether it remembers its training pictures.

    python -m benchmarks.emoji64 DATA [--prior PRIOR] [--samples 36] [--steps 100]

DATA is the folder that benchmarks/emoji64_data.py has filled.

1. Samples by DDIM from noise, each beside its nearest training picture: in pixels (root mean square difference, pixels
   in [0, 1]) and in LPIPS. The distances are compared with those of the held-out pictures, of which the prior knows
   nothing: a prior that remembers has samples much nearer to a training picture than these are.
2. Held-out faces of which the lower or the upper half is hidden: RED-diff, and two draws of noise-aware RED-diff; means
   of PSNR over the hidden half, and of LPIPS.

Writes results/emoji64.json and emoji64_faces.png; with --sheets FOLDER the samples and their neighbours, too.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _report, _settings
from reddiff_jax import metrics, pictures, plot

SIZE = 64
FACES = ("1f475", "1f601", "1f92a", "1f92d", "1f975")
SIGMA = 0.01
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


def read(paths: list[Path]) -> np.ndarray:
    """Pictures (N, H, W, 3) in [-1, 1]."""
    return np.stack([pictures.read_picture(path) for path in paths])


def samples(prior: rd.Prior, count: int, steps: int) -> np.ndarray:
    """Draws from the prior, (count, 64, 64, 3)."""
    free = rd.unconditional((SIZE, SIZE, 3))
    draw = jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))
    return np.asarray(draw(jax.random.split(jax.random.key(0), count), rd.ddim(prior, num_steps=steps), free).x)


class Embedding:
    """Vectors whose Euclidean distance is a distance of pictures: root mean square of pixels, or root of LPIPS."""

    def __init__(self, name: str):
        self.name = name
        lpips = metrics.load_lpips()

        def by_pixels(x: jax.Array) -> jax.Array:
            return (x / 2 / np.sqrt(x.size)).ravel()

        def by_features(x: jax.Array) -> jax.Array:
            features = zip(lpips._features(x), lpips.heads, strict=True)
            return jnp.concatenate([(f * jnp.sqrt(head / (f.shape[0] * f.shape[1]))).ravel() for f, head in features])

        self._embed = jax.jit(jax.vmap({"pixels": by_pixels, "LPIPS": by_features}[name]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Embeds pictures (N, H, W, 3)."""
        # Half precision: 5,000 pictures of 32,000 features are 350 MB.
        parts = [np.asarray(self._embed(jnp.asarray(part)), np.float16) for part in np.array_split(x, -(-len(x) // 64))]
        return np.concatenate(parts)

    def nearest(self, x: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index of and distance to the nearest of the embedded others (M, F), for each of pictures (N, H, W, 3)."""
        embedded, squares = self(x).astype(np.float32), []
        for part in np.array_split(others, -(-len(others) // 512)):
            part = part.astype(np.float32)
            norms = (embedded**2).sum(1)[:, None] + (part**2).sum(1)
            squares.append(np.maximum(norms - 2 * embedded @ part.T, 0))
        distances = np.sqrt(np.concatenate(squares, axis=1))  # (N, M)
        found = distances.min(1)
        return distances.argmin(1), found**2 if self.name == "LPIPS" else found


def memory(prior_samples: np.ndarray, data: Path) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Rows on the distances to training pictures, and a panel of samples with their nearest ones."""
    training = pictures.find_pictures(data / "training")
    train, held = read(training), read(pictures.find_pictures(data / "held_out"))
    rows, columns = [], [prior_samples]
    for name in ("pixels", "LPIPS"):
        embedding = Embedding(name)
        others = embedding(train)
        nearest, found = embedding.nearest(prior_samples, others)
        expected = embedding.nearest(held, others)[1]
        columns.append(train[nearest])
        row: dict[str, Any] = {"what": "distance to the nearest training picture", "distance": name}
        for kind, values in (("samples", found), ("held out", expected)):
            row |= {f"{kind} {level} %": float(np.percentile(values, level)) for level in (5, 50, 95)}
        # 5 % if the samples were drawn like the held-out pictures.
        row["samples below held out 5 %"] = float(np.mean(found < np.percentile(expected, 5)))
        rows.append(row | {"nearest": [training[i].stem for i in nearest], "each": [float(each) for each in found]})
    half = -(-len(prior_samples) // 2)
    cells = [list(row) for row in zip(*columns, strict=True)]
    cells += [[None] * 3] * (2 * half - len(cells))
    return rows, plot.sheet(
        [[*a, *b] for a, b in zip(cells[:half], cells[half:], strict=True)],
        columns=("sample", "nearest: pixels", "LPIPS") * 2,
        rows=[""] * half,
    )


def faces(prior: rd.Prior, data: Path, steps: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Rows on the restored halves of held-out faces, and a panel of them."""
    paths = [path for path in pictures.find_pictures(data / "held_out") if path.stem.split("_")[0] in FACES]
    x = read(paths)
    lpips = jax.jit(jax.vmap(metrics.load_lpips()))
    key = jax.random.key(1)
    rows: list[dict[str, Any]] = []
    columns: dict[str, np.ndarray] = {"original": x}
    for hidden in ("lower", "upper"):
        mask = rd.masks.half(x.shape[1:], axis=0, keep_first=hidden == "lower")
        problem = jax.vmap(lambda key, x, mask=mask: rd.measure(key, rd.inpainting(mask), rd.gaussian(SIGMA), x))
        problems = problem(jax.random.split(key, len(x)), jnp.asarray(x))
        columns[f"{hidden} half hidden"] = np.where(np.asarray(mask) > 0, problems.y, 0.0)
        draw = _long_runs.noise_aware(prior, sample=True, num_steps=4 * steps, sigma_max=30.0)
        # The noisiest levels decide what the hidden half is to be.
        settings = _settings.built_in("inpaint_box", SIGMA, "reddiff").changed(
            {"num_steps": steps, "start_timestep": 999}
        )
        methods = {
            "RED-diff": settings.solver(prior),
            "noise-aware draw": draw,
            "another draw": draw,
        }
        for number, (name, solver) in enumerate(methods.items()):
            keys = jax.random.split(jax.random.fold_in(key, number), len(x))
            restored = np.clip(np.asarray(runs(keys, solver, problems).x), -1, 1)
            columns[f"{name}, {hidden}"] = restored
            away = np.asarray(mask)[..., 0] == 0
            squared = np.square((restored - x)[:, away] / 2).mean((1, 2))
            rows.append(
                {
                    "what": "half a face",
                    "hidden": hidden,
                    "method": name,
                    "PSNR of the hidden half": float(np.mean(-10 * np.log10(squared))),
                    "LPIPS": float(np.mean(lpips(jnp.asarray(restored), jnp.asarray(x)))),
                }
            )
    names = [path.stem.replace("_", " ") for path in paths]
    cells = [list(row) for row in zip(*columns.values(), strict=True)]
    return rows, plot.sheet(cells, columns=[name.split(",")[0] for name in columns], rows=names)


def main() -> None:
    """Runs all of it and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--prior", default="emoji64", help="folder or bundled name")
    parser.add_argument("--samples", type=int, default=36)
    parser.add_argument("--steps", type=int, default=100, help="of DDIM and RED-diff; four times as many of draws")
    parser.add_argument(
        "--sheets", type=Path, help="folder for the samples, and for the training pictures nearest to them"
    )
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args()
    prior = rd.load_prior(args.prior)
    drawn = np.clip(samples(prior, args.samples, args.steps), -1, 1)
    side = int(np.ceil(np.sqrt(len(drawn))))
    grid = [[*drawn[i : i + side], *[None] * (side - len(drawn[i : i + side]))] for i in range(0, len(drawn), side)]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.sheets:
        args.sheets.mkdir(parents=True, exist_ok=True)
        sheet = plot.sheet(grid, columns=[""] * side, rows=[""] * len(grid))
        plot.write_sheet(args.sheets / "emoji64_samples.png", sheet)
    rows, sheet = memory(drawn, args.data)
    if args.sheets:
        plot.write_sheet(args.sheets / "emoji64_nearest.png", sheet)
    halves, sheet = faces(prior, args.data, args.steps)
    plot.write_sheet(args.out / "emoji64_faces.png", sheet)
    _report.shrink_picture(args.out / "emoji64_faces.png")
    for row in rows + halves:
        print({name: value for name, value in row.items() if not isinstance(value, list)}, flush=True)
    settings = {"prior": str(args.prior), "samples": args.samples, "steps": args.steps, "sigma": SIGMA, "faces": FACES}
    _report.write("emoji64", settings=settings, rows=rows + halves, out=args.out)


if __name__ == "__main__":
    main()
