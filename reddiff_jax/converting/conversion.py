"""From a checkpoint's file to a prior's folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from reddiff_jax import io, schedules
from reddiff_jax.autoencoders import net_autoencoder
from reddiff_jax.converting import diffusers, edm, guided_diffusion, residual_unet
from reddiff_jax.converting.checkpoint import Checkpoint, describe_file, read_checkpoint
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.latents import latent
from reddiff_jax.nets import AutoencoderNet, ConditionalUNet, DiffusersUNet, EncoderUNet, Net
from reddiff_jax.priors import NetPrior
from reddiff_jax.schedules import Schedule

_RELEASE_BYTES = 2**27


@dataclass(frozen=True)
class _Autoencoder:
    """What is read of a pipeline's autoencoder."""

    checkpoint: Checkpoint
    config: Path
    net: AutoencoderNet
    params: Any
    scale: float
    shift: float


@dataclass(frozen=True)
class _Plan:
    """What is read from a checkpoint; ``files`` are its other files, by kind."""

    checkpoint: Checkpoint
    net: Net
    params: Any
    schedule: Schedule
    schedule_name: str
    prediction: str
    files: dict[str, Path]
    autoencoder: _Autoencoder | None = None


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    config: str | None = None,
    heads: int | None = None,
    head_channels: int | None = None,
    new_attention_order: bool | None = None,
    schedule: str | None = None,
    blocks: int | None = None,
    timesteps: int = guided_diffusion.TIMESTEPS,
    rescale_timesteps: bool | None = None,
    prediction: str | None = None,
    patch_size: int | None = None,
    weights: str | None = None,
    dtype: Any = jnp.float32,
    origin: dict[str, Any] | None = None,
    report: Callable[[float, str], None] = lambda fraction, stage: None,
) -> dict[str, Any]:
    """Converts a checkpoint of PyTorch to a folder for ``load_prior`` or ``io.load_classifier``.

    Args:
        checkpoint: A ``.pt``, ``.pth`` or ``.safetensors`` file of guided-diffusion, EDM or a residual UNet, or the
            index of one in parts; or a folder of diffusers' ``UNet2DModel``, or of a pipeline with one. A pipeline with
            a ``vae/`` or ``vqvae/`` gives a prior of latents with its autoencoder. A folder's
            config.json and a residual UNet's shapes tell the network, and ``config``, ``heads``,
            ``head_channels``, ``new_attention_order``, ``blocks`` and ``rescale_timesteps`` must be left out.
        out: The folder, which appears only when complete and must not exist.
        config: Name of a published configuration, one of ``guided_diffusion.PUBLISHED``.
        heads: Number of attention heads at every level.
        head_channels: Channels of an attention head, instead of ``heads``.
        new_attention_order: How attention lays out its channels, see ``nets.layers.AttentionBlock``.
        schedule: Name of the noise schedule, one of ``guided_diffusion.SCHEDULES``. By default that of the published
            configuration, or of the folder's scheduler_config.json, or "linear" for a residual UNet.
        blocks: Residual blocks of a level, for classifiers whose shapes allow several numbers.
        timesteps: Number of timesteps T of the training: 1000 in guided-diffusion, 4000 in most of improved-diffusion;
            where a folder's scheduler_config.json tells the schedule, its own.
        rescale_timesteps: Whether the network was given t * 1000 / T instead of t (improved-diffusion's default);
            needed where T is not 1000.
        prediction: What a UNet predicts, one of ``io.PREDICTIONS``; by default what the folder's scheduler_config.json
            says; else v for a residual UNet and the noise for others.
        patch_size: Side of a residual UNet's patches, in pixels; needed where pictures have neither 3 channels nor 1.
        weights: Which of several sets of weights: its key in the file ("ema"), or the path of its file below the
            folder, the name of its variant or of its folder. None where only one can be meant.
        dtype: Type in which parameters are stored.
        origin: What the card should say of where the checkpoint was got.
        report: Called with the fraction that is done, 0 to 1, and the name of the stage.

    Returns:
        The card.

    Raises:
        CheckpointError: If the file cannot be converted, or options are missing or contradict it.
        FileExistsError: If ``out`` exists.
        OSError: If a file cannot be read or written.
    """
    if Path(out).exists():
        raise FileExistsError(f"{out} exists already; choose another folder or remove it.")
    report(0.0, "reading the names")
    told = {
        "config": config,
        "heads": heads,
        "head_channels": head_channels,
        "new_attention_order": new_attention_order,
        "blocks": blocks,
        "rescale_timesteps": rescale_timesteps,
        "patch_size": patch_size,
    }
    path = Path(checkpoint)
    is_folder = path.is_dir()
    plan = (_plan_folder if is_folder else _plan_file)(path, schedule, timesteps, prediction, weights, told)
    report(0.0, "hashing the file")
    net, root = plan.net, path if is_folder else path.parent
    card = {
        "name": config or (path.resolve().name if is_folder else path.stem),
        "source": plan.checkpoint.source(root)
        | {kind: describe_file(each, root) for kind, each in plan.files.items()}
        | (origin or {}),
        "config": config,
        "schedule": {"name": plan.schedule_name},
        "num_classes": net.num_classes,
    }
    params = _copy(plan.params, plan.checkpoint, dtype, report)
    report(0.6, "writing the folder")
    if isinstance(net, EncoderUNet):
        io.save_classifier(net, params, plan.schedule, out, card=card, dtype=dtype)
    else:
        prior = NetPrior(schedule=plan.schedule, params=params, net=net, to_eps=io.PREDICTIONS[plan.prediction])
        if plan.autoencoder is None:
            card |= _channels(net, config)
        else:
            found = plan.autoencoder
            card["source"]["autoencoder"] = found.checkpoint.source(root) | {
                "config": describe_file(found.config, root)
            }
            card["image_channels"] = found.net.in_channels
            copied = _copy(found.params, found.checkpoint, dtype, report)
            prior = latent(prior, net_autoencoder(found.net, copied, scale=found.scale, shift=found.shift))
        io.save_prior(prior, out, card=card, dtype=dtype)
    report(1.0, "done")
    return io.read_card(out)


def _plan_file(
    path: Path,
    schedule: str | None,
    timesteps: int,
    prediction: str | None,
    weights: str | None,
    told: dict[str, Any],
) -> _Plan:
    source = read_checkpoint(path, weights=weights)
    with _said_of(path):
        patch_size = told.pop("patch_size")
        if residual_unet.is_residual_unet(source.tensors):
            _refuse(told, "the shapes of a residual UNet tell the network")
            net = residual_unet.choose_net(source.tensors, patch_size=patch_size)
            params = residual_unet.to_params(source.tensors, net)
            name, prediction = schedule or residual_unet.SCHEDULE, prediction or residual_unet.PREDICTION
        elif edm.is_edm(source.tensors):
            others = {"patch_size": patch_size, "schedule": schedule, "prediction": prediction}
            _refuse(told | others, "the names and shapes of an EDM network tell all of it")
            net = edm.choose_net(source.tensors)
            params = edm.to_params(source.tensors, net)
            return _Plan(source, net, params, schedules.edm(timesteps), edm.SCHEDULE, "x0", {})
        else:
            _refuse({"patch_size": patch_size}, "only a residual UNet has patches")
            net, name = guided_diffusion.choose_net(source.tensors, schedule=schedule, timesteps=timesteps, **told)
            params = guided_diffusion.to_params(source.tensors, net)
    description, make_schedule = guided_diffusion.SCHEDULES[name]
    return _Plan(source, net, params, make_schedule(timesteps), description, prediction or "eps", {})


def _plan_folder(
    folder: Path,
    schedule: str | None,
    timesteps: int,
    prediction: str | None,
    weights: str | None,
    told: dict[str, Any],
) -> _Plan:
    with _said_of(folder):
        _refuse(told, f"a folder's {diffusers.CONFIG} tells the network")
        files = diffusers.find_files(folder, weights)
        scheduler = diffusers.read_json(files.scheduler) if files.scheduler else None
        if schedule is not None:
            description, make_schedule = guided_diffusion.SCHEDULES[schedule]
            table = make_schedule(timesteps)
        elif scheduler is not None:
            description, table = diffusers.choose_schedule(scheduler)
        else:
            raise CheckpointError(
                f"there is no {diffusers.SCHEDULER} in the folder or its scheduler/; say "
                f"--schedule {' or '.join(guided_diffusion.SCHEDULES)}, or give the whole pipeline's folder."
            )
        prediction = prediction or diffusers.choose_prediction(scheduler or {})
        config = diffusers.read_json(files.config)
        of_latents = diffusers.find_autoencoder(folder, weights)
    source = read_checkpoint(files.weights)
    with _said_of(folder):
        net = diffusers.choose_net(config, source.tensors, table.num_timesteps)
        params = diffusers.to_params(source.tensors, net)
    found = None if of_latents is None else _read_autoencoder(folder, of_latents, net)
    others = {"config": files.config, "scheduler": files.scheduler}
    beside = {kind: path for kind, path in others.items() if path is not None}
    return _Plan(source, net, params, table, description, prediction, beside, found)


def _read_autoencoder(folder: Path, files: diffusers.Files, unet: DiffusersUNet | ConditionalUNet) -> _Autoencoder:
    source = read_checkpoint(files.weights)
    with _said_of(folder):
        config, name = diffusers.read_json(files.config), files.config.relative_to(folder).as_posix()
        net, scale, shift = diffusers.choose_autoencoder(config, source.tensors, unet, name)
        return _Autoencoder(source, files.config, net, diffusers.to_params(source.tensors, net), scale, shift)


def _refuse(told: dict[str, Any], reason: str) -> None:
    """Raises CheckpointError if any of these options was given."""
    given = [f"--{name.removeprefix('new_').replace('_', '-')}" for name, value in told.items() if value is not None]
    if given:
        raise CheckpointError(f"{reason}; leave out {' and '.join(given)}.")


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Names the file or folder in the errors of what it holds."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _copy(params: Any, source: Checkpoint, dtype: Any, report: Callable[[float, str], None]) -> Any:
    """Copies parameters from the file, which is never in memory as a whole."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    total, since_release, done, copies = sum(leaf.nbytes for _, leaf in leaves), 0, 0, []
    for path, leaf in leaves:
        copies.append(jnp.asarray(leaf, dtype).block_until_ready())
        if count := io.num_not_finite(copies[-1]):
            name = "/".join(str(key.key) for key in path)
            raise CheckpointError(
                f"{source.path}: {count:,} of the {leaf.size:,} numbers of {name} are not finite in "
                f"{jnp.dtype(dtype).name}. Download it again, or take weights from before the training diverged."
            )
        done, since_release = done + leaf.nbytes, since_release + leaf.nbytes
        if since_release > _RELEASE_BYTES:
            source.release()
            since_release = 0
        report(0.2 + 0.4 * done / total, "converting the arrays")
    source.release()
    return structure.unflatten(copies)


def _channels(net: Any, config: str | None) -> dict[str, int]:
    """Channels of input and output by kind; an upsampler's input has the small image's after the image's."""
    is_upsampler = config is not None and config.startswith("upsampler")
    image = net.in_channels // 2 if is_upsampler else min(net.in_channels, net.out_channels)
    return {
        "image_channels": image,
        "condition_channels": net.in_channels - image,
        "learned_variance_channels": net.out_channels - image,
    }
