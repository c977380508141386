"""The UNet of Stable Diffusion 1 and 2 (diffusers' ``UNet2DConditionModel``), for one sample."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image
from reddiff_jax.nets.diffusers_unet import Downsample, ResnetBlock, Style, TimestepEmbedding
from reddiff_jax.nets.layers import Conv, Upsample, timestep_embedding

CROSS_DOWN_BLOCKS = ("CrossAttnDownBlock2D", "DownBlock2D")
CROSS_UP_BLOCKS = ("CrossAttnUpBlock2D", "UpBlock2D")


class ConditionalUNet(nn.Module):
    """UNet that attends to a text: ``net.apply({"params": params}, x_t, t, context)``, one latent at a time.

    Fields have the names and defaults of diffusers' ``config.json``, parameters those of its state dicts.

    Args (fields):
        in_channels, out_channels: Channels of the input and of the output.
        center_input_sample: The network sees ``2 x_t - 1``.
        freq_shift, flip_sin_to_cos: See ``layers.timestep_embedding``; flipped has the cosines first.
        down_block_types: One of ``CROSS_DOWN_BLOCKS`` for each level, from the finest on.
        up_block_types: One of ``CROSS_UP_BLOCKS`` for each level, from the coarsest on.
        block_out_channels: Width of each level.
        layers_per_block: Residual blocks of a level on the way down; there is one more on the way up.
        downsample_padding: See ``DiffusersUNet``.
        norm_num_groups, norm_eps: Groups and epsilon of group normalisations.
        cross_attention_dim: Length of a token of the context.
        attention_head_dim: Number of heads, whatever its name says, of all levels or of each.
        use_linear_projection: Whether transformers project tokens by matrices (2.x) or by 1x1 convolutions (1.x).
        dtype: Compute type of convolutions and attention; parameters and normalisation are float32.
        remat: Recompute each transformer's activations in the backward pass.

    Source:
        Rombach et al. 2022 (arXiv 2112.10752), section 3.3, as parametrised by diffusers' ``UNet2DConditionModel``.
    """

    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    freq_shift: float = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    downsample_padding: int = 1
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int = 1280
    attention_head_dim: int | tuple[int, ...] = 8
    use_linear_projection: bool = False
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Number that must divide height and width, in latents."""
        return 2 ** (len(self.block_out_channels) - 1)

    @property
    def num_classes(self) -> None:
        """There are no class labels."""
        return None

    @property
    def takes_label(self) -> bool:
        """There are no class labels."""
        return False

    @nn.compact
    def __call__(
        self,
        x_t: Float[Array, "H W C"],
        t: Float[Array, ""] | Int[Array, ""],
        context: Float[Array, "T D"] | None = None,
    ) -> Float[Array, "H W C2"]:
        """Runs the network.

        Args:
            x_t: Noisy latent; height and width divisible by ``stride``.
            t: Timestep, a raw index.
            context: Tokens, such as the last hidden states of CLIP's text encoder, (77, cross_attention_dim).

        Raises:
            ValueError: For a size, channel count or context that does not fit.
        """
        check_image(self, x_t)
        context = self._checked(context)
        widths, style = self.block_out_channels, self._style()
        heads = self.attention_head_dim
        heads = heads if isinstance(heads, tuple) else (heads,) * len(widths)
        projected = timestep_embedding(
            jnp.asarray(t), widths[0], sines_first=not self.flip_sin_to_cos, freq_shift=self.freq_shift
        )
        embedding = TimestepEmbedding(4 * widths[0], name="time_embedding")(projected)
        context = context.astype(self.dtype)
        level_of = functools.partial(_Level, style=style, linear=self.use_linear_projection, remat=self.remat)

        x = 2 * x_t - 1 if self.center_input_sample else x_t
        h = Conv(widths[0], (3, 3), padding=1, dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        skips, last = [h], len(widths) - 1
        for level, (kind, features) in enumerate(zip(self.down_block_types, widths, strict=True)):
            halving = self.downsample_padding if level < last else None
            block = level_of(
                features, heads[level] if "Cross" in kind else 0, halving=halving, name=f"down_blocks_{level}"
            )
            h, outputs = block(h, [None] * self.layers_per_block, embedding, context)
            skips += outputs

        middle = functools.partial(ResnetBlock, widths[-1], style)
        h = _Middle(heads[-1], middle, style, self.use_linear_projection, self.remat, name="mid_block")(
            h, embedding, context
        )
        for level, (kind, features) in enumerate(zip(self.up_block_types, reversed(widths), strict=True)):
            taken = [skips.pop() for _ in range(self.layers_per_block + 1)]
            count = heads[last - level] if "Cross" in kind else 0
            block = level_of(features, count, doubles=level < last, name=f"up_blocks_{level}")
            h, _ = block(h, taken, embedding, context)
        h = nn.silu(style.norm("conv_norm_out")(h))
        return Conv(self.out_channels, (3, 3), padding=1, kernel_init=nn.initializers.zeros, name="conv_out")(h)

    def _checked(self, context: jax.Array | None) -> jax.Array:
        if context is None:
            raise ValueError(
                "this ConditionalUNet attends to a text: give the problem its tokens (T, "
                f"{self.cross_attention_dim}), rd.problem(..., cond=tokens)."
            )
        if jnp.ndim(context) != 2 or context.shape[-1] != self.cross_attention_dim:
            raise ValueError(
                f"context has shape {jnp.shape(context)} but this ConditionalUNet attends to (T, "
                f"{self.cross_attention_dim}) tokens, as CLIP's text encoder gives them; pass them as cond."
            )
        return context

    def _style(self) -> Style:
        return Style(
            activation=nn.silu,
            num_groups=self.norm_num_groups,
            epsilon=self.norm_eps,
            scale_shift=False,
            dropout=0.0,
            dtype=self.dtype,
        )


class _Level(nn.Module):
    """A level on either way: residual blocks, each with a transformer if there are heads, and resampling."""

    features: int
    heads: int
    style: Style
    linear: bool
    remat: bool
    halving: int | None = None  # padding before a halving convolution
    doubles: bool = False

    @nn.compact
    def __call__(
        self, h: jax.Array, skips: list[Any], embedding: jax.Array, context: jax.Array
    ) -> tuple[jax.Array, list[jax.Array]]:
        outputs = []
        for i, skip in enumerate(skips):
            h = h if skip is None else jnp.concatenate([h, skip], axis=-1)
            h = ResnetBlock(self.features, self.style, name=f"resnets_{i}")(h, embedding, True)
            if self.heads:
                h = _transformer(self.heads, self.style, self.linear, self.remat, f"attentions_{i}")(h, context)
            outputs.append(h)
        if self.halving is not None:
            h = Downsample(self.halving, self.style.dtype, name="downsamplers_0")(h)
            outputs.append(h)
        if self.doubles:
            h = Upsample(True, dtype=self.style.dtype, name="upsamplers_0")(h)
        return h, outputs


class _Middle(nn.Module):
    """Two residual blocks with a transformer between them."""

    heads: int
    block: Any
    style: Style
    linear: bool
    remat: bool

    @nn.compact
    def __call__(self, h: jax.Array, embedding: jax.Array, context: jax.Array) -> jax.Array:
        h = self.block(name="resnets_0")(h, embedding, True)
        h = _transformer(self.heads, self.style, self.linear, self.remat, "attentions_0")(h, context)
        return self.block(name="resnets_1")(h, embedding, True)


def _transformer(heads: int, style: Style, linear: bool, remat: bool, name: str) -> nn.Module:
    return (nn.remat(Transformer) if remat else Transformer)(heads, style, linear, name=name)


class Transformer(nn.Module):
    """Pixels attend to one another and to the context, residual."""

    heads: int
    style: Style
    linear: bool

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"], context: Float[Array, "T D"]) -> Float[Array, "H W C"]:
        """Applies the transformer."""
        h, w, channels = x.shape
        dtype = self.style.dtype
        normed = self.style.norm("norm", epsilon=1e-6, dtype=dtype)(x)
        project = functools.partial(nn.Dense if self.linear else _Convolution, channels, dtype=dtype)
        tokens = project(name="proj_in")(normed.reshape(h * w, channels))
        tokens = TransformerBlock(self.heads, dtype, name="transformer_blocks_0")(tokens, context)
        return x + project(name="proj_out")(tokens).reshape(h, w, channels)


class _Convolution(nn.Module):
    """A 1x1 convolution of tokens: a matrix, stored as a kernel of four axes."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens: Float[Array, "N C"]) -> Float[Array, "N C2"]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (1, 1, tokens.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return tokens @ kernel[0, 0].astype(self.dtype) + bias.astype(self.dtype)[None]


class TransformerBlock(nn.Module):
    """Self-attention, attention to the context, and a gated layer, each after a normalisation and residual."""

    heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens: Float[Array, "N C"], context: Float[Array, "T D"]) -> Float[Array, "N C"]:
        """Applies the block."""
        norm = functools.partial(nn.LayerNorm, epsilon=1e-5, dtype=self.dtype)
        normed = norm(name="norm1")(tokens)
        tokens = tokens + CrossAttention(self.heads, self.dtype, name="attn1")(normed, normed)
        tokens = tokens + CrossAttention(self.heads, self.dtype, name="attn2")(norm(name="norm2")(tokens), context)
        return tokens + Gated(self.dtype, name="ff")(norm(name="norm3")(tokens))


class CrossAttention(nn.Module):
    """What tokens attend to in others."""

    heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens: Float[Array, "N C"], others: Float[Array, "T D"]) -> Float[Array, "N C"]:
        """Attends. Softmax in float32."""
        channels = tokens.shape[-1]
        if channels % self.heads:
            raise ValueError(f"attention over {channels} channels does not divide into {self.heads} heads.")
        dense = functools.partial(nn.Dense, channels, dtype=self.dtype)
        q, k, v = (
            dense(use_bias=False, name=name)(x).reshape(x.shape[0], self.heads, -1)
            for name, x in (("to_q", tokens), ("to_k", others), ("to_v", others))
        )
        return dense(name="to_out_0")(jax.nn.dot_product_attention(q, k, v).reshape(tokens.shape))


class Gated(nn.Module):
    """Two layers, the first with a gate by GELU."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens: Float[Array, "N C"]) -> Float[Array, "N C"]:
        """Applies the layers."""
        channels = tokens.shape[-1]
        gated = _Projection(8 * channels, self.dtype, name="net_0")(tokens)
        values, gate = jnp.split(gated, 2, axis=-1)
        hidden = values * nn.gelu(gate, approximate=False)
        return nn.Dense(channels, dtype=self.dtype, name="net_2")(hidden)


class _Projection(nn.Module):
    """A dense layer with the name that diffusers gives it."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        return nn.Dense(self.features, dtype=self.dtype, name="proj")(tokens)
