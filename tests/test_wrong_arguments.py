"""Arguments of another type, in another order, of another shape: one line that names the argument and the remedy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd

SHAPE = (8, 8, 3)
KEY = jax.random.key(0)
MASK = jnp.zeros((8, 8)).at[:, :4].set(1)
PRIOR = rd.gaussian_prior(jnp.zeros(SHAPE), 0.1, rd.schedules.linear(20))
Y = jnp.linspace(-1, 1, 192).reshape(SHAPE)
PROBLEM = rd.problem(Y, rd.inpainting(MASK), rd.gaussian(0.05))
BATCH = rd.stack([PROBLEM, PROBLEM])
SOLVER = rd.ddim(PRIOR, num_steps=2)
KERNEL = rd.kernels.gaussian(5, 1.0)


def _six_channels(x_t, t, cond):
    return jnp.concatenate([x_t, x_t], axis=2)


def _batch_of_one(x_t, t, cond):
    return x_t[None]


def _run_with(fn):
    return rd.run(KEY, rd.ddim(rd.prior(fn, PRIOR.schedule), num_steps=2), rd.problem(Y, rd.denoising(SHAPE)))


# (call, the error's type, what its line says)
CASES = {
    # run
    "run swapped": (lambda: rd.run(SOLVER, PROBLEM, KEY), TypeError, "run: solver is a Problem"),
    "run key last": (lambda: rd.run(KEY, PROBLEM, SOLVER), TypeError, "the order is run(key, solver, problem)"),
    "run int key": (lambda: rd.run(0, SOLVER, PROBLEM), TypeError, "run: key is 0 (an int) but must be a PRNG key"),
    "run no key": (lambda: rd.run(None, SOLVER, PROBLEM), TypeError, "key is None but must be a PRNG key"),
    "run float array key": (lambda: rd.run(jnp.zeros(2), SOLVER, PROBLEM), TypeError, "key is an array float32[2]"),
    "run keys of a batch": (
        lambda: rd.run(jax.random.split(KEY, 2), SOLVER, PROBLEM),
        ValueError,
        "run: key holds keys of shape (2,) but one is needed. For a batch use jax.vmap",
    ),
    "run prior": (
        lambda: rd.run(KEY, PRIOR, PROBLEM),
        TypeError,
        "run: solver is a GaussianPrior but must be a Solver",
    ),
    "run factory": (lambda: rd.run(KEY, rd.ddim, PROBLEM), TypeError, "run: solver is the function ddim"),
    "run array": (lambda: rd.run(KEY, SOLVER, Y), TypeError, "run: problem is an array float32[8, 8, 3]"),
    "run list": (lambda: rd.run(KEY, SOLVER, [PROBLEM]), TypeError, "run: problem is "),
    "run stacked": (
        lambda: rd.run(KEY, SOLVER, BATCH),
        ValueError,
        "problem is a batch of 2: problem.y has shape (2, 8",
    ),
    "run stacked by RED-diff": (
        lambda: rd.run(KEY, rd.reddiff(PRIOR, num_steps=2), BATCH),
        ValueError,
        "A batch goes through jax.vmap(rd.run, in_axes=(0, None, 0))",
    ),
    "run batch of y": (
        lambda: rd.run(KEY, SOLVER, PROBLEM.replace(y=BATCH.y)),
        ValueError,
        "problem.y has shape (2, 8, 8, 3) but operator Inpainting maps (8, 8, 3) to (8, 8, 3). A batch goes through",
    ),
    "run float steps": (lambda: rd.run(KEY, SOLVER, PROBLEM, num_steps=1.5), TypeError, "num_steps is 1.5 (a float)"),
    "run record": (
        lambda: rd.run(KEY, SOLVER, PROBLEM, record="mu"),
        TypeError,
        "record is 'mu' (a str) but must be a f",
    ),
    "best_of swapped": (lambda: rd.best_of(KEY, PROBLEM, SOLVER), TypeError, "best_of: solver is a Problem"),
    "best_of float": (lambda: rd.best_of(KEY, SOLVER, PROBLEM, 2.0), TypeError, "num_restarts is 2.0 (a float)"),
    "mean_of key": (lambda: rd.mean_of(1, SOLVER, PROBLEM), TypeError, "mean_of: key is 1 (an int)"),
    "run_many one problem": (
        lambda: rd.run_many(KEY, SOLVER, PROBLEM, batch_size=2),
        TypeError,
        "run_many: problems is one Problem but must be several: [problem]",
    ),
    "run_many swapped": (lambda: rd.run_many(KEY, [PROBLEM], SOLVER, batch_size=2), TypeError, "run_many: solver is "),
    "run_many float": (
        lambda: rd.run_many(KEY, SOLVER, [PROBLEM], batch_size=2.0),
        TypeError,
        "batch_size is 2.0 (a float) but must be a whole number from 1",
    ),
    "run_many numbers": (
        lambda: list(rd.run_many(KEY, SOLVER, [PROBLEM, Y], batch_size=2)),
        TypeError,
        "run_many: problems[1] is an array float32[8, 8, 3] but must be a Problem",
    ),
    "run_many devices": (
        lambda: rd.run_many(KEY, SOLVER, [PROBLEM], batch_size=2, mesh=2),
        TypeError,
        "run_many: mesh is 2 (an int) but must be a Mesh",
    ),
    "run solution for state": (
        lambda: rd.run(KEY, SOLVER, PROBLEM, state=rd.run(KEY, SOLVER, PROBLEM, num_steps=1), num_steps=1),
        TypeError,
        "run: state is a Solution but must be a solver's state: solution.state.",
    ),
    "run_with_progress": (lambda: rd.run_with_progress(SOLVER, KEY, PROBLEM), TypeError, "solver is a PRNG key"),
    "stack one": (lambda: rd.stack(PROBLEM), TypeError, "stack: trees is a Problem but must be several"),
    # problem, measure
    "problem swapped": (
        lambda: rd.problem(rd.inpainting(MASK), Y),
        TypeError,
        "problem: operator is an array float32[8",
    ),
    "problem order": (
        lambda: rd.problem(rd.inpainting(MASK), Y),
        TypeError,
        "the order is problem(y, operator, noise)",
    ),
    "problem noise order": (
        lambda: rd.problem(Y, rd.inpainting(MASK), Y),
        TypeError,
        "such as rd.gaussian(0.05); the order is problem(y, operator, noise)",
    ),
    "measure operator order": (
        lambda: rd.measure(KEY, Y, rd.inpainting(MASK), rd.gaussian(0.1)),
        TypeError,
        "the order is measure(key, operator, noise, x)",
    ),
    "measure uint8": (
        lambda: rd.measure(KEY, rd.denoising(SHAPE), rd.gaussian(0.1), np.zeros(SHAPE, np.uint8)),
        ValueError,
        "x has dtype uint8 but must be floating-point, pictures in [-1, 1]. Convert it, x / 127.5 - 1",
    ),
    "run unsplit raw key": (
        lambda: jax.vmap(rd.run, in_axes=(0, None, 0))(jax.random.PRNGKey(0), SOLVER, BATCH),
        TypeError,
        "run: key is an array uint32[] but must be a PRNG key: one for each item of a batch: jax.random.split(key, n)",
    ),
    "restore task": (
        lambda: rd.restore(np.zeros(SHAPE, np.uint8), task="denoize", prior=PRIOR),
        ValueError,
        "unknown task 'denoize'; did you mean denoise? To fill in: inpaint.",
    ),
    "problem mask": (lambda: rd.problem(Y, MASK), TypeError, "must be an Operator, such as rd.inpainting(mask)"),
    "problem factory": (lambda: rd.problem(Y, rd.inpainting), TypeError, "operator is the function inpainting"),
    "problem float noise": (
        lambda: rd.problem(Y, rd.inpainting(MASK), 0.05),
        TypeError,
        "problem: noise is 0.05 (a float) but must be a Noise, such as rd.gaussian(0.05)",
    ),
    "problem numpy noise": (
        lambda: rd.problem(Y, rd.inpainting(MASK), np.float32(0.5)),
        TypeError,
        "problem: noise is an array float32[]",
    ),
    "problem noise swapped": (
        lambda: rd.problem(Y, rd.gaussian(0.1), rd.inpainting(MASK)),
        TypeError,
        "problem: operator is a Gaussian but must be an Operator",
    ),
    "problem no y": (lambda: rd.problem(None, rd.inpainting(MASK)), TypeError, "y is None but must be an array"),
    "problem path": (lambda: rd.problem("y.png", rd.inpainting(MASK)), TypeError, "y is 'y.png' (a str)"),
    "problem uint8": (
        lambda: rd.problem(np.zeros(SHAPE, np.uint8), rd.inpainting(MASK)),
        ValueError,
        "y has dtype uint8 but must be floating-point, pictures in [-1, 1]. Convert it, y / 127.5 - 1",
    ),
    "problem int32": (
        lambda: rd.problem(np.zeros(SHAPE, np.int32), rd.inpainting(MASK)),
        ValueError,
        "y has dtype int32 but must be floating-point",
    ),
    "problem real k-space": (
        lambda: rd.problem(jnp.zeros((8, 8)), rd.mri(MASK, (8, 8, 2))),
        ValueError,
        "y is real (float32) but SingleCoilMri measures complex numbers",
    ),
    "problem complex y": (
        lambda: rd.problem(Y + 0j, rd.inpainting(MASK)),
        ValueError,
        "y is complex but Inpainting measures real numbers",
    ),
    "problem init": (
        lambda: rd.problem(Y, rd.inpainting(MASK), init="pinv"),
        TypeError,
        "init is 'pinv' (a str) but must",
    ),
    "measure swapped": (
        lambda: rd.measure(KEY, rd.gaussian(0.1), rd.inpainting(MASK), Y),
        TypeError,
        "measure: operator is a Gaussian",
    ),
    "measure int key": (lambda: rd.measure(0, rd.inpainting(MASK), rd.gaussian(), Y), TypeError, "measure: key is 0"),
    "measure x first": (
        lambda: rd.measure(KEY, rd.inpainting(MASK), Y, rd.gaussian()),
        TypeError,
        "measure: noise is an array float32[8, 8, 3] but must be a Noise",
    ),
    # priors
    "to_eps string": (
        lambda: rd.prior(_batch_of_one, PRIOR.schedule, to_eps="x0"),
        TypeError,
        "prior: to_eps is 'x0' (a str) but must be a function: rd.from_x0",
    ),
    "prior swapped": (
        lambda: rd.prior(PRIOR.schedule, _batch_of_one),
        TypeError,
        "prior: fn is a Schedule but must be",
    ),
    "prior betas": (
        lambda: rd.prior(_batch_of_one, np.linspace(1e-4, 0.02, 10)),
        TypeError,
        "prior: schedule is an array float64[10] but must be a Schedule, such as rd.schedules.linear()",
    ),
    "prior 6 channels": (
        lambda: _run_with(_six_channels),
        ValueError,
        "returned an array float32[8, 8, 6] for an image (8, 8, 3). Is half of it a learned variance",
    ),
    "prior batch axis": (
        lambda: _run_with(_batch_of_one),
        ValueError,
        "_batch_of_one, returned an array float32[1, 8, 8, 3] for an image (8, 8, 3)",
    ),
    "edm prior": (
        lambda: rd.edm_prior(None, PRIOR.schedule),
        TypeError,
        "edm_prior: fn is None but must be a function",
    ),
    "gaussian prior": (
        lambda: rd.gaussian_prior(jnp.zeros(SHAPE), PRIOR.schedule, 0.1),
        TypeError,
        "gaussian_prior: schedule is 0.1 (a float)",
    ),
    "gray prior": (lambda: rd.gray_prior(rd.load_prior), TypeError, "gray_prior: prior is the function load_prior"),
    "tiled": (lambda: rd.tiled(PRIOR, 64.0), TypeError, "tiled: size is 64.0 (a float) but must be a whole number"),
    "classifier": (lambda: rd.classifier_guided(PRIOR, "net"), TypeError, "classifier is 'net' (a str)"),
    # solvers
    "solver of a problem": (lambda: rd.reddiff(PROBLEM), TypeError, "reddiff: prior is a Problem but must be a Prior"),
    "solver of a function": (
        lambda: rd.dps(_six_channels),
        TypeError,
        "a function becomes one by rd.prior(fn, schedule)",
    ),
    "solver of none": (lambda: rd.noise_aware(None), TypeError, "noise_aware: prior is None"),
    "default_solver swapped": (
        lambda: rd.default_solver(PROBLEM, PRIOR),
        TypeError,
        "default_solver: prior is a Problem",
    ),
    "float optimizer": (
        lambda: rd.reddiff(PRIOR, 0.1),
        TypeError,
        "step is 0.1 (a float) but must be an Optax transformation, such as optax.adam(0.1), or a step, such as rd.pro",
    ),
    "optimizer not made": (lambda: rd.reddiff(PRIOR, optax.adam), TypeError, "step is the function adam"),
    "step not made": (lambda: rd.noise_aware(PRIOR, rd.proximal_step), TypeError, "step is the function proximal_step"),
    "optimizer of sds": (lambda: rd.sds(PRIOR, rd.proximal_step()), TypeError, "optimizer is a ProximalStep but must"),
    "optimizer of sds_var": (lambda: rd.sds_var(PRIOR, "adam", num_steps=2), TypeError, "optimizer is 'adam' (a str)"),
    "optimizer of reddiff_var": (
        lambda: rd.reddiff_var(PRIOR, rd.optax_step()),
        TypeError,
        "optimizer is an OptaxStep but must be an Optax transformation",
    ),
    # parts are functions, never strings
    "weighting string": (
        lambda: rd.reddiff(PRIOR, weighting="linear"),
        TypeError,
        "weighting is 'linear' (a str) but must be a function (alpha_t, sigma_t) -> w, such as rd.weightings.linear",
    ),
    "weighting of sds_var": (lambda: rd.sds_var(PRIOR, weighting="linear"), TypeError, "weighting is 'linear'"),
    "weight for weighting": (
        lambda: rd.reddiff(PRIOR, weighting=rd.solvers.NoiseAwareWeight()),
        TypeError,
        "weighting is a NoiseAwareWeight",
    ),
    "control_variate": (lambda: rd.reddiff(PRIOR, control_variate=1.0), TypeError, "control_variate is 1.0 (a float)"),
    "control_variate of noise_aware": (
        lambda: rd.noise_aware(PRIOR, control_variate="projected"),
        TypeError,
        "control_variate is 'projected' (a str) but must be a function (eps_hat, eps) -> c",
    ),
    "order string": (lambda: rd.reddiff(PRIOR, order="random"), TypeError, "order is 'random' (a str)"),
    "reduction class": (
        lambda: rd.reddiff(PRIOR, reduction=rd.solvers.BatchMean),
        TypeError,
        "reduction is the class BatchMean but must be a function (n, m) -> (a, b), such as rd.solvers.BatchMean(8)",
    ),
    "data_term string": (lambda: rd.optax_step(data_term="likelihood"), TypeError, "data_term is 'likelihood' (a str)"),
    "to_timestep string": (lambda: rd.noise_aware(PRIOR, to_timestep="nearest"), TypeError, "to_timestep is 'nearest'"),
    "init string": (
        lambda: rd.run(KEY, rd.dps(PRIOR, init="pinv", num_steps=2), PROBLEM),
        TypeError,
        "init is 'pinv' (a str) but must be a function (key, problem, alpha_T, sigma_T) -> image, such as rd.solvers.i",
    ),
    "form string": (lambda: rd.red(PRIOR, form="admm"), TypeError, "form is 'admm' (a str) but must be a form of RED"),
    "step_rule string": (lambda: rd.daps(PRIOR, step_rule="linear"), TypeError, "step_rule is 'linear' (a str)"),
    "guidance weight string": (lambda: rd.pigdm(PRIOR, weight="alphas"), TypeError, "weight is 'alphas' (a str)"),
    "features string": (lambda: rd.repulsive(SOLVER, features="vgg"), TypeError, "features is 'vgg' (a str)"),
    "prior_samples path": (
        lambda: rd.perturb_and_optimise(rd.noise_aware(PRIOR), "samples.npy"),
        TypeError,
        "prior_samples is 'samples.npy' (a str) but must be images (K, H, W, C)",
    ),
    "lam string": (
        lambda: rd.reddiff(PRIOR, lam="0.25"),
        TypeError,
        "lam is '0.25' (a str) but must be finite and not n",
    ),
    "lam none": (lambda: rd.reddiff(PRIOR, lam=None), TypeError, "lam is None but must be finite and not negative"),
    "lam key": (lambda: rd.reddiff(PRIOR, lam=KEY), TypeError, "lam is a PRNG key"),
    "eta problem": (lambda: rd.ddim(PRIOR, eta=PROBLEM), TypeError, "eta is a Problem but must be between 0"),
    "num_steps float": (
        lambda: rd.ddim(PRIOR, num_steps=10.0),
        TypeError,
        "num_steps is 10.0 (a float) but must be a whole",
    ),
    "num_steps none": (lambda: rd.ddim(PRIOR, num_steps=None), TypeError, "num_steps is None"),
    "spacing string": (lambda: rd.ddim(PRIOR, spacing="linspace"), TypeError, "spacing is 'linspace' (a str)"),
    "averaged prior": (lambda: rd.averaged(PRIOR, 4), TypeError, "averaged: solver is a GaussianPrior"),
    # operators
    "inpainting shape": (
        lambda: rd.inpainting(SHAPE),
        TypeError,
        "inpainting: mask is (8, 8, 3) (a tuple) but must be an array (H, W)",
    ),
    "inpainting path": (lambda: rd.inpainting("mask.png"), TypeError, "mask is 'mask.png' (a str)"),
    "inpainting none": (lambda: rd.inpainting(None), TypeError, "inpainting: mask is None"),
    "denoising picture": (
        lambda: rd.denoising(Y),
        TypeError,
        "in_shape is an array float32[8, 8, 3] but must be (H, W, C)",
    ),
    "denoising picture's remedy": (lambda: rd.denoising(Y), TypeError, "Take its .shape."),
    "denoising int": (lambda: rd.denoising(64), TypeError, "denoising: in_shape is 64 (an int) but must be (H, W, C)"),
    "denoising floats": (
        lambda: rd.denoising((8.0, 8.0, 3)),
        TypeError,
        "must be (H, W, C) of one image, whole numbers",
    ),
    "denoising none": (lambda: rd.denoising(None), TypeError, "denoising: in_shape is None"),
    "super_resolution swapped": (lambda: rd.super_resolution(4, SHAPE), TypeError, "super_resolution: in_shape is 4"),
    "super_resolution float": (
        lambda: rd.super_resolution(SHAPE, 2.0),
        TypeError,
        "factor is 2.0 (a float) but must be a wh",
    ),
    "blur swapped": (lambda: rd.blur(SHAPE, KERNEL), TypeError, "blur: in_shape is an array float32[5, 5]"),
    "blur none": (lambda: rd.blur(None, SHAPE), TypeError, "blur: kernel is None but must be an array (kh, kw)"),
    "gaussian_blur swapped": (lambda: rd.gaussian_blur(3.0), TypeError, "gaussian_blur: in_shape is 3.0 (a float)"),
    "motion_blur swapped": (
        lambda: rd.motion_blur(SHAPE, KEY),
        TypeError,
        "key is (8, 8, 3) (a tuple) but must be a PRNG",
    ),
    "mri swapped": (lambda: rd.mri((8, 8, 2), MASK), TypeError, "mri: in_shape is an array float32[8, 8]"),
    "hdr swapped": (lambda: rd.hdr(2.0, SHAPE), TypeError, "hdr: in_shape is 2.0 (a float)"),
    "jpeg swapped": (lambda: rd.jpeg(20, SHAPE), TypeError, "jpeg: in_shape is 20 (an int)"),
    "ct swapped": (
        lambda: rd.parallel_ct(rd.view_angles(4), (8, 8, 1)),
        TypeError,
        "parallel_ct: in_shape is an array",
    ),
    "sensing swapped": (lambda: rd.compressed_sensing(SHAPE, KEY), TypeError, "compressed_sensing: key is (8, 8, 3)"),
    "matrix none": (lambda: rd.matrix_operator(None, SHAPE), TypeError, "matrix_operator: matrix is None"),
    "operator swapped": (lambda: rd.operator(SHAPE, _batch_of_one), TypeError, "operator: fn is (8, 8, 3) (a tuple)"),
    "compose function": (
        lambda: rd.compose(rd.denoising(SHAPE), _batch_of_one),
        TypeError,
        "operators[1] is the function _batch_of_one but must be an Operator",
    ),
    # noises, masks, schedules, metrics
    "gaussian none": (lambda: rd.gaussian(None), TypeError, "sigma_y is None but must be finite and not negative"),
    "gaussian text": (
        lambda: rd.gaussian("25/255"),
        TypeError,
        "sigma_y is '25/255' (a str) but must be finite and not negative. For 25 of 255 gray levels give rd.gaussian(2",
    ),
    "gaussian noise": (lambda: rd.gaussian(rd.gaussian(0.1)), TypeError, "sigma_y is a Gaussian"),
    "poisson string": (lambda: rd.poisson("255"), TypeError, "photons is '255' (a str) but must be finite and above 0"),
    "mask int key": (lambda: rd.masks.random(0, SHAPE), TypeError, "masks.random: key is 0 (an int)"),
    "mask swapped": (lambda: rd.masks.freeform(SHAPE, KEY), TypeError, "masks.freeform: key is (8, 8, 3) (a tuple)"),
    "mask picture": (lambda: rd.masks.box(Y, 1, 1, 2, 2), TypeError, "masks.box: shape is an array float32[8, 8, 3]"),
    "schedule steps": (lambda: rd.schedules.linear(1e3), TypeError, "num_timesteps is 1000.0 (a float)"),
    "schedule none": (lambda: rd.schedules.from_betas(None), TypeError, "from_betas: betas is None"),
    "psnr none": (lambda: rd.metrics.psnr(Y, None), TypeError, "psnr: reference is None but must be an image"),
    "psnr path": (lambda: rd.metrics.psnr("x.png", Y), TypeError, "psnr: x is 'x.png' (a str)"),
}


@pytest.mark.parametrize(("call", "error", "said"), CASES.values(), ids=CASES)
def test_a_wrong_argument_is_named_in_one_line_with_its_remedy(call, error, said):
    with pytest.raises(error, match=re.escape(said)) as raised:
        call()
    # Of JAX's notes on its frames each is another line.
    assert "\n" not in str(raised.value.args[0])


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int32(1), jnp.float32(0.5)])
def test_numbers_of_numpy_and_jax_are_numbers(number):
    assert rd.gaussian(number).sigma_y == float(number)
    assert rd.reddiff(PRIOR, lam=number, num_steps=2).lam == float(number)


def test_whole_numbers_of_numpy_are_whole_numbers():
    shape = tuple(np.int64(side) for side in SHAPE)
    assert rd.super_resolution(shape, np.int64(2)).out_shape == (4, 4, 3)
    assert rd.ddim(PRIOR, num_steps=np.int64(2)).num_steps == 2


def test_raw_keys_of_a_seed_are_keys():
    raw, typed = (rd.run(key, SOLVER, PROBLEM).x for key in (jax.random.PRNGKey(3), jax.random.key(3)))
    assert np.array_equal(raw, typed)
