"""RED-diff: its gradient against closed forms and derivatives, its options, its behaviour on a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd
from reddiff_jax import schedules, weightings
from reddiff_jax.solvers import NoiseAwareWeight
from reddiff_jax.solvers._levels import Scene

SHAPE = (4, 6, 2)
N = 48
LINEAR = schedules.linear()
REDUCTIONS = {"pixel_units": rd.solvers.pixel_units, "total": rd.solvers.total, "batch_mean": rd.solvers.BatchMean(5)}
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS.values(), ids=REDUCTIONS)
reductions_slowly = pytest.mark.parametrize(
    "reduction",
    [pytest.param(r, id=n, marks=[] if n == "pixel_units" else [pytest.mark.slow]) for n, r in REDUCTIONS.items()],
)
every_weighting = pytest.mark.parametrize("weighting", weightings.WEIGHTINGS)


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype=float)


def _gaussian():
    variances = np.random.default_rng(1).uniform(0.05, 1, SHAPE)
    return rd.gaussian_prior(_normal(0, *SHAPE), variances, schedules.linear())


def _square(x):
    return x[::2] ** 2


def _fourier(x):
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


OPERATORS = {
    "inpainting": lambda: rd.inpainting(np.random.default_rng(2).random(SHAPE[:2]) > 0.5, channels=2),
    "super_resolution": lambda: rd.super_resolution(SHAPE, 2),
    "complex": lambda: rd.linear_operator(_fourier, SHAPE),
    "nonlinear": lambda: rd.operator(_square, SHAPE),
}


def _problem(name="inpainting"):
    operator = OPERATORS[name]()
    return rd.problem(operator(_normal(3, *SHAPE)), operator)


# ---- the gradient


WEIGHTS = {
    "linear": lambda r: r,
    "sqrt": np.sqrt,
    "square": np.square,
    "log": np.log1p,
    "trunc_linear": lambda r: np.minimum(r, 1),
    "power2over3": lambda r: np.cbrt(r) ** 2,
    "const": np.ones_like,
}
SCALES = {"pixel_units": (1, 1), "total": (1, 1), "batch_mean": (1 / (5 * N), 1 / (5 * N))}  # m = n for inpainting


@pytest.mark.parametrize("reduction", REDUCTIONS)
@every_weighting
@pytest.mark.usefixtures("x64")
def test_mean_gradient_over_both_signs_of_the_noise_is_the_expectation_for_a_gaussian(weighting, reduction):
    prior, problem, mu, eps = _gaussian(), _problem(), _normal(4, *SHAPE), _normal(5, *SHAPE)
    options = {"weighting": weightings.WEIGHTINGS[weighting], "reduction": REDUCTIONS[reduction]}

    @jax.jit
    @jax.vmap
    def mean_gradient(t):
        gradients = [
            rd.reddiff_gradient(e, prior, problem, mu, t, lam=0.7, obs_weight=1.3, **options)[0] for e in (eps, -eps)
        ]
        return sum(gradients) / 2

    # eps_hat is affine in x_t, so what is odd in eps drops out of the mean.
    ts = np.array([0, 10, 500, 999])
    a, s = (np.asarray(scale).reshape(4, 1, 1, 1) for scale in prior.schedule(ts))
    mu, mean, variances = map(np.asarray, (mu, prior.mean, prior.variances))
    pull = s * a * (mu - mean) / (a**2 * variances + s**2)
    residual = np.asarray(problem.operator.mask) * mu - np.asarray(problem.y)
    data_scale, prior_scale = SCALES[reduction]
    expected = data_scale * 1.3 * residual + prior_scale * 0.7 * WEIGHTS[weighting](s / a) * pull
    # float64; eps_hat - eps cancels all but alpha_999 = 0.006 of numbers of order 1.
    np.testing.assert_allclose(mean_gradient(ts), expected, atol=1e-11 * np.abs(expected).max())


@every_weighting
def test_mean_gradient_for_a_gaussian_in_float32(weighting):
    prior, problem, mu, eps, t = _gaussian(), _problem(), _normal(4, *SHAPE), _normal(5, *SHAPE), 300
    options = {"obs_weight": 0.0, "lam": 1.0, "weighting": weightings.WEIGHTINGS[weighting]}
    mean = sum(rd.reddiff_gradient(sign * eps, prior, problem, mu, t, **options)[0] for sign in (1, -1)) / 2
    a, s = map(float, LINEAR(t))
    weight = float(weightings.WEIGHTINGS[weighting](jnp.float32(a), jnp.float32(s)))
    expected = weight * s * a * (mu - prior.mean) / (a**2 * prior.variances + s**2)
    np.testing.assert_allclose(mean, expected, atol=1e-5)  # float32 numbers of order 1 to 3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name",
    ["super_resolution", *(pytest.param(n, marks=pytest.mark.slow) for n in OPERATORS if n != "super_resolution")],
)
@reductions_slowly
def test_with_the_noise_aware_weighting_an_update_is_that_of_noise_aware(name, reduction):
    prior, z, t = _gaussian(), _normal(5, *SHAPE), 300
    problem = _problem(name).replace(noise=rd.gaussian(0.3))
    m = problem.y.size * (2 if name == "complex" else 1)
    alpha_t, sigma_t = prior.schedule(t)
    init = {"init": rd.solvers.init_noise}  # not every operator has a pseudo-inverse
    ours = rd.reddiff(
        prior,
        optax.sgd(1.0),
        lam=1.0,
        control_variate=rd.solvers.variate_projected,
        reduction=reduction,
        num_steps=1,
        **init,
    ).replace(weight=NoiseAwareWeight())
    other = rd.noise_aware(
        prior, optax.sgd(reduction(N, m)[0]), lam=1.0, num_steps=1, sigma_max=sigma_t / alpha_t, **init
    )
    state = ours.init(jax.random.key(0), problem)
    expected = other.init(jax.random.key(0), problem).replace(mu=state.mu, scale=state.scale)
    actual = ours.update(z[None], jnp.asarray([t]), state, problem)[0].mu - state.mu
    expected = other.update(z[None], jnp.asarray([t]), expected, problem)[0].mu - state.mu
    np.testing.assert_allclose(actual, expected, atol=1e-12 * float(jnp.abs(expected).max()))  # float64


def _dense(operator):
    """A as a matrix of real rows."""
    rows = np.asarray(jax.vmap(operator)(jnp.eye(N).reshape(N, *SHAPE))).reshape(N, -1)
    return np.concatenate([rows.real, rows.imag], axis=1).T


every_linear = pytest.mark.parametrize(
    "name", ["super_resolution", *(pytest.param(n, marks=pytest.mark.slow) for n in ("inpainting", "complex"))]
)
every_count = pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])


@pytest.mark.usefixtures("x64")
@every_linear
@every_count
def test_the_proximal_step_solves_for_the_curvature_of_both_terms(name, count):
    prior, problem, eps, ts = _gaussian(), _problem(name), _normal(5, count, *SHAPE), [300, 400, 600][:count]
    options = {"lam": 0.7, "obs_weight": 1.3, "weighting": weightings.sqrt, "reduction": rd.solvers.total}
    solver = rd.reddiff(
        prior,
        rd.proximal_step(num_cg=N),
        num_steps=2,
        init=rd.solvers.init_noise,
        timesteps_per_update=count,
        **options,
    )
    state = solver.init(jax.random.key(0), problem)
    new, info = solver.update(eps, jnp.asarray(ts), state, problem)
    gradient, same = rd.reddiff_gradient(eps, prior, problem, state.mu, jnp.asarray(ts), **options)
    alphas, sigmas = map(np.asarray, prior.schedule(np.array(ts)))
    curvature = 0.7 * np.mean(np.sqrt(sigmas / alphas) / (sigmas / alphas))
    a = _dense(problem.operator)
    step = np.linalg.solve(1.3 * a.T @ a + curvature * np.eye(N), np.ravel(gradient))
    np.testing.assert_allclose(np.ravel(state.mu - new.mu), step, atol=1e-10)  # float64, conjugate gradients
    np.testing.assert_allclose(jax.tree.leaves(info), jax.tree.leaves(same), rtol=1e-12)  # float64


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@every_linear
@reductions_slowly
@pytest.mark.parametrize("sample", [False, True])
def test_with_proximal_steps_an_update_is_that_of_noise_aware(name, reduction, sample):
    prior, z = _gaussian(), _normal(5, *SHAPE)
    problem = _problem(name).replace(noise=rd.gaussian(0.3))
    level = {
        "init": rd.solvers.init_noise,
        "to_timestep": schedules.Schedule.fractional,
        "sigma_max": 0.4,
        "sigma_min": 0.1,
    }
    ours = rd.reddiff(
        prior,
        rd.proximal_step(),
        lam=1.0,
        control_variate=rd.solvers.variate_projected,
        reduction=reduction,
        num_steps=2,
        spacing=schedules.log_even(prior.schedule, 0.4, 0.1, to_timestep=schedules.Schedule.fractional),
        init=rd.solvers.init_noise,
    ).replace(weight=NoiseAwareWeight())
    if sample:
        ours = ours.replace(step_rule=rd.langevin_step())
    other = rd.noise_aware(prior, lam=1.0, num_steps=2, sample=sample, **level)
    state = ours.init(jax.random.key(0), problem)
    expected = other.init(jax.random.key(0), problem).replace(mu=state.mu, scale=state.scale)
    for t in ours.levels.timesteps:
        state = ours.update(z[None], t, state, problem)[0]
        expected = other.update(z[None], t, expected, problem)[0]
        np.testing.assert_allclose(state.mu, expected.mu, atol=1e-12)  # float64, of order 1
        level = other.levels(None, expected.step - 1, Scene(problem, prior.schedule, expected.scale))
        np.testing.assert_allclose(level, t, rtol=1e-9)  # float64, a power and an interpolation
    assert (ours.levels.timesteps % 1 > 0).all()


def test_the_noise_aware_weighting_needs_gaussian_noise(key):
    problem = _problem().replace(noise=rd.poisson(1.0))
    with pytest.raises(TypeError, match=r"needs Gaussian noise.*rd\.likelihood"):
        rd.run(key, rd.reddiff(SOLVED, num_steps=3).replace(weight=NoiseAwareWeight()), problem)


def test_the_weight_of_the_prior_is_the_papers_or_that_of_points_and_samples():
    solvers = rd.reddiff(SOLVED), rd.noise_aware(SOLVED), rd.noise_aware(SOLVED, sample=True)
    np.testing.assert_allclose([solver.lam for solver in solvers], [0.25, 0.35, 1.0])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
@every_reduction
def test_gradient_is_the_derivative_of_the_surrogate_loss(name, reduction):
    prior, problem, mu = _gaussian(), _problem(name), _normal(4, *SHAPE)
    eps, t = _normal(5, *SHAPE), 400
    options = {"lam": 0.7, "obs_weight": 1.3, "reduction": reduction}

    def loss(mu):
        a, s = LINEAR(t)
        difference = jax.lax.stop_gradient(prior.eps(a * mu + s * eps, t) - eps)
        m = problem.y.size * (2 if name == "complex" else 1)
        data, regulariser = reduction(N, m)
        return data * 1.3 * problem.misfit(mu) + regulariser * 0.7 * (s / a) * jnp.sum(difference * mu)

    actual, expected = rd.reddiff_gradient(eps, prior, problem, mu, t, **options)[0], jax.grad(loss)(mu)
    # float32, relative to the largest entry: the reductions' scales differ by factors of hundreds.
    np.testing.assert_allclose(actual, expected, atol=1e-6 * float(jnp.abs(expected).max()))


def test_pixel_units_are_n_times_the_published_means_of_one_sample():
    problem, prior = _problem("super_resolution"), _gaussian()
    arguments = _normal(5, *SHAPE), prior, problem, _normal(4, *SHAPE), 400
    pixels = rd.reddiff_gradient(*arguments)[0]
    means = rd.reddiff_gradient(*arguments, reduction=rd.solvers.BatchMean())[0]
    np.testing.assert_allclose(pixels, N * means, rtol=1e-5)  # float32


def test_gradient_over_timesteps_is_the_mean_of_single_ones():
    prior, problem, mu = _gaussian(), _problem(), _normal(4, *SHAPE)
    eps, ts = _normal(5, 3, *SHAPE), jnp.asarray([10, 500, 900])
    singles = [rd.reddiff_gradient(e, prior, problem, mu, t)[0] for e, t in zip(eps, ts, strict=True)]
    together, _ = rd.reddiff_gradient(eps, prior, problem, mu, ts)
    np.testing.assert_allclose(together, sum(singles) / 3, atol=1e-5)  # float32; the weight at 900 is 61


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "variate", [rd.solvers.variate_published, rd.solvers.variate_projected, rd.solvers.variate_none]
)
def test_a_control_variate_says_how_much_of_the_noise_is_subtracted(variate):
    prior, problem, mu, eps = _gaussian(), _problem(), _normal(4, *SHAPE), _normal(5, *SHAPE)
    a, s = prior.schedule(300)
    eps_hat = prior.eps(a * mu + s * eps, 300)
    # What is left is orthogonal to the noise.
    c = {
        rd.solvers.variate_published: 1.0,
        rd.solvers.variate_projected: jnp.vdot(eps_hat, eps) / jnp.vdot(eps, eps),
    }.get(variate, 0.0)
    grad, _ = rd.reddiff_gradient(eps, prior, problem, mu, 300, lam=0.7, obs_weight=0.0, control_variate=variate)
    np.testing.assert_allclose(grad, 0.7 * s / a * (eps_hat - c * eps), atol=1e-12)  # float64


def test_gradient_passes_the_condition_to_the_prior():
    prior = rd.prior(lambda x_t, t, cond: jnp.full_like(x_t, cond), LINEAR)
    operator = OPERATORS["inpainting"]()
    problem = rd.problem(jnp.zeros(SHAPE), operator, cond=jnp.float32(7.0))
    gradient, _ = rd.reddiff_gradient(
        jnp.zeros(SHAPE), prior, problem, jnp.zeros(SHAPE), 5, lam=1.0, weighting=weightings.const
    )
    assert np.array_equal(gradient, np.full(SHAPE, 7.0))


@pytest.mark.parametrize("name", OPERATORS)
def test_info_has_the_root_mean_squares(name):
    prior, problem, mu, eps = _gaussian(), _problem(name), _normal(4, *SHAPE), _normal(5, *SHAPE)
    _, info = rd.reddiff_gradient(eps, prior, problem, mu, 400)
    residual = np.asarray(problem.operator(mu) - problem.y)
    parts = np.stack([residual.real, residual.imag]) if name == "complex" else residual
    a, s = LINEAR(400)
    difference = prior.eps(a * mu + s * eps, 400) - eps
    kappa = 0.25 * parts.size / N  # lam w / r over the data term's scale n / m
    expected = [400.0, np.sqrt(np.mean(parts**2)), s / a * np.sqrt(np.mean(np.square(difference))), kappa]
    np.testing.assert_allclose([info.t, info.residual, info.pull, info.kappa], expected, rtol=1e-5)  # float32 means


def test_implied_precision_is_the_closed_form_of_the_sweep():
    # Over all t with weight r, the prior term is kappa mu, kappa = lam mean_t s^2 / (a^2 v + s^2).
    prior, mu, ts = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, LINEAR), _normal(4, *SHAPE), jnp.arange(1000)
    eps = jnp.zeros((1000, *SHAPE))  # in place of the mean over its sign
    actual, _ = rd.reddiff_gradient(eps, prior, _problem(), mu, ts, lam=0.5, obs_weight=0.0)
    a, s = map(np.float64, LINEAR(ts))
    expected = 0.5 * np.mean(s**2 / (a**2 * 0.25 + s**2)) * np.asarray(mu, np.float64)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)  # float32 sum of 1000


def test_mean_gradient_of_the_sweep_vanishes_at_the_quadratics_minimum():
    prior, problem, ts = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, LINEAR), _problem(), jnp.arange(1000)
    a, s = map(np.float64, LINEAR(ts))
    kappa = 0.5 * np.mean(s**2 / (a**2 * 0.25 + s**2))
    mu = jnp.asarray(problem.y / (1 + kappa), jnp.float32)  # y is zero where nothing is seen
    gradient, _ = rd.reddiff_gradient(jnp.zeros((1000, *SHAPE)), prior, problem, mu, ts, lam=0.5)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)  # float32 sum of 1000


# ---- the fixed point

SMALL = (4, 4, 1)


def _measured_full_gaussian():
    """A prior of full covariance and a measurement of 4 numbers, made under x64; mean, covariance and matrix."""
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(16, 16)) / 4
    mean, covariance = rng.normal(size=16), factor @ factor.T + 0.05 * np.eye(16)
    operator = rd.super_resolution(SMALL, 2)
    problem = rd.problem(jnp.asarray(rng.normal(size=(2, 2, 1))), operator)
    prior = rd.gaussian_prior(jnp.asarray(mean.reshape(SMALL)), jnp.asarray(covariance), schedules.linear())
    matrix = np.kron(np.kron(np.eye(2), [[0.5, 0.5]]), np.kron(np.eye(2), [[0.5, 0.5]]))
    return prior, problem, mean, covariance, matrix


GRIDS = {"level": np.full(20, 300), "sweep": np.arange(0, 1000, 50)}


@pytest.fixture(scope="module")
def descents():
    """Ends of 1000 steps by the expected gradient, and the closed form: (weighting, grid) -> (16,), (16,)."""
    with jax.enable_x64(True):
        prior, problem, mean, covariance, matrix = _measured_full_gaussian()
        eps = _normal(5, 20, *SMALL)
        lanes = [(name, grid) for name in weightings.WEIGHTINGS for grid in GRIDS]

        def equation(name, grid):
            a, s = (np.asarray(scale) for scale in prior.schedule(jnp.asarray(GRIDS[grid])))
            # The prior pulls with lam w r (C + r^2)^-1 (mu - mean), the data with n / m = 4.
            pull = 0.7 * np.mean(
                [
                    w * r * np.linalg.inv(covariance + r**2 * np.eye(16))
                    for w, r in zip(WEIGHTS[name](s / a), s / a, strict=True)
                ],
                axis=0,
            )
            data = 4 * 1.3 * matrix.T
            return data @ matrix + pull, data @ np.ravel(problem.y) + pull @ mean

        equations = [equation(*lane) for lane in lanes]
        sizes = jnp.asarray([1 / np.linalg.eigvalsh(hessian).max() for hessian, _ in equations])

        @jax.jit
        @jax.vmap
        def descend(index, ts, size):
            def weighting(alpha_t, sigma_t):
                return jax.lax.switch(index, [*weightings.WEIGHTINGS.values()], alpha_t, sigma_t)

            def step(mu, _):
                above, below = (
                    rd.reddiff_gradient(e, prior, problem, mu, ts, lam=0.7, obs_weight=1.3, weighting=weighting)[0]
                    for e in (eps, -eps)
                )
                return mu - size * (above + below) / 2, None

            return jax.lax.scan(step, jnp.zeros(SMALL), length=1000)[0]

        indices = jnp.asarray([[*weightings.WEIGHTINGS].index(name) for name, _ in lanes])
        ends = descend(indices, jnp.asarray([GRIDS[grid] for _, grid in lanes]), sizes)
    ends = np.asarray(ends).reshape(len(lanes), 16)
    return {lane: (end, np.linalg.solve(*eq)) for lane, end, eq in zip(lanes, ends, equations, strict=True)}


@every_weighting
@pytest.mark.parametrize("grid", GRIDS)
def test_descent_by_the_expected_gradient_ends_at_the_closed_form(weighting, grid, descents):
    end, expected = descents[weighting, grid]
    # float64, of order 1; condition numbers below 30 leave nothing of the start after 1000 steps.
    np.testing.assert_allclose(end, expected, atol=1e-9)


def test_each_weighting_has_its_own_fixed_point(descents):
    ends = [descents[name, "sweep"][1] for name in weightings.WEIGHTINGS]
    assert min(np.abs(a - b).max() for i, a in enumerate(ends) for b in ends[:i]) > 1e-3


# ---- what it costs


@jax.custom_jvp
def _no_derivative(x_t):
    return 0.5 * x_t


@_no_derivative.defjvp
def _raise(primals, tangents):
    raise AssertionError("the network was differentiated")


def test_no_derivative_goes_through_the_network():
    prior = rd.prior(lambda x_t, t, cond: _no_derivative(x_t), LINEAR)

    def loss(mu):
        return rd.reddiff_gradient(_normal(5, 3, *SHAPE), prior, _problem(), mu, jnp.asarray([3, 4, 5]))[0].sum()

    with pytest.raises(AssertionError, match="was differentiated"):
        jax.grad(lambda x: prior.eps(x, 3).sum())(jnp.ones(SHAPE))
    jax.grad(loss)(jnp.ones(SHAPE))


@pytest.mark.parametrize("name", ["inpainting", "nonlinear", "complex"])
def test_a_run_never_differentiates_the_network(name, key):
    prior = rd.prior(lambda x_t, t, cond: _no_derivative(x_t), LINEAR)
    assert bool(rd.run(key, rd.reddiff(prior, num_steps=3, init=rd.solvers.init_zeros), _problem(name)).finite)


def test_a_run_evaluates_the_network_once_a_step(key):
    seen = []

    def fn(x_t, t, cond):
        jax.debug.callback(lambda t: seen.append(int(t)), t)
        return x_t

    solver = rd.reddiff(rd.prior(fn, LINEAR), num_steps=7)
    jax.block_until_ready(rd.run(key, solver, _problem()).x)
    jax.effects_barrier()
    assert sorted(seen) == sorted(solver.levels.timesteps[:, 0].tolist())


# ---- the solver's options

SOLVED = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, LINEAR)


def test_each_update_averages_neighbouring_timesteps():
    solver = rd.reddiff(SOLVED, num_steps=10, timesteps_per_update=3)
    assert np.array_equal(solver.levels.timesteps.ravel(), LINEAR.timesteps(30))
    assert solver.num_steps == 10


def test_a_run_with_several_timesteps_per_update_reports_their_mean(key):
    solver = rd.reddiff(SOLVED, num_steps=10, timesteps_per_update=4)
    info = rd.run(key, solver, _problem()).info
    np.testing.assert_allclose(
        info.t, np.asarray(solver.levels.timesteps).mean(1), rtol=1e-6
    )  # float32 mean of integers


@pytest.mark.parametrize(
    ("order", "expected"),
    [(rd.solvers.descending, [999, 666, 333, 0]), (rd.solvers.ascending, [0, 333, 666, 999])],
)
def test_timesteps_come_in_the_order_asked_for(order, expected, key):
    info = rd.run(key, rd.reddiff(SOLVED, num_steps=4, order=order), _problem()).info
    assert info.t.tolist() == expected


def test_random_timesteps_are_drawn_from_the_grid(key):
    solver = rd.reddiff(SOLVED, num_steps=50, order=rd.solvers.random)
    drawn = np.asarray(rd.run(key, solver, _problem()).info.t)
    assert set(drawn) <= set(np.asarray(solver.levels.timesteps).ravel().astype(float))
    assert np.unique(drawn).size > 20


def test_an_order_can_be_a_users_function(key):
    def always_seven(key, step, timesteps):
        return jnp.full(timesteps.shape[1:], 7)

    info = rd.run(key, rd.reddiff(SOLVED, num_steps=3, order=always_seven), _problem()).info
    assert info.t.tolist() == [7, 7, 7]


ALPHA, SIGMA = map(float, LINEAR(999))
INITS = {
    "pinv": (rd.solvers.init_pinv, lambda pinv, z: pinv),
    "zeros": (rd.solvers.init_zeros, lambda pinv, z: 0 * z),
    "noise": (rd.solvers.init_noise, lambda pinv, z: z),
    "noised_pinv": (rd.solvers.init_noised_pinv, lambda pinv, z: ALPHA * pinv + SIGMA * z),
    "function": (lambda key, problem, alpha_t, sigma_t: jnp.full(SHAPE, sigma_t), lambda pinv, z: 0 * z + SIGMA),
}


@pytest.mark.parametrize(("init", "expected"), INITS.values(), ids=INITS)
def test_a_run_starts_where_it_is_told(init, expected, key):
    problem = _problem()
    state = rd.reddiff(SOLVED, num_steps=3, init=init).init(key, problem)
    pinv = problem.operator.pinv(problem.y)
    np.testing.assert_allclose(state.mu, expected(pinv, jax.random.normal(key, SHAPE)), atol=1e-6)  # float32


def test_a_run_starts_from_a_given_image(key):
    initial = _normal(6, *SHAPE)
    operator = OPERATORS["inpainting"]()
    problem = rd.problem(jnp.zeros(SHAPE), operator, init=initial)
    assert np.array_equal(rd.reddiff(SOLVED, num_steps=3, init=rd.solvers.init_given).init(key, problem).mu, initial)


def test_a_missing_initial_image_is_an_error(key):
    with pytest.raises(ValueError, match="needs an initial image"):
        rd.run(key, rd.reddiff(SOLVED, num_steps=3, init=rd.solvers.init_given), _problem())


def test_an_operator_without_pinv_says_what_to_start_from(key):
    with pytest.raises(TypeError, match=r"init=rd\.solvers\.init_zeros"):
        rd.run(key, rd.reddiff(SOLVED, num_steps=3), _problem("nonlinear"))


def test_the_final_mu_is_returned(key):
    solution = rd.run(key, rd.reddiff(SOLVED, num_steps=3, sigma_x0=0.1), _problem())
    assert np.array_equal(solution.x, solution.state.mu)


def test_the_published_form_returns_the_image_before_the_last_update(key):
    solver = rd.reddiff_published(SOLVED, num_steps=5)
    before = rd.run(key, solver, _problem(), num_steps=4).state.mu
    assert np.array_equal(rd.run(key, solver, _problem()).x, before)


def test_perturbing_by_zero_is_not_perturbing(key):
    exact, jittered = (rd.reddiff(SOLVED, num_steps=5, sigma_x0=sigma) for sigma in (0.0, jnp.zeros(())))
    assert jittered.sigma_x0 is not None
    # One more addition of zero may change how XLA fuses: float32 rounding, times Adam's steps of 0.1.
    x = [rd.run(key, solver, _problem()).x for solver in (exact, jittered)]
    np.testing.assert_allclose(x[0], x[1], atol=1e-5)


def test_an_update_without_its_perturbations_noise_is_an_error(key):
    solver, problem = rd.reddiff(SOLVED, num_steps=5, sigma_x0=0.1), _problem()
    with pytest.raises(ValueError, match="needs the noise eps_x0"):
        solver.update(jnp.zeros((1, *SHAPE)), solver.levels.timesteps[0], solver.init(key, problem), problem)


def test_without_prior_or_data_term_nothing_moves(key):
    solver = rd.reddiff(SOLVED, num_steps=5, lam=0.0, obs_weight=0.0)
    solution = rd.run(key, solver, _problem())
    assert np.array_equal(solution.x, _problem().operator.pinv(_problem().y))


def test_without_a_prior_term_the_measurement_is_fitted(key):
    solver = rd.reddiff(SOLVED, optax.sgd(0.5), num_steps=100, lam=0.0, init=rd.solvers.init_noise)
    # The residual halves in every step; what is left is float32.
    assert float(_problem().misfit(rd.run(key, solver, _problem()).x)) < 1e-10


OPTIMIZERS = {
    "sgd_momentum": lambda: optax.sgd(1e-2, momentum=0.9, nesterov=True),
    "adamw": lambda: optax.adamw(0.1, b2=0.99, weight_decay=1e-3),
    "cosine_schedule": lambda: optax.adam(optax.cosine_decay_schedule(0.1, 30)),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)),
    "lion": lambda: optax.lion(0.05),
    "adafactor": lambda: optax.adafactor(0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_any_optax_optimizer_lowers_the_misfit(make, key):
    solver = rd.reddiff(SOLVED, make(), num_steps=30, init=rd.solvers.init_noise)
    solution = rd.run(key, solver, _problem())
    assert bool(solution.finite)
    assert solution.info.residual[-1] < 0.7 * solution.info.residual[0]


def test_a_learning_rate_schedule_counts_the_solvers_steps(key):
    stop_after_three = optax.sgd(optax.piecewise_constant_schedule(0.1, {3: 0.0}))
    solver = rd.reddiff(SOLVED, stop_after_three, num_steps=6)
    three, six = (rd.run(key, solver, _problem(), num_steps=n).x for n in (3, 6))
    assert np.array_equal(three, six)


def test_of_a_schedule_free_optimizer_the_average_of_its_iterates_is_returned(key):
    solver = rd.reddiff(SOLVED, optax.contrib.schedule_free_sgd(0.1), num_steps=6)
    solution = rd.run(key, solver, _problem(), record=lambda state, _: state.opt_state.z)
    # Six float32 updates of mu of order 1, each divided by b1 = 0.9.
    np.testing.assert_allclose(solution.x, solution.record.mean(0), atol=3e-6)
    assert float(jnp.abs(solution.x - solution.state.mu).max()) > 1e-3


def test_proximal_steps_without_a_prior_fit_the_measurement_at_once(key):
    problem = _problem("super_resolution")
    solver = rd.reddiff(SOLVED, rd.proximal_step(), num_steps=1, lam=0.0, init=rd.solvers.init_noise)
    assert float(problem.misfit(rd.run(key, solver, problem).x)) < 1e-10  # float32


@pytest.mark.parametrize("step", [rd.proximal_step, rd.langevin_step])
def test_a_step_without_conjugate_gradients_is_an_error(step):
    with pytest.raises(ValueError, match="num_cg is 0"):
        step(num_cg=0)


def test_the_published_form_has_a_batch_of_at_least_one():
    with pytest.raises(ValueError, match="batch_size is 0"):
        rd.reddiff_published(SOLVED, batch_size=0)


@pytest.mark.parametrize("step", [rd.proximal_step, rd.langevin_step])
def test_a_step_without_gauss_newton_steps_is_an_error(step):
    with pytest.raises(ValueError, match="num_newton is 0"):
        step(num_newton=0)


# ---- behaviour on a Gaussian


@pytest.fixture(scope="module")
def sweeps():
    """RMSE of the seen and deviation of the unseen pixels of 1000 steps in each order: the toy of spec section 1.1."""
    shape, batch = (8, 8, 3), 10
    prior = rd.gaussian_prior(jnp.zeros(shape), 0.25, LINEAR)
    mask = np.random.default_rng(0).random(shape) > 0.5
    x = 0.5 * np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)
    problems = rd.stack([rd.problem(mask * image, rd.inpainting(mask)) for image in x])
    keys, results = jax.random.split(jax.random.key(0), batch), {}
    for order in (rd.solvers.descending, rd.solvers.random, rd.solvers.ascending):
        solver = rd.reddiff_published(prior, num_steps=1000, order=order, batch_size=batch)
        out = np.asarray(jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, problems).state.mu)
        seen, unseen = (out - x)[:, mask], out[:, ~mask]
        results[order.__name__] = np.sqrt(np.mean(seen**2)), unseen.std()
    return results


@pytest.mark.slow
def test_descending_timesteps_fit_the_measurement_best(sweeps):
    assert sweeps["descending"][0] < 0.2 * min(sweeps["random"][0], sweeps["ascending"][0])


@pytest.mark.slow
def test_descending_timesteps_keep_the_most_of_the_priors_deviation(sweeps):
    assert sweeps["descending"][1] > 3 * max(sweeps["random"][1], sweeps["ascending"][1])


@pytest.mark.slow
def test_unseen_pixels_have_less_than_the_priors_deviation(sweeps):
    # RED-diff seeks a mode: the prior's deviation is 0.5.
    assert sweeps["descending"][1] < 0.4


@pytest.mark.slow
def test_runs_settle_near_the_modes_of_a_mixture_with_less_than_their_spread():
    # Two modes +-1 of deviation 0.1 and weights 0.8 and 0.2, nothing measured: coverage is not what RED-diff is for.
    shape = (1, 1, 1)
    means = jnp.asarray([-1.0, 1.0]).reshape(2, *shape)
    prior = rd.mixture_prior(jnp.asarray([0.8, 0.2]), means, 0.01, LINEAR)
    solver = rd.reddiff(prior, num_steps=1000, obs_weight=0.0, init=rd.solvers.init_noise)
    problem = rd.problem(jnp.zeros(shape), rd.inpainting(np.zeros((1, 1)), channels=1))
    keys = jax.random.split(jax.random.key(0), 64)
    x = np.asarray(jax.jit(jax.vmap(rd.run, in_axes=(0, None, None)))(keys, solver, problem).x).ravel()
    assert np.abs(np.abs(x) - 1).max() < 0.3


# ---- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -1.0}, "lam is -1.0"),
        ({"obs_weight": float("nan")}, "obs_weight is nan"),
        ({"sigma_x0": -0.1}, "sigma_x0 is -0.1"),
        ({"num_steps": 1001}, "must be between 1 and 1000"),
        ({"num_steps": 0}, "must be between 1 and 1000"),
        ({"num_steps": 600, "timesteps_per_update": 2}, "must be between 1 and 1000"),
        ({"timesteps_per_update": 0}, "timesteps_per_update is 0"),
        (
            {"num_steps": 111, "timesteps_per_update": 3, "spacing": schedules.published},
            "not a multiple of timesteps_per_update=3",
        ),
        ({"step": rd.langevin_step()}, r"use rd\.noise_aware\(prior, sample=True\)"),
        ({"step": rd.proximal_step(), "obs_weight": 0.0}, "obs_weight"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_that_make_no_sense_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        rd.reddiff(SOLVED, **options)


def test_a_measurement_with_a_batch_axis_is_an_error(key):
    problems = rd.stack([_problem(), _problem()])
    with pytest.raises(ValueError, match=r"A batch goes through jax\.vmap"):
        rd.run(key, rd.reddiff(SOLVED, num_steps=3), problems.replace(operator=_problem().operator))


def test_an_init_of_another_shape_is_an_error(key):
    solver = rd.reddiff(SOLVED, num_steps=3, init=lambda *_: jnp.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"init returned shape \(2, 2, 2\)"):
        rd.run(key, solver, _problem())


# ---- types


@pytest.mark.usefixtures("x64")
def test_a_run_follows_x64(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, schedules.linear())
    assert rd.run(key, rd.reddiff(prior, num_steps=3), _problem()).x.dtype == jnp.float64


@pytest.mark.slow
def test_the_gradient_promotes_no_types():
    prior, problem = _gaussian(), _problem()
    with jax.numpy_dtype_promotion("strict"):
        gradient, _ = rd.reddiff_gradient(_normal(5, *SHAPE), prior, problem, _normal(4, *SHAPE), jnp.int32(4))
    assert gradient.dtype == jnp.float32
