"""Training a diffusion prior on a folder of pictures.

The objective is ``mean |net(x_t, t) - target|^2`` for ``x_t = alpha_t x_0 + sigma_t eps``: a mean over pixels and
crops, and over t, drawn uniformly or by ``lognormal_levels``. The target is the noise (Ho et al.
2020, arXiv 2006.11239, eq. 14), the picture, or ``v = alpha_t eps - sigma_t x_0`` (Salimans & Ho 2022, arXiv
2202.00512). With v the error of the clean picture is ``sigma_t`` times the network's; with the noise it is ``sigma_t
/ alpha_t`` times the network's, thousands at high noise, so that the overall look of pictures takes far more updates
to learn. Batch k is a pure function of (seed, k), so a killed run continues on the same data in the same order.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import linen as nn
from flax import struct

from reddiff_jax import pictures
from reddiff_jax._keys import as_key, key_from
from reddiff_jax.priors import NetPrior, Prior, ToEps, from_eps, from_v, from_x0
from reddiff_jax.schedules import Schedule
from reddiff_jax.solvers._transition import ddim_transition

Levels = Callable[[Schedule, jax.Array], jax.Array]
"""``(schedule, u in [0, 1)) -> timestep``, for each of some u (B,)."""


def uniform_levels(schedule: Schedule, u: jax.Array) -> jax.Array:
    """Uniformly distributed timesteps (Ho et al. 2020)."""
    return jnp.minimum(jnp.floor(u * schedule.num_timesteps).astype(jnp.int32), schedule.num_timesteps - 1)


def lognormal_levels(schedule: Schedule, u: jax.Array) -> jax.Array:
    """Timesteps whose noise level r = sigma_t / alpha_t has ln r normal, of mean -1.2 and standard deviation 1.2.

    Two thirds of r are from 0.1 to 1, for pixels in [-1, 1]: there a photo's texture and edges are decided. Uniform
    timesteps of the usual schedule spend half of the updates on r above 3.5.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), section 5 and table 1.
    """
    r = jnp.exp(-1.2 + 1.2 * jax.scipy.stats.norm.ppf(u))
    return jax.vmap(schedule.nearest)(r)


MIN_CROP_STD = 10.0  # of 255; flatter crops are mostly redrawn
FLAT_REFUSED = 0.8

Target = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""``(x_0, eps, alpha_t, sigma_t) -> what the network is to predict``."""

TARGETS: dict[ToEps, Target] = {
    from_eps: lambda x, eps, alpha_t, sigma_t: eps,
    from_v: lambda x, eps, alpha_t, sigma_t: alpha_t * eps - sigma_t * x,
    from_x0: lambda x, eps, alpha_t, sigma_t: x,
}


@dataclass(frozen=True)
class Crops:
    """Random crops of the pyramids of all pictures, drawn with weight sqrt(area).

    ``batch(k, size, count)`` depends on (seed, k, size, count) and the pictures only.

    Args (fields):
        paths: Picture files.
        channels: 1 (gray) or 3 (RGB).
        min_size: Pyramids of halvings end before a side falls below this.
        seed: Seed of everything drawn.
        mirror: Whether half of the crops are mirrored; not for pictures with text.
        cache_bytes: Memory for decoded pyramids, approximately.
        unreadable: Files that turned out to be unreadable, and why. They are passed over; as a file is readable or not,
            batches are still a function of (seed, k, size, count) and the files.
    """

    paths: tuple[Path, ...]
    channels: int = 3
    min_size: int = 64
    seed: int = 0
    mirror: bool = True
    cache_bytes: int = 2**31
    levels: tuple[tuple[int, int, int, int], ...] = field(init=False)  # (path, level, height, width)
    unreadable: dict[Path, str] = field(init=False, default_factory=dict, compare=False)

    def __post_init__(self):
        levels = []
        for index, path in enumerate(self.paths):
            try:
                height, width = pictures.picture_size(path)
            except Exception as error:
                # Readers raise nearly anything for a stranger's broken file.
                self.unreadable[path] = str(error)
                continue
            level = 0
            while min(height, width) >= self.min_size:
                levels.append((index, level, height, width))
                level, height, width = level + 1, height // 2, width // 2
        if not levels:
            if len(self.unreadable) == len(self.paths):
                raise ValueError(self._none_readable())
            raise ValueError(
                f"none of {len(self.paths)} pictures is at least {self.min_size} pixels high and wide; "
                "give larger pictures or a smaller crop."
            )
        object.__setattr__(self, "levels", tuple(levels))
        pixels = sum(height * width for _, _, height, width in levels)
        fitting = self.cache_bytes * len(self.paths) // (pixels * self.channels)
        object.__setattr__(self, "_pyramid", lru_cache(max(1, fitting))(self._read_pyramid))

    def batch(self, step: int, size: int, count: int) -> np.ndarray:
        """Returns crops (count, size, size, channels), uint8."""
        fitting = [level for level in self.levels if min(level[2:]) >= size]
        if not fitting:
            raise ValueError(f"no picture is at least {size} pixels high and wide; give a smaller crop.")
        weights = np.sqrt([height * width for _, _, height, width in fitting])
        weights /= weights.sum()
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._crop(rng, fitting, weights, size) for _ in range(count)])

    def _crop(self, rng: np.random.Generator, levels: list, weights: np.ndarray, size: int) -> np.ndarray:
        while True:
            index, level, *_ = levels[rng.choice(len(levels), p=weights)]
            pyramid = self._pyramid(index)  # type: ignore[attr-defined]
            if not pyramid:
                if all(self.paths[other] in self.unreadable for other, *_ in levels):
                    raise ValueError(self._none_readable())
                continue
            array = pyramid[level]
            top = rng.integers(array.shape[0] - size + 1)
            left = rng.integers(array.shape[1] - size + 1)
            crop = array[top : top + size, left : left + size]
            flipped, refused = rng.random(2)
            if crop.std() >= MIN_CROP_STD or refused >= FLAT_REFUSED:
                return crop[:, ::-1] if self.mirror and flipped < 0.5 else crop

    def _none_readable(self) -> str:
        return f"none of the {len(self.unreadable)} pictures can be read: {next(iter(self.unreadable.values()))}"

    def _read_pyramid(self, index: int) -> tuple[np.ndarray, ...]:
        """All levels of a picture; none if its file is broken, which its size did not tell."""
        from PIL import Image

        try:
            array = pictures.read_uint8(self.paths[index], channels=self.channels)
        except Exception as error:
            self.unreadable[self.paths[index]] = str(error)
            return ()
        pyramid = [array]
        while min(array.shape[:2]) // 2 >= self.min_size:
            image = Image.fromarray(array[..., 0] if self.channels == 1 else array).reduce(2)
            height, width = array.shape[0] // 2, array.shape[1] // 2
            array = np.asarray(image).reshape(image.height, image.width, self.channels)[:height, :width]
            pyramid.append(array)
        return tuple(pyramid)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Args (fields):
        steps: Number of updates.
        batch_pixels: Pixels of a batch: 16 crops of 64 x 64 or 4 of 128 x 128 are 65536.
        crops: Crop sizes, taken in turn.
        learning_rate: Peak learning rate: linear warm-up, constant, linear decay over the last ``decay`` of the steps.
        warmup: Steps of warm-up.
        decay: Fraction of the steps that the decay takes.
        weight_decay: AdamW's.
        ema: Decay of the moving average of the parameters; the average is what is kept.
        seed: Seed of initialisation, crops and noise.
        to_eps: What the network predicts, one of ``TARGETS``.
        levels: Which timesteps it sees: ``uniform_levels`` or ``lognormal_levels``.
    """

    steps: int = 100_000
    batch_pixels: int = 16 * 64 * 64
    crops: tuple[int, ...] = (64, 64, 64, 128)
    learning_rate: float = 4e-4
    warmup: int = 200
    decay: float = 0.3
    weight_decay: float = 1e-3
    ema: float = 0.999
    seed: int = 0
    to_eps: ToEps = from_eps
    levels: Levels = uniform_levels

    def count(self, size: int) -> int:
        """Crops of a batch."""
        return max(1, self.batch_pixels // size**2)

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW with gradient clipping."""
        decay_steps = max(1, round(self.decay * self.steps))
        schedule = optax.join_schedules(
            [
                optax.linear_schedule(0.0, self.learning_rate, self.warmup),
                optax.constant_schedule(self.learning_rate),
                optax.linear_schedule(self.learning_rate, 0.0, decay_steps),
            ],
            [self.warmup, self.steps - decay_steps],
        )
        return optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.99, weight_decay=self.weight_decay)
        )


@struct.dataclass
class TrainState:
    """State from which a run continues: parameters, their moving average, optimizer state, number of updates done."""

    params: Any
    ema: Any
    opt_state: Any
    step: jax.Array  # int32


@dataclass(frozen=True)
class Report:
    """Progress so far."""

    step: int
    loss: float  # mean over the updates since the last report; NaN before the first
    images_per_second: float
    doing: str = ""  # what else is being done, "compiling"; loss and rate are then the last ones


def init_state(net: nn.Module, config: TrainingConfig, channels: int, params: Any = None) -> TrainState:
    """Fresh state; from given parameters if any (fine-tuning)."""
    if params is None:
        x = jnp.zeros((config.crops[0], config.crops[0], channels))
        params = jax.jit(net.init)(key_from(config.seed), x, jnp.zeros((), jnp.int32))["params"]
    # Copies, because the training step donates its state.
    params, ema = jax.tree.map(jnp.copy, params), jax.tree.map(jnp.copy, params)
    return TrainState(params, ema, config.optimizer().init(params), jnp.zeros((), jnp.int32))


def denoising_loss(
    net: nn.Module, schedule: Schedule, config: TrainingConfig, params: Any, key: jax.Array, x: jax.Array
) -> jax.Array:
    """Loss of a batch (B, H, W, C) in [-1, 1]; timesteps are stratified over the batch."""
    target = TARGETS[config.to_eps]
    key_t, key_eps, key_dropout = jax.random.split(key, 3)
    count = len(x)
    t = config.levels(schedule, (jnp.arange(count) + jax.random.uniform(key_t, (count,))) / count)
    eps = jax.random.normal(key_eps, x.shape)

    def squared_error(x, t, eps, key):
        alpha_t, sigma_t = schedule(t)
        x_t, rngs = alpha_t * x + sigma_t * eps, {"dropout": key}
        out: jax.Array = net.apply({"params": params}, x_t, t, deterministic=False, rngs=rngs)  # type: ignore[assignment]
        return jnp.mean(jnp.square(out - target(x, eps, alpha_t, sigma_t)))

    return jnp.mean(jax.vmap(squared_error)(x, t, eps, jax.random.split(key_dropout, count)))


@partial(jax.jit, static_argnames=("net", "config"), donate_argnames="state")
def train_step(
    state: TrainState, crops: jax.Array, schedule: Schedule, *, net: nn.Module, config: TrainingConfig
) -> tuple[TrainState, jax.Array]:
    """One update on crops (B, H, W, C), uint8; returns the new state and the loss. The old state is donated."""
    key = jax.random.fold_in(key_from(config.seed), state.step)
    x = crops.astype(jnp.float32) / 127.5 - 1.0
    objective = partial(denoising_loss, net, schedule, config)
    loss, grads = jax.value_and_grad(objective)(state.params, key, x)
    updates, opt_state = config.optimizer().update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # The average has a short memory at first, so that it forgets the random initialisation.
    decay = jnp.minimum(config.ema, (1.0 + state.step) / (10.0 + state.step))
    ema = jax.tree.map(lambda average, new: decay * average + (1 - decay) * new, state.ema, params)
    return TrainState(params, ema, opt_state, state.step + 1), loss


def train(
    net: nn.Module,
    schedule: Schedule,
    crops: Crops,
    config: TrainingConfig,
    checkpoints: str | Path,
    *,
    params: Any = None,
    devices: Sequence[Any] | None = None,
    report: Callable[[Report], None] | None = None,
    report_every: int = 20,
    report_every_seconds: float = 5.0,
    save_every_seconds: float = 300.0,
    on_save: Callable[[TrainState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Trains until ``config.steps``, continuing from the newest checkpoint if there is one.

    ``steps`` may be changed between runs.

    Args:
        net: Network called as ``net.apply({"params": params}, x_t, t, deterministic=...)`` on one image.
        schedule: Noise schedule.
        crops: Source of the batches.
        config: How to train.
        checkpoints: Folder of the run's Orbax checkpoints.
        params: Parameters to start from when there is no checkpoint.
        devices: Batches are spread over these; all if None.
        report: Called every ``report_every`` updates, after ``report_every_seconds`` if they take longer, and before
            what takes long.
        report_every: See ``report``.
        report_every_seconds: See ``report``.
        save_every_seconds: Time between checkpoints.
        on_save: Called with the state after each checkpoint.
        stop: Asked after each update; once it says True a checkpoint is written, and the state of then is returned.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(Path(checkpoints).absolute(), options=options) as manager:
        state = init_state(net, config, crops.channels, params)
        if manager.latest_step() is not None:
            state = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(state))
        mesh = jax.sharding.Mesh(np.asarray(devices or jax.devices()), "batch")
        replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        state = jax.device_put(state, replicated)

        def save() -> None:
            manager.save(int(state.step), args=ocp.args.StandardSave(state), force=True)
            if on_save is not None:
                on_save(state)

        done, losses, images = int(state.step), [], 0
        last = Report(done, float("nan"), 0.0)

        def say(doing: str) -> None:
            if report is not None:
                report(replace(last, step=done, doing=doing))

        compiled: set[tuple[int, ...]] = set()
        started = saved = time.monotonic()
        for batch in _read_ahead(crops, config, done):
            spread = "batch" if len(batch) % mesh.size == 0 else None
            sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(spread))
            if new := batch.shape not in compiled:
                compiled.add(batch.shape)
                size = f"crops of {batch.shape[2]} x {batch.shape[1]}"
                say(f"compiling the update for {size}")
                began = time.monotonic()
            state, loss = train_step(state, jax.device_put(batch, sharding), schedule, net=net, config=config)
            if new:
                jax.block_until_ready(loss)
                say(f"compiled and did the first update for {size} in {time.monotonic() - began:.1f} s")
                started += time.monotonic() - began  # the rate is that of later updates
            losses.append(loss)
            images += 0 if new else len(batch)
            done += 1
            if done % report_every == 0 or done == config.steps or time.monotonic() - started > report_every_seconds:
                mean = float(np.mean(jax.device_get(losses)))
                if not np.isfinite(mean):
                    raise FloatingPointError(f"the loss is {mean} at update {done}; lower the learning rate.")
                reported = time.monotonic()
                last = Report(done, mean, images / max(reported - started, 1e-9))
                if report is not None:
                    report(last)
                losses, images, started = [], 0, reported
            if time.monotonic() - saved > save_every_seconds and done < config.steps:
                save()
                saved = time.monotonic()
            if stop() and done < config.steps:
                on_save = None  # there may be little time
                break
        if manager.latest_step() != done:
            save()
    return state


@partial(jax.jit, static_argnames=("shape", "num_steps"))
def sample(key: jax.Array, prior: Prior, shape: tuple[int, int, int], num_steps: int = 50) -> jax.Array:
    """Draws one unconditional sample by deterministic DDIM, to look at what a prior has learned.

    Args:
        key: PRNG key.
        prior: Diffusion prior.
        shape: Shape of the image.
        num_steps: Network evaluations.

    Source:
        Song et al. 2021 (arXiv 2010.02502), eta = 0.
    """
    grid = prior.schedule.timesteps(num_steps)
    pairs = jnp.stack([grid, jnp.append(grid[1:], -1)], axis=-1)  # (num_steps, 2): from, to

    def step(x_t, pair):
        alphas, sigmas = prior.schedule(pair)
        eps_hat = prior.eps(x_t, pair[0])
        # Cut to the range of images, or errors at the noisiest levels, divided by a tiny alpha_t, blow up.
        x_hat = jnp.clip((x_t - sigmas[0] * eps_hat) / alphas[0], -1.0, 1.0)
        eps_hat = (x_t - alphas[0] * x_hat) / sigmas[0]
        zeros = jnp.zeros_like(x_t)
        return ddim_transition(zeros, x_hat, eps_hat, tuple(alphas), tuple(sigmas), 0.0), None

    x, _ = jax.lax.scan(step, jax.random.normal(key, shape), pairs)
    return x


def sample_sheet(key: jax.Array, prior: Prior, size: int, channels: int, count: int = 16) -> np.ndarray:
    """Unconditional samples side by side, (rows * size, columns * size, channels) in [-1, 1]."""
    keys = jax.random.split(as_key("sample_sheet: key", key), count)
    images = np.asarray(jax.vmap(lambda key: sample(key, prior, (size, size, channels)))(keys))
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.ones((rows * columns, size, size, channels), np.float32)
    sheet[:count] = images
    sheet = sheet.reshape(rows, columns, size, size, channels).transpose(
        0, 2, 1, 3, 4
    )  # (rows, size, columns, size, C)
    return sheet.reshape(rows * size, columns * size, channels)


def loss_by_noise_level(
    prior: NetPrior, crops: np.ndarray, timesteps: tuple[int, ...] = (10, 50, 100, 200, 400, 700, 999), seed: int = 0
) -> dict[int, float]:
    """Noise-prediction loss of a prior on crops (B, H, W, C), uint8, at each of some timesteps."""
    x = jnp.asarray(pictures.to_float(crops))
    return {t: float(_eps_loss(prior, x, jnp.asarray(t), key_from(seed))) for t in timesteps}


@jax.jit
def _eps_loss(prior: Prior, x: jax.Array, t: jax.Array, key: jax.Array) -> jax.Array:
    alpha_t, sigma_t = prior.schedule(t)
    eps = jax.random.normal(jax.random.fold_in(key, t), x.shape)
    return jnp.mean(jnp.square(jax.vmap(lambda x_t: prior.eps(x_t, t))(alpha_t * x + sigma_t * eps) - eps))


def _read_ahead(crops: Crops, config: TrainingConfig, start: int) -> Iterator[np.ndarray]:
    """Batches from update ``start`` on; the next ones are cut while the device works."""

    def cut(step: int) -> np.ndarray:
        size = config.crops[step % len(config.crops)]
        return crops.batch(step, size, config.count(size))

    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(cut, step) for step in range(start, min(start + 2, config.steps))]
        for step in range(start, config.steps):
            batch = pending.pop(0).result()
            if step + 2 < config.steps:
                pending.append(pool.submit(cut, step + 2))
            yield batch
