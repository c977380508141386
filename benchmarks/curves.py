"""Draws how bundled priors were trained: the curves that their cards hold.

    python -m benchmarks.curves [--prior PRIOR ...]

Writes results/curves.png: for each prior the training loss and the loss of the validation pictures by timestep, or
what else its card calls ``curves_of``.
"""

import argparse
import json
from pathlib import Path

import reddiff_jax as rd
from benchmarks import _report
from reddiff_jax import io

LOSS = "noise-prediction loss"


def draw(folders: list[Path], out: Path) -> Path:
    """Draws priors side by side; one whose card has no curves stays empty."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(5.5 * len(folders), 4), layout="constrained")
    (parts,) = figure.subfigures(1, len(folders), squeeze=False)
    for part, folder in zip(parts, folders, strict=True):
        card = json.loads((folder / io.CARD).read_text())
        curves, what = card["training"].get("curves", {}), card["training"].get("curves_of", LOSS)
        lines = {name: ([int(step) for step in points], list(points.values())) for name, points in curves.items()}
        rd.plot.lines(
            {card["name"]: lines}, xlabel="updates", ylabel=what, ylog=what == LOSS, bold="training", figure=part
        )
    path = out / "curves.png"
    _report.write_figure(figure, path)
    return path


def main() -> None:
    """Draws the curves of all bundled priors, or of those given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", nargs="*", default=list(io.bundled_priors()), help="folders or bundled names")
    parser.add_argument("--out", type=Path, default=_report.RESULTS)
    args = parser.parse_args()
    print(draw([io.find_prior(prior) for prior in args.prior], args.out))


if __name__ == "__main__":
    main()
