"""Phase retrieval: only the magnitude of the Fourier transform was measured."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape
from reddiff_jax.operators._base import Operator

_PIXELS = (0, 1)


@struct.dataclass
class PhaseRetrieval(Operator):
    """Magnitude of the oversampled Fourier transform; build it with ``phase_retrieval``."""

    padding: tuple[int, int] = struct.field(pytree_node=False)  # on each side, pixels
    unit_range: bool = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H2 W2 C"]:
        """Measures one image; where the magnitude is zero, its derivative is taken for zero."""
        if self.unit_range:
            x = (x + 1) / 2
        size = [side + 2 * padding for side, padding in zip(x.shape[:2], self.padding, strict=True)]
        # Zeros on one side only: a shift changes no magnitude.
        spectrum = jnp.fft.fftshift(jnp.fft.fft2(x, s=size, axes=_PIXELS, norm="ortho"), axes=_PIXELS)
        power = spectrum.real**2 + spectrum.imag**2
        # The root of zero has an infinite derivative, and 0 * inf is NaN. (A NaN in x is not zero, and stays.)
        zero = power == 0
        return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, power)))

    def pinv(self, y: Float[Array, "H2 W2 C"]) -> Float[Array, "H W C"]:
        """Magnitude of the inverse transform of y, cropped: the published start, not an inverse (see the factory)."""
        centred = jnp.fft.ifft2(jnp.fft.ifftshift(y, axes=_PIXELS), axes=_PIXELS, norm="ortho")
        x = jnp.abs(jnp.fft.fftshift(centred, axes=_PIXELS))
        (height, width, _), (rows, columns) = self.in_shape, self.padding
        x = x[rows : rows + height, columns : columns + width]
        return 2 * x - 1 if self.unit_range else x


def phase_retrieval(
    in_shape: tuple[int, int, int],
    *,
    oversampling: float = 2.0,
    padding: int | tuple[int, int] | None = None,
    unit_range: bool = False,
) -> PhaseRetrieval:
    """Magnitude of the centred, orthonormal 2-D Fourier transform of each channel, surrounded by zeros.

    ``y = |F pad(x)|``, of shape ``(H + 2 p_h, W + 2 p_w, C)``. The norm is kept: ``|y| = |x|``.

    y does not determine whether the image is turned by 180 degrees, nor, where the picture has a margin of zeros, its
    position, nor, with ``unit_range=False``, its sign; each channel has these ambiguities by itself. Descents also end
    in mixtures of an image and its turned copy, which explain y nearly as well. So solve several times and keep the
    best: ``rd.best_of(key, solver, problem, num_restarts=4)``, with ``init=rd.solvers.init_noise`` for different
    starts. The default start ``pinv(y)`` is the published one. It is the same for all restarts, symmetric, and has a
    spike in its centre.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        oversampling: Zeros on each side are ``int(oversampling / 8 * side)``, for each axis by itself: 2 pads
            256 to 384, as published. ``oversampling`` is not a ratio of areas; 4 doubles each side, which uniqueness
            needs in theory.
        padding: Zeros on each side in pixels, for both axes or each of (H, W); instead of ``oversampling``.
        unit_range: Transforms (x + 1) / 2, as DAPS does: the constraint x >= 0 of an intensity then
            settles the sign. Default as published for RED-diff: x itself.

    Raises:
        ValueError: If ``oversampling`` or ``padding`` is negative.

    Source:
        Chung et al. 2022 (arXiv 2209.14687), in the form of Mardani et al. 2023 (arXiv 2305.04391); ``unit_range``
        of Zhang et al. 2024 (arXiv 2407.01521).
    """
    in_shape = check_image_shape("phase_retrieval: in_shape", in_shape)
    if padding is None:
        if not (np.isfinite(oversampling) and oversampling >= 0):
            raise ValueError(f"phase_retrieval: oversampling is {oversampling} but must be finite and not negative.")
        sides = (int(oversampling / 8 * in_shape[0]), int(oversampling / 8 * in_shape[1]))
    else:
        sides = padding if isinstance(padding, tuple) else (padding, padding)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side >= 0 for side in sides):
        raise ValueError(
            f"phase_retrieval: padding is {padding} but must be a whole number of pixels, at least 0, or two of them: "
            "for each side of the height and of the width."
        )
    return PhaseRetrieval(in_shape=in_shape, padding=(int(sides[0]), int(sides[1])), unit_range=unit_range)
