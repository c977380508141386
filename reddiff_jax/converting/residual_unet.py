"""State dicts of the residual UNet in PyTorch: names to our parameters, and the configuration that shapes tell.

Shapes tell widths and blocks. They tell the product of the picture's channels and of the pixels of a patch: for a
picture of 1 or 3 channels only one square patch fits; for other channels the patch is asked for.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.parameters import fill, target
from reddiff_jax.nets import ResidualUNet
from reddiff_jax.nets.residual_unet import EMBEDDING_FEATURES, NUM_FREQUENCIES

SCHEDULE, PREDICTION = "linear", "v"  # of the training of this architecture
_CHANNELS = (3, 1)
_SIGNATURE = ("head.weight", "down.0.0.conv1.weight", "down.0.0.film.weight", "tail.weight")


def is_residual_unet(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are those of this architecture."""
    return all(name in tensors for name in _SIGNATURE)


def choose_net(tensors: Mapping[str, np.ndarray], *, patch_size: int | None = None) -> ResidualUNet:
    """The network of a state dict.

    Args:
        tensors: Arrays (or anything with a ``shape``) by their PyTorch names.
        patch_size: Side of the pixel patches, in pixels; where it is None, pictures have 3 channels or 1.

    Raises:
        CheckpointError: If shapes do not fit together, or allow several patches.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        (_, features_in, *_), (features_out, *_) = shapes["head.weight"], shapes["tail.weight"]
        num_levels, num_blocks = (_count(shapes, name) for name in ("down.{}.0.conv1.weight", "down.0.{}.conv1.weight"))
        widths = tuple(shapes[f"down.{level}.0.conv1.weight"][0] for level in range(num_levels))
    except (IndexError, ValueError) as error:
        raise CheckpointError(f"the file has names of a residual UNet, but its shapes are others ({error}).") from error
    if patch_size is None:
        patch_size = _patch_size(features_in)
    if features_in % patch_size**2 or features_out % patch_size**2:
        raise CheckpointError(
            f"--patch-size {patch_size} does not fit the file: patches of {patch_size} x {patch_size} pixels do not "
            f"divide the {features_in} channels of head.weight and the {features_out} of tail.weight."
        )
    return ResidualUNet(
        in_channels=features_in // patch_size**2,
        out_channels=features_out // patch_size**2,
        widths=widths,
        num_res_blocks=num_blocks,
        patch_size=patch_size,
    )


def to_params(tensors: Mapping[str, np.ndarray], net: ResidualUNet) -> dict[str, Any]:
    """Maps a state dict to the parameters of a network, one to one; see ``parameters.fill``."""

    def place(name: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        if name in ("tail.weight", "tail.bias"):
            tensor = _pixels_first(tensor, 0, net.patch_size)
        elif name == "head.weight":
            tensor = _pixels_first(tensor, 1, net.patch_size)
        path, array = target(name, tensor)
        if name.startswith("grow.") and path[-1] == "kernel" and tensor.ndim == 4:
            array = tensor.transpose(0, 2, 3, 1)  # (I, kh, kw, O)
        return path, array

    return fill(net, tensors, remedy="Check that the file is of this network, and complete.", target=place)


class Layout:
    """Where each number of PyTorch's tensors stands in our parameters, as the converter says."""

    def __init__(self, net: ResidualUNet):
        self._shapes = tensor_shapes(net)
        ends = np.cumsum([math.prod(shape) for shape in self._shapes.values()])
        self._size, self._cuts = int(ends[-1]), ends[:-1]
        # The converter moves the numbers of the places; float64 holds them exactly.
        places = to_params(self._split(np.arange(self._size, dtype=np.float64)), net)
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


def _count(shapes: Mapping[str, Any], name: str) -> int:
    """How many names there are with the numbers 0, 1, ... in them."""
    number = 0
    while name.format(number) in shapes:
        number += 1
    return number


def _patch_size(features: int) -> int:
    """The side of a patch whose channels are ``features``, if pictures have one of ``_CHANNELS``."""
    for channels in _CHANNELS:
        side = math.isqrt(features // channels)
        if side and channels * side**2 == features:
            return side
    raise CheckpointError(
        f"the {features} channels of head.weight are no square patch of a picture of 3 channels or 1; say --patch-size."
    )


def _pixels_first(tensor: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Brings the channels of patches from PyTorch's order (c, i, j) to that of ``layers.space_to_depth``, (i, j, c)."""
    if tensor.ndim <= axis or tensor.shape[axis] % size**2:
        return tensor  # it fits nowhere; ``fill`` says so
    order = np.arange(tensor.shape[axis]).reshape(-1, size**2).T.reshape(-1)
    return tensor.take(order, axis)
