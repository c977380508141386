"""Layers of the ADM networks, each for one sample ``(H, W, C)``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array, Float

NUM_GROUPS = 32


def timestep_embedding(
    t: Float[Array, ""],
    features: int,
    max_period: float = 10_000.0,
    *,
    sines_first: bool = False,
    freq_shift: float = 0.0,
) -> Float[Array, "features"]:
    """Sinusoidal embedding ``[cos(t f), sin(t f)]``, ``f_i = max_period ** (-i / (half - freq_shift))``.

    Args:
        t: Timestep; a raw index (not rescaled), may be non-integer.
        features: Length of the embedding; an odd length ends in a zero.
        max_period: Longest period, in timesteps.
        sines_first: ``[sin(t f), cos(t f)]`` instead.
        freq_shift: 1 lets the last frequency be ``1 / max_period`` exactly.

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233): cosines first, no shift. The code of Ho et al. 2020 (arXiv
        2006.11239): sines first, shift 1.
    """
    half = features // 2
    frequencies = jnp.exp(-jnp.log(max_period) * jnp.arange(half, dtype=jnp.float32) / (half - freq_shift))
    phases = t.astype(jnp.float32) * frequencies  # (half,)
    waves = [jnp.sin(phases), jnp.cos(phases)] if sines_first else [jnp.cos(phases), jnp.sin(phases)]
    embedding = jnp.concatenate(waves)
    return jnp.pad(embedding, (0, features - 2 * half))


def convolution(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, *, dimension_numbers: Any, **options: Any
) -> jax.Array:
    """``jax.lax.conv_general_dilated`` with a gradient that is fast inside loops on a CPU, too.

    JAX transposes a convolution by exchanging the labels of the kernel's channels. XLA's CPU backend reorders such
    labels for its fast convolution, but not inside of loops, where a solver's step is: a network's gradient took 13
    times as long there. So the derivative is that of the transposed kernel with exchanged labels, which JAX exchanges
    back.

    Args:
        x: Input (B, H, W, C).
        kernel: Kernel (h, w, C, features).
        strides: Of height and width.
        padding: Pixels before and after, of height and width; or the name of a rule.
        dimension_numbers: As ``nn.Conv`` passes them.
        **options: As ``nn.Conv`` passes them.
    """
    numbers = jax.lax.conv_dimension_numbers(x.shape, kernel.shape, dimension_numbers)
    out, into, *window = numbers.rhs_spec
    exchanged = numbers._replace(rhs_spec=(into, out, *window))
    convolve = partial(jax.lax.conv_general_dilated, window_strides=strides, padding=padding, **options)

    @jax.custom_jvp
    def apply(x, kernel):
        return convolve(x, kernel, dimension_numbers=numbers)

    def derivative(primals, tangents):
        (x, kernel), (x_dot, kernel_dot) = primals, tangents
        terms = []
        if not isinstance(x_dot, SymbolicZero):
            terms.append(convolve(x_dot, kernel.swapaxes(out, into), dimension_numbers=exchanged))
        if not isinstance(kernel_dot, SymbolicZero):
            terms.append(convolve(x, kernel_dot, dimension_numbers=numbers))
        return apply(x, kernel), sum(terms[1:], start=terms[0])

    apply.defjvp(derivative, symbolic_zeros=True)
    return apply(x, kernel)


Conv = partial(nn.Conv, conv_general_dilated=convolution)
"""``flax.linen.Conv`` by ``convolution``."""


class GroupNorm(nn.Module):
    """Group normalisation over (H, W, channels of a group), float32 inside, PyTorch's epsilon.

    ``y = (x - mean) / sqrt(var + epsilon) * scale + bias``, or its modulation ``y * (1 + modulation[0]) +
    modulation[1]``, computed as one multiply-add a pixel.

    Source:
        Wu & He 2018 (arXiv 1803.08494); 32 groups and epsilon 1e-5 as in the published checkpoints
        (Flax's own default epsilon is 1e-6).
    """

    num_groups: int = NUM_GROUPS
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "*spatial C"], modulation: Float[Array, "2 C"] | None = None
    ) -> Float[Array, "*spatial C"]:
        """Normalises ``x``, of any number of spatial axes."""
        channels = x.shape[-1]
        if channels % self.num_groups:
            raise ValueError(
                f"GroupNorm needs a number of channels divisible by num_groups={self.num_groups}, got {channels}; "
                "choose the widths accordingly."
            )
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if modulation is not None:
            scale, bias = scale * (1 + modulation[0]), bias * (1 + modulation[0]) + modulation[1]
        pixels = x.astype(jnp.float32).reshape(-1, channels)  # (N, C)
        # Per-channel sums first: XLA's CPU backend vectorises these, and not a reduction over (N, C/groups) at once.
        sums = jnp.stack([pixels.sum(0), jnp.square(pixels).sum(0)])  # (2, C)
        count = pixels.shape[0] * (channels // self.num_groups)
        mean, mean_square = sums.reshape(2, self.num_groups, -1).sum(-1)[..., None] / count  # (groups, 1) each
        variance = jnp.maximum(mean_square - jnp.square(mean), 0.0)
        gain = jax.lax.rsqrt(variance + self.epsilon) * scale[None]  # (groups, C): a group's, if it had all channels
        offset = bias[None] - gain * mean
        # A channel selects its own group by a sum. After jnp.repeat, XLA would fuse all of this into the loop over
        # pixels, and index the groups there: 2.5 times slower on a CPU.
        own = jnp.arange(channels)[None] // (channels // self.num_groups) == jnp.arange(self.num_groups)[:, None]
        gain, offset = jnp.where(own[None], jnp.stack([gain, offset]), 0.0).sum(1)[:, None]  # (1, C) each
        return (pixels * gain + offset).reshape(x.shape).astype(self.dtype)


class Upsample(nn.Module):
    """Nearest-neighbour doubling, with a 3x3 convolution after it if ``use_conv``."""

    use_conv: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "2*H 2*W C"]:
        """Doubles height and width."""
        x = upsample_nearest(x)
        return Conv(x.shape[-1], (3, 3), padding=1, dtype=self.dtype, name="conv")(x) if self.use_conv else x


class Downsample(nn.Module):
    """Halving: a 3x3 convolution of stride 2 if ``use_conv``, else 2x2 average pooling."""

    use_conv: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H//2 W//2 C"]:
        """Halves height and width."""
        if not self.use_conv:
            return downsample_average(x)
        # padding=1 on both sides is PyTorch's; SAME would pad only after the last row for stride 2.
        return Conv(x.shape[-1], (3, 3), strides=2, padding=1, dtype=self.dtype, name="op")(x)


def upsample_nearest(x: Float[Array, "H W C"]) -> Float[Array, "2*H 2*W C"]:
    """Doubles height and width by repeating pixels."""
    h, w, c = x.shape
    return jnp.broadcast_to(x[:, None, :, None, :], (h, 2, w, 2, c)).reshape(2 * h, 2 * w, c)


def downsample_average(x: Float[Array, "H W C"]) -> Float[Array, "H//2 W//2 C"]:
    """Halves height and width by 2x2 average pooling."""
    h, w, c = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, c).mean((1, 3))


def space_to_depth(x: Float[Array, "H W C"], size: int) -> Float[Array, "H//size W//size C*size*size"]:
    """Folds ``size`` x ``size`` patches into channels."""
    if size == 1:
        return x
    h, w, c = x.shape
    x = x.reshape(h // size, size, w // size, size, c).transpose(0, 2, 1, 3, 4)  # (H/s, W/s, s, s, C)
    return x.reshape(h // size, w // size, size * size * c)


def depth_to_space(x: Float[Array, "H W C"], size: int) -> Float[Array, "H*size W*size C//size//size"]:
    """Inverse of ``space_to_depth``."""
    if size == 1:
        return x
    h, w, c = x.shape
    x = x.reshape(h, w, size, size, c // size**2).transpose(0, 2, 1, 3, 4)  # (H, s, W, s, C)
    return x.reshape(h * size, w * size, c // size**2)


class ResBlock(nn.Module):
    """Residual block conditioned on the timestep embedding, with optional resampling.

    ``h = conv(SiLU(GN(x)))``, then ``GN(h) * (1 + scale) + shift`` (or ``GN(h + shift)``), SiLU, dropout, conv; added
    to ``x`` (through a 1x1 convolution where the channels change).

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233), section 3 and appendix A (adaptive group normalisation, BigGAN
        up- and downsampling).
    """

    out_channels: int
    dropout: float = 0.0
    use_scale_shift_norm: bool = True
    resample: Callable[[jax.Array], jax.Array] | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "H W C"], embedding: Float[Array, "E"], deterministic: bool = True
    ) -> Float[Array, "H2 W2 C2"]:
        """Applies the block; ``deterministic=False`` turns dropout on (needs a ``dropout`` RNG)."""
        features = self.out_channels
        h = nn.silu(GroupNorm(dtype=self.dtype, name="in_layers_0")(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = Conv(features, (3, 3), padding=1, dtype=self.dtype, name="in_layers_2")(h)

        width = 2 * features if self.use_scale_shift_norm else features
        modulation = nn.Dense(width, name="emb_layers_1")(nn.silu(embedding))  # (width,)
        if self.use_scale_shift_norm:
            h = GroupNorm(name="out_layers_0")(h, modulation.reshape(2, features))  # scale, shift
        else:
            h = GroupNorm(name="out_layers_0")(h + modulation[None, None].astype(h.dtype))
        h = nn.Dropout(self.dropout, deterministic=deterministic)(nn.silu(h).astype(self.dtype))
        h = Conv(features, (3, 3), padding=1, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out_layers_3")(
            h
        )
        if x.shape[-1] != features:
            x = Conv(features, (1, 1), dtype=self.dtype, name="skip_connection")(x)
        return x + h


class AttentionBlock(nn.Module):
    """Self-attention over all pixels, residual.

    Args (fields):
        num_heads: Number of heads; ignored where ``num_head_channels`` is given.
        num_head_channels: Channels of a head, or None.
        new_attention_order: How the qkv channels are laid out: q, k, v and then heads (True), or heads and then
            q, k, v (False, "legacy", as in most published checkpoints).

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233). Softmax in float32.
    """

    num_heads: int = 1
    num_head_channels: int | None = None
    new_attention_order: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Adds what each pixel attends to."""
        h, w, channels = x.shape
        heads = count_heads(channels, self.num_heads, self.num_head_channels)
        tokens = x.reshape(h * w, channels)
        qkv = nn.Dense(3 * channels, dtype=self.dtype, name="qkv")(GroupNorm(dtype=self.dtype, name="norm")(tokens))
        if self.new_attention_order:
            q, k, v = jnp.moveaxis(qkv.reshape(h * w, 3, heads, -1), 1, 0)  # (T, heads, C/heads) each
        else:
            q, k, v = jnp.moveaxis(qkv.reshape(h * w, heads, 3, -1), 2, 0)  # (T, heads, C/heads) each
        attended = jax.nn.dot_product_attention(q, k, v).reshape(h * w, channels)
        projected = nn.Dense(channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="proj_out")(attended)
        return x + projected.reshape(h, w, channels)


class AttentionPool(nn.Module):
    """Pools an image into one vector: the attention of the mean token to itself and all pixels.

    Tokens are the mean and the pixels, plus a learned positional embedding; qkv are laid out in the new order.

    Args (fields):
        out_channels: Length of the vector.
        num_head_channels: Channels of a head.

    Source:
        Radford et al. 2021 (arXiv 2103.00020), section 2.4; Dhariwal & Nichol 2021 (arXiv 2105.05233), appendix H.
    """

    out_channels: int
    num_head_channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "C2"]:
        """Returns what the mean token attends to, projected."""
        channels = x.shape[-1]
        heads = count_heads(channels, 1, self.num_head_channels)
        pixels = x.reshape(-1, channels)
        tokens = jnp.concatenate([pixels.mean(0, keepdims=True), pixels])  # (T, C), T = H W + 1
        initializer = nn.initializers.normal(channels**-0.5)
        tokens += self.param("positional_embedding", initializer, tokens.shape[::-1]).T
        qkv = nn.Dense(3 * channels, name="qkv_proj")(tokens)
        q, k, v = jnp.moveaxis(qkv.reshape(-1, 3, heads, channels // heads), 1, 0)  # (T, heads, C/heads) each
        pooled = jax.nn.dot_product_attention(q[:1], k, v)  # (1, heads, C/heads)
        return nn.Dense(self.out_channels, name="c_proj")(pooled.reshape(channels))


def count_heads(channels: int, num_heads: int, num_head_channels: int | None) -> int:
    """Returns the number of attention heads, from their width if it is given."""
    heads = num_heads if num_head_channels is None else channels // num_head_channels
    if heads < 1 or channels % heads or (num_head_channels is not None and channels % num_head_channels):
        raise ValueError(
            f"attention over {channels} channels does not divide into heads (num_heads={num_heads}, "
            f"num_head_channels={num_head_channels}); choose a divisor of {channels}."
        )
    return heads
