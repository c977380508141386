"""The ADM ("guided-diffusion") classifier of noisy images, for one sample."""

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Int

from reddiff_jax.nets._checks import check_image
from reddiff_jax.nets._encoder import Encoder
from reddiff_jax.nets.layers import AttentionPool, GroupNorm


class EncoderUNet(Encoder):
    """Classifier of Dhariwal & Nichol: ``net.apply({"params": params}, x_t, t)`` are the logits of one noisy image.

    The UNet's input blocks and middle block, then attention pooling; parameter names as in ``UNet``.

    Args (fields):
        image_size: Height and width of the images; the pooling's positional embedding fixes it.
        num_classes: Number of logits.
        (others): As in ``UNet``; ``num_head_channels`` is also that of the pooling, and must be given.

    Source:
        Dhariwal & Nichol 2021 (arXiv 2105.05233), section 4 and appendix H.
    """

    image_size: int = 64
    num_classes: int = 1000

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
            x_t: Noisy image, ``image_size`` high and wide.
            t: Timestep, a raw index.
            deterministic: False turns dropout on (needs a ``dropout`` RNG).

        Returns:
            Logits, float32.

        Raises:
            ValueError: For a size or channel count that does not fit, or a missing ``num_head_channels``.
        """
        head_channels = self._check(x_t)
        h, _ = self._encode(x_t, self._embed_time(t), deterministic=deterministic)
        h = nn.silu(GroupNorm(name="out_0")(h))
        return AttentionPool(self.num_classes, head_channels, name="out_2")(h)

    def _check(self, x_t: jax.Array) -> int:
        """Checks what the classifier adds to an encoder; returns ``num_head_channels``."""
        check_image(self, x_t)
        if x_t.shape[:2] != (self.image_size, self.image_size):
            raise ValueError(
                f"x_t is {x_t.shape[0]} x {x_t.shape[1]} but this EncoderUNet classifies images of "
                f"{self.image_size} x {self.image_size}, image_size; resize the image."
            )
        if self.num_head_channels is None:
            raise ValueError("num_head_channels is None but EncoderUNet pools with heads of a given width; give it.")
        return self.num_head_channels
