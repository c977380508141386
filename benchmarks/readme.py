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
    made = {
        "presets": _presets,
        "quality": _quality,
        "order": _order,
        "posterior": _posterior,
        "forward": _forward,
        "tasks": _tasks,
        "speed": _operators,
    }
    return {name: make() for name, make in made.items()}


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
    note = _measured_on(result, f"batch {len(result['settings']['pictures'])}, float32")
    return _report.markdown(rows, list(rows[0])) + note + "\n\n" + _where_it_loses(result["rows"])


def _measured_on(result: dict, how: str) -> str:
    environment = result["environment"]
    return (
        f"\n\nMeasured at commit {environment['commit']} on {environment['cpu']} ({environment['cpu_count']} cores, "
        f"{environment['backend']}), jax {environment['jax']}, {how}."
    )


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


def _posterior() -> str:
    result = _load("posterior")
    evaluations = result["settings"]["evaluations"]

    def mean(prior: str, solver: str, column: str) -> float | None:
        """Over the numbers of measured values."""
        values = [
            row[column]
            for row in result["rows"]
            if (row["prior"], row["solver"]) == (prior, solver) and row.get("evaluations", evaluations) == evaluations
        ]
        return sum(values) / len(values) if values else None

    def cell(prior: str, solver: str, column: str) -> str:
        value = mean(prior, solver, column)
        return "" if value is None else f"{value:.2f}"

    rows = [
        {
            "solver": solver,
            "Gaussian: SW": cell("Gaussian full", solver, "SW"),
            "coverage": cell("Gaussian full", solver, "coverage"),
            "spread": cell("Gaussian full", solver, "spread"),
            "25 modes: SW in 8, 80, 800 dimensions": " / ".join(
                cell(f"GMM {size}", solver, "SW") or "-" for size in (8, 80, 800)
            ),
            "coverage (8)": cell("GMM 8", solver, "coverage"),
            "recall (8)": cell("GMM 8", solver, "recall"),
            "wrong weight (8)": cell("GMM 8", solver, "weights"),
            "spread (8)": cell("GMM 8", solver, "spread"),
        }
        for solver in dict.fromkeys(row["solver"] for row in result["rows"])
    ]
    repeats = sorted({row["repeats"] for row in result["rows"]})
    how = f"{' or '.join(map(str, repeats))} measurements of each kind, {evaluations} network evaluations"
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, how)


def _forward() -> str:
    result = _load("forward")
    rows = [
        {
            "network": row["network"],
            "size": row["size"],
            "batch": row["batch"],
            "with": row["with"],
            "seconds": f"{row['seconds']:.3g}",
            "times PyTorch's": format(row["times PyTorch's"], ".2f"),
            "processor seconds": f"{row['processor seconds']:.3g}",
            "TFLOP/s": f"{row['TFLOP/s']:.3g}",
            "compile seconds": f"{row['compile seconds']:.1f}" if row["compile seconds"] else "",
        }
        for row in result["rows"]
    ]
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, "medians of interleaved runs")


def _tasks() -> str:
    result = _load("tasks")
    rows = [
        {
            "task": f"`{row['task']}`",
            "what is undone": tasks.by_name(row["task"]).help,
            "sigma": f"{row['sigma']:g}",
            "A+y (dB)": f"{row['A+y PSNR']:.2f}",
            "RED-diff (dB)": f"{row['RED-diff PSNR']:.2f}",
            "": row.get("restarts", ""),
        }
        for row in result["rows"]
    ]
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, "float32")


def _operators() -> str:
    result = _load("operators")
    table: dict[str, dict] = {}
    for row in result["rows"]:
        cell = f"{_duration(row['ours (us)'])} ({row['ratio']:.2g})"
        table.setdefault(row["operator"], {"operator": row["operator"]})[f"{row['what']}, batch {row['batch']}"] = cell
    rows = list(table.values())
    slower = [f"{row['operator']} {row['what']} at batch {row['batch']}" for row in result["rows"] if row["ratio"] > 1]
    size = result["settings"]["size"]
    note = _measured_on(
        result, f"{size} x {size}, three channels (MRI two, CT one), float32, medians of interleaved runs"
    )
    return _report.markdown(rows, list(rows[0])) + note + f" Slower than deepinv: {', '.join(slower) or 'none'}."


def _duration(microseconds: float) -> str:
    if microseconds < 1e3:
        return f"{microseconds:.3g} us"
    return f"{microseconds / 1e3:.3g} ms" if microseconds < 1e6 else f"{microseconds / 1e6:.3g} s"


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
