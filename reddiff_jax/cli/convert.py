"""`reddiff-jax convert`: a PyTorch checkpoint as a prior's folder."""

import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from reddiff_jax.cli._common import UserError, lacks_memory, progress_bar, stdout


class _Order(StrEnum):
    legacy = "legacy"
    new = "new"


class _Schedule(StrEnum):
    linear = "linear"
    cosine = "cosine"


class _Prediction(StrEnum):
    eps = "eps"
    x0 = "x0"
    v = "v"
    velocity = "velocity"
    score = "score"


class _Dtype(StrEnum):
    f32 = "f32"
    bf16 = "bf16"


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="File: .pt, .pth, .safetensors; a folder of diffusers; or hf:owner/name, hf:owner/name/FILE of a hub.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the prior; must not exist.", show_default=False)],
    config: Annotated[
        str | None, typer.Option(help="Published configuration, e.g. imagenet256_uncond, ffhq256, classifier256.")
    ] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads, where every level has as many.")] = None,
    head_channels: Annotated[int | None, typer.Option(min=1, help="Channels of an attention head.")] = None,
    attention_order: Annotated[_Order | None, typer.Option(help="Layout of attention's channels.")] = None,
    schedule: Annotated[_Schedule | None, typer.Option(help="Noise schedule.")] = None,
    timesteps: Annotated[
        int, typer.Option(min=21, help="Timesteps of the training; 4000 in most of improved-diffusion.")
    ] = 1000,
    rescale_timesteps: Annotated[
        bool | None,
        typer.Option(
            "--rescale-timesteps/--no-rescale-timesteps",
            help="Whether the network was given t * 1000 / T, where T is not 1000 (improved-diffusion's default).",
        ),
    ] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="Residual blocks of each level of a classifier.")] = None,
    prediction: Annotated[
        _Prediction | None,
        typer.Option(
            help="What the network predicts. If nothing says otherwise, v of a residual UNet, else the noise."
        ),
    ] = None,
    patch_size: Annotated[
        int | None, typer.Option(min=1, help="Side of a residual UNet's patches, for pictures not of 1 or 3 channels.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Which of several sets of weights: its key, such as ema; or a file, variant or folder."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of what comes from a hub.")] = None,
    dtype: Annotated[_Dtype, typer.Option(help="Type in which parameters are stored.")] = _Dtype.f32,
) -> None:
    """Converts a checkpoint of guided-diffusion, EDM, diffusers or the residual UNet for --prior, without PyTorch.

    guided-diffusion (ADM): widths, blocks, attention, classes and the learned variance are read from the file. What it
    cannot tell (heads, order of attention, schedule) comes from --config or the options; left out, the error says what
    is needed.

    diffusers: the folder of a UNet2DModel (config.json and weights), or of a pipeline that has one in unet/. Its
    scheduler_config.json tells the schedule and the prediction; without it, --schedule does.

    EDM: the file tells the network, under EDM's preconditioning with sigma_data 0.5.

    residual UNet: the file tells the network. It predicts v on the linear schedule unless --prediction and --schedule
    say otherwise.
    """
    import jax.numpy as jnp

    from reddiff_jax import converting, hub

    if revision is not None and not hub.is_on_hub(checkpoint):
        raise UserError(f"--revision belongs to a hub's hf:owner/name, but {checkpoint} is a path; leave it out.")
    make = (
        partial(hub.convert, str(checkpoint), revision=revision)
        if hub.is_on_hub(checkpoint)
        else partial(converting.convert, checkpoint)
    )
    began = time.perf_counter()
    try:
        with progress_bar("converting") as report:
            card = make(
                out=out,
                config=config,
                heads=heads,
                head_channels=head_channels,
                new_attention_order=None if attention_order is None else attention_order is _Order.new,
                schedule=schedule,
                blocks=blocks,
                timesteps=timesteps,
                rescale_timesteps=rescale_timesteps,
                prediction=prediction,
                patch_size=patch_size,
                weights=weights,
                dtype={"f32": jnp.float32, "bf16": jnp.bfloat16}[dtype],
                report=report,
            )
    except (ValueError, OSError):
        raise
    except Exception as error:
        if lacks_memory(error):
            raise
        # Orbax and TensorStore raise nearly anything for a disk that is full.
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(f"cannot write {out} ({reason}).") from error
    if hub.is_on_hub(checkpoint):
        stdout().print(f"licence: {hub.licence_of(out) or 'not stated'}", soft_wrap=True, markup=False)
    kind = "classifier" if card["prediction"] == "logits" else "prior"
    parameters, seconds = card["num_parameters"], time.perf_counter() - began
    stdout().print(f"{kind}: {out} ({parameters:,} parameters, {seconds:.1f} s)", soft_wrap=True, markup=False)
