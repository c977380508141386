"""Blur of a scene's light, seen by a camera that saturates and compresses: a nonlinear blur without weights."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_numbers, check_positive
from reddiff_jax.operators._base import SaturatingOperator
from reddiff_jax.operators.blur import CircularBlur, PaddedBlur, blur
from reddiff_jax.operators.boundaries import Boundary

_TOE = 1 / 510  # half a grey level of 8 bits, after compression


@struct.dataclass
class SaturatedBlur(SaturatingOperator):
    """A blur between a tone curve and its inverse; build it with ``saturated_blur``."""

    blur: CircularBlur | PaddedBlur
    gamma: jax.Array  # scalar
    gain: jax.Array  # scalar

    keeps_range = True

    def unsaturated(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The tone curve of the blurred light, however bright it is."""
        return self._from_light(self.gain * self.blur(self._to_light(x)))

    def middle(self, y: Float[Array, "H W C"], margin: Float[Array, ""] | float) -> Float[Array, "H W C"]:
        """The measurement at its right exposure, blurred as it is: half-way to white where it was cut off."""
        half_way = (jnp.maximum(self.gain, 1) + 1) / 2
        exposed = jnp.where(y >= 1 - margin, half_way, self._to_light(y))
        return self._from_light(exposed / self.gain)

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Inverts the tone curve, the gain and the blur, each by itself; exact except for what each of them loses."""
        return self._from_light(jnp.maximum(self.blur.pinv(self._to_light(y) / self.gain), 0))

    def _to_light(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """[-1, 1] to [0, 1], linear in the light."""
        return self._toe(jnp.maximum((x + 1) / 2, 0), _TOE, self.gamma)

    def _from_light(self, light: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        return 2 * self._toe(light, _TOE**self.gamma, 1 / self.gamma) - 1

    def _toe(self, value: Array, toe: Array | float, power: Array) -> Array:
        """``value ** power``, a straight line from the origin below ``toe``: else roots have infinite derivatives."""
        line = value * toe ** (power - 1)
        return jnp.where(value > toe, jnp.maximum(value, toe) ** power, line)


def saturated_blur(
    kernel: Float[Array, "kh kw *C"] | np.ndarray,
    in_shape: tuple[int, int, int],
    *,
    gamma: float | Float[Array, ""] = 2.2,
    gain: float | Float[Array, ""] = 2.0,
    boundary: Boundary = Boundary.REFLECT,
    normalize: bool | None = None,
    rcond: float = 3e-2,
) -> SaturatedBlur:
    """A camera's blur: light adds up on a sensor that saturates, and is compressed afterwards.

    ``y = 2 clip(gain * blur(u^gamma), 0, 1)^(1/gamma) - 1`` with u = (x + 1) / 2 in [0, 1]. Highlights spread into
    bright streaks, which no linear blur of x makes, and saturate. Below half a grey level of 8 bits both powers are
    straight lines, which keeps derivatives finite; u above 1 is light too, u below 0 is none.

    A kernel for each image of a batch: ``jax.vmap(lambda k: rd.saturated_blur(k, in_shape))(kernels)``.

    Args:
        kernel: ``(kh, kw)``, shared by the channels, or ``(kh, kw, C)``, not negative, of sum 1.
        in_shape: ``(H, W, C)`` of one image.
        gamma: Exponent of the camera's response; 1 = none. May be traced. Default as in Nah et al.
        gain: Exposure: light above ``1 / gain`` saturates. May be traced. Default as in ``hdr``; with 1 no x in
            [-1, 1] saturates.
        boundary: How the light goes on beyond the border.
        normalize: As in ``blur``.
        rcond: As in ``blur``, for ``pinv``.

    Raises:
        ValueError: If the kernel does not fit or has negative entries, or ``gamma`` or ``gain`` is not above 0.

    Source:
        Nah et al. 2017 (arXiv 1612.02177), equations 1 and 2, whose mean over frames is our convolution; saturation as
        in Whyte et al. 2014 ("Deblurring shaken and partially saturated images"), section 3.
    """
    for name, value in (("gamma", gamma), ("gain", gain)):
        check_positive(f"saturated_blur: {name}", value, "1 leaves it out.")
    check_array("saturated_blur: kernel", kernel, "an array (kh, kw); in_shape comes after it")
    remedy = "A camera only adds light; for kernels of other signs use rd.blur."
    check_numbers("saturated_blur: an entry of kernel", kernel, lambda x: ~(x < 0), "not negative", remedy)
    linear = blur(kernel, in_shape, boundary=boundary, normalize=normalize, rcond=rcond)
    return SaturatedBlur(
        in_shape=linear.in_shape,
        blur=linear,
        gamma=jnp.asarray(gamma, dtype=float),
        gain=jnp.asarray(gain, dtype=float),
    )
