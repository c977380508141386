"""Tasks: every name gives an operator that fits what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import measurements, tasks

SHAPE = (32, 48, 3)
# Two need more than the package: weights, and an extra. Those of in2_ are the tasks of inp_.
NAMES = [name for name in tasks.TASKS if name not in ("deblur_nl", "mri_radial") and not name.startswith("in2_")]
PICTURES = [name for name in NAMES if tasks.TASKS[name].is_picture]


def arrays(task, key, shape=SHAPE):
    return {"mask": np.ones((*shape[:2], 1))} if task.draw is None else task.simulate(key, shape)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if tasks.TASKS[name].kernel])
def test_a_blur_is_the_convolution_with_its_kernel(name, key):
    task, x = tasks.TASKS[name], jax.random.uniform(key, SHAPE, minval=-1)
    own = task.simulate(key, SHAPE)
    boundary = rd.operators.Boundary.ZERO if name in ("deblur_uni", "deblur_gauss") else rd.operators.Boundary.REFLECT
    np.testing.assert_allclose(
        task.blurred(SHAPE, own, boundary)(x), task.operator(SHAPE, own)(x), atol=1e-5
    )  # float32


def test_kernels_can_be_said_in_words():
    np.testing.assert_array_equal(tasks.kernel_in_words("gaussian:2.5"), rd.kernels.gaussian(21, 2.5))
    np.testing.assert_array_equal(tasks.kernel_in_words("defocus:4"), rd.kernels.defocus(4))
    np.testing.assert_array_equal(tasks.kernel_in_words("motion:15@30"), rd.kernels.line(15, np.pi / 6))
    assert not tasks.is_in_words("kernels/gaussian.npy")


@pytest.mark.parametrize("text", ["gaussian:", "gaussian:0", "defocus:-4", "defocus:nan", "motion:15", "motion:1e9@30"])
def test_words_that_describe_no_kernel_name_the_three_forms(text):
    with pytest.raises(ValueError, match=r"gaussian:SIGMA, defocus:RADIUS or motion:LENGTH@DEGREES") as error:
        tasks.kernel_in_words(text)
    assert repr(text) in str(error.value)


def test_unknown_names_are_refused_with_the_everyday_ones():
    with pytest.raises(ValueError, match="All: reddiff-jax info tasks"):
        tasks.by_name("sharpen")


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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_the_operator_of_the_task(name, key):
    example = tasks.example(name)
    shape = example.operator.in_shape
    operator = tasks.TASKS[name].operator(shape, arrays(tasks.TASKS[name], key, shape))
    assert type(example.operator) is type(operator)
    assert example.y.shape == operator.out_shape


def test_examples_of_factors_that_do_not_divide_128_are_of_another_size():
    assert tasks.example("sr3").operator.in_shape == (126, 126, 3)
