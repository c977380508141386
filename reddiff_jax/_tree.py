"""Batches of structs: stacking the pytrees of single images, and taking them apart."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Tree = TypeVar("Tree")


def stack(trees: Sequence[Tree]) -> Tree:
    """Stacks problems, operators or other pytrees along a new leading axis, for ``jax.vmap``.

    Args:
        trees: One for each image; of equal structure, configuration (static fields) and shapes.

    Returns:
        One pytree whose leaves have one more axis, of length ``len(trees)``.

    Raises:
        ValueError: If there are none, or they differ in anything but the values of arrays.
    """
    if is_dataclass(trees) or not isinstance(trees, Iterable):
        raise TypeError(f"stack: trees is a {type(trees).__name__} but must be several, such as a list of problems.")
    trees = list(trees)
    if not trees:
        raise ValueError("stack: trees is empty but at least one problem or operator is needed.")
    for i, tree in enumerate(trees[1:], start=1):
        check_alike(trees[0], tree, "item 0", f"stack: item {i}")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def check_alike(first: Any, other: Any, first_name: str, other_name: str) -> None:
    """Raises ValueError if two pytrees differ in anything but the values of arrays, and so cannot share a batch."""
    if jax.tree.structure(other) != jax.tree.structure(first):
        raise ValueError(
            f"{other_name} differs from {first_name}: {_difference(first, other)}. Only arrays may differ between the "
            "images of a batch; run the others as a batch of their own."
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(first), jax.tree.leaves(other), strict=True)
    for (path, leaf), value in pairs:
        if (jnp.shape(leaf), _dtype(leaf)) != (jnp.shape(value), _dtype(value)):
            raise ValueError(
                f"{other_name}{jax.tree_util.keystr(path)} is {_dtype(value)}{jnp.shape(value)} but {first_name}'s is "
                f"{_dtype(leaf)}{jnp.shape(leaf)}. Arrays of a batch need one shape: pad, crop, or run two batches."
            )


def index(tree: Tree, i: int | slice | jax.Array | np.ndarray) -> Tree:
    """Item ``i`` of a stacked pytree, or several of the batch."""
    return jax.tree.map(lambda leaf: leaf[i], tree)


def unstack(tree: Tree) -> list[Tree]:
    """The items of a stacked pytree: the inverse of ``stack``.

    Raises:
        ValueError: If the leaves have no common leading axis.
    """
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"unstack: the leading axes of the leaves are {sorted(lengths)} but must all be one length. Was it stacked?"
        )
    ((length,),) = lengths
    return [index(tree, i) for i in range(length)]


def _dtype(leaf: Any) -> Any:
    return jnp.result_type(leaf) if isinstance(leaf, bool | int | float | complex) else leaf.dtype


def _difference(a: Any, b: Any, where: str = "") -> str:
    """Says in which type or static field two pytrees of unequal structure differ."""
    if type(a) is not type(b):
        return f"{where or 'it'} is {type(b).__name__}, not {type(a).__name__}"
    if is_dataclass(a) and not isinstance(a, type):
        for field in fields(a):
            left, right = getattr(a, field.name), getattr(b, field.name)
            name = f"{where}.{field.name}"
            if not field.metadata.get("pytree_node", True):
                if left != right:
                    return f"{name} is {right!r}, not {left!r}"
            elif jax.tree.structure(left) != jax.tree.structure(right):
                return _difference(left, right, name)
    return f"{where or 'it'} has structure {jax.tree.structure(b)}, not {jax.tree.structure(a)}"


def chosen(name: str, tree: Any, over: Callable[[Any], Any]) -> Any:
    """What ``over`` picks of a pytree: ``over(tree)``.

    Raises:
        ValueError: If that is not arrays of the tree itself, unchanged.
    """
    leaves = jax.tree.leaves(tree)
    return jax.tree.map(lambda place: leaves[place], _places(name, tree, over))


def replaced(tree: Tree, over: Callable[[Tree], Any], values: Any) -> Tree:
    """The pytree with other values in the places that ``over`` picks."""
    leaves, structure = jax.tree.flatten(tree)
    for place, value in zip(jax.tree.leaves(_places("over", tree, over)), jax.tree.leaves(values), strict=True):
        leaves[place] = value
    return structure.unflatten(leaves)


class _Place(int):
    """The number of a leaf; a number of a user's own is none."""


def _places(name: str, tree: Any, over: Callable[[Any], Any]) -> Any:
    """The numbers of the leaves that ``over`` picks."""
    leaves, structure = jax.tree.flatten(tree)
    try:
        places = over(structure.unflatten([_Place(i) for i in range(len(leaves))]))
    except Exception as error:
        raise ValueError(
            f"{name}: over raises {type(error).__name__}, but must pick arrays as they are in the problem, such as "
            "lambda problem: problem.operator.params."
        ) from error
    found = jax.tree.leaves(places)
    if not found or not all(isinstance(place, _Place) for place in found) or len(set(found)) < len(found):
        raise ValueError(
            f"{name}: over picks {'nothing' if not found else 'what is no array of the problem'}, but must pick arrays "
            "as they are in the problem, each once, such as lambda problem: problem.operator.params."
        )
    return places
