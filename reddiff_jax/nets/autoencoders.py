"""The autoencoders of the diffusers package (``AutoencoderKL``, ``AutoencoderTiny``, ``VQModel``), for one sample."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image
from reddiff_jax.nets.diffusers_unet import ACTIVATIONS, DownBlock, MidBlock, Style, UpBlock
from reddiff_jax.nets.layers import Conv, upsample_nearest

DOWN_ENCODER_BLOCKS = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
UP_DECODER_BLOCKS = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")
_EPSILON = 1e-6


class Encoder(nn.Module):
    """Levels on the way down and a middle block, as in diffusers' UNet but without a timestep."""

    out_channels: int
    block_types: tuple[str, ...]
    widths: tuple[int, ...]
    num_layers: int
    attends: bool
    style: Style
    remat: bool

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """Encodes a picture."""
        style = self.style
        down_block = nn.remat(DownBlock, static_argnums=(3,)) if self.remat else DownBlock
        h = Conv(self.widths[0], (3, 3), padding=1, dtype=style.dtype, name="conv_in")(x.astype(style.dtype))
        for level, (kind, features) in enumerate(zip(self.block_types, self.widths, strict=True)):
            resampling = None if level == len(self.widths) - 1 else "conv"
            shape = (features, self.num_layers, "Attn" in kind, None, resampling)
            h, _ = down_block(*shape, 0, style, name=f"down_blocks_{level}")(h, None, True)
        h = _middle(self, h)
        h = nn.silu(style.norm("conv_norm_out")(h))
        return Conv(self.out_channels, (3, 3), padding=1, name="conv_out")(h)


class Decoder(nn.Module):
    """A middle block and levels on the way up, without skips."""

    out_channels: int
    block_types: tuple[str, ...]
    widths: tuple[int, ...]
    num_layers: int
    attends: bool
    style: Style
    remat: bool

    @nn.compact
    def __call__(self, z: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """Decodes a latent."""
        style = self.style
        up_block = nn.remat(UpBlock, static_argnums=(4,)) if self.remat else UpBlock
        h = Conv(self.widths[-1], (3, 3), padding=1, dtype=style.dtype, name="conv_in")(z.astype(style.dtype))
        h = _middle(self, h)
        for level, (kind, features) in enumerate(zip(self.block_types, reversed(self.widths), strict=True)):
            resampling = None if level == len(self.widths) - 1 else "conv"
            shape = (features, self.num_layers + 1, "Attn" in kind, None, resampling)
            block = up_block(*shape, style, name=f"up_blocks_{level}")
            h = block(h, [None] * (self.num_layers + 1), None, True)
        h = nn.silu(style.norm("conv_norm_out")(h))
        return Conv(self.out_channels, (3, 3), padding=1, name="conv_out")(h)


def _middle(net: Encoder | Decoder, h: jax.Array) -> jax.Array:
    """The middle block of either, within its scope."""
    mid_block = nn.remat(MidBlock, static_argnums=(3,)) if net.remat else MidBlock
    return mid_block(net.attends, None, net.style.num_groups, 1, net.style, name="mid_block")(h, None, True)


class AutoencoderKL(nn.Module):
    """Autoencoder of latent diffusion: ``net.apply({"params": params}, x, method="encode")``, and ``"decode"``.

    Fields have the names and defaults of diffusers' ``config.json``.

    Args (fields):
        in_channels, out_channels: Channels of the pictures.
        down_block_types: One of ``DOWN_ENCODER_BLOCKS`` for each level, from the finest on.
        up_block_types: One of ``UP_DECODER_BLOCKS`` for each level, from the coarsest on.
        block_out_channels: Width of each level; each but the last halves the picture.
        layers_per_block: Residual blocks of a level on the way down; there is one more on the way up.
        act_fn: One of ``ACTIVATIONS``, in residual blocks.
        latent_channels: Channels of the latent.
        norm_num_groups: Groups of all group normalisations.
        use_quant_conv, use_post_quant_conv: Whether 1x1 convolutions follow the encoder and precede the decoder.
        mid_block_add_attention: Whether the middle blocks have attention.
        dtype: Compute type of convolutions and attention; parameters and normalisation are float32.
        remat: Recompute each level's activations in the backward pass.

    Source:
        Rombach et al. 2022 (arXiv 2112.10752), appendix G, as parametrised by diffusers' ``AutoencoderKL``.
    """

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Pixels a latent, along a side."""
        return 2 ** (len(self.block_out_channels) - 1)

    def setup(self) -> None:
        """Names the parts as diffusers does."""
        self.encoder, self.decoder = _parts(self, 2 * self.latent_channels)
        if self.use_quant_conv:
            self.quant_conv = Conv(2 * self.latent_channels, (1, 1))
        if self.use_post_quant_conv:
            self.post_quant_conv = Conv(self.latent_channels, (1, 1))

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Encodes and decodes a picture."""
        return self.decode(self.encode(x))

    def encode(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """The mean of the latent's distribution."""
        check_image(self, x)
        moments = self.encoder(x)
        moments = self.quant_conv(moments) if self.use_quant_conv else moments
        return moments[..., : self.latent_channels]  # behind it the logarithm of the variance

    def decode(self, z: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """The picture of a latent."""
        _check_latent(self, z)
        return self.decoder(self.post_quant_conv(z) if self.use_post_quant_conv else z)


class VQModel(nn.Module):
    """Autoencoder whose decoder rounds each latent to the nearest entry of a codebook; see ``AutoencoderKL``.

    Rounding has the derivative of the identity, as in training (straight-through).

    Args (fields):
        num_vq_embeddings: Entries of the codebook.
        vq_embed_dim: Length of an entry; None is ``latent_channels``.
        others: As those of ``AutoencoderKL``.

    Source:
        van den Oord et al. 2017 (arXiv 1711.00937); Rombach et al. 2022 (arXiv 2112.10752), as parametrised by
        diffusers' ``VQModel``.
    """

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 3
    num_vq_embeddings: int = 256
    norm_num_groups: int = 32
    vq_embed_dim: int | None = None
    mid_block_add_attention: bool = True
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Pixels a latent, along a side."""
        return 2 ** (len(self.block_out_channels) - 1)

    def setup(self) -> None:
        """Names the parts as diffusers does."""
        self.encoder, self.decoder = _parts(self, self.latent_channels)
        length = self.vq_embed_dim or self.latent_channels
        self.quant_conv, self.post_quant_conv = Conv(length, (1, 1)), Conv(self.latent_channels, (1, 1))
        self.quantize = Codebook(self.num_vq_embeddings, length)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Encodes and decodes a picture."""
        return self.decode(self.encode(x))

    def encode(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """The latent before it is rounded."""
        check_image(self, x)
        return self.quant_conv(self.encoder(x))

    def decode(self, z: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """The picture of a latent, which is rounded first."""
        _check_latent(self, z, self.vq_embed_dim or self.latent_channels)
        return self.decoder(self.post_quant_conv(self.quantize(z)))


class Codebook(nn.Module):
    """Rounds vectors to the nearest of a list."""

    num_entries: int
    length: int

    @nn.compact
    def __call__(self, z: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """Rounds each pixel; the derivative is that of the identity."""
        table = nn.Embed(self.num_entries, self.length, name="embedding")
        entries = table.embedding  # (N, c)
        with jax.default_matmul_precision("highest"):
            distances = jnp.sum(entries**2, axis=1)[None, None] - 2 * z @ entries.T  # (h, w, N), but for |z|^2
        nearest: Int[Array, "h w"] = jnp.argmin(distances, axis=-1)
        return z + jax.lax.stop_gradient(table(nearest) - z)


class AutoencoderTiny(nn.Module):
    """TAESD, a small autoencoder for the latents of larger ones; see ``AutoencoderKL``.

    Args (fields):
        in_channels, out_channels: Channels of the pictures.
        encoder_block_out_channels, decoder_block_out_channels: Width of each level.
        num_encoder_blocks, num_decoder_blocks: Residual blocks of each level.
        act_fn: One of ``ACTIVATIONS``.
        latent_channels: Channels of the latent.
        dtype: Compute type of convolutions; parameters are float32.
        remat: Recompute each block's activations in the backward pass.

    Source:
        diffusers' ``AutoencoderTiny``.
    """

    in_channels: int = 3
    out_channels: int = 3
    encoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    decoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    act_fn: str = "relu"
    latent_channels: int = 4
    num_encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Pixels a latent, along a side."""
        return 2 ** (len(self.encoder_block_out_channels) - 1)

    def setup(self) -> None:
        """Names the parts as diffusers does."""
        shared = (self.act_fn, self.dtype, self.remat)
        self.encoder = TinyEncoder(
            self.latent_channels, self.encoder_block_out_channels, self.num_encoder_blocks, *shared
        )
        self.decoder = TinyDecoder(self.out_channels, self.decoder_block_out_channels, self.num_decoder_blocks, *shared)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Encodes and decodes a picture."""
        return self.decode(self.encode(x))

    def encode(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """The latent of a picture."""
        check_image(self, x)
        return self.encoder((x + 1) / 2)

    def decode(self, z: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """The picture of a latent."""
        _check_latent(self, z)
        return 2 * self.decoder(3 * jnp.tanh(z / 3)) - 1


class TinyEncoder(nn.Module):
    """Levels of residual blocks, each after a convolution that halves."""

    out_channels: int
    widths: tuple[int, ...]
    num_blocks: tuple[int, ...]
    act_fn: str
    dtype: DTypeLike
    remat: bool

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w c"]:
        """Encodes a picture in [0, 1]."""
        layers: list[Any] = []
        for level, (features, count) in enumerate(zip(self.widths, self.num_blocks, strict=True)):
            options = {} if level == 0 else {"strides": 2, "use_bias": False}
            layers.append(lambda name, features=features, options=options: _conv(self, features, name, **options))
            layers += [lambda name, features=features: _tiny_block(self, features, name)] * count
        layers.append(lambda name: _conv(self, self.out_channels, name))
        return _in_turn(layers, x)


class TinyDecoder(nn.Module):
    """Levels of residual blocks, each but the last doubled after them."""

    out_channels: int
    widths: tuple[int, ...]
    num_blocks: tuple[int, ...]
    act_fn: str
    dtype: DTypeLike
    remat: bool

    @nn.compact
    def __call__(self, z: Float[Array, "h w c"]) -> Float[Array, "H W C"]:
        """Decodes to a picture in [0, 1]."""
        layers: list[Any] = [lambda name: _conv(self, self.widths[0], name), lambda name: ACTIVATIONS[self.act_fn]]
        for level, (features, count) in enumerate(zip(self.widths, self.num_blocks, strict=True)):
            layers += [lambda name, features=features: _tiny_block(self, features, name)] * count
            if level < len(self.widths) - 1:
                layers.append(lambda name: upsample_nearest)
                layers.append(lambda name, features=features: _conv(self, features, name, use_bias=False))
        layers.append(lambda name: _conv(self, self.out_channels, name))
        return _in_turn(layers, z)


class TinyBlock(nn.Module):
    """Three convolutions, a skip, and a rectifier."""

    features: int
    act_fn: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C2"]:
        """Applies the block."""
        h = x
        for index in (0, 2, 4):
            h = ACTIVATIONS[self.act_fn](h) if index else h
            h = Conv(self.features, (3, 3), padding=1, dtype=self.dtype, name=f"conv_{index}")(h)
        if x.shape[-1] != self.features:
            x = Conv(self.features, (1, 1), use_bias=False, dtype=self.dtype, name="skip")(x)
        return nn.relu(h + x)


def _in_turn(layers: Sequence[Any], x: jax.Array) -> jax.Array:
    """Applies layers, which are numbered in the names of their parameters."""
    for index, make in enumerate(layers):
        x = make(f"layers_{index}")(x)
    return x


def _conv(net: TinyEncoder | TinyDecoder, features: int, name: str, **options: Any) -> nn.Module:
    return Conv(features, (3, 3), padding=1, dtype=net.dtype, name=name, **options)


def _tiny_block(net: TinyEncoder | TinyDecoder, features: int, name: str) -> nn.Module:
    return (nn.remat(TinyBlock) if net.remat else TinyBlock)(features, net.act_fn, net.dtype, name=name)


def _parts(net: AutoencoderKL | VQModel, encoded: int) -> tuple[Encoder, Decoder]:
    style = Style(
        activation=ACTIVATIONS[net.act_fn],
        num_groups=net.norm_num_groups,
        epsilon=_EPSILON,
        scale_shift=False,
        dropout=0.0,
        dtype=net.dtype,
    )
    shared = (net.block_out_channels, net.layers_per_block, net.mid_block_add_attention, style, net.remat)
    return Encoder(encoded, net.down_block_types, *shared), Decoder(net.out_channels, net.up_block_types, *shared)


def _check_latent(net: Any, z: jax.Array, channels: int | None = None) -> None:
    """Raises ValueError unless ``z`` is one latent of the network's channels."""
    channels = channels or net.latent_channels
    if z.ndim != 3 or z.shape[-1] != channels:
        raise ValueError(
            f"z has shape {z.shape} but this {type(net).__name__} decodes one latent (h, w, {channels}); batches go "
            "through jax.vmap."
        )
