"""Volumes: a prior of slices, operators of slices, and what couples them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax.solvers import RedDiffState

D, H, W = 5, 6, 4
SHAPE = (D, H, W, 1)
SIGMA, SPREAD, VARIANCE = 0.1, 0.2, 0.3
SCHEDULE = rd.schedules.linear()
T = 300
update = jax.jit(lambda solver, *arguments: solver.update(*arguments))


@functools.cache
def _gaussian() -> rd.Prior:
    mean = jnp.asarray(np.random.default_rng(0).normal(0, 0.3, SHAPE[1:]), jnp.float32)
    return rd.gaussian_prior(mean, VARIANCE, SCHEDULE)


def _masks() -> np.ndarray:
    return np.random.default_rng(1).random((D, H, W)) > 0.4


@functools.cache
def _problem(own: bool = True) -> rd.Problem:
    """Pixels of a volume, masks of each slice's own or one for all."""
    masks, rng = _masks(), np.random.default_rng(2)
    if own:
        operator = rd.each_slice([rd.inpainting(mask, channels=1) for mask in masks], batch=2)
    else:
        operator = rd.each_slice(rd.inpainting(masks[0], channels=1), D, batch=2)
    return rd.problem(jnp.asarray(rng.normal(0, 0.5, SHAPE), jnp.float32), operator, rd.gaussian(SIGMA))


def _slice_of(problem: rd.Problem, index: int) -> rd.Problem:
    operator = rd.inpainting(_masks()[index], channels=1)
    return rd.problem(problem.y[index], operator, rd.gaussian(SIGMA))


def _state(mu: jax.Array) -> RedDiffState:
    return RedDiffState(mu, None, jnp.zeros((), jnp.int32), jnp.ones(()))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_prior_of_slices_is_the_prior_of_each(axis, batch, rng):
    x_t = jnp.asarray(rng.normal(size=(4, 4, 4, 1)), jnp.float32)
    prior = rd.gaussian_prior(jnp.asarray(rng.normal(size=(4, 4, 1)), jnp.float32), VARIANCE, SCHEDULE)
    eps = jax.jit(lambda x: rd.slices(prior, axis, batch=batch).eps(x, T))(x_t)
    expected = [prior.eps(each, T) for each in jnp.moveaxis(x_t, axis, 0)]
    np.testing.assert_allclose(eps, jnp.moveaxis(jnp.stack(expected), 0, axis), rtol=1e-5)


def test_several_axes_take_turns_by_the_timestep(rng):
    x_t = jnp.asarray(rng.normal(size=(4, 4, 4, 1)), jnp.float32)
    prior = rd.gaussian_prior(jnp.asarray(rng.normal(size=(4, 4, 1)), jnp.float32), VARIANCE, SCHEDULE)
    several = jax.jit(lambda t: rd.slices(prior, (0, 2)).eps(x_t, t))
    each = [jax.jit(lambda t, axis=axis: rd.slices(prior, axis).eps(x_t, t)) for axis in (0, 2)]
    used = [
        [bool(jnp.allclose(several(jnp.asarray(t)), eps(jnp.asarray(t)), rtol=1e-5)) for eps in each]
        for t in range(100, 140, 5)
    ]
    assert all(sum(row) == 1 for row in used)
    assert {row.index(True) for row in used} == {0, 1}


def test_the_network_sees_one_chunk_of_slices():
    seen = []

    def net(x_t, t, cond):
        seen.append(x_t.shape)
        return x_t

    prior = rd.slices(rd.prior(net, SCHEDULE), batch=2)
    program = jax.make_jaxpr(lambda x: prior.eps(x, T))(jnp.zeros((64, 8, 8, 1)))
    assert set(seen) == {(8, 8, 1)}
    inner = [eqn for eqn in program.jaxpr.eqns if eqn.primitive.name == "scan"]
    assert inner[0].params["length"] == 32


@pytest.mark.parametrize("own", [True, False])
def test_each_slice_is_measured_by_its_operator(own, rng):
    operator = _problem(own).operator
    x = jnp.asarray(rng.normal(size=SHAPE), jnp.float32)
    masks = _masks() if own else np.broadcast_to(_masks()[0], (D, H, W))
    np.testing.assert_array_equal(operator(x), x * masks[..., None])
    np.testing.assert_array_equal(operator.pinv(operator(x)), x * masks[..., None])
    np.testing.assert_array_equal(operator.observed[..., 0], masks)


@pytest.mark.slow
@pytest.mark.parametrize("edge", [None, 0.2])
@pytest.mark.parametrize("axis", [0, 2])
def test_the_coupling_is_the_gradient_of_its_sum(axis, edge, rng):
    x = jnp.asarray(rng.normal(size=SHAPE), jnp.float32)

    def phi(v):
        squares = jnp.diff(v, axis=axis) ** 2
        return jnp.sum(squares if edge is None else 2 * edge**2 * (jnp.sqrt(1 + squares / edge**2) - 1))

    coupled = rd.solvers.coupling(0.7, axis=axis, edge=edge).at(x)
    np.testing.assert_allclose(coupled.gradient(x), jax.grad(lambda v: 0.5 * 0.7 * phi(v))(x), atol=1e-5)  # float32


@pytest.mark.parametrize("edge", [None, pytest.param(0.2, marks=pytest.mark.slow)])
def test_moved_pixels_are_coupled_with_where_they_were(edge, rng):
    x = jnp.asarray(rng.normal(size=SHAPE), jnp.float32)
    flows = jnp.asarray(rng.uniform(-1.5, 1.5, (D - 1, H, W, 2)), jnp.float32)

    def phi(v):
        moved = jnp.stack([rd.warping(flow, channels=1)(each) for flow, each in zip(flows, v, strict=False)])
        seen = jnp.stack([rd.warping(flow, channels=1)(jnp.ones(SHAPE[1:])) for flow in flows]) > 0.5
        squares = jnp.where(seen, v[1:] - moved, 0) ** 2
        return jnp.sum(squares if edge is None else 2 * edge**2 * (jnp.sqrt(1 + squares / edge**2) - 1))

    gradient = jax.jit(lambda x: rd.solvers.coupling(0.7, edge=edge, motion=flows).at(x).gradient(x))(x)
    expected = jax.jit(jax.grad(lambda v: 0.5 * 0.7 * phi(v)))(x)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)  # float32


def test_a_clip_that_stands_still_is_coupled_as_a_volume(rng):
    x = jnp.asarray(rng.normal(size=SHAPE), jnp.float32)
    still = rd.solvers.coupling(0.7, motion=jnp.zeros((D - 1, H, W, 2))).at(x)
    np.testing.assert_allclose(still.gradient(x), rd.solvers.coupling(0.7).at(x).gradient(x), atol=1e-6)  # float32


def test_without_coupling_a_volume_is_its_slices_bit_for_bit(rng):
    problem, prior = _problem(), _gaussian()
    mu, eps = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (SHAPE, (1, *SHAPE)))
    step = rd.proximal_step(coupling=rd.solvers.coupling(0))
    whole, _ = update(rd.noise_aware(rd.slices(prior), step), eps, jnp.asarray([T]), _state(mu), problem)
    solver = rd.noise_aware(prior, rd.proximal_step())
    for index in range(D):
        own, _ = update(solver, eps[:, index], jnp.asarray([T]), _state(mu[index]), _slice_of(problem, index))
        np.testing.assert_array_equal(whole.mu[index], own.mu)


def _posterior_mean(problem: rd.Problem, variance: float) -> np.ndarray:
    """Of the Gaussian field of independent slices N(m, variance) whose neighbours differ by SPREAD."""
    mask = np.asarray(problem.operator.observed, float).ravel()
    difference = np.kron(np.diff(np.eye(D), axis=0), np.eye(H * W))
    precision = np.eye(mask.size) / variance + difference.T @ difference / SPREAD**2 + np.diag(mask) / SIGMA**2
    mean = np.broadcast_to(np.asarray(_gaussian().mean), SHAPE).ravel() / variance
    return np.linalg.solve(precision, mean + mask * np.asarray(problem.y).ravel() / SIGMA**2).reshape(SHAPE)


@pytest.mark.parametrize("make", [rd.proximal_step, rd.langevin_step])
def test_the_mean_of_the_coupled_posterior_stays_where_it_is(make):
    problem = _problem()
    alpha_t, sigma_t = SCHEDULE(T)
    mean = jnp.asarray(_posterior_mean(problem, VARIANCE + float(sigma_t / alpha_t) ** 2), jnp.float32)
    # langevin_step has twice the weight of the prior, so that half of its pull is the posterior's: kappa r / 2 eps_hat.
    coupling = rd.solvers.coupling((SIGMA / SPREAD) ** 2)
    solver = rd.noise_aware(
        rd.slices(_gaussian()), make(num_cg=60, coupling=coupling), lam=1.0, gamma=0.0, **_published(make)
    )
    eps = jax.random.normal(jax.random.key(0), (1, *SHAPE))
    # The update is affine in eps for a Gaussian prior: its mean over eps and -eps is its expectation.
    moved = [update(solver, each, jnp.asarray([T]), _state(mean), problem)[0].mu for each in (eps, -eps)]
    np.testing.assert_allclose((moved[0] + moved[1]) / 2, mean, atol=2e-4)  # float32, 60 steps of CG


def _published(make) -> dict:
    return {"control_variate": rd.solvers.variate_published} if make is rd.proximal_step else {}


@pytest.mark.slow
def test_a_run_comes_to_the_coupled_posterior_mean():
    problem = _problem()
    step = rd.proximal_step(num_cg=40, coupling=rd.solvers.coupling((SIGMA / SPREAD) ** 2))
    solver = rd.noise_aware(rd.slices(_gaussian()), step, lam=1.0, gamma=0.0, num_steps=60)
    x = jax.jit(rd.run)(jax.random.key(0), solver, problem).x
    mean = _posterior_mean(problem, VARIANCE)
    assert float(jnp.sqrt(jnp.mean((x - mean) ** 2))) < 0.1 * float(np.std(mean))


def test_shared_noise_is_the_same_in_all_slices_and_new_in_each_step():
    solver = rd.noise_aware(rd.slices(_gaussian())).replace(noise=rd.solvers.SameAlong(0))
    first, second = (solver.noise(jax.random.key(k), (1, *SHAPE), jnp.float32, None) for k in (0, 1))
    assert first.shape == (1, *SHAPE)
    np.testing.assert_array_equal(first, jnp.broadcast_to(first[:, :1], first.shape))
    assert not np.allclose(first, second)


@pytest.mark.slow
def test_coupled_slices_are_smoother_across(rng):
    problem = _problem()
    rough = []
    for lam in (0.0, 1.0):
        step = rd.proximal_step(num_cg=20, coupling=rd.solvers.coupling(lam))
        x = jax.jit(rd.run)(jax.random.key(0), rd.noise_aware(rd.slices(_gaussian()), step, num_steps=5), problem).x
        rough.append(float(jnp.mean(jnp.diff(x, axis=0) ** 2)))
    assert rough[1] < 0.5 * rough[0]


def test_the_default_solver_takes_volumes():
    problem = _problem(False)
    solver = rd.default_solver(rd.slices(_gaussian()), problem)
    assert jax.eval_shape(rd.run, jax.random.key(0), solver, problem).x.shape == SHAPE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rd.slices(_gaussian(), 3), "axis is 3 but must be 0, 1 or 2"),
        (lambda: rd.each_slice(rd.denoising((4, 4, 1))), "num_slices is missing"),
        (lambda: rd.each_slice([rd.denoising((4, 4, 1))], 2), "num_slices is 2 but 1 operators came"),
        (lambda: rd.solvers.coupling(-1.0), "finite and not negative"),
        (lambda: rd.solvers.coupling(1.0, axis=3), "axis is 3"),
        (lambda: rd.solvers.coupling(1.0, edge=0.0), "above 0"),
        (lambda: rd.solvers.coupling(1.0, motion=np.zeros((3, 2, 4, 4))), r"must be \(D - 1, H, W, 2\)"),
        (lambda: rd.solvers.coupling(1.0, axis=1, motion=np.zeros((3, 4, 4, 2))), "along axis 1"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_types_are_checked():
    with pytest.raises(TypeError, match=r"rd\.solvers\.coupling\(lam\)"):
        rd.proximal_step(coupling=0.5)
    with pytest.raises(TypeError, match="must be a LinearOperator, or several"):
        rd.each_slice(rd.jpeg((8, 8, 3), 20), 2)
