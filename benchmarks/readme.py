"""Writes the tables of README.md from the results and settings, so that no number in it is typed by hand.

python -m benchmarks.readme
"""

import functools
import json
import re
from pathlib import Path

import numpy as np

from benchmarks import _report, _settings, net_error, noise_aware, options
from reddiff_jax import tasks
from reddiff_jax.settings import PUBLISHED_IS_BETTER, TUNED, Kind, NoiseAwareSettings

README = Path(__file__).parents[1] / "README.md"


def tables() -> dict[str, str]:
    """Name of each marked place that README.md has -> its text."""
    made = {
        "settings": _tuned_settings,
        "noise_aware_settings": _noise_aware_settings,
        "quality": _quality,
        "order": _order,
        "posterior": _posterior,
        "noise_aware": _noise_aware,
        "options": _options,
        "net_error": _net_error,
        "calibration": _calibration,
        "repulsion": _repulsion,
        "overfitting": _overfitting,
        "cost": _cost,
        "solver_speed": _solver_speed,
        "forward": _forward,
        "compiling": _compiling,
        "progress": _progress,
        "framing": _framing,
        "defaults": _defaults,
        "tasks": _tasks,
        "speed": _operators,
        "denoising": _denoising,
        "eps_loss": _eps_loss,
        "architectures": _architectures,
        "emoji64": _emoji64,
        "medical": _medical,
    }
    wanted = README.read_text()
    return {name: make() for name, make in made.items() if f"<!-- {name}:begin -->" in wanted}


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


def _tuned_settings() -> str:
    measured = {
        (row["task"], row["sigma"]): f"{row['PSNR']:.2f} dB / {row['LPIPS']:.3f}"
        for row in _load("quality")["rows"]
        if row["method"] == "built-in"
    }
    rows = []
    for kind, of_kind in TUNED["reddiff"].items():
        names = _names(kind)
        for sigma, settings in of_kind:
            rows.append(
                {
                    "tasks": ", ".join(f"`{name}`" for name in names),
                    "sigma": f"{sigma:g}",
                    "lam": f"{settings.lam:g}",
                    "lr": f"{settings.learning_rate:g} {settings.lr_schedule}",
                    "steps": settings.num_steps,
                    "from t": settings.start_timestep,
                    "weighting": settings.weighting,
                    "init": settings.init,
                    "measured at 100 steps (PSNR / LPIPS)": "; ".join(
                        f"{name} {measured[name, sigma]}" for name in names if (name, sigma) in measured
                    ),
                }
            )
    return _report.markdown(rows, list(rows[0]))


def _noise_aware_settings() -> str:
    tuned = TUNED["noise_aware"]
    rows = []
    for kind, of_kind in [*tuned.items(), (None, ((0.0, NoiseAwareSettings()),))]:
        names = [f"`{name}`" for name in _names(kind)]
        rows += [
            {
                "tasks": ", ".join(names) or "all else",
                "lam": f"{settings.lam:g}",
                "first image": "A+ y" if settings.init == "pinv" else settings.init,
                "sigma_max": f"{settings.sigma_max:g}",
                "sigma_min": f"{settings.sigma_min:g}",
                "runs": f"{settings.num_runs} of {settings.num_steps} steps",
            }
            for _, settings in of_kind
        ]
    return _report.markdown(rows, list(rows[0]))


@functools.cache
def _kinds() -> dict[str, Kind | None]:
    # deblur_nl needs its weights to be posed.
    return {
        name: Kind.DEBLUR_SATURATED
        if name == "deblur_nl"
        else Kind.INPAINT_HOLES
        if task.draw is None
        else _settings.kind(name)
        for name, task in tasks.TASKS.items()
    }


def _names(kind: Kind | None) -> list[str]:
    """Tasks of a kind; none for None."""
    return [] if kind is None else [name for name, each in _kinds().items() if each == kind]


METHODS = {
    "A+y": "A+y",
    "classical": "classical",
    "built-in": "RED-diff, built-in",
    "reddiff": "RED-diff",
    "noise_aware": "noise-aware RED-diff",
    **{name: name for name in ("ddrm", "ddnm", "diffpir", "dps", "pigdm", "daps", "red", "mmps", "mcg")},
}
CLASSICAL = ("biharmonic", "bicubic", "wiener")


def _cases() -> dict[tuple[str, float], dict[str, dict]]:
    """(task, sigma) -> method -> row of the quality benchmark."""
    cases: dict[tuple[str, float], dict[str, dict]] = {}
    for row in _load("quality")["rows"]:
        method = "classical" if row["method"] in CLASSICAL else row["method"]
        cases.setdefault((row["task"], row["sigma"]), {})[method] = row
    return cases


def _quality() -> str:
    parts = []
    for metric, title, best, digits in (("PSNR", "PSNR in dB", max, 2), ("LPIPS", "LPIPS, lower is better", min, 3)):
        rows = []
        for (task, sigma), of_method in _cases().items():
            winner = best(row[metric] for row in of_method.values())
            cells = {"": f"`{task}`, {sigma:g}"}
            for method, name in METHODS.items():
                row = of_method.get(method)
                text = f"{row[metric]:.{digits}f}" if row else ""
                cells[name] = f"**{text}**" if row and row[metric] == winner else text
            rows.append(cells)
        parts.append(f"{title}:\n\n" + _report.markdown(rows, list(rows[0])))
    result = _load("quality")
    size, pictures = result["settings"]["size"], len(result["settings"]["pictures"])
    note = _measured_on(result, f"{pictures} pictures of {size} x {size} in a batch, float32")
    return "\n\n".join(parts) + note + "\n\n" + _winners() + "\n\n" + _pareto()


def _winners() -> str:
    """Says in words which method is best where."""
    said = []
    for metric, best in (("PSNR", max), ("LPIPS", min)):
        won: dict[str, list[str]] = {}
        for (task, sigma), of_method in _cases().items():
            method = best(of_method, key=lambda name, of_method=of_method, metric=metric: of_method[name][metric])
            won.setdefault(METHODS[method], []).append(f"`{task}` {sigma:g}")
        ranking = sorted(won.items(), key=lambda item: -len(item[1]))
        said.append(
            f"**Best {metric}:** " + "; ".join(f"{name} on {', '.join(where)}" for name, where in ranking) + "."
        )
    return "\n\n".join(said)


OURS = ("built-in", "reddiff", "noise_aware")
LINEAR = ("inpaint", "sr", "deblur", "colorize", "cs")


def _pareto() -> str:
    """Says where nothing that takes no longer than RED-diff's 100 steps has a higher PSNR."""
    ms = {row["solver"]: row["ms a step"] for row in _load("cost")["rows"]}
    steps = {"daps": 20, "mmps": 25}
    seconds = {name: each * steps.get(name, 100) for name, each in ms.items()}
    on, off = [], []
    for (task, sigma), of_method in _cases().items():
        if not task.startswith(LINEAR):
            continue
        ours = max(of_method[name]["PSNR"] for name in OURS if name in of_method)
        # Times within a quarter are taken as equal: all but the network is a few per cent, and the machine varies.
        rivals = [
            name
            for name in of_method
            if name in seconds and name not in OURS and seconds[name] < 1.25 * seconds["reddiff"]
        ]
        better = [name for name in rivals if of_method[name]["PSNR"] > ours]
        where = f"`{task}` {sigma:g}"
        (off if better else on).append(where + (f" ({', '.join(sorted(better))})" if better else ""))
    return (
        f"**Quality against time:** among the solvers, RED-diff at 100 steps (the best of its three columns) has the "
        f"highest PSNR that its time buys on {', '.join(on) or 'no linear task'}. On the others a solver of "
        f"equal time, to a quarter (in brackets), is better: {', '.join(off) or 'none'}."
    )


def _measured_on(result: dict, how: str) -> str:
    environment = result["environment"]
    commits = list(dict.fromkeys(row.get("commit", environment["commit"]) for row in result["rows"]))
    return (
        f"\n\nMeasured at commit {', '.join(commits)} on {environment['cpu']} ({environment['cpu_count']} cores, "
        f"{environment['backend']}), jax {environment['jax']}, {how}."
    )


def _cost() -> str:
    result = _load("cost")
    settings = result["settings"]
    rows = [
        {
            "solver": row["solver"],
            "evaluations of the network a step": row["evaluations a step"],
            "derivatives": row["derivatives a step"],
            "ms a step": f"{row['ms a step']:.1f}",
            "times RED-diff's": format(row["times RED-diff's"], ".2f"),
            "peak MiB": f"{row['peak MiB']:.0f}",
            "compile seconds": f"{row['compile seconds']:.1f}",
        }
        for row in result["rows"]
    ]
    size, batch = settings["size"], settings["batch"]
    note = _measured_on(result, f"{size} x {size}, batch {batch}, per image, float32, medians of interleaved runs")
    ours = {row["solver"]: row["times RED-diff's"] for row in result["rows"]}
    verdict = "at least" if ours["dps"] >= 2.5 else "less than"
    return (
        _report.markdown(rows, list(rows[0]))
        + note
        + f" A step of DPS takes {ours['dps']:.2f} times RED-diff's, {verdict} the 2.5 that were aimed at."
    )


def _solver_speed() -> str:
    result = _load("speed")
    cases: dict[tuple, dict[str, dict]] = {}
    for row in result["rows"]:
        case = tuple(row[part] for part in ("network", "size", "dtype", "batch", "devices"))
        cases.setdefault(case, {})[row["with"]] = row
    rows = [_speed_of(case, rivals, cases[*case[:-1], 1]) for case, rivals in cases.items()]
    dtypes = " and ".join(dict.fromkeys(row["dtype"] for row in result["rows"]))
    note = _measured_on(result, f"torch {result['settings']['torch']}, {dtypes}, medians of interleaved runs")
    return _report.markdown(rows, list(rows[0])) + note + _scaling(result["rows"])


def _speed_of(case: tuple, ours: dict[str, dict], of_one_device: dict[str, dict]) -> dict[str, str]:
    """A row: seconds per image of each solver, and how many times that of its best rival in PyTorch it is.

    PyTorch has all cores of a CPU, as the devices together have.
    """
    network, size, dtype, batch, devices = case
    cells = {"network": f"{network}, {size} x {size}, {dtype}", "devices": str(devices), "batch": str(batch)}
    cells["batch"] += ", the largest" if any(row.get("largest that fits") for row in ours.values()) else ""
    for method in ("RED-diff", "DPS", "DDRM"):
        rivals = [
            row["seconds per image"]
            for name, row in of_one_device.items()
            if name.startswith(f"{method},") and "JAX" not in name
        ]
        seconds = ours.get(f"{method}, JAX", {}).get("seconds per image")
        times = f" ({seconds / min(rivals):.2f})" if seconds and rivals else ""
        cells[method] = f"{seconds:.3g}{times}" if seconds else ""
    overhead = ours["RED-diff, JAX"].get("overhead")
    return cells | {"overhead": "" if overhead is None else f"{100 * overhead:.1f} %"}


def _scaling(rows: list[dict]) -> str:
    """Says how images per second of RED-diff grow with the batch, and with the devices."""
    said, ours = [], [row for row in rows if row["with"] == "RED-diff, JAX"]
    for network, size, dtype in dict.fromkeys((row["network"], row["size"], row["dtype"]) for row in ours):
        per_second = {
            (row["devices"], row["batch"]): row["images per second"]
            for row in ours
            if (row["network"], row["size"], row["dtype"]) == (network, size, dtype)
        }
        where = f"{network}, {size} x {size}, {dtype}"
        batches = sorted(batch for devices, batch in per_second if devices == 1)
        if len(batches) > 1:
            ratio = per_second[1, batches[-1]] / per_second[1, batches[0]]
            said.append(f"{where}: batch {batches[-1]} gives {ratio:.2f} times the images of batch {batches[0]}")
        for devices in sorted({devices for devices, _ in per_second} - {1}):
            batch = max(batch for count, batch in per_second if count == devices)
            if (1, batch) in per_second:
                ratio = per_second[devices, batch] / per_second[1, batch]
                said.append(f"{where}, batch {batch}: {devices} devices give {ratio:.2f} times the images of one")
    return "\n\n" + "; ".join(said) + "." if said else ""


def _compiling() -> str:
    result = _load("compiling")
    rows = [
        {
            "network": f"{row['parameters'] / 1e6:.1f} M parameters, {row['size']} x {row['size']}",
            "batch": row["batch"],
            "cache": row["cache"],
            **{part: f"{row[part]:.1f}" for part in ("trace", "lower", "compile", "total")},
        }
        for row in result["rows"]
    ]
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, "seconds, medians")


def _progress() -> str:
    result = _load("progress")
    rows = [
        {
            "size": row["size"],
            "with": row["with"],
            "seconds": f"{row['seconds']:.3g}",
            "slower by": f"{100 * row['slower']:.1f} %",
            "half of the runs between": f"{100 * row['lower quartile']:.1f} and {100 * row['upper quartile']:.1f} %",
        }
        for row in result["rows"]
    ]
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, "of the same without a bar, in turns")


def _framing() -> str:
    result = _load("framing")
    rows = [
        {
            "task": f"`{row['task']}`",
            "sigma": f"{row['sigma']:g}",
            "exact size (dB)": f"{row['exact']:.2f}",
            "in a frame (dB)": f"{row['framed']:.2f}",
            "difference": f"{row['framed'] - row['exact']:+.2f}",
            "worst picture": f"{row['worst']:+.2f}",
        }
        for row in result["rows"]
    ]
    settings = result["settings"]
    sizes = f"{settings['width']} x {settings['height']} within {settings['frame'][1]} x {settings['frame'][0]}"
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, f"{sizes}, {settings['pictures']} pictures")


def _defaults() -> str:
    result = _load("defaults")
    names = {"reddiff": "RED-diff", "noise_aware": "noise-aware"}
    known: dict[tuple[str, float], dict[str, dict]] = {}
    for row in result["rows"]:
        known.setdefault((row["task"], row["sigma"]), {})[row["method"]] = row
    both = {case: of_method for case, of_method in known.items() if len(of_method) == len(names)}
    rows: dict[str, dict[str, str]] = {}
    for (task, sigma), of_method in both.items():
        for method, name in names.items():
            told = f"{of_method[method]['PSNR']:.2f} / {of_method[method]['LPIPS']:.3f}"
            rows.setdefault(task, {"task": f"`{task}`"})[f"{name}, {sigma:g}"] = told
    columns = ["task", *(f"{name}, {sigma:g}" for sigma in sorted({s for _, s in both}) for name in names.values())]
    gains = {case: row["noise_aware"]["PSNR"] - row["reddiff"]["PSNR"] for case, row in both.items()}
    behind = [f"`{task}` {sigma:g} ({gain:+.2f})" for (task, sigma), gain in gains.items() if gain < 0]
    linear = [gain for (task, _), gain in gains.items() if _settings.kind(task) not in PUBLISHED_IS_BETTER]
    note = " Where noise-aware is the default it is better by "
    note += f"{np.median(linear):.2f} dB in the median, {np.mean(linear):.2f} dB on average."
    note += f" It is behind at {', '.join(behind)}."
    return _report.markdown(list(rows.values()), columns) + _measured_on(result, "64 x 64, 4 crops") + note


def _order() -> str:
    rows = _load("order")["rows"]
    return _report.markdown(rows, [name for name in rows[0] if name not in HIDDEN])


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


def _overfitting() -> str:
    result = _load("overfitting")
    settings = result["settings"]
    ends = ", ".join(f"{row['solver']} {row['PSNR'][-1]:.1f} dB" for row in result["rows"])
    return (
        f"*`{settings['task']}`, sigma {settings['sigma']:g}, the photo {settings['picture']} "
        f"(`python -m benchmarks.overfitting`). At the end: A+ y {settings['A+ y']}, {ends}. The published form, with "
        "its paper's settings, goes back to the noisy measurement, the more so the more steps it has.*"
    )


def _noise_aware() -> str:
    result = _load("noise_aware")
    tried = sorted({row["task"] for row in result["rows"]})
    goals = [
        {name: f"{value:+.3g}" if isinstance(value, float) else value for name, value in goal.items()}
        for goal in noise_aware.goals(result["rows"])
    ]
    by_place: dict[tuple[float, int], dict[str, list[dict]]] = {}
    for row in sorted(result["rows"], key=lambda row: (row["sigma"], row["evaluations"])):
        place = row["sigma"], row["evaluations"]
        by_place.setdefault(place, {}).setdefault(row["method"], []).append(row)
    parts = []
    for metric, title, best, digits in (("PSNR", "PSNR in dB", max, 2), ("LPIPS", "LPIPS, lower is better", min, 3)):
        table = []
        for (sigma, evaluations), of_method in by_place.items():
            count = len({row["task"] for row in result["rows"] if row["sigma"] == sigma})
            means = {
                method: f"{np.mean([row[metric] for row in rows]):.{digits}f}"
                for method, rows in of_method.items()
                if len(rows) == count
            }
            if means:
                winner = best(means.values(), key=float) if len(means) > 1 else None
                cells = {
                    method: f"**{text}**" if (text := means.get(method, "")) == winner else text
                    for method in noise_aware.METHODS
                }
                table.append({"sigma, evaluations": f"{sigma:g}, {evaluations}", **cells})
        columns = [name for name in table[0] if any(cells[name] for cells in table)]
        parts.append(f"{title}:\n\n" + _report.markdown(table, columns))
    how = f"means over {', '.join(f'`{task}`' for task in tried)} (denoising with noise only)"
    how += f", {len(result['settings']['pictures'])} photos each"
    return _report.markdown(goals, noise_aware.GOAL_COLUMNS) + "\n\n" + "\n\n".join(parts) + _measured_on(result, how)


def _options() -> str:
    result = _load("options")
    by_options: dict[str, dict[str, list[dict]]] = {}
    for row in sorted(result["rows"], key=lambda row: (options.NAMES.index(row["options"]), row["sigma"])):
        by_options.setdefault(row["options"], {}).setdefault(f"sigma {row['sigma']:g}", []).append(row)

    def mean(rows: list[dict], metric: str) -> float:
        return float(np.mean([row[metric] for row in rows]))

    table = [
        {"options": name, **{at: f"{mean(rows, 'PSNR'):.2f} / {mean(rows, 'LPIPS'):.3f}" for at, rows in cells.items()}}
        for name, cells in by_options.items()
    ]
    tried = ", ".join(f"`{task}`" for task in dict.fromkeys(row["task"] for row in result["rows"]))
    how = f"means over {tried} (denoising with noise only), {len(result['settings']['pictures'])} photos each"
    return _report.markdown(table, list(table[0])) + _measured_on(result, how)


def _calibration() -> str:
    result = _load("calibration")
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
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, how)


def _net_error() -> str:
    result = _load("net_error")
    parts: dict[str, list[dict]] = {}
    for row in result["rows"]:
        parts.setdefault(row["part"], []).append(row)
    loss: dict[str, dict[str, str]] = {}
    for row in parts["loss"]:
        cells = loss.setdefault(f"{row['r']:g}", {"r": f"{row['r']:g}"})
        for given in ("noised", "smoothed", "noiseless"):
            cells[f"{row['prior']}, {given}"] = f"{row[f'eps, {given}']:.3g}"
    sweep, starts = _net_error_sweep(parts["sweep"]), _net_error_starts(parts["start"])
    settings = result["settings"]
    how = f"{settings['pictures']} pictures of {settings['size']} x {settings['size']} that are not reported on"
    return (
        _report.markdown(list(loss.values()), list(next(iter(loss.values()))))
        + f"\n\nPSNR in dB at sigma {settings['sigma']}, and what a setting changes:\n\n"
        + _report.markdown(sweep, list(sweep[0]))
        + "\n\nPSNR in dB / LPIPS of three averaged runs of 33 steps by the weight of the prior:\n\n"
        + _net_error_by("lam", parts["lam"])
        + "\n\nThe same by the first image and noise level, means over sigma 0 and 0.1:\n\n"
        + _report.markdown(starts, list(starts[0]))
        + "\n\nThe same of the command line's settings, 100 evaluations, by the least noise level:\n\n"
        + _net_error_by("sigma_min", parts["least"])
        + _measured_on(result, how)
    )


def _net_error_by(name: str, found: list[dict]) -> str:
    """A row for each prior, task and sigma; a column for each value of a setting."""
    known: dict[tuple, dict[str, str]] = {}
    for row in found:
        place = row["prior"], row["task"], row["sigma"]
        told = {"prior": row["prior"], "task": f"`{row['task']}`", "sigma": f"{row['sigma']:g}"}
        known.setdefault(place, told)[f"{name} {row[name]:g}"] = f"{row['PSNR']:.2f} / {row['LPIPS']:.3f}"
    rows = list(known.values())
    return _report.markdown(rows, list(rows[0]))


def _net_error_starts(found: list[dict]) -> list[dict[str, str]]:
    """A row for each prior, task and length of the runs; a column for each first image and level."""
    known: dict[tuple, dict[str, list[tuple[float, float]]]] = {}
    for row in found:
        place = row["prior"], row["task"], row["num_runs"], row["num_steps"]
        start = f"{'A+ y' if row['init'] == 'pinv' else row['init']}, sigma_max {row['sigma_max']:g}"
        known.setdefault(place, {}).setdefault(start, []).append((row["PSNR"], row["LPIPS"]))
    return [
        {"prior": prior, "task": f"`{task}`", "runs x steps": f"{num_runs} x {num_steps}"}
        | {start: "{:.2f} / {:.3f}".format(*np.mean(values, axis=0)) for start, values in cells.items()}
        for (prior, task, num_runs, num_steps), cells in sorted(
            known.items(), key=lambda item: (net_error.PRIORS.index(item[0][0]), [*net_error.LAM].index(item[0][1]))
        )
    ]


def _net_error_sweep(found: list[dict]) -> list[dict[str, str]]:
    """A row for each prior, task and number of evaluations: the rule, and by how much a setting is better."""
    rows: dict[tuple, dict[str, str]] = {}
    first: dict[tuple, float] = {}
    for row in found:
        place = row["prior"], row["task"], row["evaluations"]
        changed = {name: row[name] for name, value in net_error.DEFAULTS.items() if row[name] != value}
        if not changed:
            first[place] = row["PSNR"]
            told = {"prior": row["prior"], "task": f"`{row['task']}`", "evaluations": str(row["evaluations"])}
            rows[place] = told | {"one run": f"{row['PSNR']:.2f}"}
        else:
            said = ", ".join(f"{name} {value}" for name, value in changed.items())
            rows[place][said] = f"{row['PSNR'] - first[place]:+.2f}"
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    return [{name: cells.get(name, "") for name in columns} for cells in rows.values()]


def _repulsion() -> str:
    result = _load("repulsion")
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
    return _report.markdown(rows, list(rows[0])) + _measured_on(result, f"{how}, {settings['steps']} steps")


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
            **{
                f"{name} (dB)": f"{row[f'{method} PSNR']:.2f}" if f"{method} PSNR" in row else ""
                for method, name in (("reddiff", "RED-diff"), ("noise_aware", "noise-aware"))
            },
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


def _denoising() -> str:
    result = _load("denoising")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in result["rows"]:
        if row["what"] == "denoising":
            cells = rows.setdefault((row["pictures"], row["method"]), {"": row["method"], "photos": row["pictures"]})
            cells[f"sigma {row['sigma']}"] = f"{row['PSNR']:.2f} dB, {row['SSIM']:.3f}"
            cells.pop("ms a picture", None)  # to be the last column
            cells["ms a picture"] = f"{row['ms a picture']:.0f}"
    table = list(rows.values())
    size = result["settings"]["size"]
    names = {row["method"] for row in result["rows"] if row["what"] == "denoising"}
    bm3d = " BM3D: Mäkinen, Azzari, Foi 2020 (non-commercial licence; installed for this comparison only)."
    return (
        _report.markdown(table, list(table[0]))
        + _measured_on(result, f"{len(result['settings']['pictures'])} photos of {size} x {size}, one at a time")
        + (bm3d if "BM3D" in names else "")
    )


def _eps_loss() -> str:
    result = _load("denoising")
    rows: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        if row["what"] == "eps loss":
            rows.setdefault(row["prior"], {"prior": row["prior"]})[f"t = {row['timestep']}"] = f"{row['loss']:.3g}"
    table = list(rows.values())
    return _report.markdown(table, list(table[0])) + _measured_on(result, "pictures that were not trained on")


def _architectures() -> str:
    result = _load("architectures")
    times = {row["network"]: row for row in result["rows"] if row["what"] == "time"}
    rows = []
    for row in result["rows"]:
        if row["what"] == "quality":
            cost = times[row["network"]]
            cells = {"network": f"`{row['network']}`", "objective": row["objective"], "updates": row["updates"]}
            cells |= {"parameters": f"{cost['parameters'] / 1e6:.1f} M", "ms": f"{cost['ms, 256 x 256']:.0f}"}
            measured = [name for name in row if name not in (*HIDDEN, "what", "network", "objective", "updates")]
            rows.append(cells | {name: f"{row[name]:.2f}" for name in measured})
    minutes = result["settings"]["minutes"]
    return _report.markdown(rows, list(rows[0])) + _measured_on(
        result, f"{minutes:g} minutes of one core each, PSNR in dB"
    )


def _emoji64() -> str:
    result = _load("emoji64")
    memory, halves = (
        [{key: value for key, value in row.items() if key != "what"} for row in result["rows"] if row["what"] == what]
        for what in ("distance to the nearest training picture", "half a face")
    )
    tables = [_report.markdown(rows, [name for name in rows[0] if name not in HIDDEN]) for rows in (memory, halves)]
    settings = result["settings"]
    note = _measured_on(result, f"{settings['samples']} samples, {settings['steps']} steps, sigma {settings['sigma']}")
    return "\n\n".join(tables) + note


HIDDEN = ("nearest", "each", "commit")  # lists of one value a picture, and what the note says


def _medical() -> str:
    result = _load("medical")
    rows: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        cells = rows.setdefault(row["method"], {"": row["method"]})
        cells[row["case"]] = f"{row['PSNR']:.2f} dB, {row['SSIM']:.3f}"
    cases = list(dict.fromkeys(row["case"] for row in result["rows"]))
    size, sigma = result["settings"]["size"], result["settings"]["sigma"]
    note = _measured_on(result, f"{size} x {size}, sigma {sigma} for pixels in [-1, 1], means over slices")
    return _report.markdown(list(rows.values()), ["", *cases]) + note


def _duration(microseconds: float) -> str:
    if microseconds < 1e3:
        return f"{microseconds:.3g} us"
    return f"{microseconds / 1e3:.3g} ms" if microseconds < 1e6 else f"{microseconds / 1e6:.3g} s"


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
