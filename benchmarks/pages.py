"""Writes the tables of the site and of README.md from results and settings, so that no number is typed by hand.

    python -m benchmarks.pages

A page says ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` where a table belongs.
"""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import _tables_photos as photos
from benchmarks import _tables_posteriors as posteriors
from benchmarks import _tables_priors as priors
from benchmarks import _tables_quality as quality
from benchmarks import _tables_settings as settings
from benchmarks import _tables_speed as speed

ROOT = Path(__file__).parents[1]
TABLES: dict[str, Callable[[], str]] = {
    "ablations": quality.ablations,
    "architectures": priors.architectures,
    "borders": photos.borders,
    "calibration": posteriors.calibration,
    "compiling": speed.compiling,
    "cost": speed.cost,
    "cpu": speed.cpu,
    "defaults": quality.defaults,
    "denoising": priors.denoising,
    "emoji64": priors.emoji64,
    "eps_loss": priors.eps_loss,
    "forward": speed.forward,
    "framing": quality.framing,
    "growing": photos.growing,
    "views": photos.views,
    "headline": quality.headline,
    "medical": quality.medical,
    "volumes": quality.volumes,
    "clips": quality.clips,
    "cone_beam": quality.cone_beam,
    "memory": speed.memory,
    "net_error_lam": settings.net_error_lam,
    "net_error_least": settings.net_error_least,
    "net_error_loss": settings.net_error_loss,
    "net_error_starts": settings.net_error_starts,
    "net_error_sweep": settings.net_error_sweep,
    "noise_aware": quality.noise_aware,
    "noise_aware_settings": settings.noise_aware_settings,
    "noise_levels": photos.noise_levels,
    "noise_levels_denoising": photos.noise_levels_denoising,
    "operators": speed.operators,
    "options": quality.options,
    "order": posteriors.order,
    "overfitting": quality.overfitting,
    "picture_by_picture": quality.picture_by_picture,
    "posterior": posteriors.posterior,
    "progress": speed.progress,
    "quality": quality.quality,
    "regions": photos.regions,
    "regions_cost": photos.regions_cost,
    "repulsion": posteriors.repulsion,
    "settings": settings.tuned_settings,
    "solver_speed": speed.solver_speed,
    "tasks": quality.tasks,
    "vmap": speed.vmap,
}
_PLACE = re.compile(r"<!-- (\w+):begin -->\n.*?<!-- \1:end -->", re.DOTALL)


def paths() -> list[Path]:
    """README.md and the pages of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """A page's text with its tables put in."""
    return _PLACE.sub(lambda found: _table(found.group(1)), text)


def _table(name: str) -> str:
    return f"<!-- {name}:begin -->\n{TABLES[name]()}\n<!-- {name}:end -->"


if __name__ == "__main__":
    for path in paths():
        path.write_text(filled(path.read_text()))
