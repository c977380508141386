"""How many images go through a program at once, and a map over chunks of so many."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# A network's processor time for a picture, on two cores (the bundled prior): 32^2: 4.4, 3.6, 3.3, 3.5 ms in chunks of
# 1, 4, 16, 64; 64^2: 14.7, 12.7, 13.7 in 1, 4, 16; 256^2: 207, 215, 231 in 1, 2, 4, with memory in proportion. An
# accelerator is the faster the more it has at once; a platform that is not named here has no bound.
_PIXELS_AT_ONCE = {"cpu": 128**2}
_SHARED = -1


def images_at_once(in_shape: Sequence[int]) -> int | None:
    """How many images (H, W, C), or volumes, a device computes at once, at least 1; None for as many as there are."""
    pixels = _PIXELS_AT_ONCE.get(jax.default_backend())
    return None if pixels is None else max(1, pixels // math.prod(in_shape[:-1]))


def map_in_chunks(
    fn: Callable[..., Any], in_axes: Sequence[Any], at_once: int | None, *, masked: bool = False
) -> Callable[..., Any]:
    """``jax.vmap(fn, in_axes)`` of a chunk of the items at a time, by ``jax.lax.map``: with the memory of one chunk.

    Chunks are equally large. An item's result depends on the size of a chunk by rounding at most.

    Args:
        fn: Function of one item.
        in_axes: As for ``jax.vmap``, 0 or None for each argument or tree in it.
        at_once: Most items of a chunk; None for all of them.
        masked: Whether the function made takes one more argument before the others: bool (n,), which items are wanted.
            Chunks without any are passed over, and so may be the others' items; their results are meaningless.
    """
    # None would be an empty tree.
    shared_as_such = jax.tree.map(
        lambda axis: _SHARED if axis is None else axis,
        (0,) * masked + tuple(in_axes),
        is_leaf=lambda axis: axis is None,
    )
    batched = jax.vmap(fn, tuple(in_axes))

    def wanted_only(*args: Any) -> Any:
        if not masked:
            return batched(*args)
        traced = jax.jit(batched)  # once, for its shapes and for itself
        shapes = jax.eval_shape(traced, *args[1:])
        return jax.lax.cond(args[0].any(), traced, lambda *_: jax.tree.map(_zeros, shapes), *args[1:])

    def mapped(*args: Any) -> Any:
        axes = jax.tree.leaves(jax.tree.broadcast(shared_as_such, args))  # one for each array
        leaves, structure = jax.tree.flatten(args)
        count = next(jnp.shape(leaf)[0] for leaf, axis in zip(leaves, axes, strict=True) if axis != _SHARED)
        if at_once is None or count <= at_once:
            return batched(*args[masked:])
        num_chunks = -(-count // at_once)
        size = -(-count // num_chunks)

        def divided(leaf: jax.Array) -> jax.Array:
            """(n, ...) -> (chunks, size, ...), the last one filled up by repetition."""
            leaf = jnp.asarray(leaf)
            if num_chunks * size != count:
                leaf = leaf[jnp.minimum(jnp.arange(num_chunks * size), count - 1)]
            return leaf.reshape(num_chunks, size, *leaf.shape[1:])

        def of_chunk(own: list[jax.Array]) -> Any:
            following = iter(own)
            filled = [leaf if axis == _SHARED else next(following) for leaf, axis in zip(leaves, axes, strict=True)]
            return wanted_only(*jax.tree.unflatten(structure, filled))

        own = [divided(leaf) for leaf, axis in zip(leaves, axes, strict=True) if axis != _SHARED]
        results = jax.lax.map(of_chunk, own)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], results)

    return mapped


def _zeros(shape: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.zeros(shape.shape, shape.dtype)
