"""Values out of range: the same error with and without vmap, none inside jit; and warnings of y in other units."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import _checks

SHAPE = (16, 16, 3)
PRIOR = rd.gaussian_prior(jnp.zeros(SHAPE), 0.1, rd.schedules.linear(20))
MASK = jnp.zeros((16, 16)).at[:8].set(1)
KERNEL = np.full((3, 3), 1 / 9, np.float32)
SPACE = rd.mri(jnp.ones((16, 16)), (16, 16, 2))


def _one(value):
    return jnp.asarray(value, jnp.float32)


# (factory of one argument, bad value, good value, what the error says)
CASES = {
    "inpainting": (rd.inpainting, 255 * MASK, MASK, "mask has values from 0.0 to 255.0 but must be 0 "),
    "inpainting uint8": (rd.inpainting, (255 * MASK).astype(jnp.uint8), MASK.astype(jnp.uint8), "values from 0 to 255"),
    "mri": (lambda m: rd.mri(m, (16, 16, 2)), 255 * MASK, MASK, "mri: mask has values from 0.0 to 255.0"),
    "mri's coil maps": (
        lambda maps: rd.mri(MASK, (16, 16, 2), coil_maps=maps),
        jnp.full((16, 16, 2), jnp.nan),
        jnp.ones((16, 16, 2)),
        "coil_maps are not finite",
    ),
    "parallel_ct": (
        lambda a: rd.parallel_ct((16, 16, 1), a),
        _one([0, 90, 180]),
        _one([0, 1.5]),
        "radians within 2 pi",
    ),
    "fan_ct": (
        lambda a: rd.fan_ct((16, 16, 1), a, source_distance=40.0),
        _one([0, 90, 180]),
        _one([0, 1.5]),
        "Degrees by mistake",
    ),
    "ct's scale": (lambda s: rd.parallel_ct((16, 16, 1), [0.0, 1.0], scale=s), _one(-1), _one(1), "scale is -1.0"),
    "blur of no sum": (lambda k: rd.blur(k, SHAPE), _one([[1, -1, 0]]), KERNEL, "kernel sums to zero"),
    "blur of sum 9": (lambda k: rd.blur(k, SHAPE), np.ones((3, 3)), KERNEL, "kernel sums to 9 but must sum to 1"),
    "blur of colours": (
        lambda k: rd.blur(k, SHAPE),
        np.ones((3, 3, 3)),
        np.full((3, 3, 3), 1 / 9),
        r"kernel / kernel.sum\(\)",
    ),
    "blur of nan": (
        lambda k: rd.blur(k, SHAPE),
        np.full((3, 3), np.nan),
        KERNEL,
        "entries of blur: kernel are not fini",
    ),
    "circular blur": (
        lambda k: rd.blur(k, SHAPE, boundary=rd.operators.Boundary.CIRCULAR),
        np.ones((3, 3)),
        KERNEL,
        "kernel sums to 9",
    ),
    "normalised blur": (lambda k: rd.blur(k, SHAPE, normalize=True), _one([[1, -1, 0]]), 9 * KERNEL, "sums to zero"),
    "saturated_blur": (lambda k: rd.saturated_blur(k, SHAPE), -KERNEL, KERNEL, "entry of kernel is -0.11"),
    "saturated_blur's gain": (lambda g: rd.saturated_blur(KERNEL, SHAPE, gain=g), _one(0), _one(1), "gain is 0.0"),
    "varying_blur": (
        lambda w: rd.varying_blur([KERNEL], w, SHAPE),
        jnp.full((1, 16, 16), jnp.inf),
        jnp.ones((1, 16, 16)),
        "weights are not finite",
    ),
    "hdr": (lambda f: rd.hdr(SHAPE, f), _one(0.5), _one(2), "factor is 0.5 .*but must be at least 1"),
    "jpeg": (lambda q: rd.jpeg(SHAPE, q), jnp.int32(0), jnp.int32(20), "quality is 0 .*but must be a whole number"),
    "quantization": (lambda b: rd.quantization(SHAPE, b), jnp.int32(17), jnp.int32(3), "bits is 17 "),
    "scale": (lambda f: rd.operators.scale(rd.denoising(SHAPE), f), _one(0), _one(-1), "factor is 0.0"),
    "stacked": (lambda w: rd.stacked(rd.denoising(SHAPE), weights=w), _one([-1]), _one([1]), "a weight is -1.0"),
    "matrix": (
        lambda m: rd.matrix_operator(m, (2, 2, 1)),
        jnp.full((2, 4), jnp.nan),
        jnp.ones((2, 4)),
        "matrix are not finite",
    ),
    "linear_operator": (
        lambda offset: rd.linear_operator(_affine, SHAPE, params=offset),
        _one(1),
        _one(0),
        "fn is not linear",
    ),
    "gaussian": (rd.gaussian, _one(-0.1), _one(0.1), "sigma_y is -0.1"),
    "gaussian nan": (rd.gaussian, _one(np.nan), _one(0.1), "sigma_y is nan"),
    "poisson": (rd.poisson, _one(0), _one(255), "photons is 0.0"),
    "poisson's range": (lambda low: rd.poisson(255.0, low=low), _one(1), _one(-1), "low must be below high"),
    "poisson_gaussian": (lambda s: rd.poisson_gaussian(9.0, s), _one(-1), _one(0.1), "sigma_y is -1.0"),
    "poisson_magnitude": (rd.poisson_magnitude, _one(-1), _one(1), "photons is -1.0"),
    "poisson_attenuation": (lambda s: rd.poisson_attenuation(9.0, scale=s), _one(0), _one(1), "scale is 0.0"),
    "impulse": (rd.impulse, _one(1.5), _one(0.5), "probability is 1.5"),
    "speckle": (rd.speckle, _one(0), _one(4), "looks is 0.0"),
    "uniform_quantization": (rd.uniform_quantization, _one(0), _one(0.1), "step is 0.0"),
    "gaussian kernel": (lambda s: rd.kernels.gaussian(5, s), _one(0), _one(1), "sigma is 0.0"),
    "motion kernel": (lambda i: rd.kernels.motion(jax.random.key(0), 5, i), _one(-1), _one(1), "intensity is -1.0"),
    "random mask": (lambda k: rd.masks.random(jax.random.key(0), SHAPE, k), _one(1.5), _one(0.5), "keep is 1.5"),
    "box": (lambda top: rd.masks.box(SHAPE, top, 0, 8, 8), jnp.int32(12), jnp.int32(4), "leaves the picture"),
    "box above": (lambda top: rd.masks.box(SHAPE, top, 0, 8, 8), jnp.int32(-1), jnp.int32(4), "top is -1"),
    "lam": (lambda lam: rd.reddiff(PRIOR, lam=lam, num_steps=2), _one(-1), _one(1), "lam is -1.0"),
    "noise_aware's lam": (lambda lam: rd.noise_aware(PRIOR, lam=lam, num_steps=2), _one(-1), _one(1), "lam is -1.0"),
    "eta": (lambda eta: rd.ddim(PRIOR, eta=eta, num_steps=2), _one(2), _one(1), "eta is 2.0 .*but must be between 0"),
    "dps's scale": (lambda scale: rd.dps(PRIOR, scale=scale, num_steps=2), _one(-1), _one(1), "scale is -1.0"),
    "gaussian_prior": (
        lambda variance: rd.gaussian_prior(jnp.zeros(SHAPE), variance, PRIOR.schedule),
        _one(-1),
        _one(1),
        "positive semi-definite",
    ),
    "mixture_prior": (
        lambda weights: rd.mixture_prior(weights, jnp.zeros((2, *SHAPE)), 0.1, PRIOR.schedule),
        _one([1, -1]),
        _one([1, 1]),
        "weights must be positive",
    ),
    "psnr": (
        lambda top: rd.metrics.psnr(jnp.zeros(SHAPE), jnp.ones(SHAPE), data_range=top),
        _one(0),
        _one(2),
        "data_range is 0.0",
    ),
    "y": (lambda y: rd.problem(y, rd.denoising(SHAPE)), jnp.full(SHAPE, jnp.nan), jnp.zeros(SHAPE), "entries of y are"),
}


def _affine(offset, x):
    return x + offset


every_case = pytest.mark.parametrize(("factory", "bad", "good", "said"), CASES.values(), ids=CASES)


@every_case
def test_a_bad_value_is_an_error(factory, bad, good, said):
    with pytest.raises(ValueError, match=said):
        factory(bad)
    factory(good)


@every_case
def test_a_bad_value_in_a_batch_is_the_same_error_under_vmap(factory, bad, good, said):
    alike = np.shape(good) == np.shape(bad)
    batch = jnp.stack([jnp.asarray(good, jnp.asarray(bad).dtype) if alike else jnp.asarray(bad), jnp.asarray(bad)])
    with pytest.raises(ValueError, match=said):
        jax.vmap(factory)(batch)


@pytest.mark.parametrize(
    "name", ["inpainting", "blur of sum 9", "hdr", "gaussian", "lam", "y", "box", "poisson's range"]
)
def test_inside_jit_no_value_is_looked_at(name):
    factory, bad, _, _ = CASES[name]
    jax.eval_shape(factory, jnp.asarray(bad))


def test_numbers_are_seen_through_every_vmap_with_their_axes_in_front():
    seen = []
    value = jnp.arange(24.0).reshape(2, 3, 4)

    def look(x):
        seen.append(_checks.numbers(x))
        return x

    jax.vmap(jax.vmap(look, in_axes=1), in_axes=0)(value)  # inner over the 4, outer over the 2: items of (3,)
    assert np.array_equal(seen[0], np.transpose(value, (2, 0, 1)))


def test_inside_jit_vmap_hides_numbers_too():
    seen = []
    jax.jit(jax.vmap(lambda x: seen.append(_checks.numbers(x))))(jnp.ones(3))
    assert seen == [None]


# ---- ranges of y


def _picture(low, high):
    return jnp.linspace(low, high, 768).reshape(SHAPE)


RANGES = {
    "[0, 255]": (lambda: rd.problem(_picture(0, 255), rd.denoising(SHAPE)), r"y goes from 0 to 255 .* y / 127.5 - 1"),
    "[0, 255] few pixels": (
        lambda: rd.problem(_picture(0, 255), rd.inpainting(jnp.zeros((16, 16)).at[3, 4].set(1))),
        "y goes from 0 to",
    ),
    "[0, 1]": (lambda: rd.problem(_picture(0, 1), rd.denoising(SHAPE)), r"as pictures in \[0, 1\] do, .* 2 \* y - 1"),
    "[0, 1] of a blur": (lambda: rd.problem(_picture(0, 1), rd.blur(KERNEL, SHAPE)), r"as pictures in \[0, 1\]"),
    "[0, 1] of a composition": (
        lambda: rd.problem(_picture(0, 1)[:12, :12], rd.operators.crop(SHAPE, 2) @ rd.blur(KERNEL, SHAPE)),
        r"2 \* y - 1",
    ),
    "a batch": (lambda: jax.vmap(lambda y: rd.problem(y, rd.denoising(SHAPE)))(_picture(0, 255)[None]), "127.5"),
    "x in [0, 255]": (
        lambda: rd.measure(jax.random.key(0), rd.denoising(SHAPE), rd.gaussian(0.1), _picture(0, 255)),
        r"x goes from 0 to 255 but pictures are in \[-1, 1\].*x / 127.5 - 1",
    ),
    "x in [0, 1]": (
        lambda: rd.measure(jax.random.key(0), rd.mri(MASK, (16, 16, 2)), rd.gaussian(0.1), _picture(0, 1)[..., :2]),
        r"x goes from 0 to 0.9987, as pictures in \[0, 1\] do, .*2 \* x - 1",
    ),
    "sigma of a simulation": (
        lambda: rd.measure(jax.random.key(0), rd.denoising(SHAPE), rd.gaussian(25), _picture(-1, 1)),
        "sigma_y is 25",
    ),
    "sigma 25": (
        lambda: rd.problem(_picture(-1, 1), rd.denoising(SHAPE), rd.gaussian(25)),
        r"sigma_y is 25 but pictures are in \[-1, 1\].* rd.gaussian\(25 / 127.5\)",
    ),
    "k-space": (
        lambda: rd.problem(1e-4 * SPACE(jnp.ones((16, 16, 2))), SPACE),
        r"root mean square 0.00014 .*Multiply y and its noise level .* about 1e\+04",
    ),
    "k-space of coils": (
        lambda: rd.problem(
            1e4 * jnp.ones((16, 16, 2), complex), rd.mri(MASK, (16, 16, 2), coil_maps=rd.coil_maps(2, SHAPE))
        ),
        "Multiply y",
    ),
}


@pytest.mark.parametrize(("call", "said"), RANGES.values(), ids=RANGES)
def test_a_measurement_in_other_units_is_warned_of_in_one_line(call, said):
    with pytest.warns(UserWarning, match=said) as warned:
        call()
    assert len(warned) == 1
    assert "\n" not in str(warned[0].message)
    assert warned[0].filename == __file__


NO_WARNING = {
    "a picture": (_picture(-1, 1), rd.denoising(SHAPE), rd.gaussian(0.1)),
    "a bright picture": (_picture(0.2, 1), rd.denoising(SHAPE), rd.gaussian()),
    "a black hole": (MASK[:, :, None] * _picture(0.2, 1), rd.inpainting(MASK), rd.gaussian()),
    "strong noise": (6 * _picture(-1, 1), rd.denoising(SHAPE), rd.gaussian(2.0)),
    "nothing": (jnp.zeros(SHAPE), rd.denoising(SHAPE), rd.gaussian()),
    "gray": (jnp.full(SHAPE, 0.7), rd.denoising(SHAPE), rd.gaussian()),
    "an operator of its own": (_picture(0, 255), rd.operator(_affine, SHAPE, params=1.0), rd.gaussian(25.0)),
    "magnitudes": (_picture(0, 1), rd.phase_retrieval(SHAPE, padding=0), rd.gaussian()),
    "k-space": (SPACE(0.1 * jnp.ones((16, 16, 2))), SPACE, rd.gaussian(0.01)),
    "kernel of sum 9": (_picture(-9, 9), rd.blur(9 * KERNEL, SHAPE, normalize=False), rd.gaussian(0.1)),
}


@pytest.mark.parametrize(("y", "operator", "noise"), NO_WARNING.values(), ids=NO_WARNING)
def test_measurements_that_may_be_right_are_not_warned_of(y, operator, noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rd.problem(y, operator, noise)


def test_inside_jit_nothing_is_said_of_ranges():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(lambda y: rd.problem(y, rd.denoising(SHAPE)), _picture(0, 255))
