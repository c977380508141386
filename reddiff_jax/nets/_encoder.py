"""Shared part of the ADM UNet and the ADM classifier: configuration, embedding of time, and the downward path."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from reddiff_jax.nets.layers import AttentionBlock, Conv, Downsample, ResBlock, downsample_average, timestep_embedding


class Encoder(nn.Module):
    """Abstract base of ``UNet`` and ``EncoderUNet``; fields as documented there.

    Blocks carry the names of the published PyTorch state dicts (``input_blocks.3.0.in_layers.2`` is the parameter group
    ``input_blocks_3_0/in_layers_2``), so that a converted checkpoint reads like its source.
    """

    in_channels: int = 3
    model_channels: int = 128
    num_res_blocks: int = 2
    channel_mult: tuple[float, ...] = (1, 2, 4)
    attention_downsamples: tuple[int, ...] = ()
    middle_attention: bool = True
    num_heads: int = 1
    num_head_channels: int | None = None
    new_attention_order: bool = False
    dropout: float = 0.0
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    conv_resample: bool = True
    timestep_scale: float = 1.0
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Number that must divide height and width, in pixels."""
        return 2 ** (len(self.channel_mult) - 1)

    def _widths(self) -> list[int]:
        """Channels of each level."""
        return [round(self.model_channels * mult) for mult in self.channel_mult]

    def _embed_time(self, t: Float[Array, ""] | Int[Array, ""]) -> Float[Array, "E"]:
        width = 4 * self.model_channels
        t = self.timestep_scale * jnp.asarray(t).astype(jnp.float32)
        embedding = timestep_embedding(t, self.model_channels)
        embedding = nn.silu(nn.Dense(width, name="time_embed_0")(embedding))
        return nn.Dense(width, name="time_embed_2")(embedding)

    def _res(
        self,
        h: Float[Array, "H W C"],
        embedding: Float[Array, "E"],
        features: int,
        name: str,
        *,
        deterministic: bool,
        resample: Callable[[jax.Array], jax.Array] | None = None,
    ) -> Float[Array, "H2 W2 C2"]:
        block = nn.remat(ResBlock, static_argnums=(3,)) if self.remat else ResBlock
        module = block(
            features,
            dropout=self.dropout,
            use_scale_shift_norm=self.use_scale_shift_norm,
            resample=resample,
            dtype=self.dtype,
            name=name,
        )
        return module(h, embedding, deterministic)

    def _attend(self, h: Float[Array, "H W C"], name: str) -> Float[Array, "H W C"]:
        block = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        heads = (self.num_heads, self.num_head_channels, self.new_attention_order)
        return block(*heads, dtype=self.dtype, name=name)(h)

    def _encode(
        self, h: Float[Array, "H W C"], embedding: Float[Array, "E"], *, deterministic: bool
    ) -> tuple[Float[Array, "H2 W2 C2"], list[jax.Array]]:
        """Runs the input blocks and the middle block; returns the features and the input blocks' outputs."""
        res = functools.partial(self._res, embedding=embedding, deterministic=deterministic)
        widths = self._widths()
        h = Conv(widths[0], (3, 3), padding=1, dtype=self.dtype, name="input_blocks_0_0")(h.astype(self.dtype))
        skips = [h]
        for level, features in enumerate(widths):
            for _ in range(self.num_res_blocks):
                index = len(skips)
                h = res(h, features=features, name=f"input_blocks_{index}_0")
                if 2**level in self.attention_downsamples:
                    h = self._attend(h, f"input_blocks_{index}_1")
                skips.append(h)
            if level < len(widths) - 1:
                name = f"input_blocks_{len(skips)}_0"
                if self.resblock_updown:
                    h = res(h, features=features, name=name, resample=downsample_average)
                else:
                    h = Downsample(self.conv_resample, dtype=self.dtype, name=name)(h)
                skips.append(h)

        h = res(h, features=widths[-1], name="middle_block_0")
        if self.middle_attention:
            h = self._attend(h, "middle_block_1")
        return res(h, features=widths[-1], name="middle_block_2"), skips
