"""The UNets of EDM, DhariwalUNet (ADM) and SongUNet (DDPM++, NCSN++), as preconditioned denoisers, for one sample."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image, check_label
from reddiff_jax.nets.layers import Conv, GroupNorm, timestep_embedding

_CHANNELS_PER_GROUP, _CHANNELS_PER_HEAD = 4, 64  # at least, of normalisation; and of DhariwalUNet's attention


@dataclass(frozen=True)
class _Style:
    """What all blocks of a network have in common."""

    adaptive: bool  # the embedding scales and shifts after the second normalisation, instead of being added before
    one_head: bool
    epsilon: float
    skip_scale: float  # of each residual sum
    project_skips: bool  # whether a skip that resamples has a convolution, too
    filter: tuple[float, ...]
    dropout: float
    dtype: DTypeLike

    def norm(self, channels: int, name: str) -> GroupNorm:
        groups = min(32, channels // _CHANNELS_PER_GROUP)
        return GroupNorm(num_groups=groups, epsilon=self.epsilon, name=name)


class _EDMUNet(nn.Module):
    """What both networks share: preconditioning, and the walk down and up the levels."""

    in_channels: int = 3
    out_channels: int = 3
    model_channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    embedding_mult: int = 4
    num_res_blocks: int = 4
    attention_levels: tuple[int, ...] = (1,)
    num_classes: int | None = None
    dropout: float = 0.0
    sigma_data: float = 0.5
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    takes_sigma = True
    """The network is given a noise level, not a timestep, and returns the clean image."""

    @property
    def stride(self) -> int:
        """Number that must divide height and width, in pixels."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def takes_label(self) -> bool:
        """Whether the network is class-conditional."""
        return self.num_classes is not None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "H W C"],
        sigma: Float[Array, ""] | float,
        label: Int[Array, ""] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "H W C2"]:
        """Estimates the clean image: D(x; sigma) = c_skip x + c_out F(c_in x; ln(sigma) / 4).

        Args:
            x: Image with white noise, x_0 + sigma n; height and width divisible by ``stride``.
            sigma: Standard deviation of the noise.
            label: Class index; required if and only if the network is class-conditional.
            deterministic: False turns dropout on (needs a ``dropout`` RNG).

        Raises:
            ValueError: For a size, channel count or label that does not fit.
        """
        check_image(self, x)
        check_label(self, label)
        sigma = jnp.asarray(sigma, jnp.float32)
        total = sigma**2 + self.sigma_data**2
        c_skip, c_out = self.sigma_data**2 / total, sigma * self.sigma_data * jax.lax.rsqrt(total)
        embedding = self._embed(jnp.log(sigma) / 4, label)
        output = self._network(x * jax.lax.rsqrt(total), embedding, deterministic)
        return c_skip * x[..., : self.out_channels] + c_out * output.astype(jnp.float32)

    def _network(self, x: jax.Array, embedding: jax.Array, deterministic: bool) -> jax.Array:
        style, song = self._style(), self._is_song()
        kind = nn.remat(_Block, static_argnums=(3,)) if self.remat else _Block
        widths = [self.model_channels * mult for mult in self.channel_mult]

        def block(h: jax.Array, features: int, name: str, *, attends: bool = False, resample: int = 0) -> jax.Array:
            return kind(features, attends, resample, style, name=name)(h, embedding, deterministic)

        aux = x.astype(self.dtype)
        h = Conv(self.model_channels if song else widths[0], (3, 3), padding=1, dtype=self.dtype, name="enc_0_conv")(
            aux
        )
        skips = [h]
        for level, features in enumerate(widths):
            if level:
                h = block(h, h.shape[-1], f"enc_{level}_down", resample=-1)
                if getattr(self, "residual_encoder", False):
                    aux = _FusedDown(h.shape[-1], style, name=f"enc_{level}_aux_residual")(aux)
                    h = aux = (h + aux) * style.skip_scale
                skips.append(h)
            for i in range(self.num_res_blocks):
                h = block(h, features, f"enc_{level}_block{i}", attends=level in self.attention_levels)
                skips.append(h)
        for level, features in reversed(list(enumerate(widths))):
            if level == len(widths) - 1:
                h = block(h, h.shape[-1], f"dec_{level}_in0", attends=True)
                h = block(h, h.shape[-1], f"dec_{level}_in1")
            else:
                h = block(h, h.shape[-1], f"dec_{level}_up", resample=1)
            for i in range(self.num_res_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                attends = level in self.attention_levels and (not song or i == self.num_res_blocks)
                h = block(h, features, f"dec_{level}_block{i}", attends=attends)
        names = ("dec_0_aux_norm", "dec_0_aux_conv") if song else ("out_norm", "out_conv")
        # DhariwalUNet's last normalisation has the epsilon of its blocks.
        h = nn.silu(style.norm(h.shape[-1], names[0])(h))
        return Conv(self.out_channels, (3, 3), padding=1, kernel_init=nn.initializers.zeros, name=names[1])(h)

    def _one_hot(self, label: Int[Array, ""] | None) -> jax.Array:
        return jax.nn.one_hot(jnp.asarray(label), self.num_classes or 0)

    def _dense(self, name: str, features: int, *, use_bias: bool = True) -> nn.Dense:
        return nn.Dense(features, use_bias=use_bias, name=name)


class DhariwalUNet(_EDMUNet):
    """ADM as EDM trains it: ``net.apply({"params": params}, x, sigma, label)`` is the clean image of one noisy one.

    Blocks have the names of published state dicts, with levels instead of resolutions: ``enc.64x64_block0.conv0`` is
    the parameter group ``enc_0_block0/conv0``.

    Args (fields):
        in_channels, out_channels: Channels of the input image and of the output.
        model_channels: Channels that ``channel_mult`` multiplies.
        channel_mult: Width of each level, from the finest on.
        embedding_mult: Length of the embedding as a multiple of ``model_channels``.
        num_res_blocks: Residual blocks of a level on the way down; there is one more on the way up.
        attention_levels: Levels whose blocks have attention, counted from the finest, 0.
        num_classes: Number of class labels, or None.
        dropout: Dropout rate in training (``deterministic=False``).
        sigma_data: Standard deviation of the pictures that the network was trained on.
        dtype: Compute type of convolutions and attention; parameters, normalisation and embeddings are float32.
        remat: Recompute each block's activations in the backward pass.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), table 1 (preconditioning) and appendix F.2; Dhariwal & Nichol 2021
        (arXiv 2105.05233). Layout of the state dict: NVIDIA PhysicsNeMo (Apache-2.0).
    """

    model_channels: int = 192
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 3
    attention_levels: tuple[int, ...] = (1, 2, 3)

    def _is_song(self) -> bool:
        return False

    def _style(self) -> _Style:
        return _Style(True, False, 1e-5, 1.0, False, (1.0, 1.0), self.dropout, self.dtype)

    def _embed(self, level: jax.Array, label: jax.Array | None) -> jax.Array:
        features = self.embedding_mult * self.model_channels
        h = nn.silu(self._dense("map_layer0", features)(timestep_embedding(level, self.model_channels)))
        h = self._dense("map_layer1", features)(h)
        if label is not None:
            h += self._dense("map_label", features, use_bias=False)(self._one_hot(label))
        return nn.silu(h)


class SongUNet(_EDMUNet):
    """DDPM++ and NCSN++ as EDM trains them: ``net.apply({"params": params}, x, sigma, label)``, one image at a time.

    Args (fields):
        in_channels, out_channels, model_channels, channel_mult, embedding_mult, num_res_blocks, num_classes, dropout,
            sigma_data, dtype, remat: As for ``DhariwalUNet``.
        attention_levels: Levels with attention: in all blocks on the way down, in the last one on the way up.
        fourier: Random Fourier features of the noise level (NCSN++) instead of sinusoids (DDPM++).
        noise_mult: Length of these features as a multiple of ``model_channels``: 2 in NCSN++, 1 in DDPM++.
        residual_encoder: The image is passed down beside the features, and added at each level (NCSN++).
        resample_filter: Filter of halving and doubling: (1, 1) in DDPM++, (1, 3, 3, 1) in NCSN++.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), table 1 and appendix F.2; Song et al. 2021 (arXiv 2011.13456), appendix
        H. Layout of the state dict: NVIDIA PhysicsNeMo (Apache-2.0).
    """

    fourier: bool = False
    noise_mult: int = 1
    residual_encoder: bool = False
    resample_filter: tuple[float, ...] = (1.0, 1.0)

    def _is_song(self) -> bool:
        return True

    def _style(self) -> _Style:
        return _Style(False, True, 1e-6, np.sqrt(0.5).item(), True, self.resample_filter, self.dropout, self.dtype)

    def _embed(self, level: jax.Array, label: jax.Array | None) -> jax.Array:
        features = self.noise_mult * self.model_channels
        if self.fourier:
            h = _Fourier(features, name="map_noise")(level)
        else:
            h = timestep_embedding(level, features, sines_first=True, freq_shift=1.0)
        if label is not None:
            scale = float(np.sqrt(self.num_classes or 0))
            h += self._dense("map_label", features)(scale * self._one_hot(label))
        for name in ("map_layer0", "map_layer1"):
            h = nn.silu(self._dense(name, self.embedding_mult * self.model_channels)(h))
        return h


class _Fourier(nn.Module):
    """``[sin(2 pi f x), cos(2 pi f x)]`` of fixed random frequencies f, which a state dict holds."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, ""]) -> Float[Array, "features"]:
        freqs = self.param("freqs", nn.initializers.normal(16.0), (self.features // 2,))
        phases = 2 * jnp.pi * x * jax.lax.stop_gradient(freqs)
        return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)])


class _Block(nn.Module):
    """Residual block conditioned on the embedding, with optional resampling and attention."""

    features: int
    attends: bool
    resample: int  # -1 halves, 1 doubles
    style: _Style

    @nn.compact
    def __call__(
        self, x: Float[Array, "H W C"], embedding: Float[Array, "E"], deterministic: bool
    ) -> Float[Array, "H2 W2 C2"]:
        style, features = self.style, self.features
        resampled = _resampler(self.resample, style.filter)
        h = resampled(nn.silu(style.norm(x.shape[-1], "norm0")(x)).astype(style.dtype))
        h = Conv(features, (3, 3), padding=1, dtype=style.dtype, name="conv0")(h)
        affine = nn.Dense(features * (2 if style.adaptive else 1), name="affine")(embedding)
        if style.adaptive:
            h = style.norm(features, "norm1")(h, affine.reshape(2, features))
        else:
            h = style.norm(features, "norm1")(h + affine[None, None].astype(h.dtype))
        h = nn.Dropout(style.dropout, deterministic=deterministic)(nn.silu(h).astype(style.dtype))
        h = Conv(features, (3, 3), padding=1, dtype=style.dtype, kernel_init=nn.initializers.zeros, name="conv1")(h)
        skip = resampled(x)
        if features != x.shape[-1] or (self.resample and style.project_skips):
            skip = Conv(features, (1, 1), dtype=style.dtype, name="skip")(skip)
        h = (skip + h) * style.skip_scale
        # Fewer channels than a head has: EDM's networks then have no attention.
        attends = self.attends and (style.one_head or features >= _CHANNELS_PER_HEAD)
        return (h + self._attended(h)) * style.skip_scale if attends else h

    def _attended(self, h: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """What each pixel attends to. Softmax in float32."""
        height, width, channels = h.shape
        heads = 1 if self.style.one_head else channels // _CHANNELS_PER_HEAD
        tokens = self.style.norm(channels, "norm2")(h).astype(self.style.dtype).reshape(-1, channels)
        qkv = nn.Dense(3 * channels, dtype=self.style.dtype, name="qkv")(tokens)
        q, k, v = jnp.moveaxis(qkv.reshape(-1, heads, channels // heads, 3), -1, 0)  # (T, heads, C/heads) each
        attended = jax.nn.dot_product_attention(q, k, v).reshape(-1, channels)
        init: Any = nn.initializers.zeros
        return nn.Dense(channels, dtype=self.style.dtype, kernel_init=init, name="proj")(attended).reshape(
            height, width, channels
        )


class _FusedDown(nn.Module):
    """A convolution on a margin, then the filter with stride 2: the filter sees no border."""

    features: int
    style: _Style

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H//2 W//2 C2"]:
        margin = 1 + (len(self.style.filter) - 1) // 2
        h = Conv(self.features, (3, 3), padding=margin, dtype=self.style.dtype, name="conv")(x)
        return _filtered(h, self.style.filter, strides=2, padding=(0, 0))


def _resampler(direction: int, taps: tuple[float, ...]) -> Any:
    margin = (len(taps) - 1) // 2
    if direction < 0:
        return lambda x: _filtered(x, taps, strides=2, padding=(margin, margin))
    if direction > 0:
        # The transposed convolution, whose filter passes on all of a pixel to the four that it becomes.
        outside = len(taps) - 1 - margin
        return lambda x: 4 * _filtered(x, taps, dilation=2, padding=(outside, outside))
    return lambda x: x


def _filtered(
    x: Float[Array, "H W C"], taps: tuple[float, ...], *, padding: tuple[int, int], strides: int = 1, dilation: int = 1
) -> Float[Array, "H2 W2 C"]:
    """Convolution of each channel with the filter along both axes; its taps are scaled to sum 1."""
    line = np.asarray(taps) / np.sum(taps)
    kernel = jnp.asarray(np.outer(line, line)[:, :, None, None], x.dtype)  # (k, k, 1, 1)
    return jax.lax.conv_general_dilated(
        jnp.moveaxis(x, -1, 0)[..., None],  # (C, H, W, 1): channels as a batch
        kernel,
        (strides, strides),
        (padding, padding),
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[..., 0].transpose(1, 2, 0)
