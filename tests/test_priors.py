"""Priors: exact ones against automatic differentiation, adaptors, networks and tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import reddiff_jax as rd
from reddiff_jax import schedules

SHAPE = (3, 2, 2)
N = 12
LINEAR = schedules.linear()
TIMESTEPS = [0, 10, 100, 500, 999]


def _normal(seed, *shape, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _full_covariance(seed, rank=N):
    factor = np.random.default_rng(seed).normal(size=(N, rank))
    return factor @ factor.T / N


COVARIANCES = {
    "scalar": 0.25,
    "zero": 0.0,
    "diagonal": np.random.default_rng(1).uniform(0.01, 2, SHAPE),
    "full": _full_covariance(2),
    "singular": _full_covariance(3, rank=4),
}
every_covariance = pytest.mark.parametrize("covariance", COVARIANCES.values(), ids=COVARIANCES)


def _dense(covariance):
    covariance = np.asarray(covariance, np.float64)
    return covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, SHAPE).ravel())


# ---- Gaussian


@pytest.mark.parametrize("t", TIMESTEPS)
@every_covariance
def test_gaussian_eps_is_the_linear_algebra_formula_in_float64(covariance, t):
    mean, x_t = _normal(4, *SHAPE), _normal(5, *SHAPE)
    eps = rd.gaussian_prior(mean, covariance, LINEAR).eps(x_t, t)
    alpha_t, sigma_t = map(np.float64, LINEAR(t))
    deviation = np.asarray(x_t - 0.0, np.float64) - alpha_t * np.asarray(mean, np.float64)
    expected = sigma_t * np.linalg.solve(alpha_t**2 * _dense(covariance) + sigma_t**2 * np.eye(N), deviation.ravel())
    # float32; what eigh misses an eigenvalue by, a few 1e-7, counts against sigma_t^2 (1e-4 at t = 0).
    tolerance = 1e-5 + (1e-6 / sigma_t**2 if np.ndim(covariance) == 2 else 0)
    np.testing.assert_allclose(eps.ravel(), expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("t", TIMESTEPS[1:])
@every_covariance
def test_gaussian_score_is_the_gradient_of_the_log_density(covariance, t):
    prior, x_t = rd.gaussian_prior(_normal(4, *SHAPE), covariance, LINEAR), _normal(5, *SHAPE)
    expected = jax.grad(prior.log_density)(x_t, t)
    # float32: two orders of the same few products.
    np.testing.assert_allclose(prior.score(x_t, t), expected, atol=1e-5 * np.abs(expected).max())


@every_covariance
def test_gaussian_log_density_is_the_textbook_formula(covariance):
    mean, x_t, t = _normal(4, *SHAPE), _normal(5, *SHAPE), 300
    alpha_t, sigma_t = map(np.float64, LINEAR(t))
    total = alpha_t**2 * _dense(covariance) + sigma_t**2 * np.eye(N)
    deviation = (np.asarray(x_t, np.float64) - alpha_t * np.asarray(mean, np.float64)).ravel()
    expected = -0.5 * (deviation @ np.linalg.solve(total, deviation) + np.linalg.slogdet(2 * np.pi * total)[1])
    actual = rd.gaussian_prior(mean, covariance, LINEAR).log_density(x_t, t)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)  # float32 sum of a dozen terms


@pytest.mark.parametrize("t", [10, 500])
def test_denoise_is_the_posterior_mean_of_the_gaussian(t):
    covariance, mean, x_t = COVARIANCES["diagonal"], _normal(4, *SHAPE), _normal(5, *SHAPE)
    alpha_t, sigma_t = map(np.float64, LINEAR(t))
    gain = alpha_t * covariance / (alpha_t**2 * covariance + sigma_t**2)
    expected = mean + gain * (x_t - alpha_t * mean)
    # x_t - sigma_t eps_hat over alpha_t: float32 of order 1, divided by alpha_500 = 0.28.
    np.testing.assert_allclose(rd.gaussian_prior(mean, covariance, LINEAR).denoise(x_t, t), expected, atol=5e-6)


def test_gaussian_prior_follows_a_variance_exploding_schedule():
    schedule, x_t = schedules.ve(100), _normal(5, *SHAPE, scale=10)
    prior = rd.gaussian_prior(_normal(4, *SHAPE), 0.25, schedule)
    expected = jax.grad(prior.log_density)(x_t, 60)
    np.testing.assert_allclose(prior.score(x_t, 60), expected, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.ones((2, 2)), r"covariance has shape \(2, 2\) but must be a scalar"),
        (-1.0, "positive semi-definite"),
        (-np.ones(SHAPE), "positive semi-definite"),
        (np.diag([-1.0] + [1.0] * (N - 1)), "positive semi-definite"),
        (np.nan, "positive semi-definite"),
        (np.triu(np.ones((N, N))), "symmetric"),
    ],
)
def test_a_covariance_that_is_none_is_an_error(covariance, message):
    with pytest.raises(ValueError, match=message):
        rd.gaussian_prior(jnp.zeros(SHAPE), covariance, LINEAR)


def test_a_mean_that_is_no_image_is_an_error():
    with pytest.raises(ValueError, match="mean has shape"):
        rd.gaussian_prior(jnp.zeros((4, *SHAPE)), 1.0, LINEAR)


# ---- mixture

MIXTURES = {
    "scalar": 0.1,
    "scalars": np.array([0.1, 0.3, 0.05]),
    "diagonal": np.random.default_rng(1).uniform(0.01, 1, (3, *SHAPE)),
    "full": np.stack([_full_covariance(seed) for seed in range(3)]),
}


def _mixture(covariances, scale=1.0):
    return rd.mixture_prior(jnp.asarray([1.0, 2.0, 3.0]), _normal(6, 3, *SHAPE, scale=scale), covariances, LINEAR)


@pytest.mark.slow
@pytest.mark.parametrize("t", [10, 999])
@pytest.mark.parametrize("covariances", MIXTURES.values(), ids=MIXTURES)
def test_mixture_score_is_the_gradient_of_the_log_of_the_sum_of_densities(covariances, t):
    prior, x_t = _mixture(covariances, scale=0.3), _normal(7, *SHAPE, scale=0.3)
    leading = jnp.broadcast_to(jnp.asarray(covariances), (3,)) if np.ndim(covariances) == 0 else covariances

    def log_density(x_t):
        components = [
            rd.gaussian_prior(m, c, LINEAR) for m, c in zip(_normal(6, 3, *SHAPE, scale=0.3), leading, strict=True)
        ]
        logs = jnp.stack([component.log_density(x_t, t) for component in components])
        return jax.nn.logsumexp(logs + jnp.log(jnp.asarray([1 / 6, 2 / 6, 3 / 6])))

    expected = jax.grad(log_density)(x_t)
    # Responsibilities are exponentials of float32 log densities of order 100: 1e-5 relative.
    np.testing.assert_allclose(prior.score(x_t, t), expected, atol=3e-5 * np.abs(expected).max())


def test_a_mixture_of_one_is_its_component():
    x_t, mean = _normal(7, *SHAPE), _normal(6, *SHAPE)
    mixture = rd.mixture_prior(jnp.ones(1), mean[None], 0.25, LINEAR)
    # The same operations, but for the weight of 1.
    np.testing.assert_allclose(mixture.eps(x_t, 50), rd.gaussian_prior(mean, 0.25, LINEAR).eps(x_t, 50), rtol=1e-6)


def test_a_mixture_far_from_all_components_stays_finite():
    # Densities underflow there; only their logarithms do not.
    assert bool(jnp.isfinite(_mixture(0.1).eps(jnp.full(SHAPE, 100.0), 0)).all())


@pytest.mark.parametrize(
    ("weights", "covariances", "message"),
    [
        ([1.0, 1.0], 0.1, "needed"),
        ([1.0, 0.0, 1.0], 0.1, "weights must be positive"),
        ([1.0, 1.0, 1.0], np.ones(2), "need a leading K = 3"),
        ([1.0, 1.0, 1.0], np.array([0.1, -0.1, 0.1]), "positive semi-definite"),
    ],
)
def test_a_mixture_that_does_not_fit_is_an_error(weights, covariances, message):
    with pytest.raises(ValueError, match=message):
        rd.mixture_prior(jnp.asarray(weights), _normal(6, 3, *SHAPE), covariances, LINEAR)


# ---- adaptors

GAUSSIAN = rd.gaussian_prior(_normal(4, *SHAPE), np.random.default_rng(1).uniform(0.1, 1, SHAPE), LINEAR)


def _predict_x0(x_t, t, cond):
    return GAUSSIAN.denoise(x_t, t)


def _predict_v(x_t, t, cond):
    alpha_t, sigma_t = LINEAR(t)
    return alpha_t * GAUSSIAN.eps(x_t, t) - sigma_t * GAUSSIAN.denoise(x_t, t)


def _predict_score(x_t, t, cond):
    return jax.grad(GAUSSIAN.log_density)(x_t, t)


def _denoise_at_sigma(x, sigma, cond):
    gain = GAUSSIAN.variances / (GAUSSIAN.variances + sigma**2)
    return GAUSSIAN.mean + gain * (x - GAUSSIAN.mean)


ADAPTED = {
    "eps": rd.prior(lambda x_t, t, cond: GAUSSIAN.eps(x_t, t), LINEAR),
    "x0": rd.prior(_predict_x0, LINEAR, to_eps=rd.from_x0),
    "v": rd.prior(_predict_v, LINEAR, to_eps=rd.from_v),
    "score": rd.prior(_predict_score, LINEAR, to_eps=rd.from_score),
    "edm": rd.edm_prior(_denoise_at_sigma, LINEAR),
}
every_adaptor = pytest.mark.parametrize("prior", ADAPTED.values(), ids=ADAPTED)


@pytest.mark.parametrize("t", [10, 100, 500, 999])
@every_adaptor
def test_every_parametrisation_of_one_gaussian_is_the_same_prior(prior, t):
    x_t = _normal(5, *SHAPE)
    # eps from x_0 divides a float32 difference of order 1 by sigma_10 = 0.047.
    np.testing.assert_allclose(prior.eps(x_t, t), GAUSSIAN.eps(x_t, t), atol=1e-5)


@every_adaptor
def test_adapted_priors_serve_a_traced_timestep(prior):
    x_t, ts = _normal(5, 3, *SHAPE), jnp.asarray([10, 100, 999])
    expected = jax.vmap(GAUSSIAN.eps)(x_t, ts)
    np.testing.assert_allclose(jax.jit(jax.vmap(prior.eps))(x_t, ts), expected, atol=1e-5)  # as above


def test_params_and_condition_reach_the_function():
    prior = rd.prior(lambda params, x_t, t, cond: params * x_t + cond, LINEAR, params=jnp.float32(2.0))
    assert np.array_equal(prior.eps(jnp.ones(SHAPE), 5, jnp.float32(3.0)), np.full(SHAPE, 5.0))


def test_params_and_condition_reach_a_denoiser_at_a_noise_level():
    prior = rd.edm_prior(lambda params, x, sigma, cond: params * x + cond * sigma, LINEAR, params=jnp.float32(0.5))
    alpha_t, sigma_t = LINEAR(500)
    x_t = _normal(5, *SHAPE)
    expected = 0.5 * x_t / alpha_t + 3.0 * sigma_t / alpha_t
    np.testing.assert_allclose(prior.denoise(x_t, 500, jnp.float32(3.0)), expected, atol=1e-5)  # float32 of order 10


def test_params_of_a_function_can_be_batched():
    prior = rd.prior(lambda params, x_t, t, cond: params * x_t, LINEAR, params=jnp.arange(3.0))
    axes = rd.priors.FunctionPrior(schedule=None, params=0, fn=prior.fn, to_eps=prior.to_eps)  # type: ignore
    out = jax.vmap(lambda prior: prior.eps(jnp.ones(SHAPE), 5), in_axes=(axes,))(prior)
    assert np.array_equal(out[:, 0, 0, 0], [0, 1, 2])


# ---- networks


class Net(nn.Module):
    """The smallest network: a pointwise gain, a bias of the timestep, and asserts about what it is given."""

    channels: int = 3
    stride: int = 4

    @nn.compact
    def __call__(self, x_t, t, label=None):
        assert x_t.shape[0] % self.stride == 0
        assert x_t.shape[1] % self.stride == 0
        gain = self.param("gain", nn.initializers.constant(2.0), (self.channels,))
        shift = 0.0 if label is None else 100.0 * label
        tiled = jnp.concatenate([x_t] * (self.channels // x_t.shape[-1]), axis=-1)
        return tiled * gain[None, None] + t + shift


class Neighbours(nn.Module):
    """Sees one pixel up and left."""

    stride: int = 4

    @nn.compact
    def __call__(self, x_t, t):
        self.param("unused", nn.initializers.zeros, ())
        return jnp.roll(x_t, (1, 1), (0, 1)) + jnp.roll(x_t, (-1, -1), (0, 1))


def _net_prior(net, **options):
    return rd.priors.NetPrior(
        schedule=LINEAR, params={"gain": jnp.full(getattr(net, "channels", 3), 2.0)}, net=net, **options
    )


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (4, 9), (1, 2)])
def test_a_network_serves_sizes_that_it_cannot_divide(size):
    x_t = _normal(8, *size, 3)
    assert np.array_equal(_net_prior(Net()).eps(x_t, 7), 2 * x_t + 7)


def test_padding_mirrors_the_picture():
    x_t = _normal(8, 7, 7, 1)
    eps = rd.priors.NetPrior(schedule=LINEAR, params={"unused": jnp.zeros(())}, net=Neighbours()).eps(x_t, 7)
    # The last pixel's lower right neighbour is itself, mirrored.
    np.testing.assert_allclose(eps[-1, -1], x_t[-2, -2] + x_t[-1, -1], rtol=1e-6)


def test_of_a_network_that_learns_a_variance_the_first_channels_count():
    net = Net(channels=6)
    prior = rd.priors.NetPrior(schedule=LINEAR, params={"gain": jnp.arange(6.0)}, net=net)
    eps = prior.eps(jnp.ones((4, 4, 3)), 0)
    assert np.array_equal(eps[0, 0], [0, 1, 2])


def test_the_condition_reaches_the_network():
    eps = _net_prior(Net()).eps(jnp.zeros((4, 4, 3)), 7, jnp.int32(2))
    assert np.array_equal(eps, np.full((4, 4, 3), 207.0))


# ---- upsamplers


class Upsampler(nn.Module):
    """Returns its further channels, the small image enlarged."""

    in_channels: int = 6
    stride: int = 4

    @nn.compact
    def __call__(self, x_t, t, label=None):
        assert x_t.shape[0] % self.stride == x_t.shape[1] % self.stride == 0
        self.param("unused", nn.initializers.zeros, ())
        return x_t[:, :, 3:] + (0.0 if label is None else label)


UPSAMPLER = rd.priors.NetPrior(schedule=LINEAR, params={"unused": jnp.zeros(())}, net=Upsampler())


def test_an_upsampler_sees_its_small_image_enlarged_bilinearly():
    low_res = _normal(8, 2, 2, 3)
    eps = UPSAMPLER.eps(jnp.zeros((4, 4, 3)), 7, {"low_res": low_res})
    rows = jnp.asarray([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])  # pixels are areas: centres at 1/2, 3/2, ...
    np.testing.assert_allclose(eps, jnp.einsum("ih,jw,hwc->ijc", rows, rows, low_res), atol=1e-6)  # float32


def test_an_upsampler_takes_its_label_from_the_condition():
    eps = UPSAMPLER.eps(jnp.zeros((5, 7, 3)), 7, {"low_res": jnp.zeros((3, 3, 3)), "label": jnp.int32(2)})
    np.testing.assert_array_equal(eps, np.full((5, 7, 3), 2.0))


@pytest.mark.parametrize("cond", [None, jnp.int32(2), {"label": jnp.int32(2)}], ids=["none", "label", "only_label"])
def test_an_upsampler_without_its_small_image_is_an_error(cond):
    with pytest.raises(ValueError, match=r"it is an upsampler\. Give it the small image"):
        jax.eval_shape(UPSAMPLER.eps, jnp.zeros((4, 4, 3)), 7, cond)


@pytest.mark.parametrize(
    "cond",
    [
        {"low_res": jnp.zeros((2, 2, 1))},
        {"low_res": jnp.zeros((1, 2, 2, 3))},
        {"low_res": jnp.zeros((2, 2, 3)), "y": 1},
    ],
    ids=["gray", "batch", "unknown"],
)
def test_a_small_image_that_does_not_fit_is_an_error(cond):
    with pytest.raises(ValueError, match=r'takes \{"low_res": \(h, w, 3\), "label"'):
        jax.eval_shape(UPSAMPLER.eps, jnp.zeros((4, 4, 3)), 7, cond)


def test_a_small_image_given_to_another_network_is_an_error():
    prior = rd.priors.NetPrior(schedule=LINEAR, params={}, net=Upsampler(in_channels=3))
    with pytest.raises(ValueError, match="but a network of 3 channels takes"):
        jax.eval_shape(prior.eps, jnp.zeros((4, 4, 3)), 7, {"low_res": jnp.zeros((2, 2, 3))})


def test_tiles_of_an_upsampler_are_an_error():
    cond = {"low_res": jnp.zeros((2, 2, 3))}
    with pytest.raises(ValueError, match="belongs to the whole picture"):
        jax.eval_shape(rd.tiled(UPSAMPLER, 4, 1).eps, jnp.zeros((8, 4, 3)), 7, cond)
    assert jax.eval_shape(rd.tiled(UPSAMPLER, 8, 1).eps, jnp.zeros((8, 4, 3)), 7, cond).shape == (8, 4, 3)


# ---- other predictions


def test_a_networks_other_predictions_are_adapted():
    x_t = _normal(8, 5, 5, 3)
    alpha_t, sigma_t = LINEAR(7)
    expected = (x_t - alpha_t * (2 * x_t + 7)) / sigma_t
    np.testing.assert_allclose(_net_prior(Net(), to_eps=rd.from_x0).eps(x_t, 7), expected, rtol=1e-5)  # float32


def test_a_network_prior_is_a_pytree_of_its_arrays():
    prior = _net_prior(Net())
    assert len(jax.tree.leaves(prior)) == 3
    assert np.array_equal(jax.jit(lambda prior: prior.eps(jnp.ones((4, 4, 3)), 1))(prior), np.full((4, 4, 3), 3.0))


# ---- tiles

POINTWISE = rd.prior(lambda x_t, t, cond: jnp.sin(x_t) * t + (0.0 if cond is None else cond), LINEAR)


@pytest.mark.parametrize(
    ("height", "width", "size", "overlap"),
    [(16, 16, 8, 2), (17, 23, 8, 3), (9, 8, 8, 7), (30, 5, 8, 0), (5, 30, 8, 4), (16, 16, 8, 0)],
)
def test_tiles_of_a_pointwise_prior_are_the_whole(height, width, size, overlap):
    x_t = _normal(9, height, width, 3)
    # A weighted mean of equal float32 numbers of order 7.
    np.testing.assert_allclose(rd.tiled(POINTWISE, size, overlap).eps(x_t, 7), POINTWISE.eps(x_t, 7), atol=3e-6)


@pytest.mark.parametrize("shape", [(8, 8, 3), (3, 8, 1), (2, 2, 3)])
def test_small_pictures_go_through_whole(shape):
    whole = rd.prior(lambda x_t, t, cond: x_t - x_t.mean(), LINEAR)
    x_t = _normal(9, *shape)
    # Times a window and divided by it again.
    np.testing.assert_allclose(rd.tiled(whole, 8, 2).eps(x_t, 7), whole.eps(x_t, 7), atol=5e-7)


def test_tiles_pass_the_condition_on():
    x_t = _normal(9, 20, 20, 3)
    cond = jnp.float32(5.0)
    np.testing.assert_allclose(
        rd.tiled(POINTWISE, 8, 2).eps(x_t, 7, cond), POINTWISE.eps(x_t, 7, cond), atol=3e-6
    )  # as above


def test_tiles_blend_continuously():
    # Each tile returns its own mean: neighbouring outputs then differ by no more than the window's slope allows.
    means = rd.prior(lambda x_t, t, cond: jnp.full_like(x_t, x_t.mean()), LINEAR)
    x_t = jnp.zeros((12, 28, 1)).at[:, 14:].set(1.0)
    row = rd.tiled(means, 12, 4).eps(x_t, 0)[6, :, 0]
    # Tiles start at 0, 8, 16 and have means 0, 1/2, 1; over an overlap of 4 the blend moves 1/2 in 5 steps.
    assert float(jnp.abs(jnp.diff(row)).max()) <= 0.1 + 1e-6


def test_every_tile_is_seen_once():
    seen = []
    counting = rd.prior(lambda x_t, t, cond: (jax.debug.callback(lambda: seen.append(1)), x_t)[1], LINEAR)
    jax.block_until_ready(rd.tiled(counting, 8, 2).eps(jnp.zeros((20, 14, 1)), 0))
    jax.effects_barrier()
    assert len(seen) == 3 * 2


@pytest.mark.parametrize(("size", "overlap"), [(8, 8), (8, 9), (8, -1), (0, 0)])
def test_tiles_that_do_not_move_on_are_an_error(size, overlap):
    with pytest.raises(ValueError, match="overlap is"):
        rd.tiled(POINTWISE, size, overlap)


# ---- gray pictures

LUMA, CHROMA, PIXELS = 0.3, 0.1, (2, 2)  # standard deviations


@jax.jit
def _gray_eps(mean, x_t, t):
    """Noise predicted in x_t by an RGB prior whose channel mean and chroma are independent."""
    along = np.full((3, 3), 1 / 3)
    pixel = 3 * LUMA**2 * along + CHROMA**2 * (np.eye(3) - along)  # the mean of three channels has variance LUMA^2
    rgb = rd.gaussian_prior(jnp.repeat(mean, 3, axis=-1), np.kron(np.eye(4), pixel), LINEAR)
    return rd.gray_prior(rgb).eps(x_t, t)


@pytest.mark.parametrize("t", [0, 10, 500, 900])
def test_a_gray_prior_is_the_channel_mean_s_in_each_channel_where_chroma_is_independent(t):
    mean, x_t = _normal(4, *PIXELS, 1), _normal(5, *PIXELS, 2)
    expected = rd.gaussian_prior(jnp.repeat(mean, 2, axis=-1), LUMA**2, LINEAR).eps(x_t, t)
    # eigh misses the variances by a few 1e-8, which count against sigma_t^2 (1e-4 at t = 0); float32 elsewhere.
    np.testing.assert_allclose(_gray_eps(mean, x_t, t), expected, rtol=1e-3, atol=1e-4)


GRAY = rd.gray_prior(rd.gaussian_prior(jnp.zeros((64, 64, 3)), 1.0, LINEAR))


@pytest.mark.parametrize("t", [50, 800])
def test_gray_noise_comes_to_the_rgb_prior_as_white_noise_of_its_timestep(t):
    x_rgb, t_rgb = GRAY.lift(LINEAR(t)[1] * _normal(5, 64, 64, 1), t)
    covariance = np.cov(x_rgb.reshape(-1, 3).T) / float(LINEAR(t_rgb)[1]) ** 2
    # 4096 pixels: standard errors of 1.6 % (off the diagonal) and 2.2 %; five of them.
    np.testing.assert_allclose(covariance, np.eye(3), atol=0.11)


def test_a_gray_picture_comes_to_the_rgb_prior_three_times():
    x_0 = _normal(5, 64, 64, 1)
    x_rgb, t_rgb = GRAY.lift(LINEAR(0)[0] * x_0, 0)
    alpha, sigma = LINEAR(t_rgb)
    # The rest is chroma noise, of which 12288 entries of a normal distribution stay within 5 deviations.
    np.testing.assert_allclose(x_rgb / alpha, np.repeat(x_0, 3, axis=-1), atol=5 * float(sigma / alpha))


def test_a_network_is_traced_once_for_all_programs_of_one_size():
    calls = []

    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x_t, t):
            calls.append(x_t.shape)
            return nn.Dense(3)(x_t) + t

    x_t, t = jnp.ones((4, 4, 3)), jnp.float32(0.0)
    params = Counting().init(jax.random.key(0), x_t, t)["params"]
    prior = rd.priors.NetPrior(LINEAR, params, Counting())
    calls.clear()
    jax.jit(lambda x: prior.eps(x, t))(x_t)
    jax.jit(lambda x: prior.eps(2 * x, t).sum())(x_t)
    jax.jit(jax.vmap(lambda x: prior.eps(x, t)))(x_t[None])
    jax.jit(jax.grad(lambda x: prior.eps(x, t).sum()))(x_t)
    assert calls == [x_t.shape]
