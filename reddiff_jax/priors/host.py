"""A PyTorch module as a prior, called on the host."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax._checks import check_callable
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors._base import Prior, check_made
from reddiff_jax.priors.functions import FunctionPrior
from reddiff_jax.priors.predictions import ToEps, from_eps
from reddiff_jax.schedules import Schedule


def torch_prior(module: Callable[..., Any], schedule: Schedule, *, to_eps: ToEps = from_eps) -> Prior:
    """Makes a prior of a PyTorch module without converting it.

    JAX hands each noisy image to PyTorch and waits for the answer, copied through the host's memory: right, and slow. A
    solver's step is as long as PyTorch's, on PyTorch's device and threads, and is not fused with the rest. Under
    ``jax.vmap`` the images of a batch go in one call. Derivatives are PyTorch's own, so that ``rd.dps`` works; those of
    second order are not there. For more than a trial convert the weights (``reddiff-jax convert``).

    Args:
        module: Called as ``module(x_t, t)``, or with a condition as ``module(x_t, t, cond)``: float32 (N, C, H, W),
            timesteps (N,) and arrays (N, ...); it returns the prediction (N, C, H, W). Put it into evaluation mode,
            ``module.eval()``, and on its device. A function that calls it serves, too.
        schedule: The noise schedule that it was made for.
        to_eps: What it predicts, as in ``prior``.

    Raises:
        TypeError: If an argument is of another type. When called: ValueError, if the prediction has another shape than
            the images.
        ImportError: When called, without PyTorch.
    """
    check_made("torch_prior", module, schedule)
    check_callable("torch_prior: to_eps", to_eps, "a function: rd.from_eps, rd.from_x0 or rd.from_v")
    return FunctionPrior(schedule=schedule, params=None, fn=_OnHost(module), to_eps=to_eps)


@dataclass(frozen=True)
class _OnHost:
    """``(x_t, t, cond) -> prediction`` by a callback, with a derivative by another."""

    module: Callable[..., Any]

    def __call__(self, x_t: Image, t: Timestep, cond: Condition) -> jax.Array:
        like = jax.ShapeDtypeStruct(x_t.shape, jnp.float32)
        inputs = (x_t.astype(jnp.float32), jnp.asarray(t), cond)

        def ask(function: Callable[..., Any], *args: Any) -> jax.Array:
            return jax.pure_callback(function, like, *args, vmap_method="broadcast_all")

        @jax.custom_vjp
        def predict(x_t, t, cond):
            return ask(self._predict, x_t, t, cond)

        def forward(x_t, t, cond):
            return predict(x_t, t, cond), (x_t, t, cond)

        def backward(inputs, cotangent):
            return (ask(self._pull, *inputs, cotangent), *map(_no_derivative, inputs[1:]))

        predict.defvjp(forward, backward)
        return predict(*inputs).astype(x_t.dtype)

    def _predict(self, x_t: Any, t: Any, cond: Any) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self._run(x_t, t, cond)[1]

    def _pull(self, x_t: Any, t: Any, cond: Any, cotangent: Any) -> np.ndarray:
        import torch

        with torch.enable_grad():
            x, _, output = self._run(x_t, t, cond, differentiate=True)
            weights = _to_torch(cotangent, x_t.ndim - 3).movedim(-1, 1).to(output.device)
            (gradient,) = torch.autograd.grad(output, x, weights)
        return _to_jax(gradient, x_t.shape)

    def _run(self, x_t: Any, t: Any, cond: Any, *, differentiate: bool = False) -> tuple[Any, np.ndarray, Any]:
        """The input, and the output as an array and as a tensor; x_t (*B, H, W, C), t (*B)."""
        batch_axes = x_t.ndim - 3
        device = next((p.device for p in getattr(self.module, "parameters", list)()), "cpu")
        x = _to_torch(x_t, batch_axes).movedim(-1, 1).contiguous().to(device).requires_grad_(differentiate)
        others = [jax.tree.map(lambda leaf: _to_torch(leaf, batch_axes).to(device), each) for each in (t, cond)]
        output = self.module(x, *(others if cond is not None else others[:1]))
        shape = tuple(getattr(output, "shape", ()))
        if shape != tuple(x.shape):
            raise ValueError(
                f"the module of torch_prior returned {shape or type(output).__name__} for images {tuple(x.shape)}; "
                "it must return one prediction of their shape."
            )
        return x, _to_jax(output, x_t.shape), output


def _to_torch(array: Any, batch_axes: int) -> Any:
    """(*B, ...) as a tensor (N, ...), N the product of B."""
    import torch

    array = np.array(array)  # PyTorch would warn of memory that it may not write to
    return torch.from_numpy(array.reshape(-1, *array.shape[batch_axes:]))


def _to_jax(tensor: Any, shape: tuple[int, ...]) -> np.ndarray:
    return tensor.detach().movedim(1, -1).cpu().float().numpy().reshape(shape)


def _no_derivative(value: Any) -> Any:
    """Zeros for what has a derivative, and JAX's mark for whole numbers."""
    return jax.tree.map(
        lambda leaf: (
            jnp.zeros_like(leaf)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else np.zeros(leaf.shape, jax.dtypes.float0)
        ),
        value,
    )
