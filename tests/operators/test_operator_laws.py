"""Laws that every operator keeps; tests/cases.py lists the operators."""

import functools
import importlib.util
import inspect
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import EXTRA_CASES, OPERATORS, OperatorCase
from pairs import make_operator

import reddiff_jax.operators as ops
from reddiff_jax._tree import stack


def _installed(case: OperatorCase) -> bool:
    return case.requires is None or importlib.util.find_spec(case.requires) is not None


def _select(*kinds: type, **flags: bool) -> pytest.MarkDecorator:
    cases = [
        case
        for case in INSTALLED
        if issubclass(case.kind, kinds) and all(getattr(case, flag) == on for flag, on in flags.items())
    ]
    marked = [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name in EXTRA_CASES else []) for case in cases
    ]
    return pytest.mark.parametrize("case", marked)


_DERIVED = ops.LinearOperator.adjoint
INSTALLED = [case for case in OPERATORS if _installed(case)]

every = _select(ops.Operator)
linear = _select(ops.LinearOperator)
spectral = _select(ops.SpectralOperator)


@functools.partial(jax.jit, static_argnums=0)
def _call(method: str, operator: ops.Operator, *args: jax.Array) -> jax.Array:
    """``operator.method(*args)`` compiled, which is quicker here than many small eager calls."""
    member = getattr(operator, method)
    return member(*args) if callable(member) else member


@functools.partial(jax.jit, static_argnums=0)
def _call_each(method: str, operators: ops.Operator, args: jax.Array) -> jax.Array:
    return jax.vmap(lambda operator, arg: getattr(operator, method)(arg))(operators, args)


_measure = functools.partial(_call, "__call__")
_pinv = functools.partial(_call, "pinv")
_adjoint = functools.partial(_call, "adjoint")
_derived_adjoint = jax.jit(ops.LinearOperator.adjoint)


def _draw(rng: np.random.Generator, shape: tuple[int, ...], like: jax.Array | None = None) -> jax.Array:
    """An array of JAX's default float (float64 in x64), complex where ``like`` is."""
    value = rng.uniform(-1, 1, shape)
    if like is not None and jnp.iscomplexobj(like):
        return jnp.asarray(value + 1j * rng.uniform(-1, 1, shape), dtype=complex)
    return jnp.asarray(value, dtype=float)


def _inner(a: jax.Array, b: jax.Array) -> float:
    return float(jnp.sum(jnp.real(a) * jnp.real(b) + jnp.imag(a) * jnp.imag(b)))


def _close(a: jax.Array, b: jax.Array, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=tolerance * max(1.0, float(jnp.abs(b).max())))


def _returned(function: typing.Callable) -> tuple[type, ...]:
    kinds = typing.get_type_hints(function)["return"]
    return typing.get_args(kinds) or (kinds,)


@pytest.mark.parametrize("case", [case for case in OPERATORS if case.requires], ids=lambda case: case.name)
def test_laws_are_not_tested_where_an_extra_is_missing(case: OperatorCase):
    pytest.importorskip(case.requires)
    assert case in INSTALLED


def test_extra_cases_are_cases():
    assert {case.name for case in OPERATORS} >= EXTRA_CASES


# Another operator after a decoder; their laws are tested with the autoencoders, in tests/test_latents.py.
OVER_LATENTS = {ops.Decoded, ops.LinearDecoded, ops.SpectralDecoded}


def test_every_public_struct_has_a_case():
    public = {v for v in vars(ops).values() if inspect.isclass(v) and issubclass(v, ops.Operator)}
    concrete = {v for v in public if not inspect.isabstract(v)} - {ops.Operator, ops.LinearOperator}
    assert concrete - OVER_LATENTS == {case.kind for case in OPERATORS}


def test_every_public_factory_has_a_case():
    factories = set()
    for name, function in vars(ops).items():
        if inspect.isfunction(function) and all(
            inspect.isclass(kind) and issubclass(kind, ops.Operator) for kind in _returned(function)
        ):
            factories.add(name)
    assert factories - {"decoded"} == {case.factory for case in OPERATORS}


@every
def test_factory_returns_the_kind_of_operator_that_is_tested(case: OperatorCase):
    assert type(make_operator(case, 0)) is case.kind


@every
def test_measurement_has_the_out_shape_and_float32(case: OperatorCase, rng):
    operator = make_operator(case, 0)
    y = jax.eval_shape(operator, _draw(rng, operator.in_shape))
    assert (y.shape, jnp.finfo(y.dtype).dtype) == (operator.out_shape, jnp.float32)


@_select(ops.Operator, has_pinv=True)
def test_pinv_has_the_in_shape_and_float32(case: OperatorCase, rng):
    operator = make_operator(case, 0)
    x = jax.eval_shape(lambda x: operator.pinv(operator(x)), _draw(rng, operator.in_shape))
    assert (x.shape, x.dtype) == (operator.in_shape, jnp.float32)


@_select(ops.Operator, has_pinv=False)
def test_pinv_where_none_is_known_says_what_to_do(case: OperatorCase):
    with pytest.raises(TypeError, match="init_zeros"):
        make_operator(case, 0).pinv(jnp.zeros(make_operator(case, 0).out_shape))


@pytest.mark.slow
@every
def test_jit_equals_eager(case: OperatorCase, rng):
    operator = make_operator(case, 0)
    x = _draw(rng, operator.in_shape)
    # The operator is an argument, as in run; a few roundings in float32.
    _close(_measure(operator, x), operator(x), 1e-6)


@pytest.mark.slow
@every
def test_vmap_over_images_equals_a_loop(case: OperatorCase, rng):
    operator = make_operator(case, 0)
    xs = _draw(rng, (2, *operator.in_shape))
    _close(jax.jit(jax.vmap(operator))(xs), jnp.stack([_measure(operator, x) for x in xs]), 1e-6)


@every
def test_vmap_over_operators_equals_a_loop(case: OperatorCase, rng):
    operators = [make_operator(case, seed) for seed in (0, 1)]
    xs = _draw(rng, (2, *operators[0].in_shape))
    measured = _call_each("__call__", stack(operators), xs)
    _close(measured, jnp.stack([_measure(operator, x) for operator, x in zip(operators, xs, strict=True)]), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", {c.kind: c for c in INSTALLED if c.has_pinv}.values(), ids=lambda c: c.name)
def test_vmap_of_pinv_over_operators_equals_a_loop(case: OperatorCase, rng, x64):
    # In float64: an ill-conditioned inverse by iterations amplifies the rounding of float32.
    operators = [make_operator(case, seed) for seed in (0, 1)]
    xs = _draw(rng, (2, *operators[0].in_shape))
    ys = [_measure(operator, x) for operator, x in zip(operators, xs, strict=True)]
    inverted = _call_each("pinv", stack(operators), jnp.stack(ys))
    _close(inverted, jnp.stack([_pinv(operator, y) for operator, y in zip(operators, ys, strict=True)]), 1e-8)


@linear
def test_operator_is_linear(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    a, b = _draw(rng, (2, *operator.in_shape))
    _close(_measure(operator, 2 * a - 3 * b), 2 * _measure(operator, a) - 3 * _measure(operator, b), 1e-12)


@linear
def test_adjoint_is_the_transpose_under_the_real_inner_product(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    x = _draw(rng, operator.in_shape)
    image = _measure(operator, x)
    y = _draw(rng, image.shape, like=image)
    # Sums of up to 1152 products in float64.
    assert _inner(image, y) == pytest.approx(_inner(x, _adjoint(operator, y)), rel=1e-10, abs=1e-10)


@pytest.mark.slow
@linear
def test_adjoint_holds_in_float32(case: OperatorCase, rng):
    operator = make_operator(case, 0)
    x = _draw(rng, operator.in_shape)
    image = _measure(operator, x)
    y = _draw(rng, image.shape, like=image)
    scale = float(jnp.linalg.norm(image.ravel()) * jnp.linalg.norm(y.ravel()))
    # Sums of up to 1152 products in float32.
    assert _inner(image, y) == pytest.approx(_inner(x, _adjoint(operator, y)), abs=1e-4 * scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [case for case in INSTALLED if getattr(case.kind, "adjoint", _DERIVED) is not _DERIVED],
    ids=lambda case: case.name,
)
def test_an_explicit_adjoint_equals_the_derived_one(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    image = _measure(operator, _draw(rng, operator.in_shape))
    y = _draw(rng, image.shape, like=image)
    _close(_adjoint(operator, y), _derived_adjoint(operator, y), 1e-12)


@_select(ops.LinearOperator, has_pinv=True)
def test_pinv_explains_what_was_measured(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    x = _draw(rng, operator.in_shape)
    y = _measure(operator, x)
    error = float(jnp.linalg.norm((_measure(operator, _pinv(operator, y)) - y).ravel()))
    # Truncated directions lose at most the truncated singular value each; otherwise the rounding of float64.
    assert error <= max(case.truncation, 1e-10) * float(jnp.linalg.norm(x))


@spectral
def test_pinv_of_the_measurement_is_a_projection(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    once = _pinv(operator, _measure(operator, _draw(rng, operator.in_shape)))
    _close(_pinv(operator, _measure(operator, once)), once, 1e-9)


@spectral
def test_decomposition_rebuilds_the_operator(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    x = _draw(rng, operator.in_shape)
    _close(_call("U", operator, _call("singulars", operator) * _call("Vt", operator, x)), _measure(operator, x), 1e-12)


@spectral
def test_decomposition_rebuilds_the_adjoint(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    y = _draw(rng, operator.out_shape, like=_measure(operator, jnp.zeros(operator.in_shape)))
    _close(_call("V", operator, _call("singulars", operator) * _call("Ut", operator, y)), _adjoint(operator, y), 1e-12)


@spectral
def test_v_is_orthogonal_on_all_of_image_space(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    x, z = _draw(rng, (2, *operator.in_shape))
    coefficients = _call("Vt", operator, x)
    _close(_call("V", operator, coefficients), x, 1e-12)
    assert _inner(coefficients, _call("Vt", operator, z)) == pytest.approx(_inner(x, z), abs=1e-10)


@spectral
def test_u_is_the_inverse_of_ut_on_the_range(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    s = _call("singulars", operator)
    coefficients = jnp.where(s > 0, _call("Vt", operator, _draw(rng, operator.in_shape)), 0)
    _close(_call("Ut", operator, _call("U", operator, coefficients)), coefficients, 1e-10)


@spectral
def test_measurement_coefficients_are_zero_where_the_singular_value_is(case: OperatorCase, rng, x64):
    operator = make_operator(case, 0)
    y = _draw(rng, operator.out_shape, like=_measure(operator, jnp.zeros(operator.in_shape)))
    coefficients = _call("Ut", operator, y)
    assert not jnp.any(jnp.where(_call("singulars", operator) > 0, 0, coefficients))


@spectral
def test_singulars_broadcast_to_the_coefficients_and_are_not_negative(case: OperatorCase, x64):
    operator = make_operator(case, 0)
    s, coefficients = _call("singulars", operator), _call("Vt", operator, jnp.zeros(operator.in_shape))
    assert s.ndim == coefficients.ndim
    assert jnp.broadcast_shapes(s.shape, coefficients.shape) == coefficients.shape
    assert (s >= 0).all()


@every
def test_operators_are_pytrees_that_can_be_rebuilt(case: OperatorCase):
    operator = make_operator(case, 0)
    leaves, structure = jax.tree.flatten(operator)
    # in_axes structs are operators with None or integers for leaves: the constructor may not check anything.
    assert type(jax.tree.unflatten(structure, [None] * len(leaves))) is type(operator)
