"""Updates by PyTorch, which trains several times faster than JAX on a CPU, most of all where that computes in bfloat16.

The batches, the noise, the timesteps and the targets are those of the JAX engine, drawn by the same keys, and so is the
state: either engine goes on from what the other has reached. Only residual UNets are trained here.
"""

import itertools
import math
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from reddiff_jax._keys import key_from
from reddiff_jax.converting import residual_unet
from reddiff_jax.nets import ResidualUNet
from reddiff_jax.nets.residual_unet import EMBEDDING_FEATURES, NUM_FREQUENCIES
from reddiff_jax.schedules import Schedule
from reddiff_jax.training.engines import Engine, TrainState
from reddiff_jax.training.objective import BETAS, MAX_GRADIENT_NORM, TrainingConfig, draw_task


def torch_engine(
    state: TrainState, net: Any, schedule: Schedule, config: TrainingConfig, *, bfloat16: bool | None = None
) -> Engine:
    """Updates by PyTorch, on the CPU's cores or a GPU that it finds.

    Args:
        state: Where to begin.
        net: The network, a ``nets.ResidualUNet``.
        schedule: Noise schedule.
        config: How to train.
        bfloat16: Whether convolutions compute in bfloat16, all but the last; where the device has it if None.

    Raises:
        ImportError: Without PyTorch.
        TypeError: For another network.
    """
    if not isinstance(net, ResidualUNet):
        raise TypeError(f"net is a {type(net).__name__}, but PyTorch trains residual UNets only; take the JAX engine.")
    return _TorchEngine(state, net, schedule, config, bfloat16)


class _TorchEngine:
    compiles = False

    def __init__(
        self, state: TrainState, net: ResidualUNet, schedule: Schedule, config: TrainingConfig, bfloat16: bool | None
    ):
        import torch

        self._torch, self._net, self._config = torch, net, config
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self._bfloat16 = _has_bfloat16(torch, self._device) if bfloat16 is None else bfloat16
        self._layout = Layout(net)
        self._template, self._step = state, int(state.step)
        self._task = jax.jit(lambda key, crops: draw_task(schedule, config, jax.random.split(key)[0], crops))
        self._rates = config.learning_rates()
        self._params = {name: tensor.requires_grad_() for name, tensor in self._tensors(state.params).items()}
        self._ema = self._tensors(state.ema)
        self._optimizer = torch.optim.AdamW(
            self._params.values(), betas=BETAS, weight_decay=config.weight_decay, lr=config.learning_rate
        )
        means, squares = (self._tensors(optax.tree_utils.tree_get(state.opt_state, name)) for name in ("mu", "nu"))
        for name, parameter in self._params.items():
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(self._step)),
                "exp_avg": means[name],
                "exp_avg_sq": squares[name],
            }

    def update(self, crops: np.ndarray) -> float:
        torch, step = self._torch, self._step
        task = self._task(jax.random.fold_in(key_from(self._config.seed), step), crops)
        x_t, t, target = (torch.from_numpy(np.array(each)).to(self._device) for each in task)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            # (B, H, W, C) seen as (B, C, H, W) is what PyTorch calls channels_last.
            out = forward(torch, self._params, self._net, x_t.movedim(-1, 1), t)
        loss = (out - target.movedim(-1, 1)).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._params.values(), MAX_GRADIENT_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = float(np.asarray(self._rates(step)))
        self._optimizer.step()
        with torch.no_grad():
            new = [parameter.detach() for parameter in self._params.values()]
            torch._foreach_lerp_(list(self._ema.values()), new, 1 - self._config.ema_decay(step).item())
        self._step += 1
        return loss.item()

    def state(self) -> TrainState:
        of = self._optimizer.state
        means, squares = (
            self._arrays({name: of[parameter][key] for name, parameter in self._params.items()})
            for key in ("exp_avg", "exp_avg_sq")
        )
        step = jnp.asarray(self._step, jnp.int32)
        opt_state = optax.tree_utils.tree_set(self._template.opt_state, mu=means, nu=squares, count=step)
        return TrainState(self._arrays(self._params), self._arrays(self._ema), opt_state, step)

    def _tensors(self, params: Any) -> dict[str, Any]:
        arrays = self._layout.to_torch(params)
        tensors = {name: self._torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        return {
            name: tensor.contiguous(memory_format=self._torch.channels_last) if tensor.ndim == 4 else tensor
            for name, tensor in tensors.items()
        }

    def _arrays(self, tensors: Mapping[str, Any]) -> Any:
        arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
        return self._layout.from_torch(arrays)


class Layout:
    """Where each number of PyTorch's tensors stands in our parameters, as the converter says."""

    def __init__(self, net: ResidualUNet):
        self._shapes = tensor_shapes(net)
        ends = np.cumsum([math.prod(shape) for shape in self._shapes.values()])
        self._size, self._cuts = int(ends[-1]), ends[:-1]
        # The converter moves the numbers of the places; float64 holds them exactly.
        places = residual_unet.to_params(self._split(np.arange(self._size, dtype=np.float64)), net)
        self._places = jax.tree.map(lambda place: place.astype(np.int64), places)

    def to_torch(self, params: Any) -> dict[str, np.ndarray]:
        """Our parameters as a state dict."""
        flat = np.empty(self._size, np.float32)
        for place, leaf in zip(jax.tree.leaves(self._places), jax.tree.leaves(params), strict=True):
            flat[place] = leaf
        return self._split(flat)

    def from_torch(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """A state dict as our parameters."""
        flat = np.concatenate([arrays[name].ravel() for name in self._shapes])
        return jax.tree.map(lambda place: jnp.asarray(flat[place]), self._places)

    def _split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        parts = zip(self._shapes.items(), np.split(flat, self._cuts), strict=True)
        return {name: part.reshape(shape) for (name, shape), part in parts}


def tensor_shapes(net: ResidualUNet) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the network's state dict in PyTorch."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, weight: tuple[int, ...], out: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = weight, (out,)

    def add_block(name: str, width: int) -> None:
        for conv in ("conv1", "conv2"):
            add(f"{name}.{conv}", (width, width, 3, 3), width)
        add(f"{name}.film", (2 * width, EMBEDDING_FEATURES), 2 * width)

    pixels, widths = net.patch_size**2, net.widths
    add("time.0", (EMBEDDING_FEATURES, 2 * NUM_FREQUENCIES), EMBEDDING_FEATURES)
    add("time.2", (EMBEDDING_FEATURES, EMBEDDING_FEATURES), EMBEDDING_FEATURES)
    add("head", (widths[0], net.in_channels * pixels, 3, 3), widths[0])
    for level, width in enumerate(widths):
        for block in range(net.num_res_blocks):
            add_block(f"down.{level}.{block}", width)
            if level + 1 < len(widths):
                add_block(f"up.{level}.{block}", width)
    for level, (fine, coarse) in enumerate(itertools.pairwise(widths)):
        add(f"shrink.{level}", (coarse, fine, 2, 2), coarse)
        add(f"grow.{level}", (coarse, fine, 2, 2), fine)
    add("tail", (net.out_channels * pixels, widths[0], 3, 3), net.out_channels * pixels)
    return shapes


def forward(torch: ModuleType, params: Mapping[str, Any], net: ResidualUNet, x_t: Any, t: Any) -> Any:
    """``nets.ResidualUNet`` by PyTorch, for images (B, C, H, W) and timesteps (B,); the last convolution in float32."""
    functional = torch.nn.functional

    def layer(name: str) -> tuple[Any, Any]:
        return params[f"{name}.weight"], params[f"{name}.bias"]

    frequencies = 10_000 ** (-torch.arange(NUM_FREQUENCIES, device=t.device) / NUM_FREQUENCIES)
    phases = t[:, None].float() * frequencies
    embedding = torch.cat([phases.cos(), phases.sin()], 1)
    with torch.autocast(x_t.device.type, enabled=False):
        for name in ("time.0", "time.2"):
            embedding = functional.silu(functional.linear(embedding, *layer(name)))

    def run_level(h: Any, name: str) -> Any:
        for block in range(net.num_res_blocks):
            modulation = functional.linear(embedding, *layer(f"{name}.{block}.film"))
            a, b = modulation.to(h.dtype)[:, :, None, None].chunk(2, 1)
            inner = functional.conv2d(h, *layer(f"{name}.{block}.conv1"), padding=1)
            h = h + functional.conv2d((inner * (1 + a) + b).relu(), *layer(f"{name}.{block}.conv2"), padding=1)
        return h

    first = h = functional.conv2d(functional.pixel_unshuffle(x_t, net.patch_size), *layer("head"), padding=1)
    skips = []
    for level in range(len(net.widths) - 1):
        h = run_level(h, f"down.{level}")
        skips.append(h)
        h = functional.conv2d(h, *layer(f"shrink.{level}"), stride=2)
    h = run_level(h, f"down.{len(skips)}")
    for level, skip in reversed(list(enumerate(skips))):
        h = skip + functional.conv_transpose2d(h, *layer(f"grow.{level}"), stride=2)
        h = run_level(h, f"up.{level}")
    with torch.autocast(x_t.device.type, enabled=False):
        h = functional.conv2d((h + first).float(), *layer("tail"), padding=1)
    return functional.pixel_shuffle(h, net.patch_size)


def _has_bfloat16(torch: ModuleType, device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    # PyTorch has no public question yet; elsewhere float32 is the faster one.
    ask = (getattr(torch.cpu, f"_is_{name}_supported", lambda: False) for name in ("avx512_bf16", "amx_tile"))
    return any(supported() for supported in ask)
