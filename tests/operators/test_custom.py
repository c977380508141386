from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

SHAPE = (4, 6, 3)


def _scale(params, x):
    return params * x


@pytest.mark.parametrize("fn", [jnp.tanh, lambda x: x + 0.1, lambda x: jnp.clip(2 * x, -1, 1), jnp.abs])
def test_function_that_is_not_linear_is_refused(fn):
    with pytest.raises(ValueError, match=r"fn is not linear.*Use rd\.operator"):
        ops.linear_operator(fn, SHAPE)


def test_function_with_a_custom_derivative_has_a_derived_adjoint():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, y: (2 * y,))
    np.testing.assert_array_equal(ops.linear_operator(double, SHAPE).adjoint(jnp.ones(SHAPE)), 2 * np.ones(SHAPE))


def test_pinv_of_a_linear_function_is_derived(rng):
    operator = ops.linear_operator(_scale, SHAPE, params=jnp.asarray(1 + rng.random((1, 6, 1)), dtype=jnp.float32))
    x = jnp.asarray(rng.random(SHAPE), dtype=jnp.float32)
    # Six different singular values: conjugate gradients need six steps, in float32.
    np.testing.assert_allclose(operator.pinv(operator(x)), x, atol=1e-5)


def test_params_of_a_batch_are_a_vmap_of_the_factory():
    build = jax.vmap(lambda gain: ops.linear_operator(_scale, SHAPE, params=gain))
    ys = jax.vmap(lambda operator, x: operator(x))(build(jnp.array([1.0, 2.0])), jnp.ones((2, *SHAPE)))
    np.testing.assert_array_equal(ys[:, 0, 0, 0], [1.0, 2.0])


def test_linear_operator_can_be_built_inside_jit():
    y = jax.jit(lambda gain, x: ops.linear_operator(lambda x: gain * x, SHAPE)(x))(2.0, jnp.ones(SHAPE))
    np.testing.assert_array_equal(y, 2 * np.ones(SHAPE))


@pytest.mark.parametrize("factory", [ops.operator, ops.linear_operator])
def test_what_cannot_be_called_is_refused(factory):
    with pytest.raises(TypeError, match=r"fn is .*a list.* but must be a function"):
        factory([1.0], SHAPE)


def _by_numpy(x) -> Any:
    return np.asarray(x)[::2]


def _by_callback(x):
    return jax.pure_callback(_by_numpy, jax.ShapeDtypeStruct((2, 6, 3), x.dtype), x, vmap_method="sequential")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ops.operator(_by_numpy, SHAPE), r"operator: fn cannot be traced by JAX \(TracerArrayConversionError"),
        (
            lambda: ops.linear_operator(_by_numpy, SHAPE),
            r"linear_operator: fn cannot be .*pure_callback and give adjoint=",
        ),
        (
            lambda: ops.linear_operator(lambda x: x if x.sum() > 0 else 2 * x, SHAPE),
            r"fn cannot be .*TracerBoolConversion",
        ),
        (lambda: ops.linear_operator(_by_callback, SHAPE), r"adjoint cannot be .*no derivative\).* give adjoint="),
        (lambda: ops.linear_operator(lambda x: x, SHAPE, adjoint=_by_numpy), r"adjoint cannot be traced by JAX"),
    ],
)
def test_what_jax_cannot_trace_is_refused(build, words):
    with pytest.raises(TypeError, match=words):
        build()


def test_a_callback_with_an_adjoint_is_an_operator():
    def adjoint(y):
        return jnp.zeros(SHAPE).at[::2].set(y)

    operator = ops.linear_operator(_by_callback, SHAPE, adjoint=adjoint)
    np.testing.assert_array_equal(jax.jit(operator)(jnp.ones(SHAPE)), np.ones((2, 6, 3)))
