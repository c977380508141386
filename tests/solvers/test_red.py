"""Classic RED: its three forms against NumPy, and the one point that they all end in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import SHAPE, N, Scene

import reddiff_jax as rd

FORMS = {"descent": rd.solvers.red_descent, "fixed_point": rd.solvers.red_fixed_point, "admm": rd.solvers.red_admm}
every_form = pytest.mark.parametrize("form", FORMS)
LAM, BETA, SIGMA_F, STEP_SIZE = 0.3, 0.2, 0.25, 0.8


def _scene(task="inpainting", components=1):
    return Scene(task, components, sigma_y=0.05)


@functools.partial(jax.jit, static_argnames="num_steps")
def _iterates(solver, problem, num_steps):
    def step(state, _):
        state, info = solver.step(jax.random.key(0), state, problem)
        return state, (state.x, info)

    return jax.lax.scan(step, solver.init(jax.random.key(0), problem), length=num_steps)[1]


def _run(form, scene, num_steps):
    with jax.enable_x64(True):
        solver = rd.red(scene.prior, lam=LAM, beta=BETA, sigma_f=SIGMA_F, step_size=STEP_SIZE, form=FORMS[form])
        x, info = _iterates(solver, scene.problem, num_steps)
        return np.asarray(x).reshape(num_steps, N), info, int(solver.t)


def _oracle(form, scene, t, num_steps):
    a, y = scene.matrix, scene.y

    def solve(weight, towards):
        return np.linalg.solve(a.T @ a + weight * np.eye(N), a.T @ y + weight * towards)

    def denoise(x):
        return scene.estimates(scene.alphas[t] * x, t)[0]

    x = v = scene.pinv @ y
    u, xs = 0 * x, []
    for _ in range(num_steps):
        if form == "descent":
            x = x - STEP_SIZE / (1 + LAM) * (a.T @ (a @ x - y) + LAM * (x - denoise(x)))
        elif form == "fixed_point":
            x = solve(LAM, denoise(x))
        else:
            x = solve(BETA, v - u)
            v = (LAM * denoise(v) + BETA * (x + u)) / (LAM + BETA)
            u = u + x - v
        xs.append(x)
    return np.stack(xs)


@every_form
@pytest.mark.parametrize(("task", "components"), [("inpainting", 2), ("super_resolution", 1)])
def test_each_of_20_steps_is_the_formula(form, task, components):
    scene = _scene(task, components)
    x, _, t = _run(form, scene, 20)
    np.testing.assert_allclose(x, _oracle(form, scene, t, 20), atol=1e-10)  # float64 of order 1


@every_form
def test_with_a_gaussian_prior_every_form_ends_where_the_gradient_vanishes(form):
    scene = _scene("super_resolution")
    x, info, t = _run(form, scene, 1500)
    pull = LAM * np.diag(1 / (scene.variances[0] / (scene.sigmas[t] / scene.alphas[t]) ** 2 + 1))
    expected = np.linalg.solve(scene.matrix.T @ scene.matrix + pull, scene.matrix.T @ scene.y + pull @ scene.means[0])
    # Descent is the slowest, by 1 - 0.18 * 0.135 a step along the largest variance.
    np.testing.assert_allclose(x[-1], expected, atol=1e-9)
    assert float(info.change[-1]) < 1e-10


def test_conjugate_gradients_take_the_place_of_singular_vectors():
    scene = _scene("super_resolution")
    with jax.enable_x64(True):
        spectral = scene.problem
        plain = rd.problem(spectral.y, rd.linear_operator(spectral.operator, SHAPE), spectral.noise)
        solver = rd.red(scene.prior)
        x, same = (_iterates(solver, problem, 20)[0] for problem in (spectral, plain))
    np.testing.assert_allclose(same, x, atol=1e-10)  # A^T A has two eigenvalues: CG ends after two steps


def test_the_denoiser_has_the_strength_that_was_asked_for():
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    solver = rd.red(prior, sigma_f=0.5)
    problem = rd.unconditional(SHAPE)
    # N(0, 1) seen at noise 0.5 is shrunk by 1 / (1 + 0.5^2); neighbouring timesteps differ by 0.5 % in strength.
    np.testing.assert_allclose(solver.denoise(jnp.ones(SHAPE), problem), np.full(SHAPE, 0.8), atol=2e-3)


def _square(x):
    return x[::2] ** 2


def test_descent_serves_nonlinear_operators_and_the_other_forms_say_so(key):
    scene = _scene()
    operator = rd.operator(_square, SHAPE)
    x = jnp.asarray(scene.means[0].reshape(SHAPE), jnp.float32) + 0.5
    problem = rd.problem(operator(x), operator, init=0.8 * x)
    solver = rd.red(scene.prior, form=rd.solvers.red_descent, step_size=0.1, init=rd.solvers.init_given, num_steps=100)
    info = rd.run(key, solver, problem).info
    assert float(info.residual[-1]) < 0.1 * float(info.residual[0])
    with pytest.raises(
        TypeError, match=r"red needs a LinearOperator; FunctionOperator .*form=rd\.solvers\.red_descent"
    ):
        rd.run(key, solver.replace(form=rd.solvers.red_admm), problem)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -1.0}, r"lam is -1\.0"),
        ({"sigma_f": 0.0}, r"sigma_f is 0\.0"),
        ({"beta": 0.0}, r"beta is 0\.0"),
        ({"step_size": -1.0}, r"step_size is -1\.0"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"init": lambda *_: jnp.zeros((2, 2, 1))}, "init returned shape"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_that_make_no_sense_are_an_error(options, message, key):
    with pytest.raises(ValueError, match=message):
        rd.red(_scene().prior, **options).init(key, rd.unconditional(SHAPE))
