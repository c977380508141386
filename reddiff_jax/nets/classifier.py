"""The ADM ("guided-diffusion") classifier of noisy images, for one sample."""

import enum

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image
from reddiff_jax.nets._encoder import Encoder
from reddiff_jax.nets.layers import AttentionPool, Conv, GroupNorm

_HIDDEN = 2048  # features between the spatial pools' two layers


class Pool(enum.StrEnum):
    """How a classifier turns its features into logits."""

    ATTENTION = "attention"  # attention of the mean token to all pixels, as in all published classifiers
    ADAPTIVE = "adaptive"  # mean over the last features
    SPATIAL = "spatial"  # means over the outputs of all blocks, two dense layers and a ReLU
    SPATIAL_V2 = "spatial_v2"  # the same with group normalisation and SiLU


class EncoderUNet(Encoder):
    """Classifier of Dhariwal & Nichol: ``net.apply({"params": params}, x_t, t)`` are the logits of one noisy image.

    The UNet's input blocks and middle block, then pooling; parameter names as in ``UNet``.

    Args (fields):
        image_size: Height and width of the images; the attention pool's positional embedding fixes it, others do not.
        num_classes: Number of logits.
        pool: How features are pooled, one of ``Pool``.
        (others): As in ``UNet``; ``num_head_channels`` is also that of the attention pool, which needs it.

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233), section 4 and appendix H.
    """

    image_size: int = 64
    num_classes: int = 1000
    pool: str = Pool.ATTENTION

    @nn.compact
    def __call__(
        self,
        x_t: Float[Array, "H W C"],
        t: Float[Array, ""] | Int[Array, ""],
        *,
        deterministic: bool = True,
    ) -> Float[Array, "K"]:
        """Runs the classifier.

        Args:
            x_t: Noisy image, ``image_size`` high and wide under an attention pool.
            t: Timestep, a raw index.
            deterministic: False turns dropout on (needs a ``dropout`` RNG).

        Returns:
            Logits, float32.

        Raises:
            ValueError: For a size or channel count that does not fit, or a missing ``num_head_channels``.
        """
        pool = self._check(x_t)
        h, outputs = self._encode(x_t, self._embed_time(t), deterministic=deterministic)
        if pool in (Pool.SPATIAL, Pool.SPATIAL_V2):
            means = jnp.concatenate([each.astype(jnp.float32).mean((0, 1)) for each in (*outputs, h)])
            hidden = nn.Dense(_HIDDEN, name="out_0")(means)
            if pool is Pool.SPATIAL:
                return nn.Dense(self.num_classes, name="out_2")(nn.relu(hidden))
            return nn.Dense(self.num_classes, name="out_3")(nn.silu(GroupNorm(name="out_1")(hidden)))
        h = nn.silu(GroupNorm(name="out_0")(h))
        if pool is Pool.ADAPTIVE:
            return Conv(self.num_classes, (1, 1), name="out_3")(h.mean((0, 1), keepdims=True))[0, 0]
        assert self.num_head_channels is not None
        return AttentionPool(self.num_classes, self.num_head_channels, name="out_2")(h)

    def _check(self, x_t: jax.Array) -> Pool:
        """Checks what the classifier adds to an encoder; returns its pool."""
        check_image(self, x_t)
        pool = Pool(self.pool)
        if pool is not Pool.ATTENTION:
            return pool
        if x_t.shape[:2] != (self.image_size, self.image_size):
            raise ValueError(
                f"x_t has shape {x_t.shape} but this EncoderUNet classifies images of "
                f"{self.image_size} x {self.image_size}, image_size; resize the image."
            )
        if self.num_head_channels is None:
            raise ValueError("num_head_channels is None but EncoderUNet pools with heads of a given width; give it.")
        return pool
