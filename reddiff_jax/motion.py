"""Motion in clips (T, H, W, C): where each pixel of a frame was in the frame before."""

import importlib
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.ndimage import uniform_filter

from reddiff_jax.operators.warping import warp

_ATTACHMENT = 15.0  # of the flow to the frames, scikit-image's default for pixels in [0, 1]
_MISMATCH, _WINDOW = 0.2, 5  # mean difference in a window from which pixels were not there before: noise is about half


def estimate_motion(
    frames: Float[np.ndarray, "T H W C"] | Sequence[Any], *, attachment: float = _ATTACHMENT
) -> Float[np.ndarray, "T-1 H W 2"]:
    """Flows from each frame of a clip to the one before, for ``rd.solvers.coupling(motion=...)`` and ``rd.warping``.

    Pixel p of frame i + 1 shows what frame i shows at ``p + flow[i, p]``. By TV-L1 on gray levels, so moderate noise
    does little; of a strongly degraded clip give frames that were restored one by one. Pixels that differ from where
    they seem to come from, since they were hidden, or moved too far to be followed, or the scene changed, come from
    outside: ``rd.warping`` gives 0 there, and ``rd.solvers.coupling`` does not count them.

    Args:
        frames: In [-1, 1].
        attachment: How closely the flow follows the frames; less makes it smoother.

    Raises:
        ImportError: Without scikit-image.
        ValueError: If there are less than two frames, or they are no pictures.

    Source:
        Zach et al. 2007, "A duality based approach for realtime TV-L1 optical flow", by scikit-image.
    """
    frames = np.asarray(frames, np.float32)
    if frames.ndim != 4 or len(frames) < 2:
        raise ValueError(f"estimate_motion: frames have shape {frames.shape} but must be (T, H, W, C), of two or more.")
    try:
        registration: Any = importlib.import_module("skimage.registration")
    except ImportError as error:
        raise ImportError("estimate_motion needs scikit-image: pip install 'reddiff-jax[video]'.") from error
    gray = (frames.mean(axis=3) + 1) / 2  # (T, H, W)
    flows = [
        registration.optical_flow_tvl1(after, before, attachment=attachment)
        for before, after in itertools.pairwise(gray)
    ]
    flows = np.moveaxis(np.stack(flows), 1, 3).astype(np.float32)
    moved = np.asarray(jax.vmap(warp)(jnp.asarray(frames[:-1]), jnp.asarray(flows)))
    differences = np.abs(frames[1:] - moved).mean(axis=3)  # (T - 1, H, W)
    strange = uniform_filter(differences, _WINDOW, axes=(1, 2)) > _MISMATCH
    return np.where(strange[..., None], 2.0 * max(frames.shape[1:3]), flows).astype(np.float32)
