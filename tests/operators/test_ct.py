import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from skimage.transform import radon

import reddiff_jax.operators as ops
from reddiff_jax.operators import _tomography

FULL = 2 * math.pi
measure = jax.jit(lambda operator, x: operator(x))
_ray_weights = jax.jit(_tomography.ray_weights)
invert = jax.jit(lambda operator, x: operator.pinv(operator(x)))


def _points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels to the right and up of the middle."""
    return (np.arange(width) - (width - 1) / 2)[None, :], ((height - 1) / 2 - np.arange(height))[:, None]


# Of a smooth picture with no symmetry: (amplitude, right, up, width).
BLOBS = ((1.0, 4.0, 3.0, 2.5), (-0.6, -5.0, -4.0, 3.5))

# Linear interpolation misses f'' / 8 at most, which for a Gaussian is its peak / (8 width^2): here 3 % of the largest.
INTERPOLATION = sum(abs(a) * math.sqrt(2 * math.pi) * s / (8 * s**2) for a, _, _, s in BLOBS)


def _picture(height: int = 31, width: int = 31) -> jax.Array:
    x, y = _points(height, width)
    return jnp.asarray(sum(a * np.exp(-((x - p) ** 2 + (y - q) ** 2) / (2 * s**2)) for a, p, q, s in BLOBS))[:, :, None]


def _line_integrals(angle: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Of the same picture along lines n . p = t."""
    rays = [(a, t - p * np.cos(angle) - q * np.sin(angle), s) for a, p, q, s in BLOBS]
    return sum(a * math.sqrt(2 * math.pi) * s * np.exp(-(r**2) / (2 * s**2)) for a, r, s in rays)


def _psnr(a: jax.Array, b: jax.Array) -> float:
    return float(10 * jnp.log10(4 / jnp.mean((a - b) ** 2)))


def test_parallel_projection_of_a_smooth_picture_equals_its_line_integrals():
    angles = np.asarray(ops.view_angles(17, arc=FULL))
    operator = ops.parallel_ct((31, 31, 1), angles, num_detectors=45, detector_spacing=0.9, scale=1.0)
    t = (np.arange(45) - 22) * 0.9
    expected = _line_integrals(angles[:, None], t[None, :])
    np.testing.assert_allclose(measure(operator, _picture())[:, :, 0], expected, atol=INTERPOLATION)


def test_fan_projection_of_a_smooth_picture_equals_its_line_integrals():
    angles = np.asarray(ops.view_angles(17, arc=FULL))
    operator = ops.fan_ct(
        (31, 31, 1), angles, source_distance=50.0, detector_distance=30.0, num_detectors=61, scale=1.0
    )
    gamma = np.arctan((np.arange(61) - 30) * operator.detector_spacing / 80)
    # The ray at fan angle gamma of the view b is the line at angle b - gamma, source_distance * sin(gamma) away.
    expected = _line_integrals(angles[:, None] - gamma[None, :], 50 * np.sin(gamma)[None, :])
    np.testing.assert_allclose(measure(operator, _picture())[:, :, 0], expected, atol=INTERPOLATION)


def test_projection_of_a_disc_equals_its_chords():
    fine = 8
    x, y = _points(31 * fine, 31 * fine)
    inside = ((x / fine - 2) ** 2 + (y / fine + 3) ** 2 < 9**2).astype(float)
    disc = jnp.asarray(inside.reshape(31, fine, 31, fine).mean((1, 3)))[:, :, None]
    angles = np.asarray(ops.view_angles(30))
    operator = ops.parallel_ct((31, 31, 1), angles, num_detectors=45, scale=1.0)
    offset = (np.arange(45) - 22)[None, :] - (2 * np.cos(angles) - 3 * np.sin(angles))[:, None]
    error = np.abs(measure(operator, disc)[:, :, 0] - 2 * np.sqrt(np.maximum(81 - offset**2, 0)))
    assert error.mean() < 0.1  # pixels of length
    assert error[np.abs(offset) < 7.5].max() < 0.5  # nearer to the rim than 1.5 pixels chords have unbounded slopes


def test_from_afar_a_fan_is_parallel():
    angles = ops.view_angles(9, arc=FULL)
    near = ops.parallel_ct((31, 25, 1), angles, num_detectors=41)
    far = ops.fan_ct((31, 25, 1), angles, num_detectors=41, source_distance=1e5)
    # Rays tilt by up to 20 / 1e5, which moves them by less than 0.004 pixels of a picture of slopes below 1.
    np.testing.assert_allclose(measure(far, _picture(31, 25)), measure(near, _picture(31, 25)), atol=4e-3)


def test_projection_equals_scikit_image_at_right_angles(rng):
    x = rng.uniform(-1, 1, (31, 31)).astype(np.float32)
    degrees = np.array([0.0, 90.0, 180.0, 270.0])
    expected = radon(x, degrees, circle=False)  # (44, 4), whose centre is detector 22
    operator = ops.parallel_ct((31, 31, 1), np.deg2rad(degrees), num_detectors=45, scale=1.0)
    # Cosines of float32 angles miss zero by 1e-7, over 16 pixels; sums of 31 values.
    np.testing.assert_allclose(measure(operator, jnp.asarray(x)[:, :, None])[:, :44, 0], expected.T, atol=1e-4)


def test_projection_equals_scikit_image_on_a_smooth_picture():
    degrees = np.arange(0.0, 360.0, 25.0)
    expected = radon(np.asarray(_picture()[:, :, 0]), degrees, circle=False)
    operator = ops.parallel_ct((31, 31, 1), np.deg2rad(degrees), num_detectors=45, scale=1.0)
    np.testing.assert_allclose(measure(operator, _picture())[:, :44, 0], expected.T, atol=INTERPOLATION)


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(ops.parallel_ct, angles=ops.view_angles(60)),
        functools.partial(ops.parallel_ct, angles=ops.view_angles(60, start=-2.0)),
        functools.partial(ops.parallel_ct, angles=np.linspace(0, np.pi, 60)),
        functools.partial(ops.parallel_ct, angles=ops.view_angles(60, arc=FULL)),
        functools.partial(ops.parallel_ct, angles=ops.view_angles(60, arc=0.75 * FULL)),
        functools.partial(ops.parallel_ct, angles=np.asarray(ops.view_angles(60))[::-1]),
        functools.partial(ops.fan_ct, angles=ops.view_angles(60, arc=FULL), source_distance=50.0),
        functools.partial(ops.fan_ct, angles=ops.view_angles(60, arc=4.2), source_distance=50.0, detector_distance=9.0),
    ],
)
def test_filtered_back_projection_restores_a_smooth_picture_from_60_views(make):
    x = _picture(31, 25)
    # The ramp on unit detectors blurs a little: the amplitude of a Gaussian of 2.5 pixels comes back to 2 %, which on
    # a picture that is mostly zero is more than 45 dB of a range of 2.
    assert _psnr(invert(make((31, 25, 1)), x), x) > 45


@pytest.mark.slow
def test_more_views_restore_more():
    x = _picture()
    psnrs = [_psnr(invert(ops.parallel_ct((31, 31, 1), ops.view_angles(num)), x), x) for num in (6, 12, 24)]
    assert psnrs == sorted(psnrs)


def test_a_missing_wedge_is_missed():
    x = _picture()
    whole, limited = (ops.parallel_ct((31, 31, 1), ops.view_angles(32, arc=arc)) for arc in (math.pi, math.pi / 2))
    assert _psnr(invert(limited, x), x) < _psnr(invert(whole, x), x) - 10


@pytest.mark.parametrize("window", _tomography.RampWindow)
def test_windows_pass_the_mean_and_never_rise(window):
    response = _tomography.window_response(window, np.linspace(0, 0.5, 20))
    assert response[0] == 1
    assert (np.diff(response) <= 0).all()


def test_a_window_damps_noise(rng):
    noise = jnp.asarray(rng.normal(size=(20, 23, 1)), dtype=jnp.float32)
    sharp, smooth = (
        jax.jit(ops.parallel_ct((16, 16, 1), ops.view_angles(20), window=window).pinv)(noise)
        for window in ("ram_lak", "hann")
    )
    assert float(jnp.linalg.norm(smooth.ravel())) < 0.7 * float(jnp.linalg.norm(sharp.ravel()))


@pytest.mark.parametrize(("arc", "num"), [(math.pi, 7), (FULL, 7), (FULL, 8), (0.7 * FULL, 50)])
def test_weights_of_the_views_count_each_line_once(arc, num):
    weights = _ray_weights(ops.view_angles(num, arc=arc, start=1.0), jnp.zeros(1))
    assert float(weights.sum()) == pytest.approx(math.pi, rel=2e-2)  # of the smooth ends, sums of 50 samples


def test_weights_do_not_bridge_a_missing_wedge():
    weights = _ray_weights(ops.view_angles(10, arc=1.0), jnp.zeros(1))
    np.testing.assert_allclose(weights, 0.1, rtol=1e-4)  # float32 angles


def test_one_view_stands_for_all():
    np.testing.assert_allclose(_ray_weights(jnp.array([0.3]), jnp.zeros(1)), math.pi, rtol=1e-6)


def test_the_default_scale_keeps_the_data_term_of_norm_one():
    operator = ops.parallel_ct((24, 24, 1), ops.view_angles(20))
    n, m = 24 * 24, math.prod(operator.out_shape)
    x = jnp.ones((24, 24, 1))
    # The largest singular vector is close to constant: its Rayleigh quotient is a bound from below, and a close one.
    assert 0.3 < n / m * float(jnp.sum(measure(operator, x) ** 2)) / n < 1.2


@pytest.mark.slow
def test_attenuation_becomes_a_measurement_of_the_picture(rng):
    x, top = jnp.asarray(rng.uniform(-1, 1, (9, 12, 1)), dtype=jnp.float32), 0.02
    operator = ops.parallel_ct((9, 12, 1), ops.view_angles(5))
    integrals = ops.parallel_ct((9, 12, 1), ops.view_angles(5), scale=1.0)((x + 1) / 2 * top)
    y = 2 * operator.scale * integrals / top - operator(jnp.ones((9, 12, 1)))
    np.testing.assert_allclose(y, operator(x), atol=1e-5)  # float32, as the docstring says


@pytest.mark.slow
def test_angles_of_a_batch_are_a_vmap_of_the_factory(rng):
    angles = jnp.asarray(rng.uniform(0, 3, (2, 5)), dtype=jnp.float32)
    xs = jnp.asarray(rng.random((2, 9, 12, 1)), dtype=jnp.float32)
    operators = jax.vmap(lambda a: ops.parallel_ct((9, 12, 1), a))(angles)
    ys = jax.vmap(lambda operator, x: operator(x))(operators, xs)
    np.testing.assert_allclose(ys[1], ops.parallel_ct((9, 12, 1), angles[1])(xs[1]), atol=1e-5)  # float32


def _largest(jaxpr: Any) -> int:
    """Entries of the largest array that a program makes."""
    sizes = [out.aval.size for eqn in jaxpr.eqns for out in eqn.outvars]
    programs = [p.jaxpr for eqn in jaxpr.eqns for p in eqn.params.values() if hasattr(p, "jaxpr")]
    return max(sizes + [_largest(program) for program in programs])


@pytest.mark.parametrize("method", ["__call__", "adjoint", "pinv"])
def test_memory_is_that_of_a_few_pictures(method):
    operator = ops.fan_ct((256, 256, 3), ops.view_angles(180, arc=FULL), source_distance=500.0)
    shape = operator.in_shape if method == "__call__" else operator.out_shape
    program = jax.make_jaxpr(getattr(operator, method))(jax.ShapeDtypeStruct(shape, jnp.float32))
    pictures = _largest(program.jaxpr) / max(math.prod(shape), 256 * 256 * 3)
    # Picture and transpose, two taps of each ray and row; FFTs of views, padded to twice their length and more.
    assert pictures <= 6


@pytest.mark.oracle
def test_parallel_projection_and_its_inverse_equal_deepinv():
    torch = pytest.importorskip("torch")
    degrees = np.arange(0.0, 180.0, 6.0)
    theirs = oracles.deepinv().physics.Tomography(torch.tensor(degrees), img_width=32, normalize=False)
    x = _picture(32, 32)
    expected = theirs(torch.tensor(np.asarray(x, np.float32))[None, None, :, :, 0])  # (1, 1, D, A)
    ours = ops.parallel_ct((32, 32, 1), np.deg2rad(degrees), num_detectors=expected.shape[2], scale=1.0)
    y = measure(ours, x)
    np.testing.assert_allclose(y[:, :, 0], expected[0, 0].T, atol=INTERPOLATION)
    restored = theirs.fbp(torch.tensor(np.asarray(y))[None, :, :, :].permute(0, 3, 2, 1))
    np.testing.assert_allclose(ours.pinv(y)[:, :, 0], restored[0, 0], atol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.parallel_ct((8, 8, 1), np.arange(0, 180, 3.0)), r"Degrees by mistake\? Use np\.deg2rad"),
        (lambda: ops.parallel_ct((8, 8, 1), [np.nan]), "must be radians"),
        (lambda: ops.parallel_ct((8, 8, 1), []), r"rd\.view_angles\(60\)"),
        (lambda: ops.parallel_ct((8, 8, 1), np.zeros((2, 3))), r"jax\.vmap\(lambda a: rd\.parallel_ct"),
        (lambda: ops.parallel_ct((8, 8), [0.0]), r"one image has shape \(H, W, C\)"),
        (lambda: ops.parallel_ct((8, 8, 1), [0.0], num_detectors=0), "num_detectors is 0"),
        (lambda: ops.parallel_ct((8, 8, 1), [0.0], detector_spacing=0.0), "detector_spacing is 0.0"),
        (lambda: ops.parallel_ct((8, 8, 1), [0.0], scale=-1.0), "scale is -1.0 but must be finite and above 0"),
        (lambda: ops.parallel_ct((8, 8, 1), [0.0], window="box"), r"must be one of RampWindow\.RAM_LAK"),
        (lambda: ops.fan_ct((8, 8, 1), [0.0], source_distance=5.0), r"must exceed 6\.7 pixels"),
        (lambda: ops.fan_ct((8, 8, 1), [0.0], source_distance=9.0, detector_distance=-1.0), "detector_distance is -1"),
        (lambda: ops.view_angles(0), "num is 0"),
        (lambda: ops.view_angles(4, arc=180), r"must be in \(0, 2 pi\] radians"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
