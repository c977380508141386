"""The picture of noise overfitting and its cure: published and noise-aware RED-diff, step by step, on one photo.

    python -m benchmarks.overfitting [--task denoise] [--sigma 0.1] [--picture coffee] [--size 64]

Both start from A+ y. The published form has its paper's settings (lam 0.25, Adam 0.1), with 100 and 1000 steps; the
noise-aware form has its defaults, 100 steps. Writes results/overfitting.json and results/overfitting.png.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import reddiff_jax as rd
from benchmarks import _long_runs, _report, quality
from reddiff_jax import metrics

NUM_RECORDS = 50


def solvers(prior: rd.Prior) -> dict[str, rd.Solver]:
    """What is compared, by name."""
    return {
        "published, 100 steps": rd.reddiff(prior, num_steps=100),
        "published, 1000 steps": rd.reddiff(prior, num_steps=1000),
        "noise-aware, 100 steps": _long_runs.noise_aware(prior, num_steps=100),
        "noise-aware sample": _long_runs.noise_aware(prior, num_steps=100, sample=True),
    }


def _mu(state, info):
    return state.mu


def main(argv: list[str] | None = None) -> None:
    """Runs both, writes the curves and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="denoise")
    parser.add_argument("--sigma", type=float, default=0.1)
    parser.add_argument("--picture", default="coffee")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args(argv)
    x = quality.pictures(args.size)[args.picture]
    problem = quality.simulate(args.task, args.sigma, x[None])[0]
    psnr = jax.jit(jax.vmap(lambda mu: metrics.psnr(jnp.clip(mu, -1, 1), jnp.asarray(x))))
    start = problem.operator.pinv(problem.y)  # type: ignore[attr-defined]
    rows, images = [], {"original": x, "A+ y": np.asarray(start)}
    captions = {"original": "", "A+ y": f"{float(psnr(start[None])[0]):.2f} dB"}
    for name, solver in solvers(rd.load_prior()).items():
        every = solver.num_steps // NUM_RECORDS
        solution = rd.run(jax.random.key(0), solver, problem, record=_mu, record_every=every)
        curve = np.asarray(psnr(solution.record), float).round(3)
        steps = (every * np.arange(1, NUM_RECORDS + 1)).tolist()
        rows.append({"solver": name, "steps": steps, "PSNR": curve.tolist()})
        images[name], captions[name] = np.asarray(solution.x), f"{curve[-1]:.2f} dB (best on the way {curve.max():.2f})"
        print(name, captions[name], flush=True)
    settings = {name: getattr(args, name) for name in ("task", "sigma", "picture", "size")}
    _report.write("overfitting", settings={**settings, "A+ y": captions["A+ y"]}, rows=rows, out=args.out)
    draw(rows, images, captions, args.out / "overfitting.png", f"{args.task}, sigma {args.sigma:g}")


def draw(rows: list[dict], images: dict[str, np.ndarray], captions: dict[str, str], path: Path, title: str) -> None:
    """Curves on the left, pictures on the right."""
    from matplotlib import pyplot

    lines = {row["solver"]: (row["steps"], row["PSNR"]) for row in rows}
    start = float(captions["A+ y"].split()[0])
    ends = [row["steps"][end] for row in rows for end in (0, -1)]
    lines["A+ y"] = ([min(ends), max(ends)], [start, start])
    figure = pyplot.figure(figsize=(12, 4.6), layout="constrained")
    (left, right), *_ = figure.subfigures(1, 2, width_ratios=(2.4, 3), squeeze=False)
    rd.plot.lines({title: lines}, xlabel="step", ylabel="PSNR (dB)", xlog=True, figure=left)
    pictures = {f"{name}\n{captions[name].split(' (')[0]}": image for name, image in images.items()}
    rd.plot.panel(pictures, columns=3, figure=right)
    _report.write_figure(figure, path)


if __name__ == "__main__":
    main()
