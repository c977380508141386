"""Spatially varying blur: another kernel in each part of the picture."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_finite, check_image_shape
from reddiff_jax._tree import stack
from reddiff_jax.operators._base import LinearOperator
from reddiff_jax.operators.blur import CircularBlur, PaddedBlur, blur
from reddiff_jax.operators.boundaries import Boundary


@struct.dataclass
class VaryingBlur(LinearOperator):
    """A weighted sum of blurs; build it with ``varying_blur``."""

    blurs: CircularBlur | PaddedBlur  # K of them, stacked
    weights: jax.Array  # (K, H, W, 1)
    weights_first: bool = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image."""
        if self.weights_first:
            blurred = jax.vmap(lambda blur, x: blur(x))(self.blurs, self.weights * x[None])
        else:
            blurred = self.weights * jax.vmap(lambda blur: blur(x))(self.blurs)
        return blurred.sum(0)


def varying_blur(
    kernels: Float[Array, "K kh kw *C"] | np.ndarray,
    weights: Float[Array, "K H W *one"] | np.ndarray,
    in_shape: tuple[int, int, int],
    *,
    weights_first: bool = False,
    boundary: Boundary = Boundary.REFLECT,
    normalize: bool | None = None,
) -> VaryingBlur:
    """Blur whose kernel changes over the picture: ``y = sum_k weights[k] * (kernels[k] conv x)``, by FFT.

    There are K kernels, for example of a lens measured in K places, and K smooth maps of weights that sum to 1, such as
    ``rd.grid_weights``. The operator holds K pictures in memory. The pseudo-inverse iterates.

    Args:
        kernels: ``(K, kh, kw)``, or ``(K, kh, kw, C)`` for one of each channel; each as in ``rd.blur``.
        weights: ``(K, H, W)`` or ``(K, H, W, 1)``.
        in_shape: ``(H, W, C)`` of one image.
        weights_first: Weighs the picture instead, ``y = sum_k kernels[k] conv (weights[k] * x)``: a bright pixel then
            spreads by the kernels of its own place. Otherwise a measured pixel collects by the kernels of its place,
            and constant pictures stay constant.
        boundary: How the picture goes on beyond its border.
        normalize: As in ``rd.blur``.

    Raises:
        ValueError: If the shapes do not fit, or a value is not finite, or a kernel is not one for ``rd.blur``.

    Source:
        Denis et al. 2015, "Fast approximations of shift-variant blur", which compares both.
    """
    in_shape = check_image_shape("varying_blur: in_shape", in_shape)
    for name, value in (("kernels", kernels), ("weights", weights)):
        check_array(f"varying_blur: {name}", value, "an array; in_shape comes after kernels and weights")
    num = len(kernels)
    expected = (num, *in_shape[:2], 1)
    if num == 0 or np.shape(weights) not in (expected, expected[:3]):
        raise ValueError(
            f"varying_blur: weights have shape {np.shape(weights)} but {num} kernels and in_shape={in_shape} need "
            f"{expected}: one map for each kernel, as rd.grid_weights makes."
        )
    check_finite("varying_blur: weights", weights, "Check how they were made.")
    blurs = stack([blur(kernel, in_shape, boundary=boundary, normalize=normalize) for kernel in kernels])
    weights = jnp.asarray(weights, dtype=float).reshape(expected)
    return VaryingBlur(in_shape=in_shape, blurs=blurs, weights=weights, weights_first=bool(weights_first))


def grid_weights(in_shape: tuple[int, int, int], grid: tuple[int, int]) -> Float[Array, "K H W 1"]:
    """Weights that interpolate linearly between the middles of ``rows x columns`` patches; they sum to 1.

    Beyond the outer middles the nearest kernel counts alone.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        grid: (rows, columns) of patches; kernels are counted row by row.

    Raises:
        ValueError: If there are no rows or columns, or more than pixels.
    """
    in_shape = check_image_shape("grid_weights: in_shape", in_shape)
    if any(count != int(count) or not 1 <= count <= size for count, size in zip(grid, in_shape[:2], strict=True)):
        raise ValueError(
            f"grid_weights: grid is {grid} but must be rows and columns, from 1 to those of {in_shape[:2]}."
        )
    rows, columns = (_tents(size, int(count)) for size, count in zip(in_shape[:2], grid, strict=True))
    return jnp.asarray(np.einsum("rh,cw->rchw", rows, columns).reshape(-1, *in_shape[:2], 1), dtype=float)


def _tents(size: int, count: int) -> np.ndarray:
    """The (count, size) weights of one axis."""
    place = np.clip((np.arange(size) + 0.5) / size * count - 0.5, 0, count - 1)  # in units of patches
    return np.maximum(0, 1 - np.abs(place[None, :] - np.arange(count)[:, None]))
