"""Which configurations a network may have, for those who read one from a file.

Tracing a network takes milliseconds a block, and a number in a file asks for any number of blocks.
"""

from collections.abc import Mapping
from typing import Any

from reddiff_jax._rules import Rule, either, list_of, number, one_of, record, whole
from reddiff_jax.nets.autoencoders import DOWN_ENCODER_BLOCKS, UP_DECODER_BLOCKS
from reddiff_jax.nets.classifier import Pool
from reddiff_jax.nets.conditional_unet import CROSS_DOWN_BLOCKS, CROSS_UP_BLOCKS
from reddiff_jax.nets.diffusers_unet import ACTIVATIONS, DOWN_BLOCKS, UP_BLOCKS

MAX_LEVELS, MAX_LAYERS, MAX_WIDTH, MAX_BLOCKS = 10, 32, 2**13, 128
"""Levels of resolution, residual blocks of a level, channels, and residual blocks of a network: the largest published
networks have 7, 4, 2048 and 35."""

_CHANNELS, _BOOLEAN, _LABELS = whole(1, 1024), one_of(False, True), whole(1, 2**20).or_null()
_ENCODER = {
    "in_channels": _CHANNELS,
    "model_channels": whole(1, MAX_WIDTH),
    "num_res_blocks": whole(1, MAX_LAYERS),
    "channel_mult": list_of(number(1e-3, 64), 1, MAX_LEVELS),
    "attention_downsamples": list_of(whole(1, 2**MAX_LEVELS), 0, MAX_LEVELS),
    "middle_attention": _BOOLEAN,
    "num_heads": whole(1, MAX_WIDTH),
    "num_head_channels": whole(1, MAX_WIDTH).or_null(),
    "new_attention_order": _BOOLEAN,
    "dropout": number(0, 1),
    "use_scale_shift_norm": _BOOLEAN,
    "resblock_updown": _BOOLEAN,
    "conv_resample": _BOOLEAN,
    "timestep_scale": number(1e-6, 1e6),
}
UNET = {**_ENCODER, "out_channels": _CHANNELS, "num_classes": _LABELS, "patch_size": whole(1, 64)}
ENCODER_UNET = {
    **_ENCODER,
    "image_size": whole(1, 2**13),
    "num_classes": whole(1, 2**20),
    "pool": one_of(*map(str, Pool)),
}
RESIDUAL_UNET = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "widths": list_of(whole(1, MAX_WIDTH), 1, MAX_LEVELS),
    "num_res_blocks": whole(1, MAX_LAYERS),
    "patch_size": whole(1, 64),
}
DHARIWAL_UNET = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "model_channels": whole(4, MAX_WIDTH),
    "channel_mult": list_of(whole(1, 64), 1, MAX_LEVELS),
    "embedding_mult": whole(1, 64),
    "num_res_blocks": whole(1, MAX_LAYERS),
    "attention_levels": list_of(whole(0, MAX_LEVELS), 0, MAX_LEVELS),
    "num_classes": _LABELS,
    "dropout": number(0, 1),
    "sigma_data": number(1e-6, 1e6),
}
SONG_UNET = {
    **DHARIWAL_UNET,
    "fourier": _BOOLEAN,
    "noise_mult": whole(1, 64),
    "residual_encoder": _BOOLEAN,
    "resample_filter": list_of(number(1e-6, 1e6), 2, 16),
}
DIFFUSERS_UNET = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "center_input_sample": _BOOLEAN,
    "time_embedding_type": one_of("positional", "learned"),
    "time_embedding_dim": whole(1, 4 * MAX_WIDTH).or_null(),
    "freq_shift": number(0, MAX_WIDTH),
    "flip_sin_to_cos": _BOOLEAN,
    "down_block_types": list_of(one_of(*DOWN_BLOCKS), 1, MAX_LEVELS),
    "mid_block_type": one_of("UNetMidBlock2D", None),
    "up_block_types": list_of(one_of(*UP_BLOCKS), 1, MAX_LEVELS),
    "block_out_channels": list_of(whole(1, MAX_WIDTH), 1, MAX_LEVELS),
    "layers_per_block": whole(1, MAX_LAYERS),
    "mid_block_scale_factor": number(1e-3, 1e3),
    "downsample_padding": one_of(0, 1),
    "downsample_type": one_of("conv", "resnet"),
    "upsample_type": one_of("conv", "resnet"),
    "dropout": number(0, 1),
    "act_fn": one_of(*ACTIVATIONS),
    "attention_head_dim": whole(1, MAX_WIDTH).or_null(),
    "norm_num_groups": whole(1, MAX_WIDTH),
    "attn_norm_num_groups": whole(1, MAX_WIDTH).or_null(),
    "norm_eps": number(1e-12, 1),
    "resnet_time_scale_shift": one_of("default", "scale_shift"),
    "add_attention": _BOOLEAN,
    "class_embed_type": one_of(None, "timestep"),
    "num_class_embeds": _LABELS,
    "num_train_timesteps": whole(1, 100_000).or_null(),
}
CONDITIONAL_UNET = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "center_input_sample": _BOOLEAN,
    "freq_shift": number(0, MAX_WIDTH),
    "flip_sin_to_cos": _BOOLEAN,
    "down_block_types": list_of(one_of(*CROSS_DOWN_BLOCKS), 1, MAX_LEVELS),
    "up_block_types": list_of(one_of(*CROSS_UP_BLOCKS), 1, MAX_LEVELS),
    "block_out_channels": list_of(whole(1, MAX_WIDTH), 1, MAX_LEVELS),
    "layers_per_block": whole(1, MAX_LAYERS),
    "downsample_padding": one_of(0, 1),
    "norm_num_groups": whole(1, MAX_WIDTH),
    "norm_eps": number(1e-12, 1),
    "cross_attention_dim": whole(1, MAX_WIDTH),
    "attention_head_dim": either(whole(1, MAX_WIDTH), list_of(whole(1, MAX_WIDTH), 1, MAX_LEVELS)),
    "use_linear_projection": _BOOLEAN,
}
_DIFFUSERS_AUTOENCODER = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "down_block_types": list_of(one_of(*DOWN_ENCODER_BLOCKS), 1, MAX_LEVELS),
    "up_block_types": list_of(one_of(*UP_DECODER_BLOCKS), 1, MAX_LEVELS),
    "block_out_channels": list_of(whole(1, MAX_WIDTH), 1, MAX_LEVELS),
    "layers_per_block": whole(1, MAX_LAYERS),
    "act_fn": one_of(*ACTIVATIONS),
    "latent_channels": _CHANNELS,
    "norm_num_groups": whole(1, MAX_WIDTH),
    "mid_block_add_attention": _BOOLEAN,
}
AUTOENCODER_KL = {**_DIFFUSERS_AUTOENCODER, "use_quant_conv": _BOOLEAN, "use_post_quant_conv": _BOOLEAN}
VQ_MODEL = {
    **_DIFFUSERS_AUTOENCODER,
    "num_vq_embeddings": whole(1, 2**20),
    "vq_embed_dim": _CHANNELS.or_null(),
}
_WIDTHS, _COUNTS = list_of(whole(1, MAX_WIDTH), 1, MAX_LEVELS), list_of(whole(1, MAX_LAYERS), 1, MAX_LEVELS)
AUTOENCODER_TINY = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "encoder_block_out_channels": _WIDTHS,
    "decoder_block_out_channels": _WIDTHS,
    "num_encoder_blocks": _COUNTS,
    "num_decoder_blocks": _COUNTS,
    "act_fn": one_of(*ACTIVATIONS),
    "latent_channels": _CHANNELS,
}


def architecture(rules: Mapping[str, Rule]) -> Rule:
    """The rule of an object with a network's fields, all of which have defaults."""
    return record({}, optional=rules)


def num_blocks(net: Any) -> int:
    """Residual blocks of a UNet or of a classifier, on the way down, in the middle and on the way up; at most."""
    if hasattr(net, "num_encoder_blocks"):
        return sum(net.num_encoder_blocks) + sum(net.num_decoder_blocks)
    levels = len(next(filter(None, (getattr(net, name, None) for name in _LEVELS))))
    layers = next(getattr(net, name) for name in ("num_res_blocks", "layers_per_block") if hasattr(net, name))
    return levels * (2 * layers + 1) + 2


_LEVELS = ("channel_mult", "widths", "block_out_channels")
