"""Autoencoders: pictures to latents, and latents to pictures.

A latent prior knows z and not the picture x. With an encoder E and a decoder D, and the scale s and shift c that bring
the encoder's numbers to what the prior was trained on,

    z = s (E(x) - c),    x = D(z / s + c).
"""

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import (
    check_callable,
    check_image_shape,
    check_numbers,
    check_positive,
    check_type,
    check_whole,
    numbers,
)
from reddiff_jax._keys import key_from
from reddiff_jax._overlapping import blend_tiles
from reddiff_jax._repr import Detail, Repr, count_parameters, field_parts
from reddiff_jax._types import Image
from reddiff_jax.nets import AutoencoderNet

Latent = Float[Array, "h w c"]
_TOLERANCE = 1e-3  # of float32 sums over a picture
_SIDE = 8  # of the latents in which a network's gain is measured


@struct.dataclass
class Autoencoder(Repr, abc.ABC):
    """An encoder and a decoder; one network serves all images, so that it belongs to the solver and not to a problem.

    Args (fields):
        scale: Factor of the encoder's numbers, scalar or (1, 1, c); None is 1.
        shift: What is subtracted from them before, scalar or (1, 1, c); None is 0.
        gain: By how much a pixel changes when a latent changes by one unit, root of the ratio of squared norms.
    """

    scale: jax.Array | None
    shift: jax.Array | None
    gain: jax.Array

    @abc.abstractmethod
    def encoded(self, x: Image) -> Latent:
        """The encoder's own numbers."""

    @abc.abstractmethod
    def decoded(self, z: Latent) -> Image:
        """The picture of the encoder's own numbers."""

    @property
    def stride(self) -> int:
        """Pixels a latent, along a side; pictures of other sides are padded by mirroring."""
        return 1

    @property
    def channels(self) -> int | None:
        """Channels of the pictures; None if any."""
        return None

    def encode(self, x: Image) -> Latent:
        """The latent of a picture."""
        h, w, _ = x.shape
        z = self.encoded(jnp.pad(x, ((0, -h % self.stride), (0, -w % self.stride), (0, 0)), mode="symmetric"))
        z = z if self.shift is None else z - self.shift
        return z if self.scale is None else z * self.scale

    def decode(self, z: Latent) -> Image:
        """The picture of a latent; its sides are multiples of ``stride``."""
        z = z if self.scale is None else z / self.scale
        return self.decoded(z if self.shift is None else z + self.shift)

    def latent_shape(self, in_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of the latent of a picture."""
        shape = jax.eval_shape(self.encode, jax.ShapeDtypeStruct(in_shape, jnp.float32)).shape
        if len(shape) != 3:
            raise ValueError(f"the encoder gives an array of shape {shape}; a latent has three axes (h, w, c).")
        return shape


@struct.dataclass
class NetAutoencoder(Autoencoder):
    """A network of this package; build it with ``net_autoencoder``."""

    params: Any
    net: AutoencoderNet = struct.field(pytree_node=False)
    tile: int | None = struct.field(pytree_node=False, default=None)  # side in pixels

    def _repr_parts(self, detail: Detail) -> list[str]:
        fields = field_parts(self, detail, without=("params", "net"))
        return [type(self.net).__name__, count_parameters(self.params), *fields]

    def encoded(self, x: Image) -> Latent:
        """The encoder's output, of a KL autoencoder its mean."""
        return self._tiled(lambda tile: self._apply(tile, "encode"), x, into=self.net.stride, out=1)

    def decoded(self, z: Latent) -> Image:
        """The decoder's output."""
        return self._tiled(lambda tile: self._apply(tile, "decode"), z, into=1, out=self.net.stride)

    @property
    def stride(self) -> int:
        """Pixels a latent, along a side."""
        return self.net.stride

    @property
    def channels(self) -> int:
        """Channels of the pictures."""
        return self.net.in_channels

    def _apply(self, x: jax.Array, method: str) -> jax.Array:
        output: jax.Array = self.net.apply({"params": self.params}, x, method=method)  # type: ignore[assignment]
        return output.astype(x.dtype)

    def _tiled(self, fn: Callable[[jax.Array], jax.Array], x: jax.Array, *, into: int, out: int) -> jax.Array:
        if self.tile is None or max(x.shape[:2]) // into <= (side := self.tile // self.net.stride):
            return fn(x)
        return blend_tiles(fn, x, (side, side), side // 4, into=into, out=out)


@struct.dataclass
class FunctionAutoencoder(Autoencoder):
    """Functions as an autoencoder; build it with ``autoencoder``."""

    params: Any
    encode_fn: Callable[..., Any] = struct.field(pytree_node=False)
    decode_fn: Callable[..., Any] = struct.field(pytree_node=False)

    def encoded(self, x: Image) -> Latent:
        """Calls the encoder."""
        return self.encode_fn(x) if self.params is None else self.encode_fn(self.params, x)

    def decoded(self, z: Latent) -> Image:
        """Calls the decoder."""
        return self.decode_fn(z) if self.params is None else self.decode_fn(self.params, z)


@struct.dataclass
class LinearAutoencoder(FunctionAutoencoder):
    """Functions of which the decoder is linear; build it with ``linear_autoencoder``."""


@struct.dataclass
class OrthonormalAutoencoder(LinearAutoencoder):
    """A change of basis: norms stay, and nothing is lost; build it with ``linear_autoencoder``."""


@struct.dataclass
class GrayAutoencoder(Autoencoder):
    """An autoencoder of RGB pictures for gray ones: three equal channels in, their mean out."""

    rgb: Autoencoder

    @property
    def stride(self) -> int:
        """Pixels a latent, along a side."""
        return self.rgb.stride

    @property
    def channels(self) -> int:
        """Channels of the pictures."""
        return 1

    def encoded(self, x: Image) -> Latent:
        """Latent of the picture in three channels."""
        return self.rgb.encode(jnp.repeat(x, 3, axis=2))

    def decoded(self, z: Latent) -> Image:
        """Mean of the channels."""
        return self.rgb.decode(z).mean(axis=2, keepdims=True)


def serving(autoencoder: Autoencoder, channels: int) -> Autoencoder:
    """The autoencoder for pictures of so many channels: one of RGB pictures serves gray ones.

    Raises:
        ValueError: If it serves others only.
    """
    if autoencoder.channels in (None, channels):
        return autoencoder
    if (autoencoder.channels, channels) == (3, 1):
        return GrayAutoencoder(scale=None, shift=None, gain=autoencoder.gain / np.sqrt(3), rgb=autoencoder)
    raise ValueError(
        f"the image has {channels} channels but the autoencoder's pictures have {autoencoder.channels}. Take another "
        "prior or picture."
    )


def net_autoencoder(
    net: AutoencoderNet,
    params: Any,
    *,
    scale: Any = 1.0,
    shift: Any = 0.0,
    gain: float | jax.Array | None = None,
    tile: int | None = None,
) -> NetAutoencoder:
    """A network of ``rd.nets`` as an autoencoder: ``AutoencoderKL``, ``AutoencoderTiny`` or ``VQModel``.

    Args:
        net: The network.
        params: Its parameters.
        scale: What the encoder's numbers are multiplied by, diffusers' ``scaling_factor``; one number or (c,).
        shift: What is subtracted from them before, diffusers' ``shift_factor``.
        gain: By how much a pixel changes when a latent changes by one unit; measured between random latents if None.
        tile: Side in pixels of the tiles in which larger pictures are encoded and decoded, so that memory is bounded;
            they share a quarter. None: whole.

    Raises:
        TypeError: If the network is another.
        ValueError: If a number makes no sense.
    """
    check_type("net_autoencoder: net", net, AutoencoderNet.__args__, "an AutoencoderKL, AutoencoderTiny or VQModel")
    if tile is not None and check_whole("net_autoencoder: tile", tile) < 4 * net.stride:
        raise ValueError(f"net_autoencoder: tile is {tile} but must be at least {4 * net.stride}, four latents.")
    made = NetAutoencoder(
        **_numbers("net_autoencoder", scale, shift), gain=jnp.ones(()), params=params, net=net, tile=tile
    )
    return _with_gain(made, gain, (_SIDE, _SIDE, net.latent_channels))


def autoencoder(
    encode: Callable[..., Any],
    decode: Callable[..., Any],
    in_shape: tuple[int, int, int],
    *,
    params: Any = None,
    scale: Any = 1.0,
    shift: Any = 0.0,
    gain: float | jax.Array | None = None,
) -> FunctionAutoencoder:
    """Your own encoder and decoder.

    Args:
        encode: Takes one picture (H, W, C) in [-1, 1] and returns its latent (h, w, c).
        decode: Takes a latent and returns a picture.
        in_shape: ``(H, W, C)`` of a picture on which both are tried; others may follow.
        params: Pytree of arrays that both functions get as their first argument.
        scale: As for ``net_autoencoder``.
        shift: As for ``net_autoencoder``.
        gain: As for ``net_autoencoder``.

    Raises:
        TypeError: If a function cannot be called.
        ValueError: If the shapes of both do not fit each other.
    """
    return _of_functions(FunctionAutoencoder, "autoencoder", encode, decode, in_shape, params, scale, shift, gain)


def linear_autoencoder(
    encode: Callable[..., Any],
    decode: Callable[..., Any],
    in_shape: tuple[int, int, int],
    *,
    params: Any = None,
    scale: Any = 1.0,
) -> LinearAutoencoder:
    """An encoder with a linear decoder, such as principal components or a wavelet transform.

    The measurement of a latent is then a LinearOperator. Where the decoder is orthonormal and loses nothing (a cosine
    transform, Haar wavelets) and ``scale`` is 1, it even keeps a SpectralOperator's singular values, and the posterior
    in z is the posterior in pixels. Both are tried on random pictures.

    Args:
        encode: As for ``autoencoder``.
        decode: As for ``autoencoder``, linear.
        in_shape: As for ``autoencoder``.
        params: As for ``autoencoder``.
        scale: As for ``net_autoencoder``.

    Raises:
        TypeError: If a function cannot be called.
        ValueError: If the shapes do not fit each other, or the decoder is not linear.
    """
    made = _of_functions(LinearAutoencoder, "linear_autoencoder", encode, decode, in_shape, params, scale, 0.0, None)
    with jax.default_matmul_precision("highest"):
        a, b = (jax.random.normal(key, made.latent_shape(in_shape)) for key in jax.random.split(key_from(1)))
        x = jax.random.normal(key_from(2), in_shape)
        together, apart = made.decode(2.0 * a - 0.5 * b), 2.0 * made.decode(a) - 0.5 * made.decode(b)
        back, kept = made.decode(made.encode(x)) - x, made.encode(made.decode(a)) - a
        inner = jnp.abs(jnp.vdot(made.decode(a), made.decode(b)) - jnp.vdot(a, b))
    apart_by, size = _norm(together - apart), _norm(apart)
    if not apart_by <= _TOLERANCE * size:
        raise ValueError(
            f"linear_autoencoder: decode is not linear: decode(2a - b/2) differs from 2 decode(a) - decode(b)/2 by "
            f"{apart_by:.3g}, where the latter has norm {size:.3g}. Use rd.autoencoder."
        )
    lost = max(_norm(back) / _norm(x), _norm(kept) / _norm(a), _norm(inner) / (_norm(a) * _norm(b)))
    if lost > _TOLERANCE:
        return made
    return OrthonormalAutoencoder(made.scale, made.shift, made.gain, made.params, made.encode_fn, made.decode_fn)


def _norm(x: jax.Array) -> float:
    return float(jnp.linalg.norm(jnp.ravel(x)))


def _of_functions(
    kind: type, name: str, encode: Any, decode: Any, in_shape: Any, params: Any, scale: Any, shift: Any, gain: Any
) -> Any:
    for argument, function in (("encode", encode), ("decode", decode)):
        check_callable(f"{name}: {argument}", function, "a function of one array (H, W, C)")
    in_shape = check_image_shape(f"{name}: in_shape", in_shape)
    made = kind(**_numbers(name, scale, shift), gain=jnp.ones(()), params=params, encode_fn=encode, decode_fn=decode)
    latent = made.latent_shape(in_shape)
    back = jax.eval_shape(made.decode, jax.ShapeDtypeStruct(latent, jnp.float32)).shape
    if back != in_shape:
        raise ValueError(
            f"{name}: encode maps {in_shape} to {latent}, which decode maps to {back}; it must give {in_shape} back."
        )
    return _with_gain(made, gain, latent)


def _numbers(name: str, scale: Any, shift: Any) -> dict[str, jax.Array | None]:
    """Scale and shift as leaves; None for 1 and 0, so that what changes nothing is left out of the program."""
    check_numbers(f"{name}: scale", scale, lambda x: np.isfinite(x) & (x > 0), "finite and above 0")
    check_numbers(f"{name}: shift", shift, np.isfinite, "finite")
    values = {"scale": (scale, 1.0), "shift": (shift, 0.0)}
    return {key: _unless(value, neutral) for key, (value, neutral) in values.items()}


def _unless(value: Any, neutral: float) -> jax.Array | None:
    known = numbers(value)
    if known is not None and (known == neutral).all():
        return None
    value = jnp.asarray(value, dtype=float)
    return value if value.ndim == 0 else value.reshape(1, 1, -1)  # (1, 1, c)


def _with_gain(made: Any, gain: Any, shape: tuple[int, int, int]) -> Any:
    if gain is not None:
        check_positive("gain", gain)
        return made.replace(gain=jnp.asarray(gain, dtype=float))
    a, b = (jax.random.normal(key, shape) for key in jax.random.split(key_from(0)))
    return made.replace(gain=_measured(made, a, b))


@jax.jit
def _measured(made: Autoencoder, a: Latent, b: Latent) -> jax.Array:
    """Distance of two pictures a distance of their latents."""
    return jnp.linalg.norm(jnp.ravel(made.decode(a) - made.decode(b))) / jnp.linalg.norm(jnp.ravel(a - b))
