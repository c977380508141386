"""A user's own network as a prior: a module of Flax (NNX or Linen) or Equinox, or a plain function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct

from reddiff_jax._checks import check_callable, describe
from reddiff_jax._repr import Detail, count_parameters, shown
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors._base import Prior, check_made
from reddiff_jax.priors.functions import FunctionPrior, check_prediction
from reddiff_jax.priors.networks import NetPrior
from reddiff_jax.priors.predictions import ToEps, from_eps
from reddiff_jax.schedules import Schedule


@dataclass(frozen=True)
class _Skeleton:
    """What a module is without its arrays: the structure, and the other leaves in their places."""

    structure: Any
    others: tuple[Any, ...]  # None where an array belongs
    name: str

    def filled(self, arrays: list[Any]) -> Callable[..., jax.Array]:
        rest = iter(arrays)
        leaves = [next(rest) if other is None else other[0] for other in self.others]
        return jax.tree.unflatten(self.structure, leaves)


@struct.dataclass
class ModulePrior(Prior):
    """A module as a prior, whose arrays are leaves and whose other parts are static; build it with ``prior``."""

    arrays: list[jax.Array]
    skeleton: _Skeleton = struct.field(pytree_node=False)
    to_eps: ToEps = struct.field(pytree_node=False, default=from_eps)

    def _repr_parts(self, detail: Detail) -> list[str]:
        timesteps = f"{self.schedule.num_timesteps} timesteps"
        return [self.skeleton.name, count_parameters(self.arrays), timesteps, f"to_eps={shown(self.to_eps, detail)}"]

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``."""
        module = self.skeleton.filled(self.arrays)
        output = module(x_t, jnp.asarray(t)) if cond is None else module(x_t, jnp.asarray(t), cond)
        check_prediction(module, output, x_t)
        return self.to_eps(output, x_t, *self.schedule(t))


@dataclass(frozen=True)
class _Apply:
    """A Linen module with all its collections as a function."""

    net: nn.Module

    def __call__(self, variables: Any, x_t: Image, t: Timestep, cond: Condition) -> jax.Array:
        args = (x_t, jnp.asarray(t)) if cond is None else (x_t, jnp.asarray(t), cond)
        return self.net.apply(variables, *args)  # type: ignore[return-value]


def prior(fn: Callable[..., jax.Array], schedule: Schedule, *, params: Any = None, to_eps: ToEps = from_eps) -> Prior:
    """Makes a prior of a network or of any function.

    Args:
        fn: One image in, its prediction out, in one of these forms.

            A function, called as ``fn(x_t, t, cond)``, or ``fn(params, x_t, t, cond)`` where ``params`` are given.
            Define it once: another function object is another compilation.

            A Flax NNX or an Equinox module, or any callable pytree, called as ``module(x_t, t)``, or
            ``module(x_t, t, cond)`` where the problem has a condition. Its arrays are traced and the rest is static;
            put it into evaluation mode first.

            A Flax Linen module with ``params``, its parameters or all its variables, called like these.
        schedule: The noise schedule that the network was made for.
        params: Pytree of arrays, traced.
        to_eps: What the network predicts: ``from_eps``, ``from_x0``, ``from_v``, ``from_velocity``, ``from_score`` or
            a function ``(output, x_t, alpha_t, sigma_t) -> eps_hat``.

    Raises:
        TypeError: If an argument is of another type. When called: ValueError, if the prediction has another shape than
            the image.
    """
    check_made("prior", fn, schedule)
    remedy = f"rd.from_{to_eps}" if to_eps in ("eps", "x0", "v", "velocity", "score") else "rd.from_eps or rd.from_x0"
    check_callable("prior: to_eps", to_eps, f"a function: {remedy}")
    if any(kind.__module__ == "torch.nn.modules.module" for kind in type(fn).__mro__):
        raise TypeError(
            f"prior: fn is {describe(fn)} of PyTorch; rd.torch_prior(module, schedule) calls it on the host."
        )
    if isinstance(fn, nn.Module):
        return _linen_prior(fn, schedule, params, to_eps)
    leaves, structure = jax.tree.flatten(fn)
    if jax.tree_util.treedef_is_leaf(structure):
        return FunctionPrior(schedule=schedule, params=params, fn=fn, to_eps=to_eps)
    if params is not None:
        raise TypeError(f"prior: params belong to a function, but fn is {describe(fn)}, which holds its own arrays.")
    is_array = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
    others = tuple(None if array else (leaf,) for leaf, array in zip(leaves, is_array, strict=True))
    arrays = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]
    return ModulePrior(
        schedule=schedule, arrays=arrays, skeleton=_Skeleton(structure, others, type(fn).__name__), to_eps=to_eps
    )


def _linen_prior(net: nn.Module, schedule: Schedule, params: Any, to_eps: ToEps) -> Prior:
    if not isinstance(params, Mapping):
        raise TypeError(
            f"prior: params is {describe(params)} but a Linen module needs its parameters: "
            "rd.prior(net, schedule, params=net.init(key, x, t))."
        )
    if "params" in params and len(params) > 1:
        return FunctionPrior(schedule=schedule, params=dict(params), fn=_Apply(net), to_eps=to_eps)
    return NetPrior(schedule=schedule, params=params.get("params", params), net=net, to_eps=to_eps)
