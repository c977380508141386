"""Stacking structs into batches, and taking them apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import _tree


def _problem(seed, shape=(4, 4), cond=None):
    mask = np.random.default_rng(seed).random(shape) > 0.5
    return rd.problem(jnp.full((*shape, 3), float(seed)), rd.inpainting(mask), rd.gaussian(0.1 * seed), cond=cond)


def test_unstack_undoes_stack():
    problems = [_problem(i) for i in range(3)]
    for ours, original in zip(_tree.unstack(rd.stack(problems)), problems, strict=True):
        assert jax.tree.structure(ours) == jax.tree.structure(original)
        assert all(map(np.array_equal, jax.tree.leaves(ours), jax.tree.leaves(original)))


def test_index_takes_an_item_of_every_leaf():
    assert _tree.index(rd.stack([_problem(i) for i in range(3)]), 2).y.max() == 2.0


def test_stack_takes_a_generator():
    assert rd.stack(_problem(i) for i in range(3)).y.shape == (3, 4, 4, 3)


def test_stacking_nothing_is_an_error():
    with pytest.raises(ValueError, match="trees is empty"):
        rd.stack([])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: _problem(1, (4, 6)), r"\.operator\.in_shape is \(4, 6, 3\), not \(4, 4, 3\)"),
        (lambda: rd.problem(jnp.zeros((4, 4, 3)), rd.denoising((4, 4, 3))), r"\.operator is Denoising, not Inpainting"),
        (lambda: _problem(1, cond=jnp.int32(1)), r"item 1 differs from item 0: \.cond"),
        (lambda: _problem(1).replace(y=jnp.zeros((4, 5, 3))), r"item 1\.y is float32\(4, 5, 3\)"),
        (lambda: _problem(1).replace(y=jnp.zeros((4, 4, 3), jnp.int32)), r"item 1\.y is int32"),
    ],
    ids=["size", "operator", "condition", "shape", "type"],
)
def test_stacking_what_does_not_match_says_where(other, message):
    with pytest.raises(ValueError, match=message):
        rd.stack([_problem(0), other()])


@pytest.mark.parametrize(
    "tree", [{"a": jnp.zeros(2), "b": jnp.zeros(3)}, {"a": jnp.zeros(())}], ids=["lengths", "scalar"]
)
def test_unstacking_what_was_not_stacked_is_an_error(tree):
    with pytest.raises(ValueError, match="Was it stacked"):
        _tree.unstack(tree)
