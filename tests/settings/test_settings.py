"""What the settings of every solver have in common, and those of RED-diff."""

import inspect
from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax.settings import INITS, SETTINGS, Range, ReddiffSettings, word

SHAPE = (6, 6, 1)
every = pytest.mark.parametrize("name", SETTINGS)


def white_prior():
    return rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())


@every
def test_ranges_are_leaves_of_the_solver_and_choices_are_not(name):
    own = SETTINGS[name]
    prior = white_prior()
    first = own(num_steps=3)
    structure = jax.tree.structure(first.sweepable(prior))
    for field, space in own.space.items():
        if isinstance(space, Range):
            others = [space.low, space.high]
        else:
            others = [option for option in space.options if option != getattr(first, field)]
        for value in others:
            other = first.changed({field: value}).sweepable(prior)
            assert (jax.tree.structure(other) == structure) is isinstance(space, Range), (field, value)


@every
def test_every_solver_is_made_of_its_settings_with_its_steps(name):
    settings = SETTINGS[name](num_steps=3)
    solver = settings.solver(white_prior())
    assert solver.num_steps == 3
    solver = solver.solver if isinstance(solver, rd.solvers.Averaged) else solver
    struct = "reddiff" if name == "noise_aware" else name.replace("_", "")  # one solver of other parts
    assert type(solver).__name__.lower() == struct


@every
def test_all_settings_can_be_tuned_and_described(name):
    own = SETTINGS[name]
    assert {field for field in own.space} <= vars(own()).keys()
    assert all(f"{field} {value}" in own().describe() for field, value in vars(own()).items())
    read = dict(own.read(f"{word(field)}={str(value).lower()}") for field, value in vars(own()).items())
    assert own(**read) == own()


def test_runs_cost_a_hundred_evaluations_or_as_many_derivatives():
    costs = {name: own().num_evaluations for name, own in SETTINGS.items()}
    assert costs.pop("reddiff") == 50  # its rows are tuned so
    assert costs.pop("tweedie") == 8  # there are no more views
    assert costs.pop("mmps") * (SETTINGS["mmps"]().num_cg + 1) == 100
    assert set(costs.values()) == {100}


@every
@pytest.mark.parametrize("evaluations", [10, 33, 100, 999])
def test_all_settings_spend_the_evaluations_that_it_is_given(name, evaluations):
    own = SETTINGS[name]().spending(evaluations)
    if name == "tweedie":
        evaluations = min(evaluations, 8)  # there are no more views
    of_one_more = own.num_evaluations * (own.num_steps + 1) // own.num_steps
    assert own.num_evaluations <= evaluations < of_one_more


def test_fewer_evaluations_than_a_step_takes_are_an_error():
    with pytest.raises(ValueError, match="steps is 0"):
        SETTINGS["daps"]().spending(4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eta": 1.5}, "eta is 1.5 but must be from 0 to 1"),
        ({"scale": -1.0}, "scale is -1.0 but must be finite and not negative"),
        ({"num_steps": 0}, "steps is 0"),
        ({"lam": 1.0}, "dps has no setting lam; its settings are scale, eta, steps"),
    ],
)
def test_impossible_settings_of_other_solvers_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        SETTINGS["dps"]().changed(changes)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("pigdm", {"noisy": "false"}, "noisy is 'false' but must be true or false"),
        ("noise_aware", {"sample": 0}, "sample is 0 but must be true or false"),
        ("dps", {"num_steps": float("nan")}, "steps is nan but must be a whole number"),
        ("dps", {"num_steps": None}, "steps is None but must be a whole number"),
        ("dps", {"start_timestep": 300.5}, "start_timestep is 300.5 but must be a whole number"),
        ("dps", {"eta": "half"}, "eta is 'half' but must be a number"),
        ("reddiff", {"lam": True}, "lam is True but must be a number"),
        ("tweedie", {"num_steps": 9}, "steps is 9 but must be from 1 to 8"),
        ("dps", {"init": ["pinv"]}, r"init is \['pinv'\] but must be a name"),
    ],
)
def test_settings_of_another_type_are_refused(name, values, said):
    with pytest.raises(ValueError, match=said):
        SETTINGS[name](**values)


@pytest.mark.parametrize(("text", "said"), [("eta", "no setting"), ("eta=x", "a number"), ("zeta=1", "its settings")])
def test_words_that_are_no_settings_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        SETTINGS["ddrm"].read(text)


@every
def test_settings_that_differ_from_their_factory_are_few(name):
    parameters = inspect.signature(SETTINGS[name].factory).parameters if name != "reddiff" else {}
    own = {field.name: field.default for field in fields(SETTINGS[name]) if field.name in parameters}
    theirs = {field: parameters[field].default for field in own if parameters[field].default is not inspect._empty}
    other = {field for field, value in theirs.items() if INITS.get(own[field], own[field]) != value} - {"form"}
    allowed = {"num_steps", "init"}  # an evaluation budget of 100, and equal starts
    extra = {"mmps": {"clip"}}
    assert other <= allowed | extra.get(name, set())


# ---- RED-diff's


def test_many_steps_start_as_high_as_they_must():
    solver = ReddiffSettings(num_steps=1000, start_timestep=300).solver(white_prior())
    assert solver.levels.timesteps[0, 0] == 999
    assert solver.num_steps == 1000


def test_one_step_is_a_run():
    assert ReddiffSettings(num_steps=1).solver(white_prior()).num_steps == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"num_steps": 0},
        {"num_steps": 1001},
        {"lam": float("nan")},
        {"learning_rate": 0.0},
        {"lr_schedule": "steep"},
        {"start_timestep": 1000},
        {"init": "magic"},
        {"weighting": "heavy"},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match=str(next(iter(changes.values())))):
        ReddiffSettings(**changes)


@pytest.mark.slow
@pytest.mark.parametrize("lr_schedule", ["constant", "cosine"])
def test_a_learning_rate_as_a_leaf_changes_nothing(key, lr_schedule):
    prior = white_prior()
    problem = rd.problem(0.2 * jax.random.normal(key, SHAPE), rd.denoising(SHAPE))
    settings = ReddiffSettings(learning_rate=0.03, lr_schedule=lr_schedule, num_steps=4)
    expected = rd.run(key, settings.solver(prior), problem).x
    found = rd.run(key, settings.sweepable(prior), problem).x
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32 products in another order
