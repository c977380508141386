"""The ADM ("guided-diffusion") UNet, for one sample."""

import functools

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image, check_label
from reddiff_jax.nets._encoder import Encoder
from reddiff_jax.nets.layers import (
    Conv,
    GroupNorm,
    Upsample,
    depth_to_space,
    space_to_depth,
    upsample_nearest,
)


class UNet(Encoder):
    """UNet of Dhariwal & Nichol: ``net.apply({"params": params}, x_t, t, label)``, one image at a time.

    Blocks carry the names of the published PyTorch state dicts (``input_blocks.3.0.in_layers.2`` is the parameter group
    ``input_blocks_3_0/in_layers_2``), so that a converted checkpoint reads like its source.

    Args (fields):
        in_channels: Channels of the input image.
        out_channels: Channels of the output; twice ``in_channels`` for networks that also learn a variance.
        model_channels: Base width.
        num_res_blocks: Residual blocks of each level.
        channel_mult: Width of each level as a multiple of ``model_channels``; fractions are allowed.
        attention_downsamples: Downsampling factors at which attention is used: 8 means at 1/8 of the input's height
            (of the height after patching).
        middle_attention: Whether the middle block has attention.
        num_heads, num_head_channels, new_attention_order: See ``AttentionBlock``.
        num_classes: Number of class labels, or None for an unconditional network.
        dropout: Dropout rate in training (``deterministic=False``).
        use_scale_shift_norm: The embedding scales and shifts the second normalisation, rather than being added.
        resblock_updown: Residual blocks resample; otherwise ``Upsample`` and ``Downsample`` do.
        conv_resample: Whether ``Upsample`` and ``Downsample`` have a convolution (only without ``resblock_updown``).
        timestep_scale: Factor of timesteps before their embedding: 1000 / T for networks trained on T of
            them, "rescaled" to a thousand; 1 in all published guided-diffusion checkpoints.
        patch_size: Side of the pixel patches folded into channels before the first level (space to depth) and
            unfolded after the last. 1 in all published checkpoints; 2 makes every level four times cheaper.
        dtype: Compute type of convolutions and attention; parameters, normalisation and embeddings are float32.
        remat: Recompute each block's activations in the backward pass.

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233), appendix A.
    """

    out_channels: int = 3
    num_classes: int | None = None
    patch_size: int = 1

    @property
    def stride(self) -> int:
        """Number that must divide height and width, in pixels."""
        return self.patch_size * super().stride

    @property
    def takes_label(self) -> bool:
        """Whether the network is class-conditional."""
        return self.num_classes is not None

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
        embedding = self._embed_time(t)  # (4 * model_channels,)
        if self.num_classes is not None:
            labels = nn.Embed(self.num_classes, 4 * self.model_channels, name="label_emb")
            embedding += labels(jnp.asarray(label))

        h = space_to_depth(x_t, self.patch_size)
        h, skips = self._encode(h, embedding, deterministic=deterministic)

        res = functools.partial(self._res, embedding=embedding, deterministic=deterministic)
        index = 0
        for level, features in reversed(list(enumerate(self._widths()))):
            for position in range(self.num_res_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = res(h, features=features, name=f"output_blocks_{index}_0")
                part = 1
                if 2**level in self.attention_downsamples:
                    h = self._attend(h, f"output_blocks_{index}_{part}")
                    part += 1
                if level > 0 and position == self.num_res_blocks:
                    name = f"output_blocks_{index}_{part}"
                    if self.resblock_updown:
                        h = res(h, features=features, name=name, resample=upsample_nearest)
                    else:
                        h = Upsample(self.conv_resample, dtype=self.dtype, name=name)(h)
                index += 1

        h = nn.silu(GroupNorm(name="out_0")(h))
        features = self.out_channels * self.patch_size**2
        h = Conv(features, (3, 3), padding=1, kernel_init=nn.initializers.zeros, name="out_2")(h)
        return depth_to_space(h, self.patch_size)
