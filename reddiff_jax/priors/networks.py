"""Flax networks of this package as priors."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from reddiff_jax._repr import Detail, count_parameters, shown
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors._base import Prior
from reddiff_jax.priors.predictions import ToEps, from_eps


# Flax takes a quarter of a second to trace a network. So it is traced once for all programs of one size: jit keeps the
# trace, which is put into each of them as it is.
@partial(jax.jit, static_argnums=0, inline=True)
def _apply(net: nn.Module, params: Any, *args: Any) -> jax.Array:
    return net.apply({"params": params}, *args)  # type: ignore[return-value]


@struct.dataclass
class NetPrior(Prior):
    """A Flax network as a prior.

    Pictures whose sides the network cannot divide are padded by mirroring, and the prediction is cropped. Where the
    network also learns a variance, its first channels are used. It gets the condition as it is, a class label for ours.

    A network with EDM's interface (``takes_sigma``) gets x_t / alpha_t and the noise level sigma_t / alpha_t instead,
    so that any schedule serves.

    An upsampler, whose input has the channels of a small image behind those of the image, is conditioned on
    ``{"low_res": small image (h, w, C), "label": ...}``, without the label if it has no classes; the small image is
    enlarged bilinearly (Dhariwal & Nichol 2021, arXiv 2105.05233, section 5.3 and appendix K).
    """

    params: Any
    net: nn.Module = struct.field(pytree_node=False)
    to_eps: ToEps = struct.field(pytree_node=False, default=from_eps)

    def _repr_parts(self, detail: Detail) -> list[str]:
        timesteps = f"{self.schedule.num_timesteps} timesteps"
        return [
            type(self.net).__name__,
            count_parameters(self.params),
            timesteps,
            f"to_eps={shown(self.to_eps, detail)}",
        ]

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``."""
        h, w, c = x_t.shape
        inputs, cond = self._inputs(x_t, cond)
        stride = getattr(self.net, "stride", 1)
        padded = jnp.pad(inputs, ((0, -h % stride), (0, -w % stride), (0, 0)), mode="symmetric")
        alpha_t, sigma_t = self.schedule(t)
        if getattr(self.net, "takes_sigma", False):
            padded, level = padded / alpha_t, sigma_t / alpha_t
        else:
            level = jnp.asarray(t)
        args = (padded, level) if cond is None else (padded, level, cond)
        output = _apply(self.net, self.params, *args)
        if output.shape[-1] < c:
            raise ValueError(
                f"the network predicts {output.shape[-1]} channels but the image has {c}. A prior of gray pictures "
                "takes (H, W, 1); rd.gray_prior is for the other way round."
            )
        return self.to_eps(output[:h, :w, :c], x_t, alpha_t, sigma_t)

    def _inputs(self, x_t: Image, cond: Condition) -> tuple[Image, Condition]:
        """Returns the network's input image and its condition."""
        channels = getattr(self.net, "in_channels", x_t.shape[-1])
        if not (isinstance(cond, Mapping) and "low_res" in cond):
            if channels == 2 * x_t.shape[-1]:
                raise ValueError(
                    f"the network takes {channels} channels and x_t has {x_t.shape[-1]}: it is an upsampler. Give it "
                    'the small image: cond={"low_res": (h, w, C)}, with a "label" if it has classes.'
                )
            if channels != x_t.shape[-1]:
                remedy = "rd.gray_prior(prior) serves one channel" if channels == 3 else "Take another prior or picture"
                raise ValueError(
                    f"the image has {x_t.shape[-1]} channels but the prior's network takes {channels}. {remedy}."
                )
            return x_t, cond
        unknown, low_res = cond.keys() - {"low_res", "label"}, jnp.asarray(cond["low_res"])
        if unknown or low_res.ndim != 3 or low_res.shape[-1] + x_t.shape[-1] != channels:
            raise ValueError(
                f"cond has {', '.join(sorted(cond))} and low_res of shape {low_res.shape}, but a network of {channels} "
                f'channels takes {{"low_res": (h, w, {channels - x_t.shape[-1]}), "label": ...}} beside x_t.'
            )
        enlarged = jax.image.resize(low_res, (*x_t.shape[:2], low_res.shape[-1]), "bilinear", antialias=False)
        return jnp.concatenate([x_t, enlarged.astype(x_t.dtype)], axis=-1), cond.get("label")
