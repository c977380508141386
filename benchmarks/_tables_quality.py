"""Tables of restored pictures' quality."""

import numpy as np

from benchmarks import _settings
from benchmarks import noise_aware as noise_aware_benchmark
from benchmarks import options as options_benchmark
from benchmarks._paired import LEVEL, RESAMPLES, paired
from benchmarks._tables import load, markdown, measured_on
from reddiff_jax import tasks as catalogue
from reddiff_jax.settings import PUBLISHED_IS_BETTER

METHODS = {
    "A+y": "A+y",
    "one evaluation": "one evaluation",
    "classical": "classical",
    "built-in": "RED-diff, built-in",
    "reddiff": "RED-diff, tuned",
    "noise_aware": "noise-aware RED-diff",
}


CLASSICAL = {
    "y": "y itself",
    "biharmonic": "biharmonic",
    "interpolation": "interpolation",
    "wiener": "Wiener",
    "richardson_lucy": "Richardson-Lucy",
}


def headline() -> str:
    """Three tasks of README: the pseudo-inverse, the published form at its best, and the default."""
    named = {"inpaint_random": "70 % of pixels missing", "sr4": "4 x smaller", "deblur_motion": "camera shake"}
    cases, rows = _cases(), []
    for task, name in named.items():
        of_method = cases[task, 0.05]
        shown = {
            "A+ y": of_method["A+y"],
            "RED-diff, the better of two settings": max(
                of_method["built-in"], of_method["reddiff"], key=lambda row: row["PSNR"]
            ),
            "noise-aware RED-diff, the default": of_method["noise_aware"],
        }
        cells = {title: f"{row['PSNR']:.2f} dB, {row['LPIPS']:.3f}" for title, row in shown.items()}
        rows.append({"measurement": f"{name} (`{task}`)", **cells})
    return markdown(rows, list(rows[0])) + measured_on(load("quality"), "means")


def quality() -> str:
    """PSNR and LPIPS of every task; of the classical methods the best of each task and metric."""
    parts = []
    for metric, title, best, digits in (("PSNR", "PSNR in dB", max, 2), ("LPIPS", "LPIPS, lower is better", min, 3)):
        rows = []
        for (task, sigma), of_method in _cases().items():
            shown = {method: row for method, row in of_method.items() if method in METHODS}
            classical = [row for method, row in of_method.items() if method in CLASSICAL]
            if classical:
                shown["classical"] = best(classical, key=lambda row: row[metric])
            winner = best(row[metric] for row in shown.values())
            cells = {"task": f"`{task}`", "sigma": f"{sigma:g}"}
            for method, name in METHODS.items():
                row = shown.get(method)
                text = f"{row[metric]:.{digits}f}" if row else ""
                text = f"**{text}**" if row and row[metric] == winner else text
                cells[name] = f"{text} {CLASSICAL[row['method']]}" if row and method == "classical" else text
            rows.append(cells)
        parts.append(f"{title}:\n\n" + markdown(rows, list(rows[0])))
    result = load("quality")
    size, pictures = result["settings"]["size"], len(result["settings"]["pictures"])
    return "\n\n".join(parts) + measured_on(result, f"means over {pictures} photos of {size} x {size}, float32")


def picture_by_picture() -> str:
    """The default against the best other method of each case, over the same pictures."""
    rows = []
    for (task, sigma), of_method in _cases().items():
        shown = {method: row for method, row in of_method.items() if is_shown(row)}
        ours = shown.pop("noise_aware", None)
        if ours is None:
            continue
        best = max(shown.values(), key=lambda row: row["PSNR"])
        found = paired(ours["per picture PSNR"], best["per picture PSNR"])
        rows.append(
            {
                "task": f"`{task}`",
                "sigma": f"{sigma:g}",
                "best other": METHODS.get(best["method"]) or CLASSICAL[best["method"]],
                "mean difference (dB)": f"{found.mean:+.2f}",
                f"{LEVEL:.0%} interval": f"{found.low:+.2f} to {found.high:+.2f}",
                "won": f"{found.won} of {found.count}",
                "worst picture": f"{found.worst}, {found.worst_difference:+.2f}",
            }
        )
    how = f"PSNR of the default minus that of the best other method, intervals by {RESAMPLES:,} paired resamples"
    return markdown(rows, list(rows[0])) + measured_on(load("quality"), how)


def is_shown(row: dict) -> bool:
    """Whether a row is a fair comparison: of a method at its best use, tuned as ours."""
    return row["method"] in METHODS or row["method"] in CLASSICAL


def _cases() -> dict[tuple[str, float], dict[str, dict]]:
    """(task, sigma) -> method -> row of the quality benchmark."""
    cases: dict[tuple[str, float], dict[str, dict]] = {}
    for row in load("quality")["rows"]:
        cases.setdefault((row["task"], row["sigma"]), {})[row["method"]] = row
    return cases


def noise_aware() -> str:
    """PSNR and LPIPS of RED-diff's forms by noise level and number of evaluations."""
    result = load("noise_aware")
    tried = sorted({row["task"] for row in result["rows"]})
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
                method: f"{np.mean([row[metric] for row in of_method[method]]):.{digits}f}"
                for method in noise_aware_benchmark.SHOWN
                if len(of_method.get(method, ())) == count
            }
            winner = best(means.values(), key=float)
            cells = {
                method: f"**{text}**" if (text := means.get(method, "")) == winner else text
                for method in noise_aware_benchmark.SHOWN
            }
            table.append({"sigma, evaluations": f"{sigma:g}, {evaluations}", **cells})
        parts.append(f"{title}:\n\n" + markdown(table, list(table[0])))
    how = f"means over {', '.join(f'`{task}`' for task in tried)} (denoising with noise only)"
    how += f", {len(result['settings']['pictures'])} photos each"
    return "\n\n".join(parts) + measured_on(result, how)


def options() -> str:
    result = load("options")
    by_options: dict[str, dict[str, list[dict]]] = {}
    for row in sorted(result["rows"], key=lambda row: (options_benchmark.NAMES.index(row["options"]), row["sigma"])):
        by_options.setdefault(row["options"], {}).setdefault(f"sigma {row['sigma']:g}", []).append(row)

    def mean(rows: list[dict], metric: str) -> float:
        return float(np.mean([row[metric] for row in rows]))

    table = [
        {"options": name, **{at: f"{mean(rows, 'PSNR'):.2f} / {mean(rows, 'LPIPS'):.3f}" for at, rows in cells.items()}}
        for name, cells in by_options.items()
    ]
    tried = ", ".join(f"`{task}`" for task in dict.fromkeys(row["task"] for row in result["rows"]))
    how = f"means over {tried} (denoising with noise only), {len(result['settings']['pictures'])} photos each"
    return markdown(table, list(table[0])) + measured_on(result, how)


def defaults() -> str:
    result = load("defaults")
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
    return markdown(list(rows.values()), columns) + measured_on(result, "64 x 64, 4 crops") + note


def framing() -> str:
    result = load("framing")
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
    return markdown(rows, list(rows[0])) + measured_on(result, f"{sizes}, {settings['pictures']} pictures")


def tasks() -> str:
    result = load("tasks")
    rows = [
        {
            "task": f"`{row['task']}`",
            "what is undone": catalogue.by_name(row["task"]).help,
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
    return markdown(rows, list(rows[0])) + measured_on(result, "float32")


def overfitting() -> str:
    result = load("overfitting")
    settings = result["settings"]
    ends = ", ".join(f"{row['solver']} {row['PSNR'][-1]:.1f} dB" for row in result["rows"])
    how = f"`{settings['task']}`, sigma {settings['sigma']:g}, the photo {settings['picture']}"
    return (
        f"*At the end: A+ y {settings['A+ y']}, {ends}. The published form, with its paper's settings, goes back "
        f"to the noisy measurement, the more so the more steps it has.*{measured_on(result, how)}"
    )


def medical() -> str:
    result = load("medical")
    rows: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        cells = rows.setdefault(row["method"], {"": row["method"]})
        cells[row["case"]] = f"{row['PSNR']:.2f} dB, {row['SSIM']:.3f}"
    cases = list(dict.fromkeys(row["case"] for row in result["rows"]))
    size, sigma = result["settings"]["size"], result["settings"]["sigma"]
    note = measured_on(result, f"{size} x {size}, sigma {sigma} for pixels in [-1, 1], means over slices")
    return markdown(list(rows.values()), ["", *cases]) + note


def volumes() -> str:
    """PSNR of a volume, and the roughness across its slices."""
    result = load("volumes")
    rows: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        cells = rows.setdefault(row["way"], {"": row["way"]})
        cells[row["case"]] = f"{row['PSNR']:.2f} dB, {row['roughness']:.3f}"
    settings = result["settings"]
    cases = list(dict.fromkeys(row["case"] for row in result["rows"]))
    note = measured_on(
        result,
        f"{settings['slices']} slices of {settings['size']} x {settings['size']}, sigma {settings['sigma']}; the "
        f"truth's roughness is {settings['roughness of the truth']:.3f}",
    )
    return markdown(list(rows.values()), ["", *cases]) + note


def clips() -> str:
    """PSNR of clips, and the flicker of the error."""
    result = load("clips")
    rows: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        cells = rows.setdefault(row["way"], {"": row["way"]})
        cells[f"{row['clip']}, {row['case']}"] = f"{row['PSNR']:.2f} dB, {row['flicker']:.3f}"
    settings = result["settings"]
    note = measured_on(result, f"{settings['frames']} frames of {settings['side']} x {settings['side']}")
    table = list(rows.values())
    return markdown(table, list(table[0])) + note


def cone_beam() -> str:
    """PSNR of a volume behind a cone."""
    result = load("cone_beam")
    settings = result["settings"]
    table = [{"": row["way"], "PSNR": f"{row['PSNR']:.2f} dB"} for row in result["rows"]]
    how = f"{settings['slices']} slices of {settings['size']} x {settings['size']}, {settings['views']} views"
    return markdown(table, list(table[0])) + measured_on(result, f"{how}, sigma {settings['sigma']}")


def ablations() -> str:
    """PSNR and LPIPS of each variant, at the end of its run."""
    result = load("ablations")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in result["rows"]:
        field = {"orders": "order", "weightings": "weighting", "optimizers": "optimizer"}[row["ablation"]]
        cells = rows.setdefault((row["ablation"], row[field]), {"varied": field, "as": row[field]})
        told = f"{row['PSNR']:.2f} / {row['LPIPS']:.3f}"
        cells[f"{row['task']}, {result['settings']['sigma'][row['task']]:g}"] = told
    table = list(rows.values())
    size, steps = result["settings"]["size"], result["settings"]["num_steps"]
    return markdown(table, list(table[0])) + measured_on(result, f"PSNR in dB / LPIPS, {size} x {size}, {steps} steps")
