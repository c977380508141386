"""Draws how bundled priors were trained: the curves that their cards hold.

    python -m benchmarks.curves [--prior PRIOR ...]

Writes results/curves_NAME.png: the training loss, and where there were validation pictures their loss by timestep.
"""

import argparse
import json
from pathlib import Path

from benchmarks import _report
from reddiff_jax import io


def draw(folder: Path, out: Path) -> Path | None:
    """Draws one prior's curves; None if its card has none."""
    from matplotlib import pyplot

    card = json.loads((folder / io.CARD).read_text())
    curves = card["training"].get("curves", {})
    if not curves:
        return None
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, points in curves.items():
        style = {"color": "black", "linewidth": 2} if name == "training" else {}
        axes.plot([int(step) for step in points], list(points.values()), label=name, **style)
    axes.set(xlabel="updates", ylabel="noise-prediction loss", yscale="log", title=card["name"])
    axes.legend(fontsize="small", ncols=2)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"curves_{card['name']}.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path


def main() -> None:
    """Draws the curves of all bundled priors, or of those given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", nargs="*", default=list(io.bundled_priors()), help="folders or bundled names")
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args()
    for prior in args.prior:
        print(draw(io.find_prior(prior), args.out) or f"{prior}: its card has no curves")


if __name__ == "__main__":
    main()
