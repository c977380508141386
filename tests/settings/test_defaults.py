"""The tuned defaults, and the choice of a solver for a problem."""

from functools import cache

import jax
import jax.numpy as jnp
import pytest
from posed_tasks import BUILDABLE, posed

import reddiff_jax as rd
from reddiff_jax import settings
from reddiff_jax.settings import (
    TUNED,
    Kind,
    NoiseAwareSettings,
    default_name,
    default_settings,
    interpolate,
    kind_of,
    noise_level,
)

SHAPE = (16, 16, 1)


@cache
def prior():
    return rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())


@pytest.mark.parametrize("kind", TUNED["reddiff"])
@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.05, 1.0])
def test_rows_of_reddiff_make_solvers(kind, sigma):
    found = interpolate(TUNED["reddiff"][kind], sigma)
    solver = found.solver(prior())
    assert solver.num_steps == found.num_steps
    assert float(solver.lam) == pytest.approx(found.lam)


@pytest.mark.parametrize("kind", TUNED["reddiff"])
def test_rows_are_given_as_they_stand(kind):
    rows = TUNED["reddiff"][kind]
    assert [sigma for sigma, _ in rows] == sorted({sigma for sigma, _ in rows})
    assert all(interpolate(rows, sigma) == row for sigma, row in rows)


def test_equal_settings_share_their_optimizer_so_that_they_share_a_compilation():
    found = default_settings(posed("sr4"), "reddiff")
    assert found.solver(prior()).step_rule.optimizer is found.solver(prior()).step_rule.optimizer


@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("denoise", {"lam": 1.0, "sigma_max": 3.0, "sigma_min": 0.01, "init": "pinv"}),
        ("ct60", {"lam": 1.0}),
        ("inpaint_box", {"lam": 0.7}),
        ("deblur_motion", {"lam": 0.5}),
        ("sr4", {}),
        ("inpaint_random", {"sigma_max": 0.5}),
        ("cs4", {"sigma_max": 0.5, "sigma_min": 0.01, "num_steps": 50, "num_runs": 2}),
    ],
)
@pytest.mark.parametrize("sigma", [0.0, 0.1, 1.0])
def test_noise_aware_settings_follow_what_is_measured_whatever_the_noise(task, values, sigma):
    assert default_settings(posed(task, sigma), "noise_aware") == NoiseAwareSettings(**values)


def test_what_a_problem_lacks_is_said_with_those_that_serve():
    with pytest.raises(ValueError, match=r"ddrm cannot do hdr .*SpectralOperator.* choose one of reddiff.*dps"):
        settings.check_serves(settings.default_settings(posed("hdr"), "ddrm"), posed("hdr"))


def test_settings_take_the_form_that_serves_the_operator():
    assert settings.default_settings(posed("sr4", 0.05), "pigdm").noisy is True
    for task in ("hdr", "deblur_motion"):
        assert settings.default_settings(posed(task), "pigdm").noisy is False
    assert settings.default_settings(posed("hdr", 0.0), "red").form == "descent"
    assert settings.default_settings(posed("deblur_motion", 0.0), "red").form == "fixed_point"


def test_unknown_solvers_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="choose one of reddiff"):
        settings.by_name("magic")


def test_the_default_is_noise_aware_except_where_the_published_form_is_better():
    published = {kind_of(posed(name).operator) for name in BUILDABLE if default_name(posed(name)) == "reddiff"}
    assert published == settings.PUBLISHED_IS_BETTER
    assert default_name(posed("sr4")) == default_settings(posed("sr4")).name == "noise_aware"


# ---- the public call


def mine(x):
    return jnp.tanh(x) * x


def solver_of(operator, noise=None, *, sample=False):
    shape = jax.eval_shape(operator, jax.ShapeDtypeStruct(operator.in_shape, jnp.float32))
    problem = rd.problem(0.3 * jnp.ones(shape.shape, shape.dtype), operator, noise)
    return rd.default_solver(prior(), problem, sample=sample), problem


@pytest.mark.slow
@pytest.mark.parametrize("operator", [rd.operator(mine, SHAPE), rd.linear_operator(lambda x: x[::2], SHAPE)])
@pytest.mark.parametrize("noise", [rd.gaussian(0.1), rd.poisson(100.0)])
def test_an_operator_of_ones_own_has_a_default(operator, noise, key):
    solver, problem = solver_of(operator, noise)
    solution = rd.run(key, solver, problem)
    assert solution.finite
    assert solution.x.shape == SHAPE


def test_noise_that_is_not_gaussian_has_reddiff_by_the_likelihood_with_the_operators_settings():
    noise = rd.poisson(200.0)
    solver, problem = solver_of(rd.super_resolution(SHAPE, 2), noise)
    sigma = float(jnp.sqrt(noise.variance(problem.y)))
    row = interpolate(TUNED["reddiff"][Kind.SUPER_RESOLUTION], sigma)
    assert isinstance(solver, rd.solvers.RedDiff)
    assert solver.step_rule.data_term is rd.likelihood
    assert float(solver.lam) == pytest.approx(row.lam, rel=1e-3)  # of float32's sigma


def test_samples_are_one_run_of_the_posterior():
    solver, _ = solver_of(rd.super_resolution(SHAPE, 2), rd.gaussian(0.05), sample=True)
    assert solver.step_rule == rd.langevin_step()
    assert solver.num_steps == 100


@pytest.mark.parametrize(
    ("operator", "init"),
    [(rd.hdr(SHAPE), rd.solvers.init_middle), (rd.quantization(SHAPE, 2), rd.solvers.init_pinv)],
    ids=["hdr", "quantization"],
)
@pytest.mark.parametrize("sample", [False, True], ids=["point", "sample"])
def test_what_is_not_linear_starts_where_it_can(operator, init, sample):
    solver, _ = solver_of(operator, rd.gaussian(0.05), sample=sample)
    assert getattr(solver, "solver", solver).initial_image is init


def test_where_there_are_no_samples_the_remedy_is_named():
    with pytest.raises(TypeError, match=r"needs Gaussian noise; the problem has Poisson\. Use rd\.daps or rd\.dps"):
        solver_of(rd.denoising(SHAPE), rd.poisson(100.0), sample=True)


def test_a_batch_under_vmap_has_the_settings_of_its_numbers(key):
    seen = []

    def solve(key, mask, sigma):
        problem = rd.problem(jnp.zeros(SHAPE), rd.inpainting(mask, channels=1), rd.gaussian(sigma))
        seen.append((kind_of(problem.operator), noise_level(problem)))
        return rd.run(key, rd.default_solver(prior(), problem), problem).x

    masks = jax.vmap(lambda key: rd.masks.random(key, SHAPE, 0.5))(jax.random.split(key, 2))
    jax.vmap(solve)(jax.random.split(key, 2), masks, jnp.array([0.1, 0.1]))
    jax.vmap(solve)(jax.random.split(key, 2), masks, jnp.array([0.1, 0.2]))
    jax.jit(solve)(key, masks[0], 0.1)
    assert seen == [(Kind.INPAINT_PIXELS, 0.1), (Kind.INPAINT_PIXELS, 0.15), (Kind.INPAINT_HOLES, 0.05)]
