"""What connects neighbouring slices of a volume in the proximal step.

The step of ``|A v - y|^2 + kappa |v - x|^2`` gets ``lam sum_i phi(v_(i+1) - v_i)``, v_i the slices along an axis:
phi(d) is d^2, or grows as |d| beyond an edge (pseudo-Huber: 2 e^2 (sqrt(1 + (d/e)^2) - 1)), which is total variation
along the axis for small e. It is minimised by weights ``w = 1 / sqrt(1 + (d/e)^2)`` of the differences of x (lagged
diffusivity).

Of a clip, whose slices are frames, v_i is first moved to where its pixels are in frame i + 1 (motion compensation).

For a Gaussian field whose neighbouring slices differ by a standard deviation s, the posterior has
lam = sigma_y^2 / s^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_non_negative, check_positive
from reddiff_jax._repr import Repr
from reddiff_jax.operators.warping import stays_inside, warp
from reddiff_jax.solvers._base import scalar, scalar_unless_zero


@struct.dataclass
class Coupling(Repr):
    """Coupling of slices along an axis; build it with ``coupling``."""

    lam: jax.Array | None  # scalar; None couples nothing
    edge: jax.Array | None  # scalar, in pixel units; None: quadratic
    axis: int = struct.field(pytree_node=False)
    motion: jax.Array | None = None  # (D - 1, H, W, 2), flows to the slice before

    def at(self, x: Float[Array, "D H W C"]) -> "Weighted | None":
        """The quadratic form whose gradient at x is that of the coupling; None if nothing is coupled."""
        if self.lam is None:
            return None
        weights = self.lam if self.motion is None else self.lam * jax.vmap(stays_inside)(self.motion)
        if self.edge is not None:
            weights = weights / jnp.sqrt(1 + (differences(x, self.axis, self.motion) / self.edge) ** 2)
        return Weighted(weights, self.axis, self.motion)


@struct.dataclass
class Weighted:
    """``sum_i w_i |v_(i+1) - v_i|^2``, of clips with v_i moved."""

    weights: jax.Array
    axis: int = struct.field(pytree_node=False)
    motion: jax.Array | None = None

    def gradient(self, v: Float[Array, "D H W C"]) -> Float[Array, "D H W C"]:
        """Half of its gradient, ``D^T W D v``."""
        flow = self.weights * differences(v, self.axis, self.motion)
        if self.motion is not None:
            return jax.linear_transpose(lambda v: differences(v, self.axis, self.motion), v)(flow)[0]
        flow = jnp.moveaxis(flow, self.axis, 0)
        padded = jnp.pad(flow, [(1, 1), *[(0, 0)] * (flow.ndim - 1)])
        return jnp.moveaxis(padded[:-1] - padded[1:], 0, self.axis)


def differences(v: Float[Array, "D H W C"], axis: int, motion: jax.Array | None) -> Array:
    """Neighbouring slices' differences, the earlier ones moved to where their pixels are in the later ones."""
    if motion is None:
        return jnp.diff(v, axis=axis)
    return v[1:] - jax.vmap(warp)(v[:-1], motion)


def coupling(
    lam: jax.Array | float,
    *,
    axis: int = 0,
    edge: jax.Array | float | None = None,
    motion: Float[Array, "D-1 H W 2"] | np.ndarray | None = None,
) -> Coupling:
    """Smoothness of a volume across its slices, or of a clip in time, for ``proximal_step`` and ``langevin_step``.

    Adds ``lam sum phi(v_(i+1) - v_i)`` to ``|A v - y|^2``.

    Args:
        lam: Its weight; 0 leaves the slices to themselves. Where neighbouring slices differ by about s in pixel units,
            sigma_y^2 / s^2.
        axis: Of the slices, 0, 1 or 2.
        edge: Differences beyond this, in pixel units, count as in total variation, so that edges stay; None: all count
            squared.
        motion: Flows of a clip whose frames are slices, ``rd.estimate_motion(frames)``: pixels are compared with where
            they were in the frame before; those that were outside count nothing.

    Raises:
        ValueError: If a number is not positive, or the axis is none of a volume, or of a clip not the first.

    Source:
        Chung et al. 2023, "Solving 3D inverse problems using pre-trained 2D diffusion models" (DiffusionMBIR, arXiv
        2211.10655), whose total variation along the axis is solved by ADMM; here the proximal step has it.
    """
    check_non_negative("coupling: lam", lam)
    if edge is not None:
        check_positive("coupling: edge", edge)
    if axis not in (0, 1, 2):
        raise ValueError(f"coupling: axis is {axis} but must be 0, 1 or 2 of (D, H, W, C).")
    if motion is not None:
        motion = jnp.asarray(motion, dtype=float)
        if motion.ndim != 4 or motion.shape[3] != 2 or axis != 0:
            raise ValueError(
                f"coupling: motion has shape {motion.shape} along axis {axis} but must be (D - 1, H, W, 2) along axis "
                "0: rd.estimate_motion(frames)."
            )
    return Coupling(scalar_unless_zero(lam), None if edge is None else scalar(edge), axis, motion)
