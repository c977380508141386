"""Tables of samples against exact posteriors, and of their calibration."""

from benchmarks._tables import HIDDEN, load, markdown, measured_on


def order() -> str:
    result = load("order")
    rows, settings = result["rows"], result["settings"]
    how = f"Gaussian prior of standard deviation {settings['prior_std']}, {settings['num_steps']} steps"
    return markdown(rows, [name for name in rows[0] if name not in HIDDEN]) + measured_on(result, how)


def posterior() -> str:
    result = load("posterior")
    evaluations = result["settings"]["evaluations"]
    rows = posterior_rows(result["rows"], evaluations)
    repeats = sorted({row["repeats"] for row in result["rows"]})
    how = f"{' or '.join(map(str, repeats))} measurements of each kind, {evaluations} network evaluations"
    return markdown(rows, list(rows[0])) + measured_on(result, how)


def posterior_rows(found: list[dict], evaluations: int) -> list[dict[str, str]]:
    """A row for each solver from those of benchmarks/posterior.py with this number of network evaluations."""

    def mean(prior: str, solver: str, column: str) -> float | None:
        """Over the numbers of measured values."""
        values = [
            row[column]
            for row in found
            if (row["prior"], row["solver"]) == (prior, solver) and row.get("evaluations", evaluations) == evaluations
        ]
        return sum(values) / len(values) if values else None

    def cell(prior: str, solver: str, column: str) -> str:
        value = mean(prior, solver, column)
        return "" if value is None else f"{value:.2f}"

    return [
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
        for solver in dict.fromkeys(row["solver"] for row in found)
    ]


def calibration() -> str:
    result = load("calibration")
    names = ("coverage 0.5", "coverage 0.9", "TARP 0.5", "TARP 0.9", "z_std", "spread_skill_ratio")
    order = list(dict.fromkeys(row["task"] for row in result["rows"]))
    rows = [
        {"task": f"`{row['task']}`", "solver": row["solver"]} | {name: f"{row[name]:.2f}" for name in names}
        for row in sorted(result["rows"], key=lambda row: (order.index(row["task"]), row["solver"]))
    ]
    settings = result["settings"]
    how = (
        f"{settings['problems']} problems of {settings['size']} x {settings['size']}, sigma {settings['sigma']}, "
        f"{settings['samples']} samples of {settings['evaluations']} evaluations"
    )
    return markdown(rows, list(rows[0])) + measured_on(result, how)


def repulsion() -> str:
    result = load("repulsion")
    rows = [
        {
            "solver": row["solver"],
            "weight": f"{row['weight']:g}" if "weight" in row else "",
            "found": f"{row['found']:.2f}",
            "in modes": f"{row['in modes']:.2f}",
            "SW": f"{row['SW']:.2f}",
            "coverage": f"{row['coverage']:.2f}",
            "wrong weight": f"{row['weights']:.2f}",
        }
        for row in result["rows"]
    ]
    settings = result["settings"]
    how = f"{settings['groups']} groups of {settings['particles']} for each of {settings['repeats']} measurements"
    return markdown(rows, list(rows[0])) + measured_on(result, f"{how}, {settings['steps']} steps")
