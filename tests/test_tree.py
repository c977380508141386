import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops
from reddiff_jax._tree import index, stack, unstack


def test_stack_adds_a_leading_axis_to_every_leaf_and_keeps_the_configuration():
    operators = stack([ops.inpainting(np.eye(4)), ops.inpainting(np.ones((4, 4)))])
    assert (operators.mask.shape, operators.in_shape) == ((2, 4, 4, 1), (4, 4, 3))


def test_unstack_undoes_stack():
    trees = [{"a": jnp.full(3, float(i)), "b": (jnp.array(i),)} for i in range(3)]
    again = unstack(stack(trees))
    assert [(t["a"].tolist(), int(t["b"][0])) for t in again] == [([float(i)] * 3, i) for i in range(3)]


def test_index_takes_one_item():
    assert index(stack([{"a": 1.0}, {"a": 2.0}]), 1)["a"] == 2.0


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ([], "trees is empty"),
        ([ops.denoising((4, 4, 3)), ops.denoising((4, 5, 3))], r"item 1 .*\.in_shape is \(4, 5, 3\), not \(4, 4, 3\)"),
        ([ops.denoising((4, 4, 3)), ops.colorization((4, 4, 3))], "is Colorization, not Denoising"),
        ([{"a": np.ones(3)}, {"a": np.ones(4)}], r"item 1\['a'\] is float64\(4,\) but item 0's is float64\(3,\)"),
        ([{"a": 1}, {"b": 1}], "has structure"),
    ],
)
def test_stack_says_what_differs(trees, message):
    with pytest.raises(ValueError, match=message):
        stack(trees)


def test_unstack_refuses_leaves_without_a_common_axis():
    with pytest.raises(ValueError, match="Was it stacked"):
        unstack({"a": jnp.ones(3), "b": jnp.ones(2)})
