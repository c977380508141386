"""Training a prior on a folder of pictures, with checkpoints, a log, sample sheets, and at the end the prior's card."""

import dataclasses
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax import hub, io, pictures, schedules, training
from reddiff_jax._files import append, check_file
from reddiff_jax.jobs.errors import JobError
from reddiff_jax.jobs.events import Failure
from reddiff_jax.jobs.finding import find_inputs
from reddiff_jax.jobs.locking import LOCK, holding
from reddiff_jax.jobs.outputs import prepare_folder, writing
from reddiff_jax.latents import Latent
from reddiff_jax.nets import ResidualUNet, UNet
from reddiff_jax.priors import NetPrior, ToEps, from_velocity
from reddiff_jax.schedules import Schedule

LEVELS: dict[str, training.Levels] = {"uniform": training.uniform_levels, "lognormal": training.lognormal_levels}
_LOG, _VALIDATION, _PRIOR = "log.csv", "validation.csv", "prior"
_NUM_CROPS = 64  # whose loss the card tells


@dataclass(frozen=True)
class UNetArchitecture:
    """A new ``nets.UNet``.

    Args (fields):
        width: Channels of the first level, a multiple of 32.
        mult: Width of each level as a multiple of the first.
        blocks: Residual blocks of each level.
        attention: Downsampling factors with attention.
        middle_attention: Whether there is attention at the lowest level.
        patch: Side of the pixel patches folded into channels.
        dropout: Share of the activations that are dropped in training.
    """

    width: int = 64
    mult: tuple[float, ...] = (1, 2, 2)
    blocks: int = 1
    attention: tuple[int, ...] = ()
    middle_attention: bool = False
    patch: int = 2
    dropout: float = 0.0

    def build(self, channels: int, dtype: Any) -> UNet:
        """The network for pictures of that many channels."""
        return UNet(
            in_channels=channels,
            out_channels=channels,
            model_channels=self.width,
            num_res_blocks=self.blocks,
            channel_mult=self.mult,
            attention_downsamples=self.attention,
            middle_attention=self.middle_attention,
            num_head_channels=32,
            dropout=self.dropout,
            patch_size=self.patch,
            dtype=dtype,
        )


@dataclass(frozen=True)
class ResidualArchitecture:
    """A new ``nets.ResidualUNet``.

    Args (fields):
        width: Channels of the first level.
        mult: Width of each level as a multiple of the first.
        blocks: Residual blocks of each level.
        patch: Side of the pixel patches folded into channels.
    """

    width: int = 64
    mult: tuple[float, ...] = (1, 2, 4, 4)
    blocks: int = 2
    patch: int = 2

    def build(self, channels: int, dtype: Any) -> ResidualUNet:
        """The network for pictures of that many channels."""
        return ResidualUNet(
            in_channels=channels,
            out_channels=channels,
            widths=tuple(round(self.width * multiple) for multiple in self.mult),
            num_res_blocks=self.blocks,
            patch_size=self.patch,
            dtype=dtype,
        )


def train_prior(
    folder: str | Path,
    *,
    out: str | Path,
    config: training.TrainingConfig,
    start: UNetArchitecture | ResidualArchitecture | str | Path,
    channels: int = 3,
    mirror: bool = True,
    engine: training.MakeEngine = training.jax_engine,
    sheets: bool = False,
    save_every_seconds: float = 300.0,
    validation: str | Path | None = None,
    note: str = "",
    credits: str | Path | None = None,
    command: str = "",
    report: Callable[[training.Report], None] = lambda progress: None,
    fail: Callable[[Failure], None] = lambda failure: None,
    stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Trains a prior on a folder of pictures: ``checkpoints``, ``log.csv`` and ``prior``.

    Killed and called again in the same way, it continues with the same data in the same order.

    Args:
        folder: Folder of pictures, searched with its sub-folders.
        out: Output folder; an unfinished run in it is continued.
        config: How to train. The number of steps may be changed when a run is continued.
        start: A new network, or the folder of a prior to fine-tune, which says what its network predicts.
        channels: Channels of the pictures: 3 (RGB) or 1 (gray).
        mirror: Whether half of the crops are mirrored; not for pictures with text.
        engine: What does the updates, ``training.jax_engine`` or ``training.torch_engine``; a run may change it.
        sheets: Whether samples are drawn at each checkpoint, to ``samples-STEP.png``; 16 of 50 evaluations each.
        save_every_seconds: Time between checkpoints.
        validation: Folder of pictures that are not trained on; their loss goes to ``validation.csv`` and the card.
        note: What the card should say of the training pictures.
        credits: Text file for the card: sources, authors and licences of the pictures.
        command: The command that the card should name.
        report: Called with the progress, and with what is being done where that takes long.
        fail: Called with each picture that cannot be used, as soon as that is known; the others are.
        stop: Asked after each update; once it says True a checkpoint is written, and the same call continues.

    Returns:
        The folder of the prior; None if the training was stopped.

    Raises:
        JobError: If something that is given does not exist or does not fit together, the folder cannot be written, or
            another process works on it.
        ValueError: If the pictures are too small for the crops, or none can be read.
        FloatingPointError: If the loss is not finite.
    """
    folder, out = Path(folder), Path(out)
    _check_exist(folder, validation, credits)
    if credits is not None:
        check_file(credits)
    if (out / _PRIOR).exists():
        raise JobError(f"{out / _PRIOR} exists already: that run is complete. Choose another --out or remove it.")
    last = training.Report(0, float("nan"), 0.0)

    def say(doing: str) -> None:
        report(dataclasses.replace(last, doing=doing))

    say("looking for pictures")
    told: set[str] = set()

    def tell(failures: Iterable[Failure]) -> None:
        for failure in failures:
            if failure.reason not in told:
                told.add(failure.reason)
                fail(failure)

    paths, failures = _find_pictures(folder, say)
    tell(failures)
    say(f"loading {start}" if isinstance(start, str | Path) else "making the network")
    begun = _begin(start, config.to_eps, channels)
    config = dataclasses.replace(config, to_eps=begun.to_eps)
    _check_crops(config.crops, begun.net)
    if engine is training.torch_engine and not isinstance(begun.net, ResidualUNet):
        raise JobError(
            f"{start} is a {type(begun.net).__name__}, and PyTorch trains residual UNets only; train by JAX."
        )
    smallest = min(config.crops)
    held_out = None
    if validation is not None:
        # The same crops at every checkpoint.
        found, failures = _find_pictures(Path(validation))
        watched = training.Crops(found, channels=channels, min_size=smallest, mirror=False)
        held_out = watched.batch(0, config.crops[0], _NUM_CROPS)
        tell([*failures, *_unreadable(watched)])
    say(f"looking at the sizes of {len(paths)} pictures")
    crops = training.Crops(paths, channels=channels, min_size=smallest, seed=config.seed, mirror=mirror)
    tell(_unreadable(crops))
    prepare_folder(out)
    started = time.monotonic()

    def note_progress(progress: training.Report) -> None:
        nonlocal last
        report(progress)
        if progress.doing:
            return
        last = progress
        tell(_unreadable(crops))
        _append(
            out / _LOG,
            step=progress.step,
            loss=f"{progress.loss:.6f}",
            images_per_second=f"{progress.images_per_second:.2f}",
            seconds=f"{time.monotonic() - started:.1f}",
        )

    def look(state: training.TrainState) -> None:
        prior = begun.replace(params=state.ema)  # type: ignore[attr-defined]
        if sheets:
            say("drawing samples")
            sheet = training.sample_sheet(jax.random.key(config.seed), prior, smallest, channels)
            path = out / f"samples-{int(state.step):07d}.png"
            with writing(path):
                pictures.write_picture(path, sheet)
        if held_out is not None:
            say("measuring the validation loss")
            losses = training.loss_by_noise_level(prior, held_out)
            _append(out / _VALIDATION, step=int(state.step), **{f"t{t}": f"{loss:.6f}" for t, loss in losses.items()})

    with holding(out / LOCK):
        say("initialising, or reading the last checkpoint")
        state = training.train(
            begun.net,
            begun.schedule,
            crops,
            config,
            out / "checkpoints",
            params=begun.params,
            engine=engine,
            report=note_progress,
            save_every_seconds=save_every_seconds,
            on_save=look,
            stop=stop,
        )
        if state.step < config.steps:
            return None
        prior = begun.replace(params=state.ema)  # type: ignore[attr-defined]
        say("measuring the losses for the card")
        facts = {
            "command": command,
            "pictures": len(paths) - len(crops.unreadable),
            "note": note,
            **({"credits": Path(credits).read_text().splitlines()} if credits else {}),
            **_told_of(config, mirror),
            **_measured(prior, out, crops.batch(-1 % 2**31, config.crops[0], _NUM_CROPS), held_out),
        }
        schedule = (
            {"name": _schedule_of(config.to_eps)[0]}
            if isinstance(start, UNetArchitecture | ResidualArchitecture)
            else {}
        )
        tell(_unreadable(crops))
        say("writing the prior")
        with writing(out / _PRIOR):
            card = {"name": out.name, "training": facts, "schedule": schedule}
            io.save_prior(prior, out / _PRIOR, card=card, dtype=jnp.bfloat16)
        return out / _PRIOR


# ---- what is given


def _check_exist(folder: Path, *others: str | Path | None) -> None:
    for given in (folder, *others):
        if given is not None and not Path(given).exists():
            raise JobError(f"{given} does not exist.")


def _find_pictures(
    folder: Path, say: Callable[[str], None] = lambda text: None
) -> tuple[tuple[Path, ...], list[Failure]]:
    items, failures = find_inputs([folder], measured=False, say=say)
    if not items:
        raise JobError(f"no pictures in {folder} (looked for {', '.join(sorted(pictures.SUFFIXES))}).")
    return tuple(sorted(item.path for item in items)), failures


def _unreadable(crops: training.Crops) -> list[Failure]:
    return [Failure(str(path), reason) for path, reason in list(crops.unreadable.items())]


def _begin(start: UNetArchitecture | ResidualArchitecture | str | Path, to_eps: ToEps, channels: int) -> NetPrior:
    """The prior before training; a new network has no parameters yet."""
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    if isinstance(start, UNetArchitecture | ResidualArchitecture):
        net = start.build(channels, dtype)
        return NetPrior(schedule=_schedule_of(to_eps)[1], params=None, net=net, to_eps=to_eps)
    given = hub.load_prior(start, dtype=dtype)
    if isinstance(given, Latent):
        raise JobError(f"{start} is a prior of latents; training starts from one of pixels.")
    if given.to_eps not in training.TARGETS:
        raise JobError(f"{start} predicts a score, which cannot be trained here.")
    if given.net.in_channels != channels:  # type: ignore[attr-defined]
        raise JobError(f"{start} takes {given.net.in_channels} channels, not {channels}.")  # type: ignore[attr-defined]
    return given


def _schedule_of(to_eps: ToEps) -> tuple[str, Schedule]:
    """The schedule of a new network that predicts this: its name for the card, and its table."""
    if to_eps is from_velocity:
        return "rectified flow", schedules.rectified_flow()
    return "linear beta 1e-4..2e-2", schedules.linear()


def _check_crops(crops: tuple[int, ...], net: Any) -> None:
    for size in crops:
        if size < 1 or size % net.stride:
            raise JobError(f"crop {size} must be a positive multiple of {net.stride}, the network's stride.")


# ---- what the card tells


def _told_of(config: training.TrainingConfig, mirror: bool) -> dict[str, Any]:
    levels = {function: name for name, function in LEVELS.items()}
    return {
        "steps": config.steps,
        "batch_pixels": config.batch_pixels,
        "crops": list(config.crops),
        "mirror": mirror,
        "levels": levels.get(config.levels, getattr(config.levels, "__name__", "")),
        "learning_rate": config.learning_rate,
        "ema": config.ema,
        "seed": config.seed,
    }


def _measured(prior: NetPrior, out: Path, trained: np.ndarray, held_out: np.ndarray | None) -> dict[str, Any]:
    """Time, device, losses and curves; ``trained`` and ``held_out`` are crops (B, H, W, C), uint8."""
    log = _read(out / _LOG)
    told = {
        "seconds": round(_seconds(log)),
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()}, {platform.machine()})",
        "num_devices": jax.device_count(),
        "jax": jax.__version__,
        "eps_loss_by_timestep": training.loss_by_noise_level(prior, trained),
        "curves": {"training": _curve(log, "loss")},
    }
    if held_out is not None:
        watched = _read(out / _VALIDATION)
        told["validation_eps_loss_by_timestep"] = training.loss_by_noise_level(prior, held_out)
        told["curves"] |= {f"validation {name}": _curve(watched, name) for name in list(watched[0])[1:]}
    return told


def _append(path: Path, **row: object) -> None:
    """Adds a line to a table, which gets its first line with the names if it is new."""
    new = not path.exists()
    with writing(path):
        append(path, f"{','.join(row)}\n".encode() * new + f"{','.join(map(str, row.values()))}\n".encode())


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
