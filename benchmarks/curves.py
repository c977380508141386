"""Draws how bundled priors were trained: the curves that their cards hold.

    python -m benchmarks.curves [--prior PRIOR ...]

Writes results/curves.png: for each prior the training loss, and the loss of the validation pictures by timestep.
"""

import argparse
import json
from pathlib import Path

from benchmarks import _report
from reddiff_jax import io


def draw(folders: list[Path], out: Path) -> Path:
    """Draws priors side by side; one whose card has no curves stays empty."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(folders), figsize=(5.5 * len(folders), 4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, folder in zip(axes[0], folders, strict=True):
        card = json.loads((folder / io.CARD).read_text())
        for name, points in card["training"].get("curves", {}).items():
            style = {"color": "black", "linewidth": 2} if name == "training" else {}
            axis.plot([int(step) for step in points], list(points.values()), label=name, **style)
        axis.set(xlabel="updates", yscale="log", title=card["name"])
        axis.legend(fontsize="small", ncols=2)
    axes[0, 0].set_ylabel("noise-prediction loss")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "curves.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    _report.shrink_picture(path)
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
