"""The network that blurs a sharp picture by a learned blur code ("blur kernel space exploring")."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class KernelWizard(nn.Module):
    """Applies a blur code to a sharp picture, for one sample: the generator of Tran et al.

    Features at a quarter of the size; a U-Net ("adapter") joins the code to them at its bottom; residual blocks and two
    pixel shuffles turn its output into what is added to the sharp picture. 23.7 M parameters. The part of the published
    network that extracts a code from two pictures is not built.

    Parameter groups carry the names of the published state dict: ``recon_trunk.3.conv1`` is ``recon_trunk_3/conv1``.

    Args (fields):
        features: Base width.
        num_front_blocks: Residual blocks before the adapter.
        num_back_blocks: Residual blocks after it.
        channel_mult: Width of each level of the adapter as a multiple of ``features``; each level halves the size.

    Source:
        Tran et al. 2021 (arXiv 2104.00317); sizes are those of the published GOPRO model.
    """

    features: int = 64
    num_front_blocks: int = 10
    num_back_blocks: int = 20
    channel_mult: tuple[int, ...] = (1, 2, 4, 8, 8)

    @property
    def stride(self) -> int:
        """Number that must divide height and width."""
        return 4 * 2 ** len(self.channel_mult)

    def code_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape of the blur code of a picture: (2, 2, 512) for 256 x 256 as published."""
        return height // self.stride, width // self.stride, self.channel_mult[-1] * self.features

    @nn.compact
    def __call__(self, x: Float[Array, "H W 3"], code: Float[Array, "h w D"]) -> Float[Array, "H W 3"]:
        """Blurs ``x``.

        Args:
            x: Sharp picture in [0, 1]; height and width divisible by ``stride``.
            code: Blur code of shape ``code_shape``; drawn from about N(0, I) in training.
        """
        h = x
        for i, stride in ((0, 1), (2, 2), (4, 2)):
            h = nn.leaky_relu(self._conv(self.features, f"feature_extractor_{i}", stride)(h), 0.1)
        for i in range(self.num_front_blocks):
            h = _ResBlock(name=f"feature_extractor_{6 + i}")(h)
        h = self._adapt(h, code)
        for i in range(self.num_back_blocks):
            h = _ResBlock(name=f"recon_trunk_{i}")(h)
        first = self.num_back_blocks
        for i in (first, first + 3):
            h = nn.leaky_relu(_pixel_shuffle(self._conv(4 * self.features, f"recon_trunk_{i}")(h)), 0.1)
        h = nn.leaky_relu(self._conv(self.features, f"recon_trunk_{first + 6}")(h), 0.1)
        return x + self._conv(x.shape[-1], f"recon_trunk_{first + 8}")(h)

    def _conv(self, features: int, name: str, stride: int = 1) -> nn.Conv:
        return nn.Conv(features, (3, 3), strides=stride, padding=1, name=name)

    def _adapt(self, h: Float[Array, "h w D"], code: Float[Array, "h2 w2 D2"]) -> Float[Array, "h w D"]:
        """The U-Net; each level's convolutions are named by how deep it is nested."""
        prefixes = [f"adapter_model{'_submodule' * depth}" for depth in range(len(self.channel_mult))]
        skips = []
        for depth, (prefix, multiple) in enumerate(zip(prefixes, self.channel_mult, strict=True)):
            skips.append(h)
            h = h if depth == 0 else nn.leaky_relu(h, 0.2)
            name = f"{prefix}_down_{min(depth, 1)}"
            h = nn.Conv(multiple * self.features, (4, 4), 2, padding=1, use_bias=False, name=name)(h)
        h = jnp.concatenate([h, code], axis=-1)
        for depth, (prefix, skip) in reversed(list(enumerate(zip(prefixes, skips, strict=True)))):
            # PyTorch's padding of 1 is counted in pixels of the output: kernel - 1 - padding = 2 in Flax's.
            h = nn.ConvTranspose(
                skip.shape[-1], (4, 4), (2, 2), padding=((2, 2), (2, 2)), use_bias=depth == 0, name=f"{prefix}_up_1"
            )(nn.relu(h))
            h = jnp.concatenate([h, skip], axis=-1) if depth > 0 else jnp.tanh(h)
        return h


class _ResBlock(nn.Module):
    """``x + conv(ReLU(conv(x)))``."""

    @nn.compact
    def __call__(self, x: Float[Array, "h w D"]) -> Float[Array, "h w D"]:
        h = nn.relu(nn.Conv(x.shape[-1], (3, 3), padding=1, name="conv1")(x))
        return x + nn.Conv(x.shape[-1], (3, 3), padding=1, name="conv2")(h)


def _pixel_shuffle(x: Float[Array, "h w D"]) -> Float[Array, "2*h 2*w D//4"]:
    """Channels to 2 x 2 pixels, in PyTorch's order: channel (c, i, j) is pixel (i, j) of channel c."""
    height, width, channels = x.shape
    x = x.reshape(height, width, channels // 4, 2, 2)
    return x.transpose(0, 3, 1, 4, 2).reshape(2 * height, 2 * width, channels // 4)
