"""Diffusion priors: what a solver knows about images.

A prior has a schedule and predicts the noise in ``x_t = alpha_t x_0 + sigma_t eps``. Everything else follows by
Tweedie's formula (Robbins 1956; Efron 2011): ``x_hat = E[x_0 | x_t] = (x_t - sigma_t eps_hat) / alpha_t`` and
``score = grad log p_t(x_t) = -eps_hat / sigma_t``.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_callable, check_type, check_whole, describe, numbers
from reddiff_jax._keys import key_from
from reddiff_jax._repr import Detail, Repr, count_parameters, field_parts, shown
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.schedules import Schedule

ToEps = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""``(output of a network, x_t, alpha_t, sigma_t) -> eps_hat``."""


@struct.dataclass
class Prior(Repr, abc.ABC):
    """A distribution of images, known through its noise prediction."""

    schedule: Schedule

    @abc.abstractmethod
    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t`` at timestep ``t``."""

    def _repr_parts(self, detail: Detail) -> list[str]:
        return [*field_parts(self, detail, without=("schedule",)), f"{self.schedule.num_timesteps} timesteps"]

    def denoise(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Tweedie estimate of the clean image, E[x_0 | x_t]."""
        alpha_t, sigma_t = self.schedule(t)
        return (x_t - sigma_t * self.eps(x_t, t, cond)) / alpha_t

    def score(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Gradient of the log density of ``x_t``."""
        return -self.eps(x_t, t, cond) / self.schedule(t)[1]


def from_eps(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the noise (Ho et al. 2020, arXiv 2006.11239)."""
    return output


def from_x0(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the clean image."""
    return (x_t - alpha_t * output) / sigma_t


def from_v(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts v = alpha_t eps - sigma_t x_0 (Salimans & Ho 2022, arXiv 2202.00512).

    For schedules with alpha_t^2 + sigma_t^2 = 1.
    """
    return alpha_t * output + sigma_t * x_t


def from_score(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the score of ``x_t`` (Song et al. 2021, arXiv 2011.13456)."""
    return -sigma_t * output


@struct.dataclass
class NetPrior(Prior):
    """A Flax network as a prior.

    Pictures whose sides the network cannot divide are padded by mirroring, and the prediction is cropped. Where the
    network also learns a variance, its first channels are used. It gets the condition as it is, a class label for ours.

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
        args = (padded, jnp.asarray(t)) if cond is None else (padded, jnp.asarray(t), cond)
        output: jax.Array = self.net.apply({"params": self.params}, *args)  # type: ignore[assignment]
        if output.shape[-1] < c:
            raise ValueError(
                f"the network predicts {output.shape[-1]} channels but the image has {c}. A prior of gray pictures "
                "takes (H, W, 1); rd.gray_prior is for the other way round."
            )
        return self.to_eps(output[:h, :w, :c], x_t, *self.schedule(t))

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


@struct.dataclass
class FunctionPrior(Prior):
    """A plain function as a prior."""

    params: Any
    fn: Callable[..., jax.Array] = struct.field(pytree_node=False)
    to_eps: ToEps = struct.field(pytree_node=False, default=from_eps)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``."""
        output = self.fn(x_t, t, cond) if self.params is None else self.fn(self.params, x_t, t, cond)
        _check_prediction(self.fn, output, x_t)
        return self.to_eps(output, x_t, *self.schedule(t))


@struct.dataclass
class EdmPrior(Prior):
    """A denoiser D(x; sigma) of ``x = x_0 + sigma n`` as a prior, for any schedule."""

    params: Any
    fn: Callable[..., jax.Array] = struct.field(pytree_node=False)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t`` through D(x_t / alpha_t; sigma_t / alpha_t)."""
        alpha_t, sigma_t = self.schedule(t)
        args = (x_t / alpha_t, sigma_t / alpha_t, cond)
        x_hat = self.fn(*args) if self.params is None else self.fn(self.params, *args)
        _check_prediction(self.fn, x_hat, x_t)
        return from_x0(x_hat, x_t, alpha_t, sigma_t)


def _check_prediction(fn: Callable[..., jax.Array], output: Any, x_t: Image) -> None:
    if jnp.shape(output) == x_t.shape:
        return
    remedy = "It must return one prediction of the image's shape; it gets one image, without a batch axis."
    if jnp.shape(output) == (*x_t.shape[:2], 2 * x_t.shape[2]):
        channels = x_t.shape[2]
        remedy = f"Is half of it a learned variance, as guided-diffusion's? Return output[:, :, :{channels}]."
    name = getattr(fn, "__name__", type(fn).__name__)
    raise ValueError(f"the prior's fn, {name}, returned {describe(output)} for an image {x_t.shape}. {remedy}")


def prior(fn: Callable[..., jax.Array], schedule: Schedule, *, params: Any = None, to_eps: ToEps = from_eps) -> Prior:
    """Makes a prior of any function.

    Args:
        fn: Called as ``fn(x_t, t, cond)``, or ``fn(params, x_t, t, cond)`` where ``params`` are given; one image in,
            its prediction out. A Flax network: ``fn=lambda params, x_t, t, cond: net.apply(params, x_t, t)``. Define it
            once: another function object is another compilation.
        schedule: The noise schedule that the function was made for.
        params: Pytree of arrays, traced.
        to_eps: What the function predicts: ``from_eps``, ``from_x0``, ``from_v``, ``from_score`` or a function
            ``(output, x_t, alpha_t, sigma_t) -> eps_hat``.

    Raises:
        TypeError: If an argument is of another type. When called: ValueError, if the prediction has another shape than
            the image.
    """
    _check_made("prior", fn, schedule)
    remedy = f"rd.from_{to_eps}" if to_eps in ("eps", "x0", "v", "score") else "rd.from_eps, rd.from_x0 or rd.from_v"
    check_callable("prior: to_eps", to_eps, f"a function: {remedy}")
    return FunctionPrior(schedule=schedule, params=params, fn=fn, to_eps=to_eps)


def edm_prior(fn: Callable[..., jax.Array], schedule: Schedule, *, params: Any = None) -> Prior:
    """Makes a prior of a denoiser with EDM's interface.

    Args:
        fn: Called as ``fn(x, sigma, cond)``, or ``fn(params, x, sigma, cond)`` where ``params`` are given; returns
            D(x; sigma), the estimate of the clean image from x = x_0 + sigma n. It does its own preconditioning.
        schedule: Any schedule; x and sigma are rescaled from it.
        params: Pytree of arrays, traced.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), eq. 1 and 7.
    """
    _check_made("edm_prior", fn, schedule)
    return EdmPrior(schedule=schedule, params=params, fn=fn)


@struct.dataclass
class GaussianPrior(Prior):
    """The Gaussian N(mean, covariance), whose noise prediction is exact.

    ``eps_hat = sigma_t (alpha_t^2 C + sigma_t^2 I)^-1 (x_t - alpha_t mean)``, affine in ``x_t``: an oracle for tests.
    """

    mean: jax.Array  # (H, W, C)
    variances: jax.Array  # scalar, (H, W, C), or the (n,) eigenvalues where there is a basis
    basis: jax.Array | None = None  # (n, n), orthonormal columns

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, exactly."""
        alpha_t, sigma_t = self.schedule(t)
        deviation = self._to_basis(x_t - alpha_t * self.mean)
        return self._from_basis(sigma_t / (alpha_t**2 * self.variances + sigma_t**2) * deviation)

    def log_density(self, x_t: Image, t: Timestep) -> Float[Array, ""]:
        """Log density of ``x_t`` at timestep ``t``, exactly."""
        alpha_t, sigma_t = self.schedule(t)
        deviation = self._to_basis(x_t - alpha_t * self.mean)
        variances = jnp.broadcast_to(alpha_t**2 * self.variances + sigma_t**2, deviation.shape)
        return -0.5 * jnp.sum(deviation**2 / variances + jnp.log(2 * jnp.pi * variances))

    def _to_basis(self, x: jax.Array) -> jax.Array:
        if self.basis is None:
            return x
        return jnp.matmul(x.reshape(-1), self.basis, precision=jax.lax.Precision.HIGHEST)  # (n,)

    def _from_basis(self, coefficients: jax.Array) -> jax.Array:
        if self.basis is None:
            return coefficients
        x = jnp.matmul(self.basis, coefficients, precision=jax.lax.Precision.HIGHEST)  # (n,)
        return x.reshape(self.mean.shape)


@struct.dataclass
class MixturePrior(Prior):
    """A mixture of Gaussians, with an exact noise prediction: that of its components, weighted by responsibility."""

    log_weights: jax.Array  # (K,)
    components: GaussianPrior  # each leaf with a leading (K,)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, exactly."""
        log_densities = jax.vmap(lambda component: component.log_density(x_t, t))(self.components)  # (K,)
        responsibilities = jax.nn.softmax(self.log_weights + log_densities)
        eps = jax.vmap(lambda component: component.eps(x_t, t))(self.components)  # (K, H, W, C)
        return jnp.einsum("k,khwc->hwc", responsibilities, eps, precision=jax.lax.Precision.HIGHEST)


def gaussian_prior(mean: Image, covariance: jax.Array | float, schedule: Schedule) -> GaussianPrior:
    """The Gaussian N(mean, covariance) as a prior.

    Args:
        mean: Mean image, shape (H, W, C).
        covariance: A scalar (isotropic), (H, W, C) (diagonal) or (n, n) with n = H * W * C (full, for small n).
        schedule: Noise schedule.

    Raises:
        ValueError: If a shape does not fit, or the covariance is not symmetric or not positive semi-definite.
    """
    check_array("gaussian_prior: mean", mean, "an image (H, W, C)")
    _check_schedule("gaussian_prior", schedule)
    mean, covariance = jnp.asarray(mean, dtype=float), jnp.asarray(covariance, dtype=float)
    if mean.ndim != 3:
        raise ValueError(f"mean has shape {mean.shape} but one image has shape (H, W, C).")
    basis = None
    if covariance.shape == (mean.size, mean.size):
        # eigh reads a symmetric part only: without this a mistaken matrix would go unnoticed.
        seen = numbers(covariance)
        if seen is not None and not np.allclose(seen, np.swapaxes(seen, -1, -2), atol=1e-5 * np.abs(seen).max()):
            raise ValueError("covariance must be symmetric.")
        covariance, basis = jnp.linalg.eigh(covariance)
        covariance = jnp.where(jnp.abs(covariance) < 1e-6 * jnp.max(covariance), jnp.abs(covariance), covariance)
    elif covariance.shape not in ((), mean.shape):
        raise ValueError(
            f"covariance has shape {covariance.shape} but must be a scalar, {mean.shape} (diagonal) or "
            f"{(mean.size, mean.size)} (full)."
        )
    variances = numbers(covariance)
    if variances is not None and not (variances >= 0).all():
        raise ValueError("covariance must be positive semi-definite; it has a negative variance or eigenvalue.")
    return GaussianPrior(schedule=schedule, mean=mean, variances=covariance, basis=basis)


def mixture_prior(
    weights: Float[Array, "K"], means: Float[Array, "K H W C"], covariances: jax.Array | float, schedule: Schedule
) -> MixturePrior:
    """A mixture of Gaussians as a prior.

    Args:
        weights: Positive weights, shape (K,); normalised to sum 1.
        means: Means, shape (K, H, W, C).
        covariances: One scalar for all, or with a leading K what ``gaussian_prior`` takes.
        schedule: Noise schedule.

    Raises:
        ValueError: If shapes do not fit, a weight is not positive or a covariance not positive semi-definite.
    """
    _check_schedule("mixture_prior", schedule)
    weights, means = jnp.asarray(weights, dtype=float), jnp.asarray(means, dtype=float)
    covariances = jnp.asarray(covariances, dtype=float)
    if weights.ndim != 1 or means.ndim != 4 or means.shape[0] != weights.size:
        raise ValueError(
            f"weights have shape {weights.shape} and means {means.shape} but (K,) and (K, H, W, C) are needed."
        )
    seen = numbers(weights)
    if seen is not None and not (seen > 0).all():
        raise ValueError(f"weights must be positive, got {seen}.")
    if covariances.ndim == 0:
        covariances = jnp.broadcast_to(covariances, weights.shape)
    if covariances.shape[0] != weights.size:
        raise ValueError(f"covariances have shape {covariances.shape} but need a leading K = {weights.size}.")
    components = jax.vmap(lambda mean, covariance: gaussian_prior(mean, covariance, schedule))(means, covariances)
    return MixturePrior(schedule=schedule, log_weights=jnp.log(weights / weights.sum()), components=components)


@struct.dataclass
class GrayPrior(Prior):
    """A prior of RGB pictures, applied to gray pictures or to each channel of others; build it with ``gray_prior``."""

    prior: Prior
    seed: int = struct.field(pytree_node=False, default=0)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, in each channel by itself."""

        def eps_of_channel(plane: jax.Array) -> jax.Array:
            return jnp.sqrt(3.0) * self.prior.eps(*self.lift(plane[:, :, None], t), cond).mean(axis=2)

        return jax.vmap(eps_of_channel, in_axes=2, out_axes=2)(x_t)

    def lift(self, x_t: Float[Array, "H W 1"], t: Timestep) -> tuple[Float[Array, "H W 3"], Float[Array, ""]]:
        """The gray picture as an RGB picture with white noise, and its timestep."""
        alpha_t, sigma_t = self.schedule(t)
        t_rgb = self.schedule.fractional(jnp.sqrt(3.0) * sigma_t / alpha_t)
        # The pattern changes with the timestep: one for all would be imprinted on averages over a solver's steps.
        bits = jax.lax.bitcast_convert_type(t_rgb.astype(jnp.float32), jnp.uint32)
        noise = jax.random.normal(jax.random.fold_in(key_from(self.seed), bits), (*x_t.shape[:2], 3))
        chroma = noise - noise.mean(axis=2, keepdims=True)
        return self.schedule(t_rgb)[1] * (x_t / (jnp.sqrt(3.0) * sigma_t) + chroma), t_rgb


def gray_prior(prior: Prior, *, seed: int = 0) -> GrayPrior:
    """Lets a prior of RGB pictures serve gray ones (H, W, 1), and complex ones (H, W, 2), channel by channel.

    Let m be the mean of a picture's channels and o their differences to it (chroma). Under white RGB noise of standard
    deviation s, the noise of m is s / sqrt(3). So gray noise of sigma_t / alpha_t = r belongs to the RGB
    timestep t' with sigma_t' / alpha_t' = sqrt(3) r, and chroma noise, which gray pictures lack, is added:

        x' = sigma_t' (x_t / (sqrt(3) sigma_t) + n - mean(n)),   n ~ N(0, I_3) for each pixel
        eps_hat = sqrt(3) mean over channels of eps'(x', t')

    x' is a gray picture with white RGB noise, what the RGB prior was trained for: without n the bundled prior denoises
    gray photos 4 to 5 dB worse (sigma 15 to 50 of 255), and 6 to 8 dB worse if it is given x_t three times at t itself.
    n is a function of the seed and t'.

    The result is E[m | m', o'], with o' the noise alone. Where m and o are independent it is E[m | m'], exactly that of
    the distribution of m. Otherwise it favours RGB pictures whose chroma is small beside the noise: all pictures for
    large t, those with R = G = B for small t. No single distribution has these scores.

    Real and imaginary part of a complex picture are treated as independent gray pictures, each in [-1, 1].

    Args:
        prior: Prior of RGB pictures; its schedule is kept. It must take timesteps between integers.
        seed: Seed of the chroma noise.
    """
    check_prior("gray_prior", prior)
    return GrayPrior(schedule=prior.schedule, prior=prior, seed=seed)


@struct.dataclass
class TiledPrior(Prior):
    """A prior applied to a large picture in overlapping tiles, which smooth windows blend."""

    prior: Prior
    size: tuple[int, int] = struct.field(pytree_node=False)  # height and width
    overlap: int = struct.field(pytree_node=False)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, one tile after the other."""
        h, w, c = x_t.shape
        size_h, size_w = min(h, self.size[0]), min(w, self.size[1])
        if (size_h, size_w) != (h, w) and isinstance(cond, Mapping) and "low_res" in cond:
            raise ValueError(
                f"cond has low_res, which belongs to the whole picture, but {w} x {h} pixels make several tiles of "
                f"{size_w} x {size_h}; use the prior without tiled(), or with tiles as large as the picture."
            )
        tops, lefts = self._starts(h, size_h), self._starts(w, size_w)
        corners = jnp.asarray([(top, left) for top in tops for left in lefts], jnp.int32)  # (N, 2)
        window = _taper(size_h, self.overlap)[:, None, None] * _taper(size_w, self.overlap)[None, :, None]

        def add(sums, corner):
            start = (corner[0], corner[1], 0)
            tile = jax.lax.dynamic_slice(x_t, start, (size_h, size_w, c))
            weighted = jnp.concatenate([window * self.prior.eps(tile, t, cond), window], axis=-1)
            old = jax.lax.dynamic_slice(sums, start, weighted.shape)
            return jax.lax.dynamic_update_slice(sums, old + weighted, start), None

        sums, _ = jax.lax.scan(add, jnp.zeros((h, w, c + 1), x_t.dtype), corners)
        return sums[..., :c] / sums[..., c:]

    def _starts(self, length: int, size: int) -> list[int]:
        if length <= size:
            return [0]
        count = -(-(length - self.overlap) // (size - self.overlap))
        return [round(i * (length - size) / (count - 1)) for i in range(count)]


def tiled(prior: Prior, size: int | tuple[int, int] = 256, overlap: int = 64) -> Prior:
    """Lets a prior serve pictures of any size in bounded memory.

    Args:
        prior: The prior that sees the tiles.
        size: Side of a tile in pixels, or its height and width; smaller pictures go through whole.
        overlap: Pixels that neighbouring tiles share, blended linearly.

    Raises:
        ValueError: If ``overlap`` is not below ``size``.
    """
    check_prior("tiled", prior)
    sides = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    for side in sides:
        check_whole("tiled: size", side, None)
    check_whole("tiled: overlap", overlap, None)
    if not 0 <= overlap < min(sides):
        raise ValueError(f"overlap is {overlap} but must be at least 0 and below size={size}.")
    return TiledPrior(schedule=prior.schedule, prior=prior, size=sides, overlap=overlap)


def _taper(size: int, overlap: int) -> jax.Array:
    distance = jnp.minimum(jnp.arange(size), jnp.arange(size)[::-1]) + 1.0
    return jnp.minimum(distance / (overlap + 1), 1.0)


# ---- checks


def check_prior(name: str, prior: Prior, argument: str = "prior") -> None:
    """Raises TypeError unless a prior came."""
    needed = "a Prior, such as rd.load_prior(); a function becomes one by rd.prior(fn, schedule)"
    check_type(f"{name}: {argument}", prior, Prior, needed)


def _check_made(name: str, fn: Callable[..., jax.Array], schedule: Schedule) -> None:
    needed = f"a function (x_t, t, cond) -> prediction; the order is {name}(fn, schedule)"
    if isinstance(fn, Schedule):  # which can be called, too
        raise TypeError(f"{name}: fn is {describe(fn)} but must be {needed}.")
    check_callable(f"{name}: fn", fn, needed)
    _check_schedule(name, schedule)


def _check_schedule(name: str, schedule: Schedule) -> None:
    needed = "a Schedule, such as rd.schedules.linear() or rd.schedules.from_betas(betas)"
    check_type(f"{name}: schedule", schedule, Schedule, needed)
