"""What does the updates of a training: JAX, on all devices; ``torch_engine`` is PyTorch's."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from reddiff_jax._keys import key_from
from reddiff_jax.schedules import Schedule
from reddiff_jax.training.objective import TrainingConfig, denoising_loss


@struct.dataclass
class TrainState:
    """State from which a run continues: parameters, their moving average, optimizer state, number of updates done."""

    params: Any
    ema: Any
    opt_state: Any
    step: jax.Array  # int32


class Engine(Protocol):
    """Does updates one after the other."""

    compiles: bool  # whether the first update on crops of a size takes long

    def update(self, crops: np.ndarray) -> Any:
        """One update on crops (B, H, W, C), uint8; the loss, a scalar that may still be being computed."""
        ...

    def state(self) -> TrainState:
        """What has been reached."""
        ...


class MakeEngine(Protocol):
    """Makes an engine."""

    def __call__(self, state: TrainState, net: Any, schedule: Schedule, config: TrainingConfig) -> Engine:
        """The engine that goes on from a state, which it may overwrite."""
        ...


def init_state(net: nn.Module, config: TrainingConfig, channels: int, params: Any = None) -> TrainState:
    """Fresh state; from given parameters if any (fine-tuning)."""

    def make(params: Any) -> TrainState:
        if params is None:
            x = jnp.zeros((config.crops[0], config.crops[0], channels))
            params = net.init(key_from(config.seed), x, jnp.zeros((), jnp.int32))["params"]
        # Copies, because the training step donates its state.
        params, ema = jax.tree.map(jnp.copy, params), jax.tree.map(jnp.copy, params)
        return TrainState(params, ema, config.optimizer().init(params), jnp.zeros((), jnp.int32))

    # Runs once: to optimise this program would take seconds, and its execution takes none.
    return jax.jit(make, compiler_options={"xla_backend_optimization_level": 0})(params)


@partial(jax.jit, static_argnames=("net", "config"), donate_argnames="state")
def train_step(
    state: TrainState, crops: jax.Array, schedule: Schedule, *, net: nn.Module, config: TrainingConfig
) -> tuple[TrainState, jax.Array]:
    """One update on crops (B, H, W, C), uint8; returns the new state and the loss. The old state is donated."""
    key = jax.random.fold_in(key_from(config.seed), state.step)
    objective = partial(denoising_loss, net, schedule, config)
    loss, grads = jax.value_and_grad(objective)(state.params, key, crops)
    updates, opt_state = config.optimizer().update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = config.ema_decay(state.step)
    ema = jax.tree.map(lambda average, new: decay * average + (1 - decay) * new, state.ema, params)
    return TrainState(params, ema, opt_state, state.step + 1), loss


class _JaxEngine:
    compiles = True

    def __init__(
        self, state: TrainState, net: Any, schedule: Schedule, config: TrainingConfig, devices: Sequence[Any] | None
    ):
        self._mesh = jax.sharding.Mesh(np.asarray(devices or jax.devices()), "batch")
        self._state = jax.device_put(state, jax.sharding.NamedSharding(self._mesh, jax.sharding.PartitionSpec()))
        self._step = partial(train_step, net=net, config=config)
        self._schedule = schedule

    def update(self, crops: np.ndarray) -> jax.Array:
        spread = "batch" if len(crops) % self._mesh.size == 0 else None
        sharding = jax.sharding.NamedSharding(self._mesh, jax.sharding.PartitionSpec(spread))
        self._state, loss = self._step(self._state, jax.device_put(crops, sharding), self._schedule)
        return loss

    def state(self) -> TrainState:
        return self._state


def jax_engine(
    state: TrainState,
    net: Any,
    schedule: Schedule,
    config: TrainingConfig,
    *,
    devices: Sequence[Any] | None = None,
) -> Engine:
    """Updates by ``train_step``.

    Args:
        state: Where to begin; its arrays are overwritten.
        net: The network.
        schedule: Noise schedule.
        config: How to train.
        devices: Batches are spread over these; all if None.
    """
    return _JaxEngine(state, net, schedule, config, devices)
