"""`reddiff-jax train`: a diffusion prior from a folder of pictures."""

import platform
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flax.linen import Module

LEVELS = {"uniform": "uniform_levels", "lognormal": "lognormal_levels"}  # functions of training


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
        str, typer.Option(help="What the network predicts: v, which learns faster at high noise, eps or x0.")
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

    Writes checkpoints and sample sheets to OUT while it runs, and at the end OUT/prior, which --prior takes. Killed and
    started again with the same options, it continues with the same data in the same order.
    """
    import jax
    import jax.numpy as jnp
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from reddiff_jax import io, pictures, schedules, training
    from reddiff_jax.cli._errors import UserError
    from reddiff_jax.cli._processes import use_cores

    use_cores()
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    if not folder.exists():
        raise UserError(f"{folder} does not exist.")
    paths = pictures.find_pictures(folder)
    if not paths:
        raise UserError(f"no pictures in {folder} (looked for {', '.join(sorted(pictures.SUFFIXES))}).")
    for given in (validation, credits):
        if given is not None and not given.exists():
            raise UserError(f"{given} does not exist.")
    if (out / "prior").exists():
        raise UserError(f"{out / 'prior'} exists already: that run is complete. Choose another --out or remove it.")
    channels = 1 if gray else 3
    params = None
    kinds = {name: to_eps for name, to_eps in io.PREDICTIONS.items() if to_eps in training.TARGETS}
    if predict not in kinds:
        raise UserError(f"--predict {predict} must be one of {', '.join(kinds)}.")
    to_eps = kinds[predict]
    if levels not in LEVELS:
        raise UserError(f"--levels {levels} must be one of {', '.join(LEVELS)}.")
    if start_from is not None:
        given = io.load_prior(start_from, dtype=dtype)
        net, params, schedule, to_eps = given.net, given.params, given.schedule, given.to_eps
        if to_eps not in training.TARGETS:
            raise UserError(f"{start_from} predicts a score, which cannot be trained here.")
        if net.in_channels != channels:  # type: ignore[attr-defined]
            raise UserError(f"{start_from} takes {net.in_channels} channels, not {channels}.")  # type: ignore[attr-defined]
    else:
        schedule = schedules.linear()
        if network not in NETWORKS:
            raise UserError(f"--net {network} must be one of {', '.join(NETWORKS)}.")
        net = NETWORKS[network](
            width=width,
            mult=mult,
            blocks=blocks,
            attention=attention,
            middle_attention=middle_attention,
            dropout=dropout,
            in_channels=channels,
            out_channels=channels,
            patch_size=patch,
            dtype=dtype,
        )
    for size in crop:
        if size < 1 or size % net.stride:  # type: ignore[attr-defined]
            raise UserError(f"--crop {size} must be a positive multiple of {net.stride}, the network's stride.")  # type: ignore[attr-defined]
    config = training.TrainingConfig(
        steps=steps,
        batch_pixels=batch * 64 * 64,
        crops=tuple(crop),
        learning_rate=learning_rate,
        ema=ema,
        seed=seed,
        to_eps=to_eps,
        levels=getattr(training, LEVELS[levels]),
    )
    held_out = None
    if validation is not None:
        # The same crops at every checkpoint.
        found = tuple(pictures.find_pictures(validation))
        held_out = training.Crops(found, channels=channels, min_size=min(crop), mirror=False).batch(0, crop[0], 64)
    crops = training.Crops(tuple(paths), channels=channels, min_size=min(crop), seed=seed, mirror=mirror)
    out.mkdir(parents=True, exist_ok=True)

    def as_prior(state: training.TrainState) -> io.NetPrior:
        return io.NetPrior(schedule=schedule, params=state.ema, net=net, to_eps=to_eps)

    def watch(state: training.TrainState) -> None:
        sheet = training.sample_sheet(jax.random.key(seed), as_prior(state), min(crop), channels)
        pictures.write_picture(out / f"samples-{int(state.step):07d}.png", sheet)
        if held_out is not None:
            losses = training.loss_by_noise_level(as_prior(state), held_out)
            _append(
                out / "validation.csv", step=int(state.step), **{f"t{t}": f"{loss:.6f}" for t, loss in losses.items()}
            )

    started = time.monotonic()
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:.1f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=steps, loss=float("nan"), rate=0.0)

        def report(progress: training.Report) -> None:
            bar.update(task, completed=progress.step, loss=progress.loss, rate=progress.images_per_second)
            _append(
                out / "log.csv",
                step=progress.step,
                loss=f"{progress.loss:.6f}",
                images_per_second=f"{progress.images_per_second:.2f}",
                seconds=f"{time.monotonic() - started:.1f}",
            )

        state = training.train(
            net,
            schedule,
            crops,
            config,
            out / "checkpoints",
            params=params,
            report=report,
            save_every_seconds=save_every,
            on_save=watch,
        )
    prior = as_prior(state)
    card = {
        "name": out.name,
        "training": {
            "command": _command(context),
            "pictures": len(paths),
            "note": note,
            **({"credits": credits.read_text().splitlines()} if credits else {}),
            "steps": steps,
            "batch_pixels": config.batch_pixels,
            "crops": list(crop),
            "mirror": mirror,
            "levels": levels,
            "learning_rate": learning_rate,
            "ema": ema,
            "seed": seed,
            "seconds": round(_seconds(_read(out / "log.csv"))),
            "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()}, {platform.machine()})",
            "num_devices": jax.device_count(),
            "jax": jax.__version__,
            "eps_loss_by_timestep": training.loss_by_noise_level(prior, crops.batch(-1 % 2**31, crop[0], 64)),
            "curves": {"training": _curve(_read(out / "log.csv"), "loss")},
        },
        "schedule": {"name": "linear beta 1e-4..2e-2"} if start_from is None else {},
    }
    if held_out is not None:
        watched = _read(out / "validation.csv")
        card["training"]["validation_eps_loss_by_timestep"] = training.loss_by_noise_level(prior, held_out)
        card["training"]["curves"] |= {f"validation {name}": _curve(watched, name) for name in list(watched[0])[1:]}
    io.save_prior(prior, out / "prior", card=card, dtype=jnp.bfloat16)
    typer.echo(f"prior: {out / 'prior'}")


def _unet(
    *,
    width: int,
    mult: str | None,
    blocks: int | None,
    attention: str,
    middle_attention: bool,
    dropout: float,
    **shared: Any,
) -> "Module":
    from reddiff_jax.nets import UNet

    return UNet(
        model_channels=width,
        num_res_blocks=blocks or 1,
        channel_mult=_numbers("--mult", "1,2,2" if mult is None else mult, float),
        attention_downsamples=_numbers("--attention", attention, int),
        middle_attention=middle_attention,
        num_head_channels=32,
        dropout=dropout,
        **shared,
    )


def _residual_unet(*, width: int, mult: str | None, blocks: int | None, **options: Any) -> "Module":
    from reddiff_jax.cli._errors import UserError
    from reddiff_jax.nets import ResidualUNet

    given = [name for name in ("attention", "middle_attention", "dropout") if options.pop(name)]
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--net residual has no {names}; leave it out, or say --net unet.")
    multiples = _numbers("--mult", "1,2,4,4" if mult is None else mult, float)
    widths = tuple(round(width * multiple) for multiple in multiples)
    return ResidualUNet(widths=widths, num_res_blocks=blocks or 2, **options)


NETWORKS: "dict[str, Callable[..., Module]]" = {"unet": _unet, "residual": _residual_unet}


def _append(path: Path, **row: object) -> None:
    """Adds a line to a table, which gets its first line with the names if it is new."""
    new = not path.exists()
    with path.open("a") as file:
        file.write((",".join(row) + "\n" if new else "") + ",".join(map(str, row.values())) + "\n")


def _read(path: Path) -> list[dict[str, float]]:
    names, *lines = path.read_text().splitlines()
    return [dict(zip(names.split(","), map(float, line.split(",")), strict=True)) for line in lines]


def _seconds(log: list[dict[str, float]]) -> float:
    """Time of all runs of a training that was killed and continued; each starts at 0."""
    ends = [row for row, following in zip(log, [*log[1:], None], strict=True) if not _continues(row, following)]
    return sum(row["seconds"] for row in ends)


def _continues(row: dict[str, float], following: dict[str, float] | None) -> bool:
    return following is not None and following["seconds"] >= row["seconds"] and following["step"] > row["step"]


def _curve(log: list[dict[str, float]], name: str, points: int = 50) -> dict[int, float]:
    """Step -> value, means over about ``points`` stretches of a run; of updates done twice the last counts."""
    known = sorted({int(row["step"]): row[name] for row in log}.items())
    size = -(-len(known) // points)
    parts = [known[i : i + size] for i in range(0, len(known), size)]
    return {part[-1][0]: round(sum(value for _, value in part) / len(part), 6) for part in parts}


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
    from reddiff_jax.cli._errors import UserError

    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UserError(f"{option} {text!r} is not a list of numbers such as 1,2,4.") from None
