"""Architectures of the published ADM checkpoints, one function each.

Diffusion networks have 6 output channels: the first 3 are the predicted noise, the last 3 the learned variance. All
were trained on 1000 steps of the linear schedule, but for ``imagenet64``: cosine schedule.

Source:
    Dhariwal & Nichol 2021 (arXiv 2105.05233), appendix I and the authors' model cards; Chung et al. 2023 (arXiv
    2209.14687) for ``ffhq256``.
"""

import jax.numpy as jnp
from jax.typing import DTypeLike

from reddiff_jax.nets.classifier import EncoderUNet
from reddiff_jax.nets.unet import UNet

NUM_IMAGENET_CLASSES = 1000

# Widths of the levels, by image size.
_CHANNEL_MULT = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}


def imagenet256_uncond(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 256 x 256, unconditional: ``256x256_diffusion_uncond.pt``; the network of the RED-diff paper."""
    return UNet(
        out_channels=6,
        model_channels=256,
        channel_mult=_CHANNEL_MULT[256],
        attention_downsamples=_downsamples(256, 32, 16, 8),
        num_head_channels=64,
        dtype=dtype,
    )


def imagenet256(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 256 x 256, class-conditional: ``256x256_diffusion.pt``."""
    return imagenet256_uncond(dtype=dtype).clone(num_classes=NUM_IMAGENET_CLASSES)


def imagenet512(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 512 x 512, class-conditional: ``512x512_diffusion.pt``."""
    return UNet(
        out_channels=6,
        model_channels=256,
        channel_mult=_CHANNEL_MULT[512],
        attention_downsamples=_downsamples(512, 32, 16, 8),
        num_head_channels=64,
        num_classes=NUM_IMAGENET_CLASSES,
        dtype=dtype,
    )


def imagenet128(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 128 x 128, class-conditional: ``128x128_diffusion.pt``; four heads at every level."""
    return UNet(
        out_channels=6,
        model_channels=256,
        channel_mult=_CHANNEL_MULT[128],
        attention_downsamples=_downsamples(128, 32, 16, 8),
        num_heads=4,
        num_classes=NUM_IMAGENET_CLASSES,
        dtype=dtype,
    )


def imagenet64(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 64 x 64, class-conditional: ``64x64_diffusion.pt``; new attention order, cosine schedule."""
    return UNet(
        out_channels=6,
        model_channels=192,
        num_res_blocks=3,
        channel_mult=_CHANNEL_MULT[64],
        attention_downsamples=_downsamples(64, 32, 16, 8),
        num_head_channels=64,
        new_attention_order=True,
        num_classes=NUM_IMAGENET_CLASSES,
        dropout=0.1,
        dtype=dtype,
    )


def lsun(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """LSUN 256 x 256: ``lsun_bedroom.pt``, ``lsun_cat.pt``, ``lsun_horse.pt`` (trained with dropout)."""
    return imagenet256_uncond(dtype=dtype).clone(dropout=0.1)


def ffhq256(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """FFHQ 256 x 256: ``ffhq_10m.pt`` of the DPS paper."""
    return UNet(
        out_channels=6,
        model_channels=128,
        num_res_blocks=1,
        channel_mult=_CHANNEL_MULT[256],
        attention_downsamples=_downsamples(256, 16),
        num_head_channels=64,
        dtype=dtype,
    )


def upsampler_64_256(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 64 -> 256, class-conditional: ``64_256_upsampler.pt``.

    Input channels are the noisy image and then the small image, resized bilinearly to 256 x 256.
    """
    return UNet(
        in_channels=6,
        out_channels=6,
        model_channels=192,
        channel_mult=_CHANNEL_MULT[256],
        attention_downsamples=_downsamples(256, 32, 16, 8),
        num_heads=4,
        num_classes=NUM_IMAGENET_CLASSES,
        dtype=dtype,
    )


def upsampler_128_512(*, dtype: DTypeLike = jnp.float32) -> UNet:
    """ImageNet 128 -> 512, class-conditional: ``128_512_upsampler.pt``.

    Input channels are the noisy image and then the small image, resized bilinearly to 512 x 512.
    """
    return UNet(
        in_channels=6,
        out_channels=6,
        model_channels=192,
        channel_mult=_CHANNEL_MULT[256],  # not the 512 x 512 network's
        attention_downsamples=_downsamples(512, 32, 16),
        num_head_channels=64,
        num_classes=NUM_IMAGENET_CLASSES,
        dtype=dtype,
    )


def classifier64(*, dtype: DTypeLike = jnp.float32) -> EncoderUNet:
    """ImageNet classifier of noisy 64 x 64 images: ``64x64_classifier.pt``."""
    return _classifier(64, num_res_blocks=4, dtype=dtype)


def classifier128(*, dtype: DTypeLike = jnp.float32) -> EncoderUNet:
    """ImageNet classifier of noisy 128 x 128 images: ``128x128_classifier.pt``."""
    return _classifier(128, num_res_blocks=2, dtype=dtype)


def classifier256(*, dtype: DTypeLike = jnp.float32) -> EncoderUNet:
    """ImageNet classifier of noisy 256 x 256 images: ``256x256_classifier.pt``."""
    return _classifier(256, num_res_blocks=2, dtype=dtype)


def classifier512(*, dtype: DTypeLike = jnp.float32) -> EncoderUNet:
    """ImageNet classifier of noisy 512 x 512 images: ``512x512_classifier.pt``."""
    return _classifier(512, num_res_blocks=2, dtype=dtype)


def _classifier(size: int, *, num_res_blocks: int, dtype: DTypeLike) -> EncoderUNet:
    return EncoderUNet(
        image_size=size,
        model_channels=128,
        num_res_blocks=num_res_blocks,
        channel_mult=_CHANNEL_MULT[size],
        attention_downsamples=_downsamples(size, 32, 16, 8),
        num_head_channels=64,
        num_classes=NUM_IMAGENET_CLASSES,
        dtype=dtype,
    )


def _downsamples(size: int, *resolutions: int) -> tuple[int, ...]:
    """Downsampling factors at which an image of ``size`` pixels has these resolutions."""
    return tuple(size // resolution for resolution in resolutions)
