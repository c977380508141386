"""The UNet of the diffusers package (``UNet2DModel``), for one sample."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image, check_label
from reddiff_jax.nets.layers import Conv, GroupNorm, Upsample, downsample_average, timestep_embedding, upsample_nearest

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": nn.silu,
    "swish": nn.silu,
    "mish": jax.nn.mish,
    "gelu": functools.partial(nn.gelu, approximate=False),
    "relu": nn.relu,
}
DOWN_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D")
UP_BLOCKS = ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D")


@dataclass(frozen=True)
class Style:
    """Settings that all blocks of a network share."""

    activation: Callable[[jax.Array], jax.Array]
    num_groups: int
    epsilon: float
    scale_shift: bool
    dropout: float
    dtype: DTypeLike

    def norm(self, name: str, **options: Any) -> GroupNorm:
        """A normalisation with the shared settings."""
        return GroupNorm(**{"num_groups": self.num_groups, "epsilon": self.epsilon, **options}, name=name)


class DiffusersUNet(nn.Module):
    """UNet of diffusers: ``net.apply({"params": params}, x_t, t, label)``, one image at a time.

    Fields have the names and defaults of diffusers' ``config.json``, blocks those of its state dicts
    (``down_blocks.0.resnets.1.conv1`` is the parameter group ``down_blocks_0/resnets_1/conv1``), so that a converted
    folder reads like its source.

    Args (fields):
        in_channels, out_channels: Channels of the input image and of the output.
        center_input_sample: The network sees ``2 x_t - 1``.
        time_embedding_type: "positional" (sinusoidal) or "learned" (a table of ``num_train_timesteps`` rows).
        time_embedding_dim: Length of the embedding; None is four times the first width.
        freq_shift, flip_sin_to_cos: See ``layers.timestep_embedding``; flipped has the cosines first.
        down_block_types: One of ``DOWN_BLOCKS`` for each level, from the finest on.
        mid_block_type: "UNetMidBlock2D", or None for no middle block.
        up_block_types: One of ``UP_BLOCKS`` for each level, from the coarsest on.
        block_out_channels: Width of each level.
        layers_per_block: Residual blocks of a level on the way down; there is one more on the way up.
        mid_block_scale_factor: Divisor of the outputs of the middle block's layers.
        downsample_padding: 1 pads both sides before a convolution of stride 2; 0 pads only behind the last row and
            column, as the code of Ho et al. does.
        downsample_type, upsample_type: "conv" or "resnet": how blocks with attention resample; the names of other
            blocks say it.
        dropout: Dropout rate in training (``deterministic=False``).
        act_fn: One of ``ACTIVATIONS``, in residual blocks.
        attention_head_dim: Channels of an attention head; None is a single head.
        norm_num_groups, norm_eps: Groups and epsilon of all group normalisations.
        attn_norm_num_groups: Groups of the middle attention's normalisation. None is ``norm_num_groups``, and no
            normalisation at all where ``resnet_time_scale_shift`` is "scale_shift".
        resnet_time_scale_shift: "default" adds the embedding before the second normalisation, "scale_shift" scales and
            shifts after it.
        add_attention: Whether the middle block has attention.
        class_embed_type: None (a table of ``num_class_embeds`` rows, if that is given) or "timestep" (a label is
            embedded as a timestep is).
        num_class_embeds: Number of class labels, or None.
        num_train_timesteps: Number of timesteps; only for "learned" ones.
        dtype: Compute type of convolutions and attention; parameters, normalisation and embeddings are float32.
        remat: Recompute each level's activations in the backward pass.

    Source:
        Ho et al. 2020 (arXiv 2006.11239), appendix B, as parametrised by diffusers' documentation of ``UNet2DModel``.
    """

    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: float = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Number that must divide height and width, in pixels."""
        return 2 ** (len(self.block_out_channels) - 1)

    @property
    def num_classes(self) -> int | None:
        """Number of class labels, where they are embedded by a table."""
        return self.num_class_embeds if self.class_embed_type is None else None

    @property
    def takes_label(self) -> bool:
        """Whether the network is class-conditional."""
        return self.class_embed_type is not None or self.num_class_embeds is not None

    @nn.compact
    def __call__(
        self,
        x_t: Float[Array, "H W C"],
        t: Float[Array, ""] | Int[Array, ""],
        label: Int[Array, ""] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "H W C2"]:
        """Runs the network.

        Args:
            x_t: Noisy image; height and width divisible by ``stride``.
            t: Timestep, a raw index.
            label: Class index; required if and only if the network is class-conditional.
            deterministic: False turns dropout on (needs a ``dropout`` RNG).

        Raises:
            ValueError: For a size, channel count or label that does not fit.
        """
        check_image(self, x_t)
        check_label(self, label)
        widths, style = self.block_out_channels, self._style()
        embedding = self._embed(t, label)  # (E,)
        down_block = nn.remat(DownBlock, static_argnums=(3,)) if self.remat else DownBlock
        mid_block = nn.remat(MidBlock, static_argnums=(3,)) if self.remat else MidBlock
        up_block = nn.remat(UpBlock, static_argnums=(4,)) if self.remat else UpBlock

        x = 2 * x_t - 1 if self.center_input_sample else x_t
        h = Conv(widths[0], (3, 3), padding=1, dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        skips = [h]
        for level, (kind, features) in enumerate(zip(self.down_block_types, widths, strict=True)):
            resampling = None if level == len(widths) - 1 else _resampling(kind, self.downsample_type)
            shape = (features, self.layers_per_block, "Attn" in kind, self.attention_head_dim, resampling)
            block = down_block(*shape, self.downsample_padding, style, name=f"down_blocks_{level}")
            h, outputs = block(h, embedding, deterministic)
            skips += outputs

        if self.mid_block_type is not None:
            groups = self.norm_num_groups if self.resnet_time_scale_shift == "default" else None
            block = mid_block(
                self.add_attention,
                self.attention_head_dim,
                self.attn_norm_num_groups or groups,
                self.mid_block_scale_factor,
                style,
                name="mid_block",
            )
            h = block(h, embedding, deterministic)

        for level, (kind, features) in enumerate(zip(self.up_block_types, reversed(widths), strict=True)):
            resampling = None if level == len(widths) - 1 else _resampling(kind, self.upsample_type)
            shape = (features, self.layers_per_block + 1, "Attn" in kind, self.attention_head_dim, resampling)
            taken = [skips.pop() for _ in range(self.layers_per_block + 1)]
            h = up_block(*shape, style, name=f"up_blocks_{level}")(h, taken, embedding, deterministic)

        h = nn.silu(style.norm("conv_norm_out")(h))
        return Conv(self.out_channels, (3, 3), padding=1, kernel_init=nn.initializers.zeros, name="conv_out")(h)

    def _style(self) -> Style:
        return Style(
            activation=ACTIVATIONS[self.act_fn],
            num_groups=self.norm_num_groups,
            epsilon=self.norm_eps,
            scale_shift=self.resnet_time_scale_shift == "scale_shift",
            dropout=self.dropout,
            dtype=self.dtype,
        )

    def _embed(self, t: Float[Array, ""] | Int[Array, ""], label: Int[Array, ""] | None) -> Float[Array, "E"]:
        """Embeds the timestep, and the label where there is one."""
        first = self.block_out_channels[0]
        width = self.time_embedding_dim or 4 * first
        if self.time_embedding_type == "learned":
            project = nn.Embed(self.num_train_timesteps or 0, first, name="time_proj")
        else:
            project = functools.partial(
                timestep_embedding, features=first, sines_first=not self.flip_sin_to_cos, freq_shift=self.freq_shift
            )
        embedding = TimestepEmbedding(width, name="time_embedding")(project(jnp.asarray(t)))
        if label is None:
            return embedding
        if self.class_embed_type == "timestep":
            return embedding + TimestepEmbedding(width, name="class_embedding")(project(jnp.asarray(label)))
        return embedding + nn.Embed(self.num_class_embeds or 0, width, name="class_embedding")(jnp.asarray(label))


class TimestepEmbedding(nn.Module):
    """Two dense layers with a SiLU between them."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "F"]) -> Float[Array, "E"]:
        """Embeds a projected timestep or label."""
        h = nn.silu(nn.Dense(self.features, name="linear_1")(x))
        return nn.Dense(self.features, name="linear_2")(h)


class DownBlock(nn.Module):
    """A level on the way down: residual blocks, each with attention after it if ``attends``, and halving."""

    features: int
    num_layers: int
    attends: bool
    head_dim: int | None
    resampling: str | None
    padding: int
    style: Style

    @nn.compact
    def __call__(
        self, h: Float[Array, "H W C"], embedding: Float[Array, "E"] | None, deterministic: bool
    ) -> tuple[Float[Array, "H2 W2 C2"], list[jax.Array]]:
        """Returns the features, and the skips for the way up."""
        outputs = []
        for i in range(self.num_layers):
            h = ResnetBlock(self.features, self.style, name=f"resnets_{i}")(h, embedding, deterministic)
            if self.attends:
                h = Attention(self.head_dim, self.style.num_groups, self.style, name=f"attentions_{i}")(h)
            outputs.append(h)
        name = "downsamplers_0"
        if self.resampling == "resnet":
            block = ResnetBlock(self.features, self.style, resample=downsample_average, name=name)
            outputs.append(block(h, embedding, deterministic))
        elif self.resampling == "conv":
            outputs.append(Downsample(self.padding, self.style.dtype, name=name)(h))
        return outputs[-1], outputs


class MidBlock(nn.Module):
    """The coarsest level: two residual blocks, with attention between them if ``attends``."""

    attends: bool
    head_dim: int | None
    num_groups: int | None
    scale: float
    style: Style

    @nn.compact
    def __call__(
        self, h: Float[Array, "H W C"], embedding: Float[Array, "E"] | None, deterministic: bool
    ) -> Float[Array, "H W C"]:
        """Applies the block."""
        res = functools.partial(ResnetBlock, h.shape[-1], self.style, scale=self.scale)
        h = res(name="resnets_0")(h, embedding, deterministic)
        if self.attends:
            h = Attention(self.head_dim, self.num_groups, self.style, scale=self.scale, name="attentions_0")(h)
        return res(name="resnets_1")(h, embedding, deterministic)


class UpBlock(nn.Module):
    """A level on the way up: residual blocks of ``h`` and a skip, each with attention if ``attends``, and doubling."""

    features: int
    num_layers: int
    attends: bool
    head_dim: int | None
    resampling: str | None
    style: Style

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "H W C"],
        skips: Sequence[jax.Array | None],
        embedding: Float[Array, "E"] | None,
        deterministic: bool,
    ) -> Float[Array, "H2 W2 C2"]:
        """Applies the block to the features and to the skips, in the order in which they are taken; None is no skip."""
        for i, skip in enumerate(skips):
            h = h if skip is None else jnp.concatenate([h, skip], axis=-1)
            h = ResnetBlock(self.features, self.style, name=f"resnets_{i}")(h, embedding, deterministic)
            if self.attends:
                h = Attention(self.head_dim, self.style.num_groups, self.style, name=f"attentions_{i}")(h)
        name = "upsamplers_0"
        if self.resampling == "resnet":
            block = ResnetBlock(self.features, self.style, resample=upsample_nearest, name=name)
            return block(h, embedding, deterministic)
        return Upsample(True, dtype=self.style.dtype, name=name)(h) if self.resampling == "conv" else h


class ResnetBlock(nn.Module):
    """Residual block conditioned on the timestep embedding, if any, with optional resampling; divided by ``scale``.

    As ``layers.ResBlock``, with diffusers' names and options.
    """

    features: int
    style: Style
    scale: float = 1
    resample: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "H W C"], embedding: Float[Array, "E"] | None, deterministic: bool
    ) -> Float[Array, "H2 W2 C2"]:
        """Applies the block; ``deterministic=False`` turns dropout on (needs a ``dropout`` RNG)."""
        style = self.style
        conv = functools.partial(Conv, self.features, dtype=style.dtype)
        h = style.activation(style.norm("norm1", dtype=style.dtype)(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv((3, 3), padding=1, name="conv1")(h)

        if embedding is None:
            modulation = jnp.zeros(())
        else:
            width = 2 * self.features if style.scale_shift else self.features
            modulation = nn.Dense(width, name="time_emb_proj")(style.activation(embedding))[None, None]  # (1, 1, width)
        if style.scale_shift:
            scale, shift = jnp.split(modulation, 2, axis=-1)  # (1, 1, features) each
            h = style.norm("norm2")(h) * (1 + scale) + shift
        else:
            h = style.norm("norm2")(h + modulation.astype(h.dtype))
        h = nn.Dropout(style.dropout, deterministic=deterministic)(style.activation(h).astype(style.dtype))
        h = conv((3, 3), padding=1, name="conv2")(h)
        if x.shape[-1] != self.features:
            x = conv((1, 1), name="conv_shortcut")(x)
        return (x + h) / self.scale


class Attention(nn.Module):
    """Self-attention over all pixels, residual, divided by ``scale``; without normalisation if there are no groups."""

    head_dim: int | None
    num_groups: int | None
    style: Style
    scale: float = 1

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Adds what each pixel attends to. Softmax in float32."""
        h, w, channels = x.shape
        head_dim = self.head_dim or channels
        heads = channels // head_dim
        if heads < 1:
            raise ValueError(f"attention over {channels} channels has no head of attention_head_dim={head_dim}.")
        dtype = self.style.dtype
        tokens = x.reshape(h * w, channels)
        if self.num_groups is not None:
            tokens = self.style.norm("group_norm", num_groups=self.num_groups, dtype=dtype)(tokens)
        # Heads that do not divide the channels leave some out.
        q, k, v = (
            nn.Dense(heads * head_dim, dtype=dtype, name=name)(tokens).reshape(h * w, heads, head_dim)
            for name in ("to_q", "to_k", "to_v")
        )
        attended = jax.nn.dot_product_attention(q, k, v).reshape(h * w, heads * head_dim)
        projected = nn.Dense(channels, dtype=dtype, kernel_init=nn.initializers.zeros, name="to_out_0")(attended)
        return (x + projected.reshape(h, w, channels)) / self.scale


class Downsample(nn.Module):
    """Halving by a 3x3 convolution of stride 2, padded by ``padding`` before and by one behind."""

    padding: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H//2 W//2 C"]:
        """Halves height and width."""
        padding = ((self.padding, 1), (self.padding, 1))
        return Conv(x.shape[-1], (3, 3), strides=2, padding=padding, dtype=self.dtype, name="conv")(x)


def _resampling(kind: str, kind_with_attention: str) -> str:
    """How a block of a name resamples: "conv" or "resnet"."""
    return kind_with_attention if "Attn" in kind else "resnet" if kind.startswith("Resnet") else "conv"
