"""Tasks: every name gives an operator that fits what it says, and presets that make a solver."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import measurements, tasks

SHAPE = (32, 48, 3)
# Two need more than the package: weights, and an extra.
NAMES = [name for name in tasks.TASKS if name not in ("deblur_nl", "mri_radial")]
PICTURES = [name for name in NAMES if tasks.TASKS[name].is_picture]


@cache
def prior():
    return rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())


def arrays(task, key):
    return {"mask": np.ones((*SHAPE[:2], 1))} if task.draw is None else task.simulate(key, SHAPE)


@pytest.mark.parametrize("name", PICTURES)
def test_shape_of_the_picture_follows_from_the_measurement(name, key):
    task = tasks.TASKS[name]
    operator = task.operator(SHAPE, arrays(task, key))
    assert operator.in_shape == SHAPE
    assert task.in_shape(operator.out_shape) == SHAPE


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PICTURES])
def test_what_is_no_picture_is_measured_of_gray_and_coloured_ones(name, key):
    task = tasks.TASKS[name]
    for shape in (SHAPE, (*SHAPE[:2], 1)):
        operator = task.operator(shape, task.simulate(key, shape))
        assert operator.in_shape == shape
        assert operator.out_shape


@pytest.mark.parametrize("name", [name for name in NAMES if tasks.TASKS[name].luminance])
def test_one_channel_operators_see_the_luminance(name, key, rng):
    task = tasks.TASKS[name]
    gray, x = (*SHAPE[:2], 1), rng.standard_normal(SHAPE).astype(np.float32)
    arrays = task.simulate(key, gray)
    of_colour, of_gray = task.operator(SHAPE, arrays)(x), task.operator(gray, arrays)(task.result(x))
    np.testing.assert_allclose(of_colour, of_gray, atol=1e-5)  # float32


@pytest.mark.parametrize(
    ("name", "same"), [("deno", "denoise"), ("in2_20ff", "inpaint_freeform"), ("color", "colorize"), ("sr16", None)]
)
def test_published_and_numbered_names_are_tasks(name, same):
    assert tasks.by_name(name) is (tasks.TASKS[same] if same else tasks.by_name(name))


@pytest.mark.parametrize("name", ["jpeg0", "jpeg101", "quant9", "sr1", "ct0", "jpeg", "cs1024"])
def test_numbers_that_make_no_sense_are_named(name):
    with pytest.raises(ValueError, match=name):
        tasks.by_name(name)


def test_learned_blur_without_weights_says_where_they_are(monkeypatch, key):
    monkeypatch.delenv("REDDIFF_JAX_NONLINEAR_BLUR", raising=False)
    task = tasks.TASKS["deblur_nl"]
    with pytest.raises(ValueError, match=r"GOPRO_wVAE\.pth.*REDDIFF_JAX_NONLINEAR_BLUR"):
        task.operator((128, 128, 3), task.simulate(key, (128, 128, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_measurement_files_keep_everything(name, tmp_path, rng, key):
    task = tasks.TASKS[name]
    made_up = {"mask": rng.integers(0, 2, (*SHAPE[:2], 1)), "kernel": rng.random((5, 7), np.float32)}
    own = task.simulate(key, SHAPE) if task.needs is None else {task.needs: made_up[task.needs]}
    measured = jax.eval_shape(task.operator(SHAPE, own), jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    y = rng.standard_normal(measured.shape).astype(measured.dtype)
    measurement = measurements.make_measurement(name, 0.05, y, SHAPE, own, seed=7)
    measurements.write_measurement(tmp_path / "a.npz", measurement)
    read = measurements.read_measurement(tmp_path / "a.npz")
    assert read.header == measurement.header == measurements.read_header(tmp_path / "a.npz")
    assert read.header.seed == 7
    assert (read.y == y).all()
    assert all((read.arrays[each] == own[each]).all() for each in own)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, task in tasks.TASKS.items() if task.drawn_from_key])
def test_drawn_arrays_depend_on_the_key(name):
    task = tasks.TASKS[name]
    first, again, other = (task.simulate(jax.random.key(i), (128, 128, 3)) for i in (0, 0, 1))
    assert all((first[each] == again[each]).all() for each in first)
    assert any((first[each] != other[each]).any() for each in first)


@pytest.mark.parametrize("family", tasks.PRESETS)
@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.05, 1.0])
def test_presets_make_solvers(family, sigma):
    preset = tasks.family_preset(family, sigma)
    solver = preset.solver(prior())
    assert solver.num_steps == preset.num_steps
    assert float(solver.lam) == pytest.approx(preset.lam)


def test_every_task_has_a_family_of_presets_and_every_family_a_task():
    assert {task.family for task in tasks.TASKS.values()} == tasks.PRESETS.keys()


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
    assert solver.levels.timesteps[0, 0] == 999
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


def test_a_preset_of_reddiff_takes_the_weighting_that_knows_the_noise():
    solver = tasks.Preset().changed({"weighting": "noise_aware", "lam": 1.0}).solver(prior())
    assert (solver.weighting, float(solver.lam)) == ("noise_aware", 1.0)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="choose one of denoise"):
        tasks.by_name("sharpen")
    with pytest.raises(ValueError, match="choose one of reddiff"):
        tasks.method_by_name("magic")


def test_colorize_takes_gray_measurements():
    assert tasks.TASKS["colorize"].in_shape((32, 48, 1), 3) == SHAPE


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_operators_at_full_size_need_memory_for_a_few_pictures_only(name, key):
    shape = (256, 256, 3)
    task = tasks.TASKS[name]
    own = {"mask": np.ones((256, 256, 1))} if task.draw is None else task.simulate(key, shape)
    operator = task.operator(shape, own)
    picture = 4 * np.prod(shape)  # bytes

    def data_gradient(operator, x, y):
        return rd.problem(y, operator).misfit_gradient(x)

    y = jax.eval_shape(operator, jax.ShapeDtypeStruct(shape, jnp.float32))
    compiled = jax.jit(data_gradient).lower(operator, jax.ShapeDtypeStruct(shape, jnp.float32), y).compile()
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(operator))
    # Nine blurs of the lens, eight coils and their spectra are the most; a matrix would be 200,000 pictures.
    assert held <= 8 * picture
    assert compiled.memory_analysis().temp_size_in_bytes <= 40 * picture
