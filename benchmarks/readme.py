"""Writes the tables of README.md from the results and presets, so that no number in it is typed by hand.

python -m benchmarks.readme
"""

import json
import re
from pathlib import Path

from benchmarks import _report
from reddiff_jax import tasks

README = Path(__file__).parents[1] / "README.md"


def tables() -> dict[str, str]:
    """Name of each marked place in README.md -> its text."""
    return {"presets": _presets(), "quality": _quality(), "order": _order()}


def filled(text: str) -> str:
    """README's text with its tables put in."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        text = re.sub(
            f"{begin}.*{end}", lambda _, table=table, b=begin, e=end: f"{b}\n{table}\n{e}", text, flags=re.DOTALL
        )
    return text


def _load(name: str) -> dict:
    return json.loads((_report.RESULTS / f"{name}.json").read_text())


def _presets() -> str:
    measured = {
        (row["task"], row["sigma"]): f"{row['PSNR']:.2f} dB / {row['LPIPS']:.3f}"
        for row in _load("quality")["rows"]
        if row["method"] == "RED-diff"
    }
    rows = []
    for family, presets in tasks.PRESETS.items():
        names = [name for name, task in tasks.TASKS.items() if task.family == family]
        for sigma, preset in presets:
            rows.append(
                {
                    "tasks": ", ".join(f"`{name}`" for name in names),
                    "sigma": f"{sigma:g}",
                    "lam": f"{preset.lam:g}",
                    "lr": f"{preset.learning_rate:g} {preset.lr_schedule}",
                    "steps": preset.num_steps,
                    "from t": preset.start_timestep,
                    "weighting": preset.weighting,
                    "init": preset.init,
                    "measured (PSNR / LPIPS)": "; ".join(
                        f"{name} {measured[name, sigma]}" for name in names if (name, sigma) in measured
                    ),
                }
            )
    return _report.markdown(rows, list(rows[0]))


def _quality() -> str:
    result = _load("quality")
    best: dict = {}
    for row in result["rows"]:
        for metric, sign in (("PSNR", 1), ("SSIM", 1), ("LPIPS", -1)):
            key = (row["task"], row["sigma"], metric)
            best[key] = max(best.get(key, float("-inf")), sign * row[metric])

    def cell(row: dict, metric: str, sign: int, digits: int) -> str:
        text = f"{row[metric]:.{digits}f}"
        return f"**{text}**" if sign * row[metric] == best[row["task"], row["sigma"], metric] else text

    rows = [
        {
            "task": f"`{row['task']}`",
            "sigma": f"{row['sigma']:g}",
            "method": row["method"],
            "PSNR (dB)": cell(row, "PSNR", 1, 2),
            "SSIM": cell(row, "SSIM", 1, 3),
            "LPIPS (lower is better)": cell(row, "LPIPS", -1, 3),
        }
        for row in result["rows"]
    ]
    environment = result["environment"]
    note = (
        f"\n\nMeasured at commit {environment['commit']} on {environment['cpu']} ({environment['cpu_count']} cores, "
        f"{environment['backend']}), jax {environment['jax']}, batch {len(result['settings']['pictures'])}, float32."
    )
    return _report.markdown(rows, list(rows[0])) + note + "\n\n" + _where_it_loses(result["rows"])


def _where_it_loses(rows: list[dict]) -> str:
    """Says in words on which tasks another method is better."""

    def tasks_where(metric: str, sign: int) -> set[str]:
        lost = set()
        for row in rows:
            rivals = [other for other in rows if (other["task"], other["sigma"]) == (row["task"], row["sigma"])]
            if row["method"] == "RED-diff" and max(sign * other[metric] for other in rivals) > sign * row[metric]:
                lost.add(f"`{row['task']}` at {row['sigma']:g}")
        return lost

    psnr, lpips = tasks_where("PSNR", 1), tasks_where("LPIPS", -1)
    both, one = sorted(psnr & lpips), sorted(psnr ^ lpips)
    return (
        "**Where RED-diff with the bundled prior does not win:** another method is better in both PSNR and LPIPS on "
        f"{', '.join(both) or 'no task'}; in one of the two on {', '.join(one) or 'no task'}."
    )


def _order() -> str:
    rows = _load("order")["rows"]
    return _report.markdown(rows, list(rows[0]))


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
