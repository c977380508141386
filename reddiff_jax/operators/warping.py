"""Pictures moved by a flow, and what of them stays in sight."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_whole
from reddiff_jax.operators._base import LinearOperator


def warp(x: Float[Array, "H W C"], flow: Float[Array, "H W 2"]) -> Float[Array, "H W C"]:
    """``y(p) = x(p + flow(p))``, bilinear; 0 where that is outside."""
    height, width, _ = x.shape
    rows, columns = _places(flow)
    top, left = jnp.clip(jnp.floor(rows), 0, height - 2), jnp.clip(jnp.floor(columns), 0, width - 2)
    down, right = (rows - top)[..., None], (columns - left)[..., None]  # (H, W, 1)
    top, left = top.astype(jnp.int32), left.astype(jnp.int32)
    upper = (1 - right) * x[top, left] + right * x[top, left + 1]
    lower = (1 - right) * x[top + 1, left] + right * x[top + 1, left + 1]
    return stays_inside(flow) * ((1 - down) * upper + down * lower)


def stays_inside(flow: Float[Array, "H W 2"]) -> Float[Array, "H W 1"]:
    """1 where ``p + flow(p)`` is in the picture, else 0."""
    height, width, _ = flow.shape
    rows, columns = _places(flow)
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return inside[..., None].astype(flow.dtype)


def _places(flow: Float[Array, "H W 2"]) -> tuple[Float[Array, "H W"], Float[Array, "H W"]]:
    height, width, _ = flow.shape
    return jnp.arange(height)[:, None] + flow[..., 0], jnp.arange(width)[None] + flow[..., 1]


@struct.dataclass
class Warping(LinearOperator):
    """A picture moved by a flow; build it with ``warping``."""

    flow: jax.Array  # (H, W, 2), rows and columns

    keeps_range = True

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Moves one picture."""
        return warp(x, self.flow)


def warping(flow: Float[Array, "H W 2"], *, channels: int = 3) -> Warping:
    """Moves a picture by a flow: ``y(p) = x(p + flow(p))``, bilinear between pixels, 0 where x does not reach.

    So y is the next frame of a clip whose frame is x, if ``flow = rd.estimate_motion([frame, next])[0]``.

    Args:
        flow: Where each pixel of y was in x, relative to its own place, in pixels: rows, then columns. A leaf.
        channels: Of the picture.

    Raises:
        ValueError: If the flow has another shape, or the picture is smaller than 2 x 2.
    """
    flow = jnp.asarray(flow, dtype=float)
    check_whole("warping: channels", channels)
    if flow.ndim != 3 or flow.shape[2] != 2 or min(flow.shape[:2]) < 2:
        raise ValueError(
            f"warping: flow has shape {flow.shape} but must be (H, W, 2), rows and columns of at least 2 x 2 pixels. "
            "scikit-image's flows are (2, H, W): np.moveaxis(flow, 0, 2)."
        )
    height, width, _ = flow.shape
    return Warping((height, width, channels), flow)
