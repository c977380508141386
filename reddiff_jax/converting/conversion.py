"""From a checkpoint's file to a prior's folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from reddiff_jax import io
from reddiff_jax.converting import guided_diffusion
from reddiff_jax.converting.checkpoint import Checkpoint, read_checkpoint
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.nets import EncoderUNet, UNet
from reddiff_jax.priors import NetPrior

_RELEASE_BYTES = 2**27


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
    prediction: str = "eps",
    dtype: Any = jnp.float32,
    report: Callable[[float, str], None] = lambda fraction, stage: None,
) -> dict[str, Any]:
    """Converts a checkpoint of guided-diffusion to a folder that ``load_prior`` or ``io.load_classifier`` reads.

    Args:
        checkpoint: A ``.pt``, ``.pth`` or ``.safetensors`` file.
        out: The folder, which appears only when complete and must not exist.
        config: Name of a published configuration, one of ``guided_diffusion.PUBLISHED``.
        heads: Number of attention heads at every level.
        head_channels: Channels of an attention head, instead of ``heads``.
        new_attention_order: How attention lays out its channels, see ``nets.layers.AttentionBlock``.
        schedule: Name of the noise schedule, one of ``guided_diffusion.SCHEDULES``.
        blocks: Residual blocks of a level, for classifiers whose shapes allow several numbers.
        timesteps: Number of timesteps T of the training: 1000 in guided-diffusion, 4000 in most of improved-diffusion.
        rescale_timesteps: Whether the network was given t * 1000 / T instead of t (improved-diffusion's default);
            needed where T is not 1000.
        prediction: What a UNet predicts, one of ``io.PREDICTIONS``; all published ones predict the noise.
        dtype: Type in which parameters are stored.
        report: Called with the share that is done, 0 to 1, and with what is being done.

    Returns:
        The card.

    Raises:
        CheckpointError: If the file is none that can be converted, or options are missing or contradict it.
        FileExistsError: If ``out`` exists.
        OSError: If a file cannot be read or written.
    """
    if Path(out).exists():
        raise FileExistsError(f"{out} exists already; choose another folder or remove it.")
    report(0.0, "reading the names")
    source = read_checkpoint(checkpoint)
    try:
        net, schedule_name = guided_diffusion.choose_net(
            source.tensors,
            config=config,
            heads=heads,
            head_channels=head_channels,
            new_attention_order=new_attention_order,
            schedule=schedule,
            blocks=blocks,
            timesteps=timesteps,
            rescale_timesteps=rescale_timesteps,
        )
        description, make_schedule = guided_diffusion.SCHEDULES[schedule_name]
        noise = make_schedule(timesteps)
        params = guided_diffusion.to_params(source.tensors, net)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint}: {error}") from error
    report(0.0, "hashing the file")
    card = {
        "name": config or Path(checkpoint).stem,
        "source": source.source(),
        "config": config,
        "schedule": {"name": description},
        "num_classes": net.num_classes,
    }
    params = _copy(params, source, dtype, report)
    report(0.6, "writing the folder")
    if isinstance(net, EncoderUNet):
        io.save_classifier(net, params, noise, out, card=card, dtype=dtype)
    else:
        card |= _channels(net, config)
        prior = NetPrior(schedule=noise, params=params, net=net, to_eps=io.PREDICTIONS[prediction])
        io.save_prior(prior, out, card=card, dtype=dtype)
    report(1.0, "done")
    return io.read_card(out)


def _copy(params: Any, source: Checkpoint, dtype: Any, report: Callable[[float, str], None]) -> Any:
    """Copies parameters from the file, which is never in memory as a whole."""
    leaves, structure = jax.tree.flatten(params)
    total, since_release, done, copies = sum(leaf.nbytes for leaf in leaves), 0, 0, []
    for leaf in leaves:
        copies.append(jnp.asarray(leaf, dtype).block_until_ready())
        done, since_release = done + leaf.nbytes, since_release + leaf.nbytes
        if since_release > _RELEASE_BYTES:
            source.release()
            since_release = 0
        report(0.2 + 0.4 * done / total, "converting the arrays")
    source.release()
    return structure.unflatten(copies)


def _channels(net: UNet, config: str | None) -> dict[str, int]:
    """What the input's and the output's channels are; an upsampler's input has the small image's behind the image's."""
    is_upsampler = config is not None and config.startswith("upsampler")
    image = net.in_channels // 2 if is_upsampler else min(net.in_channels, net.out_channels)
    return {
        "image_channels": image,
        "condition_channels": net.in_channels - image,
        "learned_variance_channels": net.out_channels - image,
    }
