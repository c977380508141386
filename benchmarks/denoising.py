"""Priors as denoisers: one evaluation of the network, beside classical denoisers and a trained one.

    python -m benchmarks.denoising [--prior PRIOR ...] [--emoji FOLDER] [--size 256]

White noise of standard deviation 15, 25 and 50 of 255 on the five reporting photos, in colour and in gray. A prior
denoises by Tweedie's formula at the timestep whose sigma_t / alpha_t is the noise's; a gray picture through
``rd.gray_prior``. Means over pictures; values are cut to [0, 1] and pictures are not rounded to 8 bits.

- Total variation (Chambolle) and non-local means are scikit-image's; their strength is the best of a few on other
  photos.
- BM3D is PyPI's ``bm3d`` if it is installed. Its licence allows non-commercial use only, and asks that results name
  its authors: Maekinen, Azzari, Foi 2020 (doi 10.1109/TIP.2020.3014721). It is no dependency of this package.
- DnCNN (Zhang et al. 2017, arXiv 1608.03981) is scico's network of 17 layers with the noise level as an input, trained
  on gray pictures, if its wheel is installed (BSD-3; ``pip install --no-deps scico``, only a file of weights is read).
  Colours are denoised one by one, as scico does.
- DRUNet and DnCNN of deepinv and of KAIR are downloads, which no package has: not compared.

Also the noise-prediction loss of each prior by timestep, on pictures that it was not trained on: crops of the reporting
photos; for `emoji64` the held-out ones of FOLDER (benchmarks/emoji64_data.py). Times need an idle machine.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

import reddiff_jax as rd
from benchmarks import _pictures, _report
from reddiff_jax import io, metrics, pictures, training

SIGMAS = (15, 25, 50)  # of 255
LUMINANCE = np.array([[0.299], [0.587], [0.114]], np.float32)
STRENGTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.4)  # of the classical methods, in units of sigma

Denoiser = Callable[[np.ndarray, float], np.ndarray]
"""``(noisy picture (H, W, C), sigma) -> picture``, both for pixels in [0, 1]."""


@jax.jit
def tweedie(prior: rd.Prior, y: jax.Array, sigma: jax.Array) -> jax.Array:
    """One evaluation of a prior on y = x + sigma n, in [-1, 1]."""
    t = prior.schedule.fractional(sigma)
    return prior.denoise(prior.schedule(t)[0] * y, t)


def by_prior(prior: rd.Prior, y: np.ndarray, sigma: float) -> np.ndarray:
    """A prior as a denoiser of pixels in [0, 1]."""
    prior = rd.gray_prior(prior) if y.shape[2] == 1 else prior
    return (np.asarray(tweedie(prior, jnp.asarray(2 * y - 1), jnp.asarray(2 * sigma))) + 1) / 2


def by_total_variation(strength: float, y: np.ndarray, sigma: float) -> np.ndarray:
    """Chambolle's total variation."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(y, weight=strength * sigma, channel_axis=-1)


def by_non_local_means(strength: float, y: np.ndarray, sigma: float) -> np.ndarray:
    """Non-local means of 5 x 5 patches within 13 x 13 pixels."""
    from skimage.restoration import denoise_nl_means

    x = denoise_nl_means(
        y, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )
    return x.reshape(y.shape)  # it drops a single channel


def by_bm3d(y: np.ndarray, sigma: float) -> np.ndarray:
    """BM3D, of the package that is installed."""
    import bm3d  # type: ignore[import-not-found]

    return np.asarray((bm3d.bm3d_rgb if y.shape[2] == 3 else bm3d.bm3d)(y, sigma)).reshape(y.shape)


def dncnn() -> Denoiser | None:
    """DnCNN with the weights of scico's wheel, or None where it is not installed."""
    spec = importlib.util.find_spec("scico")
    if spec is None or spec.origin is None:
        return None
    weights = serialization.msgpack_restore((Path(spec.origin).parent / "data/flax/dncnn17N.mpk").read_bytes())
    run = jax.jit(_dncnn)
    return lambda y, sigma: np.asarray(run(weights, jnp.asarray(y), jnp.asarray(sigma)))


def _dncnn(weights: Any, y: jax.Array, sigma: jax.Array) -> jax.Array:
    params, stats = weights["params"], weights["batch_stats"]

    def convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    planes = jnp.moveaxis(y, -1, 0)[..., None]  # (C, H, W, 1)
    x = jnp.concatenate([planes, jnp.broadcast_to(sigma, planes.shape)], axis=-1)
    x = jax.nn.relu(convolved(x, params["conv_start"]["kernel"]))
    for i in range(len(stats)):
        name = f"ConvBNBlock_{i}"
        kernel, scale = params[name]["Conv_0"]["kernel"], params[name]["BatchNorm_0"]
        moments = stats[name]["BatchNorm_0"]
        gain = scale["scale"] * jax.lax.rsqrt(moments["var"] + 1e-5)
        x = jax.nn.relu((convolved(x, kernel) - moments["mean"]) * gain + scale["bias"])
    noise = convolved(x, params["conv_end"]["kernel"])[..., :1]
    return jnp.moveaxis((planes - noise)[..., 0], 0, -1)


def tuned(denoise: Callable[[float, np.ndarray, float], np.ndarray], photos: np.ndarray, sigma: float) -> Denoiser:
    """The strength with the best mean PSNR on other photos (N, H, W, C)."""
    y = noisy(photos, sigma, seed=1)

    def quality(strength: float) -> float:
        return float(np.mean([scores(denoise(strength, a, sigma), b)[0] for a, b in zip(y, photos, strict=True)]))

    return partial(denoise, max(STRENGTHS, key=quality))


def noisy(x: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Pictures with white noise, the same for every method."""
    return (x + sigma * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)


def scores(x: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of pixels in [0, 1]."""
    cut, original = jnp.asarray(np.clip(x, 0, 1), jnp.float32), jnp.asarray(reference)
    return float(metrics.psnr(cut, original, data_range=1.0)), float(_ssim(cut, original))


_ssim = jax.jit(partial(metrics.ssim, data_range=1.0))


def compare(methods: dict[str, Denoiser], photos: np.ndarray, kind: str, level: int) -> list[dict[str, Any]]:
    """One row a method at one noise level; photos are (N, H, W, C) in [0, 1]."""
    sigma = level / 255
    rows = []
    for name, denoise in methods.items():
        y = noisy(photos, sigma)
        denoise(y[0], sigma)  # compiles
        seconds, values = [], []
        for a, b in zip(y, photos, strict=True):
            started = time.perf_counter()
            x = denoise(a, sigma)
            seconds.append(time.perf_counter() - started)
            values.append(scores(x, b))
        row = {"what": "denoising", "pictures": kind, "method": name, "sigma": level}
        row |= {"PSNR": float(np.mean([p for p, _ in values])), "SSIM": float(np.mean([s for _, s in values]))}
        rows.append(row | {"ms a picture": 1e3 * float(np.median(seconds)), "PSNR each": [p for p, _ in values]})
        print(_report.markdown([rows[-1]], [*row, "ms a picture"]).splitlines()[-1], flush=True)
    return rows


def validation(name: str, prior: rd.priors.NetPrior, emoji: Path | None) -> list[dict[str, Any]]:
    """Noise-prediction loss by timestep on pictures that were held out."""
    if name.startswith("emoji"):
        if emoji is None:
            print(f"{name}: no validation loss without --emoji")
            return []
        found = pictures.find_pictures(emoji / "held_out")
        crops = np.stack([pictures.read_uint8(path) for path in found])
    else:
        photos = np.stack([pictures.to_uint8(x) for x in _pictures.held_out(256).values()])
        crops = photos.reshape(-1, 4, 64, 4, 64, 3).swapaxes(2, 3).reshape(-1, 64, 64, 3)
    losses = training.loss_by_noise_level(prior, crops)
    return [{"what": "eps loss", "prior": name, "timestep": t, "loss": loss} for t, loss in losses.items()]


def main() -> None:
    """Runs the comparison and writes results/denoising.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", nargs="*", default=list(io.bundled_priors()), help="folders or bundled names")
    parser.add_argument("--emoji", type=Path, help="what benchmarks/emoji64_data.py has collected")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results")
    args = parser.parse_args()
    # A training writes its prior to NAME/prior.
    names = {
        Path(given).parent.name if Path(given).name == "prior" else Path(given).name: given for given in args.prior
    }
    priors = {name: rd.load_prior(given) for name, given in names.items()}
    trained = dncnn()
    references = {"DnCNN (gray, scico)": trained} if trained else {}
    if importlib.util.find_spec("bm3d") is not None:
        references["BM3D"] = by_bm3d
    missing = {"BM3D": "pip install bm3d", "DnCNN (gray, scico)": "pip install --no-deps scico"}.items()
    print(*(f"{name} is left out: {how}" for name, how in missing if name not in references), sep="\n")
    reporting = np.stack([(x + 1) / 2 for x in _pictures.held_out(args.size).values()])
    others = np.stack([(x + 1) / 2 for x in _pictures.tuning(64).values()])
    rows = []
    for kind, photos, other in (("colour", reporting, others), ("gray", reporting @ LUMINANCE, others @ LUMINANCE)):
        for level in SIGMAS:
            methods: dict[str, Denoiser] = {
                "noisy": lambda y, sigma: y,
                "total variation": tuned(by_total_variation, other, level / 255),
                "non-local means": tuned(by_non_local_means, other, level / 255),
                **references,
                **{name: partial(by_prior, prior) for name, prior in priors.items()},
            }
            rows += compare(methods, photos, kind, level)
    for name, prior in priors.items():
        rows += validation(name, prior, args.emoji)
    settings = {"size": args.size, "pictures": list(_pictures.HELD_OUT), "dtype": "float32"}
    _report.write("denoising", settings=settings, rows=rows, out=args.out)


if __name__ == "__main__":
    main()
