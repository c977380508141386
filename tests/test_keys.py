"""PRNG keys of other implementations: derived, so that no item of a batch depends on its neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax._keys import as_key, key_from, numbered_keys

SHAPE = (8, 8, 3)
PRIOR = rd.gaussian_prior(jnp.zeros(SHAPE), 0.1, rd.schedules.linear(20))
SOLVER = rd.ddim(PRIOR, eta=1.0, num_steps=3)
PROBLEM = rd.problem(jnp.zeros(SHAPE), rd.denoising(SHAPE))

DRAWS = {
    "run": lambda key: rd.run(key, SOLVER, PROBLEM).x,
    "measure": lambda key: rd.measure(key, PROBLEM.operator, rd.gaussian(1.0), jnp.zeros(SHAPE)).y,
    "mask": lambda key: rd.masks.random(key, SHAPE),
    "strokes": lambda key: rd.masks.freeform(key, (16, 16)),
    "box": lambda key: rd.masks.random_box(key, SHAPE, 2, margin=0),
    "lines": lambda key: rd.masks.cartesian(key, SHAPE),
    "points": lambda key: rd.masks.variable_density(key, SHAPE),
    "kernel": lambda key: rd.kernels.motion(key, 5),
    "sensing": lambda key: rd.compressed_sensing(key, SHAPE).signs,
}
COSTLY = ("strokes", "kernel")
every_draw = pytest.mark.parametrize(
    "draw",
    [pytest.param(draw, id=name, marks=pytest.mark.slow if name in COSTLY else ()) for name, draw in DRAWS.items()],
)


@pytest.mark.slow
@every_draw
@pytest.mark.parametrize("implementation", ["rbg", pytest.param("unsafe_rbg", marks=pytest.mark.slow)])
def test_an_item_does_not_depend_on_its_batch(draw, implementation):
    keys = jax.random.split(jax.random.key(0, impl=implementation), 3)
    three, one = (jax.vmap(draw)(batch)[0] for batch in (keys, keys[:1]))
    np.testing.assert_allclose(three, one, atol=1e-6)  # rounding; other numbers differ by 1


def test_threefry_keys_are_taken_as_they_are():
    key = jax.random.key(5)
    assert as_key("key", key) is key


def test_keys_derived_from_different_keys_differ():
    keys = jax.random.split(jax.random.key(0, impl="rbg"), 50)
    assert len({tuple(np.asarray(jax.random.key_data(as_key("key", key)))) for key in keys}) == 50


def test_seeds_give_the_same_numbers_whatever_the_default_implementation_is():
    expected = jax.random.normal(key_from(3), (4,)), rd.masks.random(rd.masks.key_of("cat", 1), SHAPE)
    with jax.default_prng_impl("rbg"):
        drawn = jax.random.normal(key_from(3), (4,)), rd.masks.random(rd.masks.key_of("cat", 1), SHAPE)
    assert all(map(np.array_equal, drawn, expected))


def test_raw_keys_of_another_implementation_are_derived_too():
    with jax.default_prng_impl("rbg"):
        raw = jax.random.PRNGKey(3)
    typed = jax.random.key(3, impl="rbg")
    assert np.array_equal(*(jax.random.key_data(as_key("key", key)) for key in (raw, typed)))


def test_numbered_keys_do_not_depend_on_how_many_there_are(key):
    few, many = numbered_keys(key, 2), numbered_keys(key, 5)
    assert (jax.random.key_data(many)[:2] == jax.random.key_data(few)).all()
    assert (jax.random.key_data(many[4]) == jax.random.key_data(jax.random.fold_in(key, 4))).all()
