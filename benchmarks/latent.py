"""A small latent prior of our own: an autoencoder by four and a prior of its latents, and what they restore.

    python -m benchmarks.latent DATA [--updates 20000] [--out FOLDER] [--tiny]

DATA is a folder of pictures, such as benchmarks/photo_data.py fills. The autoencoder (``nets.AutoencoderKL``, 64
pixels to 16 latents a side) is trained on squared errors with a little noise on the latents; then the prior
(``nets.DiffusersUNet``, which predicts v) on its latents, scaled to unit variance. FOLDER/prior is what
``reddiff-jax restore --prior`` takes. Rows are PSNR of held-out photos: of the autoencoder by itself, which bounds what
a latent prior can restore, and of the solvers, beside the bundled prior of pixels.

``--tiny`` is a rehearsal on any machine, in a minute: a few updates of narrow networks on pictures of noise.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import metrics, pictures
from reddiff_jax.nets import AutoencoderKL, DiffusersUNet
from reddiff_jax.training import TARGETS
from reddiff_jax.training.crops import Crops

SIGMA = 0.05
LATENT_NOISE = 0.1  # of latents while the autoencoder is trained, whose penalty keeps them near 1
PENALTY = 1e-2
Batches = Callable[[int, int], np.ndarray]
"""``(k, count) -> crops (count, H, W, 3)`` in [-1, 1]."""


def autoencoder_net(width: int) -> AutoencoderKL:
    """By four: two halvings."""
    return AutoencoderKL(
        block_out_channels=(width, 2 * width, 2 * width),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def unet(width: int) -> DiffusersUNet:
    """Of the latents."""
    return DiffusersUNet(
        in_channels=4,
        out_channels=4,
        block_out_channels=(width, 2 * width),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )


def fitted(loss: Callable[..., jax.Array], params: Any, inputs: Callable[[int], Any], updates: int, name: str) -> Any:
    """Minimises ``loss(params, key, input)`` by Adam with a cosine's decay; returns averaged parameters."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(5e-4, updates)))

    @jax.jit
    def update(params, averaged, state, key, batch):
        value, grads = jax.value_and_grad(loss)(params, key, batch)
        changes, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, changes)
        return params, optax.incremental_update(params, averaged, 0.005), state, value

    state, averaged = optimizer.init(params), params
    for k in range(updates):
        params, averaged, state, value = update(params, averaged, state, jax.random.key(k), inputs(k))
        if k % max(1, updates // 20) == 0:
            print(f"{name}: update {k}, loss {value:.4f}", flush=True)
    return averaged


def train(batches: Batches, *, updates: int, width: int, count: int, size: int) -> rd.Latent:
    """Trains both networks."""
    net, key = autoencoder_net(width), jax.random.key(0)
    params = net.init(key, jnp.zeros((size, size, 3)))["params"]

    def loss(params, key, x):
        z: jax.Array = jax.vmap(lambda x: net.apply({"params": params}, x, method="encode"))(x)  # type: ignore[assignment]
        noisy = z + LATENT_NOISE * jax.random.normal(key, z.shape)
        decoded: jax.Array = jax.vmap(lambda z: net.apply({"params": params}, z, method="decode"))(noisy)  # type: ignore[assignment]
        return jnp.mean((decoded - x) ** 2) + PENALTY * jnp.mean(jnp.square(jnp.mean(z**2, (1, 2)) - 1))

    params = fitted(loss, params, lambda k: batches(k, count), updates, "autoencoder")
    encode = jax.jit(jax.vmap(lambda x: net.apply({"params": params}, x, method="encode")))
    z = np.asarray(encode(batches(0, 64)))
    codec = rd.net_autoencoder(net, params, scale=1 / z.std((0, 1, 2)), shift=z.mean((0, 1, 2)))

    of_latents, schedule = unet(2 * width), rd.schedules.cosine()
    params = of_latents.init(key, jnp.zeros((size // 4, size // 4, 4)), jnp.int32(0))["params"]
    to_latents = jax.jit(jax.vmap(codec.encode))

    def denoising_loss(params, key, z):
        of_t, of_noise = jax.random.split(key)
        t = jax.random.randint(of_t, z.shape[:1], 0, schedule.num_timesteps)
        eps = jax.random.normal(of_noise, z.shape)

        def squared(z, eps, t):
            alpha_t, sigma_t = schedule(t)
            v: jax.Array = of_latents.apply({"params": params}, alpha_t * z + sigma_t * eps, t)  # type: ignore[assignment]
            return jnp.mean((v - TARGETS[rd.from_v](z, eps, alpha_t, sigma_t)) ** 2)

        return jnp.mean(jax.vmap(squared)(z, eps, t))

    params = fitted(denoising_loss, params, lambda k: to_latents(batches(k, 2 * count)), updates, "prior")
    prior = rd.priors.NetPrior(schedule=schedule, params=params, net=of_latents, to_eps=rd.from_v)
    return rd.latent(prior, codec)


def tasks(size: int) -> dict[str, rd.Operator]:
    """What is undone."""
    mask = np.ones((size, size), np.float32)
    mask[size // 3 : size // 2, size // 3 : 2 * size // 3] = 0
    shape = (size, size, 3)
    blurred = rd.gaussian_blur(shape, sigma=1.5)
    return {"sr4": rd.super_resolution(shape, 4), "inpaint": rd.inpainting(mask), "deblur": blurred}


def rows(
    latent: rd.Latent, photos: dict[str, np.ndarray], steps: int, cases: dict[str, rd.Operator]
) -> Iterator[dict[str, Any]]:
    """A row for the autoencoder, and one for each task and solver."""
    x = jnp.asarray(np.stack(list(photos.values())))
    psnr = jax.vmap(metrics.psnr)
    there_and_back = jax.jit(jax.vmap(lambda x: latent.decode(latent.encode(x))))(x)
    yield {"task": "none", "solver": "autoencoder", "psnr": round(float(psnr(there_and_back, x).mean()), 3)}
    runs, keys = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0))), jax.random.split(jax.random.key(1), len(x))
    for task, operator in cases.items():
        problems = jax.vmap(partial(rd.measure, operator=operator, noise=rd.gaussian(SIGMA)))(keys, x=x)
        example = jax.tree.map(lambda leaf: leaf[0], problems)
        solvers: dict[str, rd.Solver] = {
            "latent, pixel step": rd.default_solver(latent, example),
            "latent, Adam through the decoder": rd.latent_solver(
                rd.noise_aware(latent.prior, optax.adam(0.03), num_steps=steps), latent
            ),
            "latent, DPS": rd.latent_solver(rd.dps(latent.prior, num_steps=steps), latent),
            "pixels": rd.default_solver(rd.load_prior(), example),
        }
        for name, solver in solvers.items():
            restored = runs(keys, solver, problems).x
            yield {"task": task, "solver": name, "psnr": round(float(psnr(restored, x).mean()), 3)}


def main() -> None:
    """Trains, writes the prior and the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("out/latent"))
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: everything small")
    args = parser.parse_args()
    if args.tiny:
        rng = np.random.default_rng(0)
        photos = {"noise": rng.uniform(-1, 1, (16, 16, 3)).astype(np.float32)}
        width, updates, steps, count, size = 8, 2, 2, 2, 16

        def batches(k: int, count: int) -> np.ndarray:
            return rng.uniform(-1, 1, (count, size, size, 3)).astype(np.float32)
    else:
        if args.data is None:
            parser.error("DATA is missing: a folder of pictures")
        crops = Crops(tuple(sorted(args.data.glob("*.png"))), min_size=64)
        photos = _pictures.held_out(64)
        width, updates, steps, count, size = 32, args.updates, 100, 16, 64

        def batches(k: int, count: int) -> np.ndarray:
            return pictures.to_float(crops.batch(k, size, count))

    latent = train(batches, updates=updates, width=width, count=count, size=size)
    rd.save_prior(latent, args.out / "prior", card={"name": "latent by four"})
    cases = tasks(size)
    cases = {"sr4": cases["sr4"]} if args.tiny else cases
    measured = []
    for row in rows(latent, photos, steps, cases):
        measured.append(row)
        print(row, flush=True)
    settings = {"updates": updates, "width": width, "sigma": SIGMA, "size": size, "tiny": args.tiny}
    print(_report.write("latent", settings=settings, rows=measured, out=args.out))


if __name__ == "__main__":
    main()
