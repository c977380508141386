"""The blur of a picture, estimated from the picture itself: a Gaussian, a lens out of focus, or a straight motion.

The spectra of pictures are alike: their power falls by a power of the frequency f. A blur multiplies it by the power of
its own spectrum K_theta, and white noise adds a constant. So at each frequency the periodogram I of a blurred picture
is exponentially distributed, of mean

    P(f) = a |K_theta(f)|^2 |f|^-2.6 + s

and the likeliest theta, a and s minimise ``sum_f log P + I / P`` (Whittle 1953): theta over a grid that is refined
once, a and s by multiplicative updates (Fevotte et al. 2009). The zeros of a lens and of a motion, and how a Gaussian
curves, tell a blur from a picture without detail.
"""

import enum
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reddiff_jax import kernels
from reddiff_jax._checks import check_array, check_finite, check_non_negative

_EXPONENT = 2.6  # of the power; of the tuning photos, 64 x 64 from 256 x 256, the best of 1.8, 2.2, 2.6 and 3
_SIDES = (128, 64, 32)  # of the windows whose periodograms are averaged
LEAST_SIDE = _SIDES[-1]
"""Of a picture whose blur can be found."""

_LOWEST = 2.5  # periods in a window, below which its own spectrum leaks
_AXES = 1.5  # periods, up to which what is upright or level, as a mast, would look like a long motion
_UPDATES = 60
_LARGEST = 49  # side of a kernel
_MOST = 1024  # rows and columns, in the middle of a large picture, which are looked at


class BlurKind(enum.StrEnum):
    """The blurs of few numbers."""

    GAUSSIAN = "gaussian"
    DEFOCUS = "defocus"
    MOTION = "motion"


# By so much a frequency must a kind suit better than a Gaussian, if one window was seen; less of more windows. Stripes
# of a sharp picture look like motion: 0.09 and 0.14 in two of the four tuning pictures of 64 x 64.
_MARGINS = {BlurKind.GAUSSIAN: 0.0, BlurKind.DEFOCUS: 0.005, BlurKind.MOTION: 0.1}


class Blur(NamedTuple):
    """A blur of few numbers.

    Args (fields):
        kind: Which.
        pixels: Standard deviation, radius or length.
        angle: Of a motion, radians, anticlockwise from the horizontal; 0 for others.
    """

    kind: BlurKind
    pixels: float
    angle: float = 0.0

    @property
    def kernel(self) -> np.ndarray:
        """The kernel, float32 (size, size) with sum 1."""
        size = 2 * math.ceil(_REACH[self.kind] * self.pixels + 1) + 1
        return np.asarray(_KERNELS[self.kind](size, self.pixels, self.angle), np.float32)

    def __str__(self) -> str:
        """The words by which the command line knows it."""
        degrees = f"@{math.degrees(self.angle):.0f}" if self.kind is BlurKind.MOTION else ""
        return f"{self.kind.value}:{self.pixels:.3g}{degrees}"


_KERNELS: dict[BlurKind, Callable] = {
    BlurKind.GAUSSIAN: lambda size, pixels, angle: kernels.gaussian(size, pixels),
    BlurKind.DEFOCUS: lambda size, pixels, angle: kernels.defocus(pixels, size),
    BlurKind.MOTION: lambda size, pixels, angle: kernels.line(pixels, angle, size),
}
_REACH = {BlurKind.GAUSSIAN: 4.0, BlurKind.DEFOCUS: 1.0, BlurKind.MOTION: 0.5}  # of a kernel, in its pixels
_PIXELS = {BlurKind.GAUSSIAN: (0.3, 6.0, 30), BlurKind.DEFOCUS: (1.0, 12.0, 40), BlurKind.MOTION: (3.0, 30.0, 20)}
_ANGLES = {BlurKind.GAUSSIAN: 1, BlurKind.DEFOCUS: 1, BlurKind.MOTION: 24}


def estimate_blur(
    y: Float[Array, "H W C"] | np.ndarray, *, sigma: float | None = None, kinds: Sequence[BlurKind] = tuple(BlurKind)
) -> Blur:
    """Estimates the blur of a picture from its spectrum.

    Width, radius, length and angle of the one kind that explains it best. It takes no prior, and a second. It does not
    see where a picture is blurred in one part only; a picture that is smooth itself looks blurred. ``rd.blind`` goes on
    from here, for any operator.

    Args:
        y: Blurred picture (H, W, C), at least 32 x 32 pixels.
        sigma: Standard deviation of its noise; estimated with the blur if None.
        kinds: Of which blurs.

    Raises:
        TypeError: If y is no array.
        ValueError: If y is no real picture of that size, ``sigma`` is negative, or there are no kinds.

    Source:
        Whittle 1953 (Arkiv for Matematik 2). Multiplicative updates: Fevotte, Bertin & Durrieu 2009 (Neural Computation
        21).
    """
    check_array("estimate_blur: y", y, "an array, a picture (H, W, C) in [-1, 1]")
    picture, least = np.asarray(y), LEAST_SIDE
    if picture.ndim != 3 or picture.dtype.kind not in "fiu" or min(picture.shape[:2]) < least:
        raise ValueError(
            f"estimate_blur: y has shape {picture.shape} and dtype {picture.dtype} but must be one real picture "
            f"(H, W, C) of at least {least} x {least} pixels; smaller ones tell too little."
        )
    check_finite("estimate_blur: y", picture)
    if sigma is not None:
        check_non_negative("estimate_blur: sigma", sigma)
    if not kinds or not all(isinstance(kind, BlurKind) for kind in kinds):
        raise ValueError(
            f"estimate_blur: kinds is {kinds!r} but must be some of rd.BlurKind, such as (rd.BlurKind.MOTION,)."
        )
    side = next(side for side in _SIDES if side <= min(picture.shape[:2]))
    top, left = (max(0, length - _MOST) // 2 for length in picture.shape[:2])
    power, count = _periodogram(picture[top : top + _MOST, left : left + _MOST].astype(float), side)
    found = [_of_kind(kind, power, side, sigma) for kind in kinds]
    return min(found, key=lambda each: each[0] + _MARGINS[each[1].kind] / count**0.5)[1]


def _of_kind(kind: BlurKind, power: np.ndarray, side: int, sigma: float | None) -> tuple[float, Blur]:
    """The likeliest blur of a kind, with the mean negative log-likelihood of a frequency."""
    # The axes say much of a width; but a mast is no motion.
    axes = kind is not BlurKind.MOTION

    def costs_of(blurs: np.ndarray, axes: bool) -> np.ndarray:
        return _costs(power, np.asarray(_powers(kind, side)(jnp.asarray(blurs))), side, sigma, axes=axes)

    best = _grid(kind)[int(np.argmin(_costs(power, _spectra(kind, side), side, sigma, axes=axes)))]
    # Between its neighbours on the grid.
    low, high, num = _PIXELS[kind]
    ratio = (high / low) ** (1 / (num - 1))
    spread = math.pi / _ANGLES[kind] if _ANGLES[kind] > 1 else 0.0
    steps = np.linspace(-1, 1, 9)
    fine = np.asarray(
        [(best[0] * ratio**i, best[1] + spread * j) for i in steps for j in (steps if spread else (0.0,))]
    )
    fine[:, 0] = fine[:, 0].clip(low, high)
    pixels, angle = fine[int(np.argmin(costs_of(fine, axes)))]
    cost = costs_of(np.asarray([(pixels, angle)]), False)[0]
    return float(cost), Blur(kind, float(pixels), float(angle) % math.pi)


def _periodogram(y: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """Mean power of the windows, which overlap by half, and of the channels, (side, side // 2 + 1); their number."""
    taper = np.hanning(side + 2)[1:-1]
    window = np.outer(taper, taper)[..., None]
    window /= np.sqrt(np.mean(window**2))
    total, count = np.zeros((side, side // 2 + 1)), 0
    for top in _starts(y.shape[0], side):
        for left in _starts(y.shape[1], side):
            part = y[top : top + side, left : left + side]
            part = part - np.sum(part * window, axis=(0, 1)) / window.sum()
            spectrum = np.fft.rfft2(part * window, axes=(0, 1), norm="ortho")
            total += np.mean(np.abs(spectrum) ** 2, axis=-1)
            count += 1
    return total / count, count


def _starts(length: int, side: int) -> list[int]:
    """Where windows start along an axis: half a side from one to the next, the last one at the end."""
    return sorted({*range(0, length - side, side // 2), length - side})


def _frequencies(side: int) -> np.ndarray:
    """Periods in a window."""
    return side * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])


def _costs(power: np.ndarray, spectra: np.ndarray, side: int, sigma: float | None, *, axes: bool) -> np.ndarray:
    """Mean over the frequencies of ``log P + I / P`` at the likeliest a and s, for each of the blurs (N, F, G).

    The frequencies of what is upright or level count with ``axes`` only.
    """
    frequency = _frequencies(side)
    rows, columns = side * np.abs(np.fft.fftfreq(side)), side * np.fft.rfftfreq(side)
    used = frequency > _LOWEST
    if not axes:
        used &= (rows > _AXES)[:, None] & (columns > _AXES)[None, :]
    power = power[used]  # (M,)
    shape = spectra[:, used]  # (N, M)
    high = frequency[used] > 0.9 * side / 2
    noise = np.full((len(shape), 1), np.quantile(power[high], 0.2) if sigma is None else sigma**2) + 1e-9
    scale = np.mean(power) / np.mean(shape, axis=1, keepdims=True)
    for _ in range(_UPDATES):
        model = scale * shape + noise
        scale = scale * (np.sum(shape * power / model**2, 1, keepdims=True) / np.sum(shape / model, 1, keepdims=True))
        if sigma is None:
            model = scale * shape + noise
            noise = noise * (np.sum(power / model**2, 1, keepdims=True) / np.sum(1 / model, 1, keepdims=True))
    model = scale * shape + noise
    return np.mean(np.log(model) + power / model, axis=1)


def _grid(kind: BlurKind) -> np.ndarray:
    """The blurs that are tried, (N, 2): pixels and angles."""
    angles = np.arange(_ANGLES[kind]) * math.pi / _ANGLES[kind]
    return np.asarray([(pixels, angle) for pixels in np.geomspace(*_PIXELS[kind]) for angle in angles])


@cache
def _spectra(kind: BlurKind, side: int) -> np.ndarray:
    """Power of what is blurred by those that are tried, but for its size."""
    return np.asarray(_powers(kind, side)(jnp.asarray(_grid(kind))))


@cache
def _powers(kind: BlurKind, side: int) -> Callable[[jax.Array], jax.Array]:
    """Function (N, 2) -> power at the frequencies of what is blurred so, (N, side, side // 2 + 1)."""
    return jax.jit(jax.vmap(partial(_power, kind, side)))


def _power(kind: BlurKind, side: int, numbers: jax.Array) -> jax.Array:
    kernel = _KERNELS[kind](min(_LARGEST, side - 1), numbers[0], numbers[1])
    power = jnp.abs(jnp.fft.fft2(kernel, s=(side, side))) ** 2
    frequency = side * jnp.hypot(jnp.fft.fftfreq(side)[:, None], jnp.fft.fftfreq(side)[None, :])
    power = power * jnp.maximum(frequency, 1.0) ** -_EXPONENT
    for axis in (0, 1):
        # The taper's own spectrum fills narrow zeros, without which a long motion looks like a third of itself.
        power = 2 / 3 * power + (jnp.roll(power, 1, axis) + jnp.roll(power, -1, axis)) / 6
    return power[:, : side // 2 + 1]
