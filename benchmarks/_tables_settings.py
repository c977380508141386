"""Tables of settings, and of what they were chosen by."""

import functools

import numpy as np

from benchmarks import _settings
from benchmarks import net_error as net_error_benchmark
from benchmarks._tables import load, markdown, measured_on
from reddiff_jax import tasks
from reddiff_jax.settings import TUNED, Kind, NoiseAwareSettings


def tuned_settings() -> str:
    measured = {
        (row["task"], row["sigma"]): f"{row['PSNR']:.2f} dB / {row['LPIPS']:.3f}"
        for row in load("quality")["rows"]
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
    return markdown(rows, list(rows[0]))


def noise_aware_settings() -> str:
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
    return markdown(rows, list(rows[0]))


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


def net_error_loss() -> str:
    """Where the network errs: loss of the noise prediction by noise level."""
    loss: dict[str, dict[str, str]] = {}
    for row in _net_error("loss"):
        cells = loss.setdefault(f"{row['r']:g}", {"r": f"{row['r']:g}"})
        for given in ("noised", "smoothed", "noiseless"):
            cells[f"{row['prior']}, {given}"] = f"{row[f'eps, {given}']:.3g}"
    return markdown(list(loss.values()), list(next(iter(loss.values())))) + _net_error_note()


def net_error_sweep() -> str:
    """What a setting changes of one run's PSNR."""
    rows = _net_error_sweep(_net_error("sweep"))
    return markdown(rows, list(rows[0])) + _net_error_note()


def net_error_lam() -> str:
    """PSNR and LPIPS by the weight of the prior."""
    return _net_error_by("lam", _net_error("lam")) + _net_error_note()


def net_error_starts() -> str:
    """PSNR and LPIPS by the initial image and first level."""
    rows = _net_error_starts(_net_error("start"))
    return markdown(rows, list(rows[0])) + _net_error_note()


def net_error_least() -> str:
    """PSNR and LPIPS by the least level."""
    return _net_error_by("sigma_min", _net_error("least")) + _net_error_note()


def _net_error(part: str) -> list[dict]:
    return [row for row in load("net_error")["rows"] if row["part"] == part]


def _net_error_note() -> str:
    result = load("net_error")
    settings = result["settings"]
    how = f"{settings['pictures']} pictures of {settings['size']} x {settings['size']} that are not reported on"
    return measured_on(result, how)


def _net_error_by(name: str, found: list[dict]) -> str:
    """A row for each prior, task and sigma; a column for each value of a setting."""
    known: dict[tuple, dict[str, str]] = {}
    for row in found:
        place = row["prior"], row["task"], row["sigma"]
        told = {"prior": row["prior"], "task": f"`{row['task']}`", "sigma": f"{row['sigma']:g}"}
        known.setdefault(place, told)[f"{name} {row[name]:g}"] = f"{row['PSNR']:.2f} / {row['LPIPS']:.3f}"
    rows = list(known.values())
    return markdown(rows, list(rows[0]))


def _net_error_starts(found: list[dict]) -> list[dict[str, str]]:
    """A row for each prior, task and length of the runs; a column for each first image and level."""
    known: dict[tuple, dict[str, list[tuple[float, float]]]] = {}
    priors = [*dict.fromkeys(row["prior"] for row in found)]
    for row in found:
        place = row["prior"], row["task"], row["num_runs"], row["num_steps"]
        start = f"{'A+ y' if row['init'] == 'pinv' else row['init']}, sigma_max {row['sigma_max']:g}"
        known.setdefault(place, {}).setdefault(start, []).append((row["PSNR"], row["LPIPS"]))
    return [
        {"prior": prior, "task": f"`{task}`", "runs x steps": f"{num_runs} x {num_steps}"}
        | {start: "{:.2f} / {:.3f}".format(*np.mean(values, axis=0)) for start, values in cells.items()}
        for (prior, task, num_runs, num_steps), cells in sorted(
            known.items(),
            key=lambda item: (
                priors.index(item[0][0]),
                [*net_error_benchmark.LAM].index(item[0][1]),
            ),
        )
    ]


def _net_error_sweep(found: list[dict]) -> list[dict[str, str]]:
    """A row for each prior, task and number of evaluations: the rule, and by how much a setting is better."""
    rows: dict[tuple, dict[str, str]] = {}
    first: dict[tuple, float] = {}
    for row in found:
        place = row["prior"], row["task"], row["evaluations"]
        changed = {name: row[name] for name, value in net_error_benchmark.DEFAULTS.items() if row[name] != value}
        if not changed:
            first[place] = row["PSNR"]
            told = {"prior": row["prior"], "task": f"`{row['task']}`", "evaluations": str(row["evaluations"])}
            rows[place] = told | {"one run": f"{row['PSNR']:.2f}"}
        else:
            said = ", ".join(f"{name} {value}" for name, value in changed.items())
            rows[place][said] = f"{row['PSNR'] - first[place]:+.2f}"
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    return [{name: cells.get(name, "") for name in columns} for cells in rows.values()]
