"""Unknowns that are rendered to an image: the identity changes nothing, a linear renderer has a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd

SHAPE = (6, 5, 1)
N = 30
SGD = optax.sgd(0.05)


def identity(theta):
    return theta


def basis(columns, theta):
    return (columns @ theta).reshape(SHAPE)


def problem_of(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    mask, x = rng.random(SHAPE[:2]) > 0.3, jnp.asarray(rng.normal(size=SHAPE), dtype)
    return rd.measure(jax.random.key(0), rd.inpainting(mask, channels=1), rd.gaussian(0.1), x)


def test_the_identity_as_renderer_is_reddiff(key):
    prior, problem = rd.gaussian_prior(jnp.full(SHAPE, 0.1), 0.25, rd.schedules.linear()), problem_of()
    start = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE), jnp.float32)
    plain = rd.reddiff(prior, num_steps=6, init=rd.solvers.init_given)
    expected = rd.run(key, plain, problem.replace(init=start))
    found = rd.run(key, rd.parametrised(plain, identity, start), problem)
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.info.residual, expected.info.residual)


def test_a_linear_renderer_reaches_the_closed_form_in_its_range(key):
    # A prior without variance pulls towards its mean at every level alike, without noise: a quadratic objective.
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        columns, mean = rng.normal(size=(N, 4)) / 4, rng.normal(size=SHAPE)
        prior, problem = rd.gaussian_prior(jnp.asarray(mean), 0.0, rd.schedules.linear()), problem_of(float)
        solver = rd.reddiff(prior, SGD, lam=0.3, num_steps=1000)
        rendered = rd.parametrised(solver, jax.tree_util.Partial(basis, jnp.asarray(columns)), jnp.zeros(4))
        solution = rd.run(key, rendered, problem)
        mask = np.asarray(problem.operator(jnp.ones(SHAPE))).ravel()
        # n / m of the data term, whose m is the number of entries of y; lam of the prior's.
        scale = N / problem.y.size
        weights = scale * mask**2 + 0.3
        right = columns.T @ (scale * mask * np.asarray(problem.y).ravel() + 0.3 * mean.ravel())
        expected = np.linalg.solve(columns.T @ (weights[:, None] * columns), right)
        image = np.asarray(columns) @ expected
    # The tables of the schedule are float32.
    np.testing.assert_allclose(solution.state.theta, expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(solution.x).ravel(), image, atol=1e-5)


@pytest.mark.slow
def test_a_pytree_of_unknowns_is_fitted_and_vmapped(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    rows, columns = jnp.linspace(-1, 1, 6)[:, None, None], jnp.linspace(-1, 1, 5)[None, :, None]

    def plane(theta):
        return theta["a"] * rows + theta["b"] * columns + theta["c"]

    truth = {"a": jnp.float32(0.4), "b": jnp.float32(-0.2), "c": jnp.float32(0.1)}
    solver = rd.parametrised(
        rd.reddiff(prior, optax.adam(0.05), lam=0.0, num_steps=200), plane, jax.tree.map(jnp.zeros_like, truth)
    )
    problems = rd.stack([rd.problem(scale * plane(truth), rd.denoising(SHAPE)) for scale in (1.0, 2.0)])
    solutions = jax.vmap(rd.run, in_axes=(0, None, 0))(jax.random.split(key, 2), solver, problems)
    # Adam's last steps are of 1e-3
    np.testing.assert_allclose(solutions.state.theta["a"], [0.4, 0.8], atol=5e-3)


def test_score_distillation_goes_through_a_renderer(key):
    prior = rd.gaussian_prior(jnp.full(SHAPE, 0.3), 0.0, rd.schedules.linear())
    solver = rd.parametrised(rd.sds(prior, optax.adam(0.05), num_steps=200), jnp.tanh, jnp.zeros(SHAPE))
    x = rd.run(key, solver, rd.unconditional(SHAPE)).x
    np.testing.assert_allclose(x, 0.3, atol=5e-3)  # Adam's last steps


def test_what_does_not_fit_is_named():
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    solver = rd.reddiff(prior, num_steps=3)
    cases = [
        (lambda: rd.parametrised(rd.ddim(prior, num_steps=3), identity, jnp.zeros(SHAPE)), "must be RED-diff"),
        (
            lambda: rd.parametrised(rd.reddiff(prior, rd.proximal_step(), num_steps=3), identity, jnp.zeros(SHAPE)),
            "step is .*ProximalStep.* must be rd.optax_step",
        ),
        (lambda: rd.parametrised(solver, 3, jnp.zeros(SHAPE)), "render is 3"),
        (lambda: rd.parametrised(solver, identity, jnp.zeros(SHAPE, int)), "theta has arrays of int32 but must be"),
        (lambda: rd.parametrised(solver, identity, {}), "theta has arrays of no kind"),
    ]
    for make, said in cases:
        with pytest.raises(TypeError, match=said):
            make()


def test_a_picture_of_another_shape_is_named(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
    solver = rd.parametrised(rd.reddiff(prior, num_steps=3), identity, jnp.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match=r"render returned .*\[2, 2, 1\].* but the operator takes \(6, 5, 1\)"):
        rd.run(key, solver, problem_of())
