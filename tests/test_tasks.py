"""Tasks: every name gives an operator that fits what it says, and presets that make a solver."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import measurements, tasks

SHAPE = (32, 48, 3)


@cache
def prior():
    return rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())


def arrays(task, key):
    return {"mask": np.ones((*SHAPE[:2], 1))} if task.draw is None else task.simulate(key, SHAPE)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_shape_of_the_picture_follows_from_the_measurement(name, key):
    task = tasks.TASKS[name]
    operator = task.operator(SHAPE, arrays(task, key))
    assert operator.in_shape == SHAPE
    assert task.in_shape(operator.out_shape) == SHAPE
    y = jax.eval_shape(operator, jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    assert y.shape == operator.out_shape


@pytest.mark.parametrize("name", tasks.TASKS)
def test_measurement_files_keep_everything(name, tmp_path, rng):
    task = tasks.TASKS[name]
    made_up = {"mask": rng.integers(0, 2, (*SHAPE[:2], 1)), "kernel": rng.random((5, 7), np.float32)}
    own = {} if task.needs is None else {task.needs: made_up[task.needs]}
    y_shape = (SHAPE[0] // task.factor, SHAPE[1] // task.factor, 1 if task.gray else 3)
    y = rng.standard_normal(y_shape, np.float32)
    measurement = measurements.make_measurement(name, 0.05, y, SHAPE, own, seed=7)
    measurements.write_measurement(tmp_path / "a.npz", measurement)
    read = measurements.read_measurement(tmp_path / "a.npz")
    assert read.header == measurement.header == measurements.read_header(tmp_path / "a.npz")
    assert read.header.seed == 7
    assert (read.y == y).all()
    assert all((read.arrays[each] == own[each]).all() for each in own)


@pytest.mark.parametrize("name", [name for name, task in tasks.TASKS.items() if task.drawn_from_key])
def test_drawn_arrays_depend_on_the_key(name):
    task = tasks.TASKS[name]
    first, again, other = (task.simulate(jax.random.key(i), SHAPE)[task.needs] for i in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", tasks.TASKS)
@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.05, 1.0])
def test_presets_make_solvers(name, sigma):
    preset = tasks.TASKS[name].preset(sigma)
    solver = preset.solver(prior())
    assert solver.num_steps == preset.num_steps
    assert float(solver.lam) == pytest.approx(preset.lam)


@pytest.mark.parametrize("family", tasks.PRESETS)
def test_rows_of_presets_are_given_as_they_stand(family):
    rows = tasks.PRESETS[family]
    assert [sigma for sigma, _ in rows] == sorted({sigma for sigma, _ in rows})
    assert all(tasks.family_preset(family, sigma) == preset for sigma, preset in rows)


def test_equal_presets_share_their_optimizer_so_that_they_share_a_compilation():
    preset = tasks.TASKS["sr4"].preset(0.05)
    assert preset.solver(prior()).optimizer is preset.solver(prior()).optimizer


def test_many_steps_start_as_high_as_they_must():
    solver = tasks.Preset(num_steps=1000, start_timestep=300).solver(prior())
    assert solver.timesteps[0, 0] == 999
    assert solver.num_steps == 1000


def test_one_step_is_a_run():
    assert tasks.Preset(num_steps=1).solver(prior()).num_steps == 1


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
def test_impossible_presets_are_refused(changes):
    with pytest.raises(ValueError, match=str(next(iter(changes.values())))):
        tasks.Preset(**changes)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="choose one of denoise"):
        tasks.by_name("sharpen")
    with pytest.raises(ValueError, match="choose one of reddiff"):
        tasks.solver_by_name("magic", tasks.Preset(), prior())


def test_colorize_takes_gray_measurements():
    assert tasks.TASKS["colorize"].in_shape((32, 48, 1), 3) == SHAPE
