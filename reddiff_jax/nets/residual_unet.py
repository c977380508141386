"""A residual UNet without normalisation, for one sample."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image, check_label
from reddiff_jax.nets.layers import Conv, depth_to_space, space_to_depth, timestep_embedding

NUM_FREQUENCIES = 32
EMBEDDING_FEATURES = 128


class ResidualUNet(nn.Module):
    """Residual UNet without normalisation: ``net.apply({"params": params}, x_t, t)``, one image at a time.

    Each level has residual blocks that the timestep modulates (``ResidualBlock``). Convolutions of stride 2 lead to the
    next level and transposed ones back, where the features of the way down are added. The first convolution's output
    is added before the last.

    Blocks carry the names of the PyTorch state dict (``down.0.1.conv1`` is the parameter group ``down_0_1/conv1``). A
    new network starts as PyTorch's does: its output is zero and its blocks change next to nothing.

    Args (fields):
        in_channels: Channels of the input image.
        out_channels: Channels of the output.
        widths: Channels of each level, from the finest on.
        num_res_blocks: Residual blocks of each level, on the way down and again on the way up.
        patch_size: Side of the pixel patches folded into channels before the first level (space to depth) and
            unfolded after the last.
        dtype: Compute type of convolutions; parameters, embeddings and the last convolution are float32.
        remat: Recompute each block's activations in the backward pass.

    Source:
        Zhang et al. 2021 (arXiv 2008.13751), section III-A (DRUNet). Ours folds patches, has biases, and gets the
        noise level from the timestep instead of a map. The modulation is that of Perez et al. 2018 (FiLM,
        arXiv 1709.07871).
    """

    in_channels: int = 3
    out_channels: int = 3
    widths: tuple[int, ...] = (64, 128, 256, 256)
    num_res_blocks: int = 2
    patch_size: int = 2
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    def stride(self) -> int:
        """Number that must divide height and width, in pixels."""
        return self.patch_size * 2 ** (len(self.widths) - 1)

    @property
    def num_classes(self) -> None:
        """None: there are no class labels."""
        return None

    @property
    def takes_label(self) -> bool:
        """Whether the network is class-conditional."""
        return False

    @nn.compact
    def __call__(
        self,
        x_t: Float[Array, "H W C"],
        t: Float[Array, ""] | Int[Array, ""],
        label: None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "H W C2"]:
        """Runs the network.

        Args:
            x_t: Noisy image; height and width divisible by ``stride``.
            t: Timestep, a raw index.
            label: None; the argument is that of the other networks.
            deterministic: Has no effect, as there is no dropout.

        Raises:
            ValueError: For a size or channel count that does not fit, or a label.
        """
        check_image(self, x_t)
        check_label(self, label)
        embedding = self._embed_time(t)  # (128,)
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock

        def run_level(h: jax.Array, name: str) -> jax.Array:
            for i in range(self.num_res_blocks):
                h = block(dtype=self.dtype, name=f"{name}_{i}")(h, embedding)
            return h

        folded = space_to_depth(x_t, self.patch_size).astype(self.dtype)  # (H/p, W/p, p * p * C)
        first = h = self._conv(self.widths[0], folded.shape[-1], 3, "head")(folded)
        skips = []
        for level, features in enumerate(self.widths[1:]):
            h = run_level(h, f"down_{level}")
            skips.append(h)
            h = self._conv(features, h.shape[-1], 2, f"shrink_{level}")(h)
        h = run_level(h, f"down_{len(skips)}")
        for level, skip in reversed(list(enumerate(skips))):
            h = skip + Grow(skip.shape[-1], dtype=self.dtype, name=f"grow_{level}")(h)
            h = run_level(h, f"up_{level}")
        features = self.out_channels * self.patch_size**2
        h = Conv(features, (3, 3), padding=1, kernel_init=nn.initializers.zeros, name="tail")(h + first)
        return depth_to_space(h, self.patch_size)

    def _embed_time(self, t: Float[Array, ""] | Int[Array, ""]) -> Float[Array, "E"]:
        embedding = timestep_embedding(jnp.asarray(t), 2 * NUM_FREQUENCIES)
        for name in ("time_0", "time_2"):
            embedding = nn.silu(nn.Dense(EMBEDDING_FEATURES, **_uniform(embedding.size), name=name)(embedding))
        return embedding

    def _conv(self, features: int, channels: int, size: int, name: str) -> nn.Conv:
        """A convolution of size 3, or one of size 2 that halves height and width."""
        options = {"padding": 1} if size == 3 else {"padding": 0, "strides": 2}
        return Conv(features, (size, size), **options, dtype=self.dtype, **_uniform(channels * size**2), name=name)


class ResidualBlock(nn.Module):
    """``x + conv(ReLU(conv(x) * (1 + a) + b))`` with a and b, of each channel, linear in the embedding."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"], embedding: Float[Array, "E"]) -> Float[Array, "H W C"]:
        """Applies the block."""
        channels, zeros = x.shape[-1], nn.initializers.zeros
        he, small = (
            nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
            nn.initializers.normal(1e-2 / channels**0.5),
        )
        modulation = nn.Dense(2 * channels, kernel_init=zeros, name="film")(embedding)
        a, b = modulation.astype(self.dtype).reshape(2, 1, 1, channels)
        h = Conv(channels, (3, 3), padding=1, kernel_init=he, dtype=self.dtype, name="conv1")(x)
        h = nn.relu(h * (1 + a) + b)
        return x + Conv(channels, (3, 3), padding=1, kernel_init=small, dtype=self.dtype, name="conv2")(h)


class Grow(nn.Module):
    """Transposed convolution of size and stride 2: a pixel x becomes the patch ``kernel[:, i, j]^T x + bias``."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "2*H 2*W features"]:
        """Doubles height and width."""
        height, width, channels = x.shape
        # PyTorch takes the number of output channels for the fan-in of a transposed convolution.
        init = _uniform(4 * self.features)
        kernel = self.param("kernel", init["kernel_init"], (channels, 2, 2, self.features))
        bias = self.param("bias", init["bias_init"], (self.features,))
        x, kernel, bias = (each.astype(self.dtype) for each in (x, kernel, bias))
        # As a matrix product: XLA's CPU backend has no fast transposed convolution.
        y = jnp.einsum("hwc,cijd->hiwjd", x, kernel)
        return y.reshape(2 * height, 2 * width, self.features) + bias[None, None]


def _uniform(fan_in: int) -> dict[str, Any]:
    """PyTorch's initialisation of a layer's kernel and bias: uniform in +-1 / sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return {"kernel_init": init, "bias_init": init}
