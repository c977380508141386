"""`reddiff-jax train`: a diffusion prior from a folder of pictures."""

import importlib.util
import math
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff_jax._bars import duration
from reddiff_jax.cli._common import FAILED_PARTLY, UserError, check_exist, conclude_with, progress_bar
from reddiff_jax.cli._errors import Stopped
from reddiff_jax.cli._stopping import Stopping

if TYPE_CHECKING:
    from reddiff_jax.jobs import ResidualArchitecture, UNetArchitecture
    from reddiff_jax.training import TrainingConfig

_LONG = 600.0  # seconds from which it is worth changing the engine


def train(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, searched with its sub-folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the prior; an unfinished run in it is continued.")],
    steps: Annotated[int, typer.Option(min=1, help="Updates. May be changed when a run is continued.")] = 100_000,
    crop: Annotated[list[int], typer.Option(help="Crop sizes, taken in turn; repeat the option.")] = [64, 64, 64, 128],  # noqa: B006
    batch: Annotated[int, typer.Option(min=1, help="Crops of 64 x 64 in a batch; of larger ones as many pixels.")] = 16,
    mirror: Annotated[bool, typer.Option(help="Mirror half of the crops; not for pictures with text.")] = True,
    gray: Annotated[bool, typer.Option("--gray", help="Train on gray pictures.")] = False,
    network: Annotated[
        str,
        typer.Option("--net", help="Network: unet (ADM), or residual, which has no normalisation and no attention."),
    ] = "unet",
    width: Annotated[int, typer.Option(min=1, help="Channels of the first level; of a unet a multiple of 32.")] = 64,
    mult: Annotated[
        str | None,
        typer.Option(help="Width of each level as a multiple of the first.", show_default="1,2,2; of residual 1,2,4,4"),
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(min=1, help="Residual blocks of each level.", show_default="1; of residual 2")
    ] = None,
    attention: Annotated[
        str, typer.Option(help="Downsampling factors with attention, e.g. 4,8; none if empty. Only of a unet.")
    ] = "",
    middle_attention: Annotated[
        bool, typer.Option("--middle-attention", help="Attention at the lowest level. Only of a unet.")
    ] = False,
    patch: Annotated[int, typer.Option(min=1, help="Side of the pixel patches folded into channels.")] = 2,
    predict: Annotated[
        str,
        typer.Option(
            help="What the network predicts: v, which learns faster at high noise, eps, x0, or velocity (a rectified "
            "flow, on its own schedule)."
        ),
    ] = "v",
    levels: Annotated[
        str,
        typer.Option(
            help="Noise levels that it sees: uniform in t, or lognormal, mostly those where texture and edges are "
            "decided: for restoring photos."
        ),
    ] = "uniform",
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Dropout rate. Only of a unet.")] = 0.0,
    learning_rate: Annotated[float, typer.Option("--lr", min=0)] = 5e-4,
    ema: Annotated[float, typer.Option(min=0, max=1, help="Decay of the parameters' moving average.")] = 0.999,
    engine: Annotated[
        str,
        typer.Option(
            help="What trains: jax, or torch (the extra of that name), which is faster on a CPU; for --net residual."
        ),
    ] = "jax",
    sheets: Annotated[bool, typer.Option("--sheets", help="Draw a sheet of samples at each checkpoint.")] = False,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="Prior to fine-tune; its architecture is used.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation, crops and noise.")] = 0,
    save_every: Annotated[float, typer.Option(min=1, help="Seconds between checkpoints.")] = 300.0,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures that are not trained on; their loss goes to OUT/validation.csv and the card."
        ),
    ] = None,
    note: Annotated[str, typer.Option(help="What the card should say of the training pictures.")] = "",
    credits: Annotated[
        Path | None, typer.Option(help="Text file for the card: sources, authors and licences of the pictures.")
    ] = None,
) -> None:
    """Trains a prior on a folder of pictures.

    Writes checkpoints to OUT while it runs, and at the end OUT/prior, which --prior takes. Killed and started again
    with the same options, it continues with the same data in the same order.
    """
    for given in (folder, validation, credits):
        check_exist(given)
    if engine == "torch" and start_from is None and network != "residual":
        raise UserError("--engine torch trains --net residual only; add that, or leave out --engine.")
    if engine == "torch" and importlib.util.find_spec("torch") is None:
        raise UserError("--engine torch needs PyTorch; pip install 'reddiff_jax[torch]', or leave out --engine.")
    import jax

    from reddiff_jax import io, jobs, training
    from reddiff_jax.cli._processes import use_cores

    use_cores()
    make_engine = _chosen("--engine", engine, {"jax": training.jax_engine, "torch": training.torch_engine})
    kinds = {name: to_eps for name, to_eps in io.PREDICTIONS.items() if to_eps in training.TARGETS}
    config = training.TrainingConfig(
        steps=steps,
        batch_pixels=batch * 64 * 64,
        crops=tuple(crop),
        learning_rate=learning_rate,
        ema=ema,
        seed=seed,
        to_eps=_chosen("--predict", predict, kinds),
        levels=_chosen("--levels", levels, jobs.LEVELS),
    )
    make = _chosen("--net", network, {"unet": _unet, "residual": _residual_unet})
    architecture = make(
        width=width,
        mult=mult,
        blocks=blocks,
        attention=attention,
        middle_attention=middle_attention,
        dropout=dropout,
        patch=patch,
    )
    failures: list[jobs.Failure] = []
    with progress_bar("training") as update, Stopping() as stopping:
        prior = jobs.train_prior(
            folder,
            out=out,
            config=config,
            start=architecture if start_from is None else start_from,
            channels=1 if gray else 3,
            mirror=mirror,
            engine=make_engine,
            sheets=sheets,
            save_every_seconds=save_every,
            validation=validation,
            note=note,
            credits=credits,
            command=_command(context),
            report=_Told(config, update, slow=engine == "jax" and jax.default_backend() == "cpu"),
            fail=failures.append,
            stop=stopping.asked,
        )
    if prior is None:
        raise Stopped
    typer.echo(f"prior: {prior}")
    conclude_with(failures, FAILED_PARTLY)


class _Told:
    """What is printed of a training: what takes long, as it begins; else a bar, or a line every few seconds."""

    def __init__(self, config: "TrainingConfig", update: Any, *, slow: bool):
        self.config, self.update, self.doing = config, update, ""
        self.offer = "no accelerator was found: --net residual --engine torch is faster on a CPU" if slow else ""

    def __call__(self, report: Any) -> None:
        steps, say = self.config.steps, partial(self.update.console.print, soft_wrap=True, markup=False)
        text = f"update {report.step} of {steps}"
        if not math.isnan(report.loss):
            text += f", loss {report.loss:.4f}, {report.images_per_second:.1f} images/s"
            if self.offer and report.images_per_second:
                images = sum(map(self.config.count, self.config.crops)) / len(self.config.crops)  # of an update
                seconds = (steps - report.step) * images / report.images_per_second
                if seconds > _LONG:
                    say(f"about {duration(seconds)} to go; {self.offer}")
                self.offer = ""
        if report.doing and report.doing != self.doing:
            say(report.doing)
        self.doing = report.doing
        self.update(report.step / steps, report.doing or text)


def _unet(*, mult: str | None, blocks: int | None, attention: str, **options: Any) -> "UNetArchitecture":
    from reddiff_jax.jobs import UNetArchitecture

    return UNetArchitecture(
        mult=_numbers("--mult", "1,2,2" if mult is None else mult, float),
        blocks=blocks or 1,
        attention=_numbers("--attention", attention, int),
        **options,
    )


def _residual_unet(*, mult: str | None, blocks: int | None, **options: Any) -> "ResidualArchitecture":
    from reddiff_jax.jobs import ResidualArchitecture

    given = [name for name in ("attention", "middle_attention", "dropout") if options.pop(name)]
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--net residual has no {names}; leave it out, or say --net unet.")
    multiples = _numbers("--mult", "1,2,4,4" if mult is None else mult, float)
    return ResidualArchitecture(mult=multiples, blocks=blocks or 2, **options)


def _chosen(option: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise UserError(f"{option} {name} must be one of {', '.join(known)}.")
    return known[name]


def _command(context: typer.Context) -> str:
    """The command as it was given, without the folders in front of the names of files."""
    words = ["reddiff-jax", "train"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.param_type_name == "argument":
            words.append(value.name)  # type: ignore[union-attr]
        elif value is not None and value != parameter.get_default(context):
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, bool):
                    words.append((parameter.opts if each else parameter.secondary_opts)[0])
                else:
                    words += [parameter.opts[0], each.name if isinstance(each, Path) else str(each)]
    return shlex.join(words)


def _numbers(option: str, text: str, kind: type) -> tuple:
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UserError(f"{option} {text!r} is not a list of numbers such as 1,2,4.") from None
