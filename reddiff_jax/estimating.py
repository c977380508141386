"""The noise level of a picture, estimated from the picture itself.

A classical estimate starts: the median of a wavelet's finest diagonal details (Donoho & Johnstone 1994). It takes
texture for noise. A prior knows what texture looks like, and refines it. With p_r the prior blurred by noise of
standard deviation r, the likeliest level of y = x + sigma n solves ``d log p_r(y) / dr = 0``. Blurring is diffusion,
``d p_r / d(r^2) = laplacian(p_r) / 2``, and the prior's prediction is its score, ``eps_hat = -r grad log p_r``, so

    d log p_r(y) / d(r^2) = (|eps_hat|^2 - r div eps_hat) / (2 r^2) = 0    <=>    |eps_hat|^2 = r div eps_hat

At r = sigma both sides have the mean n - mmse(sigma) / sigma^2 over the n pixels, mmse the error of the best denoiser:
``E<n, eps_hat> = E|eps_hat|^2`` as eps_hat is the mean of n given y, and ``E<n, eps_hat> = r E div eps_hat`` by Stein's
lemma. So ``|eps_hat|^2 = n`` alone would be solved by too low a level. For a Gaussian prior N(m, C) the two sides are
``r^2 |(C + r^2)^-1 (y - m)|^2`` and ``r^2 tr (C + r^2)^-1``: their ratio falls from above 1 to below it as r passes the
likeliest level, if C is one number exactly once. The divergence takes one random probe z, ``<z, J z>``.

A file cuts noise at the ends of its range. Where about half of an area is cut, x lies at the end itself: white paper,
the air around a head. What was cut is then drawn anew, of the level r that is tried, so that the prior sees what it
knows, and the rest counts. Without this nothing but the texture of such pictures would count.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from reddiff_jax._checks import check_array, check_finite, is_visible
from reddiff_jax._files import check_file
from reddiff_jax._ranges import check_floating, check_observed, warn_of_image
from reddiff_jax._types import Image
from reddiff_jax.priors import Prior

SIDE = 128
"""Side of the part of a picture at which the prior looks."""

_LEVELS = 5  # at which the prior is asked, two evaluations each
_FEW = 200  # details, of which a median is right to a tenth
_NORMAL_MEDIAN = 0.6744898  # of |n|
# Daubechies' wavelet of two vanishing moments, Haar's, and the difference of neighbours in a row.
_DB2 = (-0.12940952255092145, -0.22414386804185735, 0.836516303737469, -0.48296291314469025)
_HAAR = (0.5**0.5, -(0.5**0.5))
_AREA = 7  # side of an area of which a share is cut
_HALF = (0.35, 0.65)  # of an area with x at the end of the range; three standard deviations of a mean of 49
_MOST_ROWS = 1024  # of a JPEG file that are looked at
# Mean squares over R, G, B of what a unit of Y, Cb, Cr adds to them (JFIF).
_RGB_OF_YCBCR = (1.0, (0.344136**2 + 1.772**2) / 3, (1.402**2 + 0.714136**2) / 3)


def estimate_sigma(y: Image, observed: Array | None = None, *, prior: Prior | None = None) -> Float[Array, ""]:
    """Estimates the standard deviation of white noise in a picture, for pixels in [-1, 1].

    Without a prior it is the median of the absolute finest wavelet details over 0.6745, which is too high where a
    picture is all detail. With a prior it is the level at which y is likeliest; see the module. The prior looks at
    128 x 128 pixels of middling detail, in ten evaluations. Estimate on what was measured: the blurred or the small
    picture, of an inpainting problem y with its mask.

    Pixels at -1 or 1, where a file has cut the noise, do not count, nor do their neighbours, as long as there are
    others; of areas that are half cut the prior counts the rest. Noise that is not white is not seen: what JPEG does is
    in ``estimate_jpeg_sigma``.

    Args:
        y: Noisy picture (H, W, C).
        observed: Mask (H, W), (H, W, 1) or (H, W, C) that is 0 where nothing was observed; all is if None.
        prior: Diffusion prior of pictures with as many channels; ``rd.gray_prior`` makes one for gray pictures.

    Raises:
        TypeError: If y is no array, as a PIL image is none.
        ValueError: If y is no real, floating-point, finite picture (H, W, C), or the mask has another size, is not of 0
            and 1, or says that nothing was observed.

    Warns:
        UserWarning: For a y that looks like [0, 255] or [0, 1]; not inside ``jit``, where numbers cannot be looked at.

    Source:
        Donoho & Johnstone 1994 (Biometrika 81). The refinement is the maximum of the likelihood; the divergence's
        estimate is Hutchinson's.
    """
    check_array("estimate_sigma: y", y, "an array, a picture (H, W, C) in [-1, 1]")
    y = jnp.asarray(y)
    if y.ndim != 3 or jnp.iscomplexobj(y) or 0 in y.shape:
        raise ValueError(
            f"estimate_sigma: y has shape {y.shape} and dtype {y.dtype} but must be one real picture (H, W, C); "
            "batches go through jax.vmap."
        )
    check_floating("estimate_sigma: y", y)
    check_finite("y", y, "What was not measured belongs in observed, a mask that is 0 there; y may be anything finite.")
    y = y.astype(float)
    known = _known(y, observed)
    if is_visible(y, known):
        warn_of_image(jnp.where(known, y, 0), "y", stacklevel=5)
    seen = _uncut(y, known)
    if prior is None:
        return _by_details(y, seen)
    y, known, seen = _part(y, seen, (y, known, seen))
    half = _half_cut(y, known)
    telling = seen | (half & (jnp.abs(y) < 1))
    whole = jnp.where(known, y, _filled(y, known))
    return _by_prior(prior, whole, telling, half & (jnp.abs(y) == 1), _by_details(y, seen))


def _known(y: Image, observed: Array | None) -> Bool[Array, "H W C"]:
    """Where y was observed."""
    if observed is None:
        return jnp.ones(y.shape, bool)
    check_array("estimate_sigma: observed", observed, "an array, a mask of 0 (missing) and 1 (observed)")
    observed = jnp.asarray(observed)
    observed = observed[..., None] if observed.ndim == 2 else observed
    if observed.ndim != 3 or observed.shape[:2] != y.shape[:2] or observed.shape[2] not in (1, y.shape[2]):
        raise ValueError(
            f"estimate_sigma: observed has shape {observed.shape} but y has {y.shape}; give its mask (H, W, 1)."
        )
    check_observed("estimate_sigma: observed", observed)
    return jnp.broadcast_to(observed > 0, y.shape)


def _uncut(y: Image, known: Array) -> Bool[Array, "H W C"]:
    """Where noise can be seen: what was observed, without what the file's range has cut and its neighbours."""
    cut = lax.reduce_window(jnp.abs(y) == 1, False, lax.bitwise_or, (3, 3, 1), (1, 1, 1), "SAME")
    whole = known & ~cut
    return jnp.where(whole.sum() >= known.sum() / 16, whole, known)


def _half_cut(y: Image, known: Array) -> Bool[Array, "H W C"]:
    """Where the file's range has cut about half of the pixels around, at one of its ends."""

    def sums(x: Array) -> Array:
        return lax.reduce_window(x.astype(float), 0.0, lax.add, (_AREA, _AREA, 1), (1, 1, 1), "SAME")

    # Of a constant XLA would compute the sums while it compiles, for seconds.
    count = jnp.maximum(sums(known & jnp.isfinite(y)), 1.0)
    shares = [sums(known & (y == end)) / count for end in (-1, 1)]
    return known & ((_HALF[0] < shares[0]) & (shares[0] < _HALF[1]) | (_HALF[0] < shares[1]) & (shares[1] < _HALF[1]))


# ---- the classical estimate


def _by_details(y: Image, seen: Array) -> Float[Array, ""]:
    """The median of absolute details over that of |n|; of shorter wavelets where few long ones were seen."""
    sigma, enough = jnp.zeros(()), jnp.zeros((), bool)
    for rows, columns in ((_DB2, _DB2), (_HAAR, _HAAR), ((1.0,), _HAAR)):
        if y.shape[0] < len(rows) or y.shape[1] < len(columns):
            continue
        details, whole = _details(y, seen, rows, columns)
        count = whole.sum()
        ordered = jnp.sort(jnp.where(whole, jnp.abs(details), jnp.inf), axis=None)
        middle = ordered[jnp.maximum(count - 1, 0) // 2] / _NORMAL_MEDIAN
        sigma = jnp.where(enough | (count == 0), sigma, middle)
        enough = enough | (count >= _FEW)
    return sigma


def _details(
    y: Image, seen: Array, rows: tuple[float, ...], columns: tuple[float, ...]
) -> tuple[Float[Array, "h w C"], Bool[Array, "h w C"]]:
    """Details at every place, and whether all pixels in it were seen."""

    def along(x: Array, taps: tuple[float, ...], axis: int, combine: Callable) -> Array:
        length = x.shape[axis] - len(taps) + 1
        parts = [lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(len(taps))]
        return combine(parts, taps)

    def weighted(parts: list[Array], taps: tuple[float, ...]) -> Array:
        return sum((tap * part for tap, part in zip(taps, parts, strict=True)), jnp.zeros(()))

    def all_of(parts: list[Array], taps: tuple[float, ...]) -> Array:
        return jnp.stack(parts).all(axis=0)

    details = along(along(y, rows, 0, weighted), columns, 1, weighted)
    return details, along(along(seen, rows, 0, all_of), columns, 1, all_of)


# ---- the part at which the prior looks


def _part(y: Image, seen: Array, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Of each array the part where y has middling detail, among those where as much was seen as anywhere, nearly."""
    h, w, c = y.shape
    sides = min(h, SIDE), min(w, SIDE)
    if sides == (h, w):
        return arrays
    roughness, whole = _details(y, seen, _HAAR, _HAAR)
    roughness = jnp.pad(jnp.where(whole, jnp.abs(roughness), 0.0), ((0, 1), (0, 1), (0, 0)))
    strides = tuple(max(1, side // 2) for side in sides)

    def sums(x: Array) -> Array:
        return lax.reduce_window(x.sum(axis=-1).astype(float), 0.0, lax.add, sides, strides, "VALID")

    counts = sums(jnp.pad(whole, ((0, 1), (0, 1), (0, 0))))
    means = jnp.where(counts >= 0.8 * counts.max(), sums(roughness) / jnp.maximum(counts, 1.0), jnp.inf)
    order = jnp.argsort(means, axis=None)
    chosen = order[(jnp.isfinite(means).sum() - 1) // 2]
    i, j = chosen // means.shape[1], chosen % means.shape[1]
    start = i * strides[0], j * strides[1], 0
    return tuple(lax.dynamic_slice(array, start, (*sides, c)) for array in arrays)


def _filled(y: Image, seen: Array) -> Image:
    """What was not seen, from what was around it."""
    weights, values = seen.astype(float), jnp.where(seen, y, 0.0)
    filled = jnp.broadcast_to(values.sum() / jnp.maximum(weights.sum(), 1.0), y.shape)
    for size in (17, 5):
        window, strides = (size, size, 1), (1, 1, 1)
        around = lax.reduce_window(weights, 0.0, lax.add, window, strides, "SAME")
        mean = lax.reduce_window(values, 0.0, lax.add, window, strides, "SAME") / jnp.maximum(around, 1.0)
        filled = jnp.where(around > 0, mean, filled)
    return filled


# ---- the refinement


def _by_prior(prior: Prior, y: Image, seen: Array, cut: Array, start: Float[Array, ""]) -> Float[Array, ""]:
    """The level at which |eps_hat|^2 = r div eps_hat, by the secant method in log r from the classical estimate."""
    # The same draws for all: the estimate is a function of y. Means over pixels that were seen.
    probe = jax.random.rademacher(jax.random.key(0, impl="threefry2x32"), y.shape, y.dtype)
    beyond = jnp.where(cut, jnp.abs(jax.random.normal(jax.random.key(1, impl="threefry2x32"), y.shape, y.dtype)), 0.0)
    weights = seen / jnp.maximum(seen.sum(), 1)
    alphas, sigmas = prior.schedule.alphas, prior.schedule.sigmas
    ratios = sigmas / alphas
    lowest, highest = ratios[0], ratios[-1]

    def excess(u: Array) -> Array:
        """Half the logarithm of |eps_hat|^2 / (r div eps_hat): how far, in log r, a first step leads."""
        r = jnp.clip(jnp.exp(u), lowest, highest)
        t = prior.schedule.fractional(r)
        alpha_t, _ = prior.schedule(t)
        eps_hat, change = jax.jvp(lambda y: prior.eps(alpha_t * y, t), (y * (1 + r * beyond),), (probe,))
        squares, divergence = jnp.sum(weights * eps_hat**2), r * jnp.sum(weights * probe * change)
        # An untrained network may have no divergence to speak of.
        return jnp.log(r) - u + 0.5 * jnp.log(jnp.clip(squares / jnp.maximum(divergence, 1e-6), 1e-4, 1e4))

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        u, before, excess_before = carry
        here = excess(u)
        slope = (here - excess_before) / jnp.where(u == before, 1.0, u - before)
        # The slope is -1 where all is noise and nearer to 0 where there is texture.
        stride = jnp.where((slope < -0.25) & (slope > -1.0), -here / jnp.minimum(slope, -0.25), here)
        return (jnp.clip(u + stride, least, most), u, here), None

    u = jnp.log(jnp.clip(start, 1e-4, highest))
    least, most = u - jnp.log(16.0), u + jnp.log(2.0)
    (u, _, _), _ = lax.scan(step, (u, u, jnp.zeros_like(u)), None, length=_LEVELS)
    return jnp.where(start > 0, jnp.exp(u), 0.0)


# ---- JPEG


def estimate_jpeg_sigma(path: str | Path) -> float:
    """Estimates the root mean square error that JPEG made in a file, for pixels in [-1, 1]; 0 for other files.

    A coefficient of the 8 x 8 cosine transform that was rounded in steps of q is off by q / sqrt(12). One that became 0
    has lost what it was, which the others of its frequency tell: of a Laplace distribution of scale b, a share
    ``exp(-q / (2 b))`` does not become 0. Halved chroma is counted as if it had been written so.

    Args:
        path: Picture file.

    Raises:
        OSError: If it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    check_file(path)
    try:
        opened = Image.open(path)
    except UnidentifiedImageError:  # other readers may know it, but it is no JPEG
        return 0.0
    with opened as image:
        tables, layers = getattr(image, "quantization", None), getattr(image, "layer", None)
        if image.format != "JPEG" or not tables or not layers or len(layers) not in (1, 3):
            return 0.0
        image.draft("L" if len(layers) == 1 else "YCbCr", image.size)  # as the file has it
        planes = np.asarray(image, np.float32)[:_MOST_ROWS, :_MOST_ROWS]
        planes = planes.reshape(*planes.shape[:2], len(layers))
    errors = []
    for plane, (_, across, down, table) in zip(np.moveaxis(planes, -1, 0), layers, strict=True):
        steps = max(layer[2] for layer in layers) // down, max(layer[1] for layer in layers) // across
        errors.append(_rounding_error(_reduced(plane - 128, steps), np.reshape(tables[table], (8, 8))))
    weights = (1.0,) if len(errors) == 1 else _RGB_OF_YCBCR
    return float(np.dot(weights, errors)) ** 0.5 / 127.5


def _reduced(plane: np.ndarray, steps: tuple[int, int]) -> np.ndarray:
    """Means of blocks."""
    h, w = (length // step for length, step in zip(plane.shape, steps, strict=True))
    return plane[: h * steps[0], : w * steps[1]].reshape(h, steps[0], w, steps[1]).mean(axis=(1, 3))


def _rounding_error(plane: np.ndarray, table: np.ndarray) -> float:
    """Mean square error of a plane of gray levels whose coefficients were rounded in steps of a table (8, 8)."""
    h, w = (length // 8 for length in plane.shape)
    if h == 0 or w == 0:
        return float(np.mean(table**2.0)) / 12
    k, i = np.mgrid[:8, :8]
    transform = np.cos(np.pi * (i + 0.5) * k / 8) * np.where(k == 0, 1, 2**0.5) / 8**0.5
    blocks = plane[: 8 * h, : 8 * w].reshape(h, 8, w, 8)
    coefficients = np.einsum("ki,aibj,lj->klab", transform, blocks, transform, optimize=True)
    q = np.maximum(table.astype(float), 1.0)
    share = np.mean(np.abs(coefficients) > q[:, :, None, None] / 2, axis=(2, 3))
    a = q / 2
    b = a / -np.log(share.clip(0.5 / (h * w), 1 - 1e-6))  # at most, where all became 0
    told = share >= 3 / (h * w)
    told[0, 0] = False  # the mean of a block is no detail
    # A picture's details fall by a power of the frequency. Where nothing at all was kept the lowest are at their most.
    frequency, known = np.log(np.hypot(k, i).clip(1.0)), told if told.any() else k + i == 1
    power = min(np.polyfit(frequency[told], np.log(b[told]), 1)[0], 0.0) if told.sum() >= 3 else -2.0
    scale = np.mean(np.log(b[known]) - power * frequency[known])
    b = np.where(told, b, np.minimum(b, np.exp(scale + power * frequency)))
    kept = np.exp(-a / b)
    lost = 2 * b**2 - kept * (a**2 + 2 * a * b + 2 * b**2)
    return float(np.mean(lost + kept * q**2 / 12))
