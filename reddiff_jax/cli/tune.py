"""`reddiff-jax tune`: a solver's settings for a task, searched on own pictures."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from reddiff_jax.cli._common import (
    FAILED_PARTLY,
    SIGMA,
    PriorOption,
    SeedOption,
    SolverOption,
    check_exist,
    check_found,
    conclude_with,
    load_prior,
    parse_sigma,
    progress_bar,
    show_settings,
    stdout,
)
from reddiff_jax.cli._names import check_names
from reddiff_jax.cli._stopping import Stopping

_SHOWN = 8


class _Search(StrEnum):
    random = "random"
    grid = "grid"
    optuna = "optuna"


def tune(
    images: Annotated[list[Path], typer.Argument(help="Clean pictures, or folders of pictures.", show_default=False)],
    task: Annotated[str, typer.Option(help="What is to be undone; `reddiff-jax info` lists the tasks.")],
    out: Annotated[Path, typer.Option("--out", help="File of settings (.json); other rows of it are kept.")],
    sigma: Annotated[str, typer.Option(help=SIGMA)] = "0",
    solver: SolverOption = None,
    budget: Annotated[int, typer.Option(help="Number of trials.")] = 32,
    search: Annotated[_Search, typer.Option(help="How settings are proposed.")] = _Search.random,
    vary: Annotated[
        list[str] | None, typer.Option(help="Setting to search, e.g. lam; repeat the option.", show_default="all")
    ] = None,
    size: Annotated[int, typer.Option(min=8, help="Side of the central square, in pixels.")] = 64,
    steps: Annotated[int | None, typer.Option(help="Number of steps, 1 to 1000.", show_default="tuned")] = None,
    sweep_size: Annotated[int, typer.Option(help="Trials run at once, each on all pictures.")] = 4,
    prior: PriorOption = None,
    seed: SeedOption = 0,
) -> None:
    """Searches a solver's settings on clean pictures, whose measurements are simulated.

    A handful of pictures is enough; take none that you will report on. The best settings go to the file, for `restore
    --settings`; the present ones are the first trial. Killed and started again in the same way, it continues.

    Settings that are numbers are tried several at once in one compiled call. Score: PSNR - 10 LPIPS, or PSNR alone
    without the extra `lpips`. The search optuna needs the extra `tune`.
    """
    check_names(task, solver)
    check_exist(*images)
    from dataclasses import asdict

    from rich.table import Table

    from reddiff_jax import jobs, tasks, tuning
    from reddiff_jax.settings import field_name, word

    searches = {"random": tuning.random_search, "grid": tuning.grid_search, "optuna": tuning.optuna_search}
    fields = None if vary is None else [field_name(each) for each in vary]
    level = tasks.check_sigma(parse_sigma(sigma), tasks.by_name(task))
    solver = jobs.settings_class(solver, task).name
    check_found(images, measured=False)
    loaded, channels, prior_name = load_prior(prior)
    failures: list[jobs.Failure] = []
    with progress_bar("tuning") as update, Stopping() as stopping:
        update(0.0, f"{solver} on {task}")

        def report(so_far: Any, done: int) -> None:
            update(done / budget, f"{done} of {budget}, best {so_far.score:.2f}")
            if done < budget:
                stopping.check()

        tuned, score = jobs.tune_settings(
            images,
            loaded,
            out=out,
            task=task,
            sigma=level,
            solver=solver,
            budget=budget,
            search=searches[search],
            size=size,
            num_steps=steps,
            sweep_size=sweep_size,
            vary=fields,
            seed=seed,
            prior_name=prior_name,
            channels=channels,
            report=report,
            fail=failures.append,
        )
    searched = list(tuned.settings.space)
    table = Table("score", *(word(name) for name in searched), "")
    before = tuned.trials[0]
    for trial in sorted(tuned.trials, key=lambda trial: -trial.score)[:_SHOWN]:
        settings = asdict(trial.settings)  # type: ignore[call-overload]
        values = (f"{value:g}" if isinstance(value := settings[name], float) else str(value) for name in searched)
        table.add_row(f"{trial.score:.2f}", *values, "present settings" if trial is before else "")
    console = stdout()
    console.print(table)
    said = {"psnr_lpips": "PSNR - 10 LPIPS", "psnr": "PSNR"}[score.__name__]
    gain = f"{said} {tuned.score:.2f} after {len(tuned.trials)} trials, {before.score:.2f} before"
    console.print(f"{gain}: {show_settings(tuned.settings)}", soft_wrap=True, markup=False)
    console.print(f"settings: {out}", soft_wrap=True, markup=False)
    conclude_with(failures, FAILED_PARTLY)
