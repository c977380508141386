"""Training: batches are a function of (seed, step), a killed run continues as if nothing had happened."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax import pictures, schedules, training
from reddiff_jax.nets import UNet
from reddiff_jax.priors import NetPrior, from_x0

NET = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,), middle_attention=False, patch_size=2)
CONFIG = training.TrainingConfig(steps=6, batch_pixels=8 * 8 * 8, crops=(8, 8, 16), warmup=2)


@pytest.fixture
def photos(tmp_path, rng):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, size in (("a.png", (40, 24)), ("more/b.png", (16, 16)), ("tiny.png", (4, 4))):
        pictures.write_picture(folder / name, rng.uniform(-1, 1, (*size, 3)))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def crops(photos):
    return training.Crops(tuple(pictures.find_pictures(photos)), min_size=8)


def leaves_equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def on_devices(count):
    return partial(training.jax_engine, devices=jax.devices()[:count])


def run(crops, folder, config=CONFIG, **options):
    options = {"engine": on_devices(1), **options}
    return training.train(NET, schedules.linear(), crops, config, folder, **options)


def test_a_batch_depends_on_seed_and_step_only(crops, photos):
    again = training.Crops(tuple(pictures.find_pictures(photos)), min_size=8)
    again.batch(0, 16, 2)
    assert np.array_equal(crops.batch(3, 8, 4), again.batch(3, 8, 4))


def test_batches_of_other_steps_and_seeds_differ(crops):
    other_seed = replace(crops, seed=1)
    batch = crops.batch(3, 8, 4)
    assert not np.array_equal(batch, crops.batch(4, 8, 4))
    assert not np.array_equal(batch, other_seed.batch(3, 8, 4))


def test_the_pyramid_ends_at_the_smallest_crop(crops):
    assert {level[2:] for level in crops.levels} == {(40, 24), (20, 12), (16, 16), (8, 8)}


def test_pictures_all_too_small_are_an_error_that_says_so(photos):
    with pytest.raises(ValueError, match="none of 3 pictures is at least 64"):
        training.Crops(tuple(pictures.find_pictures(photos)), min_size=64)


def test_flat_crops_are_mostly_refused(tmp_path, rng):
    half_flat = np.zeros((32, 64, 3))
    half_flat[:, 32:] = rng.uniform(-1, 1, (32, 32, 3))
    pictures.write_picture(tmp_path / "half.png", half_flat)
    batch = training.Crops((tmp_path / "half.png",), min_size=16).batch(0, 16, 200)
    flat = np.mean(batch.std((1, 2, 3)) < training.crops.MIN_CROP_STD)
    # A third of the 49 columns give flat crops; a fifth of those are kept: about 0.08.
    assert flat < 0.2


def test_whole_pictures_come_unmirrored_if_asked(tmp_path):
    x = np.broadcast_to(np.linspace(-1, 1, 16)[None, :, None], (16, 16, 3))  # brighter to the right
    pictures.write_picture(tmp_path / "ramp.png", x)
    batch = training.Crops((tmp_path / "ramp.png",), min_size=16, mirror=False).batch(0, 16, 20)
    assert np.array_equal(batch, np.broadcast_to(batch[0], batch.shape))


@pytest.mark.slow
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(crops, tmp_path):
    whole = run(crops, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(report):
        if report.step == 4:
            raise Killed

    with pytest.raises(Killed):
        run(crops, tmp_path / "killed", report=kill, report_every=2, save_every_seconds=0.0)
    assert leaves_equal(run(crops, tmp_path / "killed"), whole)


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_and_continues_bit_for_bit(crops, tmp_path):
    whole, asked, saved = run(crops, tmp_path / "whole"), [], []

    def stop():
        asked.append(1)
        return len(asked) == 3

    stopped = run(crops, tmp_path / "stopped", stop=stop, on_save=saved.append)
    assert int(stopped.step) == 3
    assert saved == []  # there may be no time to draw samples
    assert leaves_equal(run(crops, tmp_path / "stopped"), whole)


@pytest.mark.slow
def test_a_finished_run_is_returned_as_it_is(crops, tmp_path):
    assert leaves_equal(run(crops, tmp_path / "run"), run(crops, tmp_path / "run"))


@pytest.mark.slow
def test_training_lowers_the_loss(crops, tmp_path):
    losses = []
    config = replace(CONFIG, steps=60, learning_rate=2e-3)
    run(crops, tmp_path / "run", config, report=lambda report: losses.append(report.loss), report_every=10)
    known = [loss for loss in losses if np.isfinite(loss)]  # the first report is of no step yet
    assert len(known) >= 6
    assert known[-1] < 0.7 * known[0]


@pytest.mark.slow
def test_lognormal_levels_are_those_of_their_quantiles():
    schedule, u = schedules.linear(), jnp.array([0.02, 0.1587, 0.5, 0.8413, 0.999])
    alphas, sigmas = schedule(training.lognormal_levels(schedule, u))
    # ln r at -2.05, -1, 0, 1 and 3.09 standard deviations; integer timesteps are 3 % apart, below r = 0.05 more.
    expected = np.exp(-1.2 + 1.2 * np.array([-2.054, -1, 0, 1, 3.09]))
    np.testing.assert_allclose((sigmas / alphas)[1:], expected[1:], rtol=0.03)
    np.testing.assert_allclose((sigmas / alphas)[0], expected[0], rtol=0.2)


def test_uniform_levels_are_all_timesteps():
    schedule = schedules.linear(10)
    assert training.uniform_levels(schedule, jnp.linspace(0, 0.999, 10)).tolist() == list(range(10))


@pytest.mark.parametrize("to_eps", training.TARGETS)
def test_a_network_that_meets_its_target_predicts_the_noise(to_eps, rng):
    alpha_t, sigma_t = schedules.linear()(300)
    x, eps = (jnp.asarray(rng.normal(size=(8, 8, 3)), jnp.float32) for _ in range(2))
    target = training.TARGETS[to_eps](x, eps, alpha_t, sigma_t)
    found = to_eps(target, alpha_t * x + sigma_t * eps, alpha_t, sigma_t)
    np.testing.assert_allclose(found, eps, atol=1e-5)  # float32


@pytest.mark.slow
def test_the_loss_of_a_fresh_network_is_the_mean_square_of_its_target(key, rng):
    # Its last layer is zero.
    crops = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    params = training.init_state(NET, CONFIG, 3).params
    loss = jax.jit(partial(training.denoising_loss, NET, schedules.linear(), replace(CONFIG, to_eps=from_x0)))
    expected = float(np.mean(pictures.to_float(crops) ** 2))
    assert float(loss(params, key, crops)) == pytest.approx(expected, rel=1e-5)  # float32


def test_fine_tuning_starts_from_the_given_parameters(crops, tmp_path):
    x = jnp.zeros((8, 8, 3))
    given = jax.jit(NET.init)(jax.random.key(7), x, jnp.zeros((), jnp.int32))["params"]
    state = training.init_state(NET, CONFIG, 3, given)
    assert leaves_equal(state.ema, given)


@pytest.mark.slow
def test_fine_tuning_leaves_the_given_parameters_alone(crops, tmp_path):
    given = jax.jit(NET.init)(jax.random.key(7), jnp.zeros((8, 8, 3)), jnp.zeros((), jnp.int32))["params"]
    before = jax.tree.map(np.array, given)
    run(crops, tmp_path / "run", params=given)
    assert leaves_equal(given, before)


@pytest.mark.slow
def test_batches_spread_over_devices_train_alike(crops, tmp_path):
    config = replace(CONFIG, steps=1)
    one = run(crops, tmp_path / "one", config)
    two = run(crops, tmp_path / "two", config, engine=on_devices(2))
    # The gradients, as Adam's moments hold them: float32 sums in another order.
    difference = max(
        np.max(np.abs(np.asarray(a) - np.asarray(b)))
        for a, b in zip(jax.tree.leaves(one.opt_state), jax.tree.leaves(two.opt_state), strict=True)
    )
    assert difference < 1e-6


def test_samples_of_a_gaussian_prior_have_its_standard_deviation(key):
    from reddiff_jax.priors import gaussian_prior

    prior = gaussian_prior(jnp.zeros((16, 16, 3)), 0.2**2, schedules.linear())
    x = training.sample(key, prior, (16, 16, 3), num_steps=200)
    # 768 independent pixels: the standard error of their standard deviation is 2.6 %; discretisation adds some.
    assert abs(float(x.std()) / 0.2 - 1) < 0.1


@pytest.mark.slow
def test_a_sample_sheet_holds_all_samples(key):
    prior = NetPrior(schedule=schedules.linear(), params=training.init_state(NET, CONFIG, 3).params, net=NET)
    assert training.sample_sheet(key, prior, 8, 3, count=5).shape == (16, 24, 3)


@pytest.mark.parametrize("to_eps", training.TARGETS, ids=lambda to_eps: to_eps.__name__)
def test_a_target_is_what_its_prediction_leads_back_to_the_noise(to_eps, rng):
    x, eps = rng.normal(size=(2, 8)).astype(np.float32)
    for schedule in (schedules.linear(), schedules.cosine()):
        alpha_t, sigma_t = schedule(500)
        target = training.TARGETS[to_eps](x, eps, alpha_t, sigma_t)
        # float32 of order 1
        np.testing.assert_allclose(to_eps(target, alpha_t * x + sigma_t * eps, alpha_t, sigma_t), eps, atol=1e-5)
