"""Batches over the devices of a mesh."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reddiff_jax._checks import is_concrete


class Sharded:
    """A function of batches over a mesh; ``shard_vmap`` makes it."""

    def __init__(self, compiled: Any, place: Callable[..., tuple[Any, ...]]):
        self._compiled, self._place = compiled, place

    def __call__(self, *args: Any) -> Any:
        """Calls the function, with arguments from wherever they are."""
        return self._compiled(*self._place(*args))

    def lower(self, *args: Any) -> Any:
        """Lowers the function for such arguments, as ``jax.jit``'s does; what is compiled from it serves the calls."""
        return self._compiled.lower(*self._place(*args))

    def place(self, *args: Any) -> tuple[Any, ...]:
        """Puts the arguments on the mesh, where they are not there yet."""
        return self._place(*args)


def shard_vmap(
    fn: Callable[..., Any],
    mesh: Mesh,
    in_axes: int | Sequence[Any] = 0,
    *,
    axis: str | Sequence[str] | None = None,
    donate_argnums: Sequence[int] = (),
) -> Sharded:
    """``jax.jit(jax.vmap(fn, in_axes))`` over a mesh: each device solves its share of the batch, by itself.

    ``rd.shard_vmap(rd.run, mesh, (0, None, 0))(keys, solver, problems)``. Left to partition the batched function by
    itself, XLA gathers the whole batch for Fourier transforms (jax#20683), for kernels of each image's own and for
    tomography; here nothing is communicated. Arguments that are not on the mesh yet are put there, split where they
    have a batch axis and copied where not; ``jax.device_put(solver, NamedSharding(mesh, PartitionSpec()))`` does that
    once for many calls.

    The devices may be those of several processes (``jax.distributed.initialize``). Then each process calls it with the
    same arguments, or with arrays that are on the mesh already, and holds its devices' part of the result.

    Axes of the mesh other than ``axis`` are for networks that do not fit a device: parameters split over them
    (``rd.load_prior(sharding=io.along_largest_axis(mesh, "model"))``) stay split, and XLA communicates along them only.

    Args:
        fn: Function of one sample, e.g. ``rd.run``; its options by ``functools.partial``.
        mesh: The devices, e.g. ``jax.make_mesh((jax.device_count(),), ("batch",))``.
        in_axes: As for ``jax.vmap``.
        axis: Axis or axes of the mesh over which the batch is spread; all if None.
        donate_argnums: As for ``jax.jit``: arguments whose memory the results may take.

    Returns:
        Function of batched arguments; its results have a leading batch axis, spread over the mesh. Make it once:
        another one is another compilation.

    Raises:
        ValueError: If the mesh has no such axis; in a call, if the batch cannot be divided among the devices.
    """
    in_axes = in_axes if isinstance(in_axes, int) else tuple(in_axes)
    return shard_batched(jax.vmap(fn, in_axes), mesh, in_axes, axis=axis, donate_argnums=donate_argnums)


def shard_batched(
    batched: Callable[..., Any],
    mesh: Mesh,
    in_axes: int | Sequence[Any],
    *,
    axis: str | Sequence[str] | None = None,
    donate_argnums: Sequence[int] = (),
) -> Sharded:
    """``shard_vmap`` for a function that takes batches itself: each device calls it with its share."""
    axes = mesh.axis_names if axis is None else (axis,) if isinstance(axis, str) else tuple(axis)
    if unknown := set(axes) - set(mesh.axis_names):
        raise ValueError(f"axis has {sorted(unknown)} but the mesh has {mesh.axis_names}.")
    # Results on a mesh of explicit axes could not even be indexed; and XLA needs the other axes to itself.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    devices = set(mesh.devices.flat)
    count = math.prod(mesh.shape[name] for name in axes)
    specs = jax.tree.map(lambda i: _spec(i, axes), in_axes, is_leaf=lambda i: i is None)
    # What a device computes is the same for all that hold a share of one network; there is nothing to check.
    mapped = jax.shard_map(
        batched, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(axes), axis_names=set(axes), check_vma=False
    )

    def place(spec: PartitionSpec, leaf: Any) -> Any:
        size = jnp.shape(leaf)[len(spec) - 1] if spec else count
        if size % count:
            raise ValueError(
                f"a batch of {size} cannot be divided among {count} devices; fill it up to a multiple of {count}, or "
                "use rd.run_many(..., mesh=mesh), which does."
            )
        if not is_concrete(leaf):
            return leaf
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.device_set == devices:
            spec = sharding.spec
        return _put(leaf, NamedSharding(mesh, spec))

    return Sharded(jax.jit(mapped, donate_argnums=tuple(donate_argnums)), partial(_map_prefix, place, specs))


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True):
        return jax.device_put(leaf, sharding)
    # Devices of other processes take only host values, not arrays on a device of this process.
    if jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key):
        numbers = jax.device_put(np.asarray(jax.random.key_data(leaf)), sharding)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
    return jax.device_put(np.asarray(leaf), sharding)


def _spec(in_axis: int | None, axes: tuple[str, ...]) -> PartitionSpec:
    return PartitionSpec() if in_axis is None else PartitionSpec(*[None] * in_axis, axes)


def _map_prefix(place: Callable[[PartitionSpec, Any], Any], specs: Any, *args: Any) -> tuple[Any, ...]:
    """Calls ``place`` for each array with its spec; a spec in the place of a tree is for all of the tree."""
    return jax.tree.map(
        lambda spec, tree: jax.tree.map(lambda leaf: place(spec, leaf), tree),
        specs,
        args,
        is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
    )
