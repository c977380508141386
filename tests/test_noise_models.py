"""Noises other than Gaussian: samples against theory, likelihoods against SciPy, gradients that stay finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import reddiff_jax as rd

# Built from one parameter, as under vmap; the clean values at which they are tried, and two parameters.
MAKE = {
    "gaussian": (rd.gaussian, (-0.9, 0.7), (0.1, 0.4)),
    "poisson": (rd.poisson, (-0.9, 0.7), (40.0, 300.0)),
    "poisson_background": (lambda n: rd.poisson(n, low=0.0, high=2.0, background=3.0), (0.1, 1.5), (40.0, 300.0)),
    "poisson_gaussian": (lambda n: rd.poisson_gaussian(n, 0.1), (-0.9, 0.7), (40.0, 300.0)),
    "poisson_magnitude": (rd.poisson_magnitude, (0.5, 1.5), (40.0, 300.0)),
    "poisson_attenuation": (lambda n: rd.poisson_attenuation(n, low=-1.0, scale=0.5), (-0.5, 1.5), (80.0, 300.0)),
    "poisson_scatter": (lambda n: rd.poisson_attenuation(n, background=5.0), (0.0, 0.7), (100.0, 300.0)),
    "speckle": (rd.speckle, (-0.5, 0.7), (4.0, 0.5)),
    "impulse": (rd.impulse, (-0.9, 0.7), (0.2, 0.6)),
    "uniform_quantization": (rd.uniform_quantization, (-0.9, 0.7), (0.25, 0.1)),
}
every_noise = pytest.mark.parametrize("name", MAKE)
REAL_ONLY = [name for name in MAKE if name not in ("gaussian", "uniform_quantization")]


@jax.jit
def _sample(key, noise, y):
    return noise.sample(key, y)


@jax.jit
def _nll(noise, y, y_hat):
    return noise.nll(y, y_hat)


@jax.jit
def _misfit(noise, y, y_hat):
    return noise.misfit(y, y_hat)


@jax.jit
def _gradients(noise, y, y_hats):
    """Gradient in y_hat at each of several."""
    return jax.vmap(jax.grad(noise.nll, argnums=1), in_axes=(None, 0))(y, y_hats)


def _noise(name, i=0) -> rd.Noise:
    make, _, parameters = MAKE[name]
    return make(jnp.asarray(parameters[i]))


def _counts_and_values(noise, clean):
    """Probabilities of counts, and what they are read as, from SciPy and the noise's documented formula."""
    k = np.arange(4000)
    n, b = float(noise.photons), float(getattr(noise, "background", 0.0))
    if isinstance(noise, rd.noise.PoissonMagnitude):
        return stats.poisson(n * clean**2 + b).pmf(k), np.sqrt(np.maximum(k - b, 0) / n)
    low = float(noise.low)
    if isinstance(noise, rd.noise.PoissonAttenuation):
        scale = float(noise.scale)
        rate = n * np.exp(-scale * (clean - low)) + b
        return stats.poisson(rate).pmf(k), low - np.log(np.maximum(k - b, 0.5) / n) / scale
    span = float(noise.high) - low
    return stats.poisson(n * (clean - low) / span + b).pmf(k), low + span * (k - b) / n


def _moments(noise, clean):
    """Mean and variance of the measurement, from theory."""
    if isinstance(noise, rd.noise.Gaussian):
        return clean, float(noise.sigma_y) ** 2
    if isinstance(noise, rd.noise.UniformQuantization):
        return clean, float(noise.step) ** 2 / 12
    if isinstance(noise, rd.noise.Speckle):
        return clean, (clean + 1) ** 2 / float(noise.looks)
    if isinstance(noise, rd.noise.Impulse):
        p, sigma = float(noise.probability), float(noise.sigma_y)
        mean = (1 - p) * clean
        return mean, (1 - p) * clean**2 + p - mean**2 + sigma**2
    probabilities, values = _counts_and_values(noise, clean)
    mean = np.sum(probabilities * values)
    read = float(noise.sigma_y) ** 2 if isinstance(noise, rd.noise.PoissonGaussian) else 0.0
    return mean, np.sum(probabilities * (values - mean) ** 2) + read


@functools.cache
def _draws(name, i):
    clean = MAKE[name][1][i]
    return np.asarray(_sample(jax.random.key(i), _noise(name), jnp.full((100, 200), clean))).astype(float), clean


def _describe(name, i, y):
    """Percentiles of draws that failed, and of the same drawn again: impulses failed twice, unexplained."""
    _draws.cache_clear()
    again, _ = _draws(name, i)
    percentiles = [np.percentile(draws, [0, 1, 10, 50, 90, 99, 100]) for draws in (y, again)]
    return f"percentiles {percentiles}, {np.sum(y != again)} of {y.size} draws differ when drawn again"


@pytest.mark.slow
@every_noise
@pytest.mark.parametrize("i", [0, 1])
def test_samples_have_the_mean_of_theory(name, i):
    y, clean = _draws(name, i)
    mean, variance = _moments(_noise(name), clean)
    # 20,000 draws: five standard errors; and float32.
    assert y.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / y.size) + 1e-5), _describe(name, i, y)


@every_noise
@pytest.mark.parametrize("i", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_samples_have_the_variance_of_theory(name, i):
    y, clean = _draws(name, i)
    _, variance = _moments(_noise(name), clean)
    # Five standard errors, sqrt((kurtosis - 1) / n) relative, with the sample's kurtosis.
    error = np.sqrt((stats.kurtosis(y.ravel(), fisher=False) - 1) / y.size)
    assert y.var() == pytest.approx(variance, rel=5 * error), _describe(name, i, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MAKE if name != "impulse"])
def test_variance_of_a_measurement_is_near_the_true_one(name):
    y, clean = _draws(name, 1)
    _, variance = _moments(_noise(name), clean)
    # Counts of 15 and more stand for their rates: first-order formulas are off by a few counts' share of the variance.
    assert float(_noise(name).variance(jnp.asarray(y, jnp.float32))) == pytest.approx(variance, rel=0.15)


def test_variance_of_impulses_is_that_of_the_entries_which_were_not_hit():
    assert float(rd.impulse(0.3, sigma_y=0.1).variance(jnp.zeros(3))) == pytest.approx(0.01)


@every_noise
def test_same_key_same_noise_and_another_key_another(name, key):
    y = jnp.full((100, 200), MAKE[name][1][1])
    first = _sample(key, _noise(name), y)
    assert (first.shape, first.dtype) == (y.shape, y.dtype)
    assert np.array_equal(first, _sample(key, _noise(name), y))
    assert not np.array_equal(first, _sample(jax.random.key(1), _noise(name), y))


@pytest.mark.slow
# The other photon noises are sampled by the same code.
@pytest.mark.parametrize("name", ["gaussian", "poisson", "speckle", "impulse", "uniform_quantization"])
def test_samples_of_a_batch_with_a_parameter_for_each_item_equal_a_loop(name):
    make, cleans, parameters = MAKE[name]
    noises, keys = jax.vmap(make)(jnp.asarray(parameters)), jax.random.split(jax.random.key(3), 2)
    y = jnp.broadcast_to(jnp.asarray(cleans)[:, None, None], (2, 100, 200))
    drawn = jax.jit(jax.vmap(lambda key, noise, y: noise.sample(key, y)))(keys, noises, y)
    for i in range(2):
        # float32 numbers up to 5, fused differently.
        np.testing.assert_allclose(drawn[i], _sample(keys[i], _noise(name, i), y[i]), atol=2e-6)


@every_noise
def test_misfits_of_a_batch_with_a_parameter_for_each_item_equal_a_loop(name):
    make, cleans, parameters = MAKE[name]
    noises, (y, y_hat) = jax.vmap(make)(jnp.asarray(parameters)), np.linspace(*cleans, 32).reshape(2, 2, 8)
    y, y_hat = jnp.asarray(y, jnp.float32), jnp.asarray(y_hat, jnp.float32)
    misfits = jax.jit(jax.vmap(lambda noise, y, y_hat: noise.misfit(y, y_hat)))(noises, y, y_hat)
    singles = [_misfit(_noise(name, i), y[i], y_hat[i]) for i in range(2)]
    np.testing.assert_allclose(misfits, singles, rtol=1e-5, atol=1e-6)  # float32 sums of 8


# ---- likelihoods


def _log_density(noise, y, y_hat):
    """Of every entry, by SciPy, up to what does not depend on y_hat."""
    if isinstance(noise, rd.noise.Gaussian):
        return stats.norm(y_hat, float(noise.sigma_y)).logpdf(y)
    if isinstance(noise, rd.noise.UniformQuantization):
        half, edge = float(noise.step) / 2, stats.norm(scale=float(noise.edge) * float(noise.step))
        return np.log(edge.cdf(y - y_hat + half) - edge.cdf(y - y_hat - half))
    if isinstance(noise, rd.noise.Speckle):
        return stats.gamma(float(noise.looks), scale=(y_hat + 1) / 2 / float(noise.looks)).logpdf((y + 1) / 2)
    if isinstance(noise, rd.noise.Impulse):
        p, sigma = float(noise.probability), float(noise.sigma_y)
        densities = [stats.norm(center, sigma).pdf(y) for center in (y_hat, -1, 1)]
        return np.log((1 - p) * densities[0] + p / 2 * (densities[1] + densities[2]))
    # The counts that were read, which are whole up to rounding.
    counts = np.asarray(noise.rate(jnp.asarray(y)))
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    n, b = float(noise.photons), float(noise.background)
    if isinstance(noise, rd.noise.PoissonMagnitude):
        rate = n * y_hat**2 + b
    elif isinstance(noise, rd.noise.PoissonAttenuation):
        rate = n * np.exp(-float(noise.scale) * (y_hat - float(noise.low))) + b
    else:
        rate = n * (y_hat - float(noise.low)) / (float(noise.high) - float(noise.low)) + b
    return stats.poisson(rate).logpmf(np.round(counts))


@pytest.mark.parametrize("name", [name for name in MAKE if name != "poisson_gaussian"])
@pytest.mark.usefixtures("x64")
def test_nll_is_scipys_up_to_a_constant(name):
    noise, clean = _noise(name), np.linspace(*MAKE[name][1], 20)
    if name.startswith("poisson"):
        y = np.asarray(noise.value(jnp.arange(6.0, 26.0)))
    else:
        y = clean + np.random.default_rng(0).uniform(-0.15, 0.15, 20)
    others = [clean, clean + 0.05, clean - 0.05]
    expected = [-_log_density(noise, y, y_hat).sum() for y_hat in others]
    actual = np.asarray([float(_nll(noise, jnp.asarray(y), jnp.asarray(y_hat))) for y_hat in others])
    # float64; SciPy's difference of two distribution functions loses digits.
    np.testing.assert_allclose(actual - actual[0], np.subtract(expected, expected[0]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sigma_y", [0.05, 0.2])
@pytest.mark.usefixtures("x64")
def test_shifted_poisson_likelihood_is_near_the_exact_sum(sigma_y, rng):
    noise, clean = rd.poisson_gaussian(100.0, sigma_y), np.linspace(-0.8, 0.8, 50)
    y = rng.poisson(50 * (clean + 1)) / 50 - 1 + sigma_y * rng.normal(size=50)
    k = np.arange(400)[:, None]

    def exact(y_hat):
        terms = stats.poisson(50 * (y_hat + 1)).pmf(k) * stats.norm(k / 50 - 1, sigma_y).pdf(y)
        return -np.log(terms.sum(0))

    each = jax.jit(jax.vmap(noise.nll))
    expected = exact(clean + 0.1) - exact(clean - 0.1)
    actual = each(jnp.asarray(y), jnp.asarray(clean + 0.1)) - each(jnp.asarray(y), jnp.asarray(clean - 0.1))
    # Its mean and variance are right and its skewness is not: a tenth, in the rms of fifty entries.
    assert np.linalg.norm(actual - expected) < 0.1 * np.linalg.norm(expected)


def test_without_read_out_noise_the_mixed_likelihood_is_poissons():
    y, y_hat = jnp.linspace(-0.8, 0.8, 9), jnp.linspace(-0.7, 0.9, 9)
    expected = _nll(rd.poisson(50.0), y, y_hat)
    np.testing.assert_allclose(_nll(rd.poisson_gaussian(50.0, 0.0), y, y_hat), expected, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in MAKE if name.startswith("poisson")])
def test_photon_noises_have_their_least_nll_at_the_measurement(name):
    y = jnp.linspace(*MAKE[name][1], 8)
    gradients = _gradients(_noise(name), y, jnp.stack([y, y + 0.1, y - 0.1]))
    # float32: differences of 300 counts at most, times photons per unit of y.
    np.testing.assert_allclose(gradients[0], 0, atol=1e-2)
    assert (gradients[1] > 0).all()
    assert (gradients[2] < 0).all()


@every_noise
def test_gradients_are_finite_far_outside_the_range_and_without_light(name):
    noise, y = _noise(name), jnp.asarray([-1.5, -1.0, -0.5, 0.0, 1e-6, 0.5, 1.0, 4.0])
    y_hats = jnp.asarray([-1e3, -10.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 10.0, 1e3])
    gradients = _gradients(noise, y, jnp.broadcast_to(y_hats[:, None], (9, 8)))
    assert bool(jnp.isfinite(gradients).all())
    assert np.isfinite([float(_nll(noise, y, jnp.full((8,), v))) for v in (-1e3, 0.0, 1e3)]).all()


@pytest.mark.parametrize(
    "noise",
    [rd.poisson(100.0), rd.poisson(0.5), rd.poisson_gaussian(100.0, 0.0), rd.speckle(3.0)],
    ids=["poisson", "dim", "mixed", "speckle"],
)
def test_below_the_range_the_likelihood_pulls_up(noise):
    y = jnp.asarray([-1.0, -0.5, 1.0])
    for y_hat in (-1.2, -2.0, -50.0):
        assert (_gradients(noise, y, jnp.full((1, 3), y_hat)) < 0).all()


def test_the_continuation_below_the_floor_has_no_step_and_no_kink():
    noise, y = rd.poisson(100.0), jnp.asarray([0.0])  # 50 counts: the floor is 5, at -0.9
    around = jnp.asarray([[-0.9001], [-0.8999]])
    values = [float(_nll(noise, y, y_hat)) for y_hat in around]
    slopes = _gradients(noise, y, around)
    # The slope is -450 a unit and the curvature 50 (50 / 5)^2 = 5000 a unit, twice 1e-4 apart.
    assert values[0] - values[1] == pytest.approx(450 * 2e-4, rel=0.02)
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=0.01)


def test_large_counts_keep_their_digits_in_float32():
    y, y_hat = np.linspace(0.2, 0.9, 64), np.linspace(0.2, 0.9, 64) + 2e-3
    for noise in (rd.poisson(1e6), rd.poisson_attenuation(1e6)):
        single = _nll(noise, jnp.asarray(y, jnp.float32), jnp.asarray(y_hat, jnp.float32))
        with jax.enable_x64(True):
            double = _nll(noise, jnp.asarray(y), jnp.asarray(y_hat))
        # y itself is rounded to 6e-8, a 3e-5th of the difference.
        np.testing.assert_allclose(single, double, rtol=2e-4)


def test_a_measurement_without_a_photon_keeps_its_weight():
    assert float(rd.poisson(100.0).variance(jnp.full((4,), -1.0))) > 0


def test_impulses_do_not_pull():
    noise, y = rd.impulse(0.1, sigma_y=0.05), jnp.asarray([1.0, 0.3])
    gradient = _gradients(noise, y, jnp.asarray([[-0.2, 0.25]]))[0]
    assert abs(gradient[0]) < 1e-6
    np.testing.assert_allclose(gradient[1], (0.25 - 0.3) / 0.05**2, rtol=1e-4)  # as without impulses


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_impulses_never_or_always_are_finite(probability):
    gradient = _gradients(rd.impulse(probability), jnp.asarray([0.5, 1.0]), jnp.asarray([[0.51, 0.98]]))[0]
    expected = (1 - probability) * np.asarray([0.01, -0.02]) / 0.02**2
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)  # float32


def test_within_its_bin_rounding_has_no_opinion():
    noise = rd.uniform_quantization(0.2)
    inside, outside = _gradients(noise, jnp.asarray([0.4]), jnp.asarray([[0.405], [0.55]]))
    assert abs(float(inside[0])) < 1e-3 < float(outside[0])


def test_quantization_of_complex_measurements_is_that_of_their_parts(key):
    noise, y = rd.uniform_quantization(0.2), jnp.zeros((50, 50), jnp.complex64)
    noisy = _sample(key, noise, y)
    assert noisy.dtype == jnp.complex64
    assert max(float(jnp.abs(part).max()) for part in (noisy.real, noisy.imag)) <= 0.1
    parts = _nll(noise, noisy.real, y.real + 0.05) + _nll(noise, noisy.imag, y.imag)
    np.testing.assert_allclose(_nll(noise, noisy, y + 0.05), parts, rtol=1e-5)  # float32 sums


@pytest.mark.parametrize("name", REAL_ONLY)
def test_complex_measurements_are_an_error_that_names_the_remedy(name, key):
    y = jnp.zeros(3, jnp.complex64)
    with pytest.raises(TypeError, match=r"needs a real measurement but it is complex64.*rd\.gaussian"):
        _noise(name).sample(key, y)
    with pytest.raises(TypeError, match=r"needs a real measurement"):
        _noise(name).nll(jnp.zeros(3), y)


def test_a_deviation_quoted_for_the_unit_range_is_doubled():
    assert rd.sigma_from_unit_range(0.025) == 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rd.poisson(0.0), "photons is 0.0 but must be finite and above 0. It is the expected count"),
        (lambda: rd.poisson(10.0, low=1.0, high=-1.0), "low is 1.0 and high is -1.0"),
        (lambda: rd.poisson(10.0, background=-1.0), "background is -1.0"),
        (lambda: rd.poisson(10.0, floor=0.0), "floor is 0.0"),
        (lambda: rd.poisson_gaussian(10.0, -0.1), "sigma_y is -0.1"),
        (lambda: rd.poisson_magnitude(float("nan")), "photons is nan"),
        (lambda: rd.poisson_attenuation(1e4, scale=0.0), "scale is 0.0"),
        (lambda: rd.speckle(0.0), "looks is 0.0.*1 / sigma"),
        (lambda: rd.impulse(1.5), r"probability is 1.5 but must be in \[0, 1\]"),
        (lambda: rd.impulse(0.1, sigma_y=0.0), "sigma_y is 0.0"),
        (lambda: rd.uniform_quantization(0.0), r"step is 0.0.*2 / \(2\*\*b - 1\)"),
    ],
)
def test_parameters_that_make_no_sense_are_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("rate", [pytest.param(30.0, marks=pytest.mark.slow), 6e4, 7e4, 1e7, 4.2e9, 1e12])
def test_counts_of_every_rate_have_the_mean_and_the_variance_of_the_rate(rate, key):
    counts = np.asarray(rd.poisson(1.0, low=0.0, high=1.0).sample(key, jnp.full(40_000, rate)), np.float64)
    # Five standard deviations of a mean, and of a variance, of 40000 draws; and float32's rounding of the rate.
    assert abs(counts.mean() - rate) < 5 * np.sqrt(rate / counts.size) + 1e-7 * rate
    assert abs(counts.var() / rate - 1) < 5 * np.sqrt(2 / counts.size) + 0.01


def test_counts_beyond_whole_numbers_of_32_bits_are_not_clipped(key):
    y = rd.poisson_magnitude(1e6).sample(key, jnp.asarray([64.795]))
    np.testing.assert_allclose(y, 64.795, atol=5 * 5e-4)  # sigma is 1 / (2 sqrt(photons)) = 5e-4


@pytest.mark.slow
def test_counts_at_small_rates_are_those_of_jax(key):
    rates = jnp.asarray([0.0, 3.0, 1000.0, 1e8])
    counts = rd.poisson(1.0, low=0.0, high=1.0).sample(key, rates)
    assert np.array_equal(counts[:3], jax.random.poisson(key, jnp.minimum(rates, 2.0**16))[:3])
