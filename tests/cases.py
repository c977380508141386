"""Every public operator and solver by name, for the tests that hold for all of them."""

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
import reddiff_jax.operators as ops


@dataclasses.dataclass(frozen=True)
class OperatorCase:
    """One operator to be tested against the laws.

    Args:
        name: The test's id.
        factory: Name of the public factory.
        make: Builds it from a seed; other seeds give other arrays of the same shapes, where there are any to vary.
        returns: Class of the operator, where the factory's annotation leaves a choice.
        truncation: ``pinv`` leaves singular values up to this one out: ``|A pinv A x - A x| <= truncation |x|``.
        has_pinv: Whether there is a ``pinv`` at all.
        requires: Module of an optional extra that ``make`` needs.
    """

    name: str
    factory: str
    make: Callable[[int], ops.Operator]
    returns: type[ops.Operator] | None = None
    truncation: float = 0.0
    has_pinv: bool = True
    requires: str | None = None

    @property
    def kind(self) -> type[ops.Operator]:
        """Class of the operator, known without building it."""
        return self.returns or typing.get_type_hints(getattr(ops, self.factory))["return"]


RGB = (16, 24, 3)
GREY = (24, 16, 1)


def _mask(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) > 0.4


def _kernel(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def _gamma(params: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.tanh(params * x)


def _gamma_pinv(params: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.arctanh(y) / params


def _square(x: jax.Array) -> jax.Array:
    return x**2


def _gain(params: dict, x: jax.Array) -> jax.Array:
    return params["gain"] * x[::2]


def _gain_adjoint(params: dict, y: jax.Array) -> jax.Array:
    return jnp.zeros((2 * y.shape[0], *y.shape[1:]), y.dtype).at[::2].set(params["gain"] * y)


def _fourier(x: jax.Array) -> jax.Array:
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


def _fn_gain(seed: int, **options: Callable) -> ops.Operator:
    gain = jnp.asarray(1 + _kernel(seed, 1, 24, 3), dtype=float)
    return ops.linear_operator(_gain, RGB, params={"gain": gain}, **options)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _motion_blur(key: jax.Array, shape: tuple[int, int, int], boundary: ops.Boundary) -> ops.Operator:
    return ops.motion_blur(key, shape, size=31, boundary=boundary)


WIZARD = rd.nets.KernelWizard(features=2, num_front_blocks=0, num_back_blocks=0, channel_mult=(1,))


@functools.partial(jax.jit, static_argnums=0)
def _wizard_params(shape: tuple[int, int, int], key: jax.Array) -> Any:
    return WIZARD.init(key, jnp.zeros(shape), jnp.zeros(WIZARD.code_shape(*shape[:2])))["params"]


def _nonlinear_blur(seed: int) -> ops.Operator:
    key, shape = jax.random.key(seed), (8, 16, 3)
    return ops.nonlinear_blur(key, shape, _wizard_params(shape, key), net=WIZARD)


def _mri(seed: int, shape: tuple[int, int, int], coils: int = 0) -> ops.Operator:
    maps = ops.coil_maps(coils, shape, radius=1.5 + seed) if coils else None
    return ops.mri(_mask(seed, *shape[:2]), shape, coil_maps=maps)


def _radial_mri(seed: int, shape: tuple[int, int, int], coils: int = 0) -> ops.Operator:
    maps = ops.coil_maps(coils, shape, radius=1.5 + seed) if coils else None
    return ops.radial_mri(ops.radial_trajectory(shape[1], 2 * shape[1], start=seed), shape, coil_maps=maps)


def _varying_blur(seed: int, shape: tuple[int, int, int], boundary: ops.Boundary, **options: bool) -> ops.Operator:
    weights = ops.grid_weights(shape, (2, 2))
    return ops.varying_blur(_kernel(seed, 4, 5, 3), weights, shape, boundary=boundary, normalize=True, **options)


B = ops.Boundary
FBP = 0.1  # filtered back-projection only approximates; its own tests say how well
CUT = 3e-2  # the blurs' default rcond; conjugate gradients stop at a comparable place

OPERATORS = [
    OperatorCase("denoising", "denoising", lambda seed: ops.denoising(RGB)),
    OperatorCase("inpainting", "inpainting", lambda seed: ops.inpainting(_mask(seed, *RGB[:2]))),
    OperatorCase("inpainting_grey", "inpainting", lambda seed: ops.inpainting(_mask(seed, *GREY), channels=1)),
    OperatorCase("inpainting_channels", "inpainting", lambda seed: ops.inpainting(_mask(seed, *RGB))),
    OperatorCase("super_resolution2", "super_resolution", lambda seed: ops.super_resolution(GREY, 2)),
    OperatorCase("super_resolution4", "super_resolution", lambda seed: ops.super_resolution(RGB, 4)),
    OperatorCase("super_resolution3", "super_resolution", lambda seed: ops.super_resolution((9, 12, 2), 3)),
    OperatorCase("bicubic2", "bicubic", lambda seed: ops.bicubic(RGB, 2)),
    OperatorCase("bicubic3", "bicubic", lambda seed: ops.bicubic((9, 12, 1), 3)),
    OperatorCase("bicubic8", "bicubic", lambda seed: ops.bicubic(GREY, 8)),
    OperatorCase("colorization", "colorization", lambda seed: ops.colorization(RGB)),
    OperatorCase(
        "colorization_weights", "colorization", lambda seed: ops.colorization((8, 6, 4), weights=(0.1, -0.2, 0.3, 0.8))
    ),
    *(
        OperatorCase(
            f"gaussian_blur_{boundary}",
            "gaussian_blur",
            lambda seed, boundary=boundary: ops.gaussian_blur(RGB, sigma=1.0 + seed, size=9, boundary=boundary),
            truncation=CUT,
        )
        for boundary in B
    ),
    OperatorCase("gaussian_blur_61", "gaussian_blur", lambda seed: ops.gaussian_blur(GREY), truncation=CUT),
    OperatorCase("uniform_blur", "uniform_blur", lambda seed: ops.uniform_blur(RGB), truncation=CUT),
    *(
        OperatorCase(
            f"blur_{boundary}",
            "blur",
            lambda seed, boundary=boundary: ops.blur(_kernel(seed, 5, 3), RGB, boundary=boundary, normalize=True),
            ops.CircularBlur if boundary == B.CIRCULAR else ops.PaddedBlur,
            truncation=CUT,
        )
        for boundary in B
    ),
    OperatorCase(
        "blur_channels",
        "blur",
        lambda seed: ops.blur(_kernel(seed, 4, 6, 3), RGB, boundary=B.CIRCULAR, normalize=True),
        ops.CircularBlur,
        truncation=CUT,
    ),
    OperatorCase(
        "motion_blur",
        "motion_blur",
        lambda seed: _motion_blur(jax.random.key(seed), RGB, B.REFLECT),
        ops.PaddedBlur,
        truncation=CUT,
    ),
    OperatorCase(
        "motion_blur_circular",
        "motion_blur",
        lambda seed: _motion_blur(jax.random.key(seed), GREY, B.CIRCULAR),
        ops.CircularBlur,
        truncation=CUT,
    ),
    OperatorCase("phase_retrieval", "phase_retrieval", lambda seed: ops.phase_retrieval(RGB)),
    OperatorCase(
        "phase_retrieval_unit", "phase_retrieval", lambda seed: ops.phase_retrieval(GREY, padding=3, unit_range=True)
    ),
    OperatorCase("hdr", "hdr", lambda seed: ops.hdr(RGB, 2.0 + seed)),
    OperatorCase("jpeg", "jpeg", lambda seed: ops.jpeg(RGB, 20 + 30 * seed)),
    OperatorCase("jpeg_grey", "jpeg", lambda seed: ops.jpeg((12, 9, 1), 5 + seed)),
    OperatorCase("quantization", "quantization", lambda seed: ops.quantization(RGB, 2 + seed)),
    OperatorCase(
        "saturated_blur",
        "saturated_blur",
        lambda seed: ops.saturated_blur(_kernel(seed, 5, 3), RGB, gain=1.0 + seed, normalize=True),
    ),
    OperatorCase("nonlinear_blur", "nonlinear_blur", _nonlinear_blur),
    OperatorCase("legacy_uniform_blur", "legacy_uniform_blur", lambda seed: ops.legacy_uniform_blur(RGB)),
    OperatorCase("legacy_gaussian_blur", "legacy_gaussian_blur", lambda seed: ops.legacy_gaussian_blur(GREY)),
    OperatorCase(
        "operator",
        "operator",
        lambda seed: ops.operator(_gamma, RGB, params=jnp.asarray(0.5 + seed, dtype=float), pinv=_gamma_pinv),
    ),
    OperatorCase("operator_plain", "operator", lambda seed: ops.operator(_square, GREY), has_pinv=False),
    OperatorCase("linear_operator", "linear_operator", _fn_gain),
    OperatorCase("linear_operator_adjoint", "linear_operator", lambda seed: _fn_gain(seed, adjoint=_gain_adjoint)),
    OperatorCase("linear_operator_complex", "linear_operator", lambda seed: ops.linear_operator(_fourier, RGB)),
    *(
        OperatorCase(
            f"compressed_sensing_{h}x{w}",
            "compressed_sensing",
            lambda seed, h=h, w=w: ops.compressed_sensing(jax.random.key(seed), (h, w, 2), ratio=0.3),
        )
        for h, w in ((4, 8), (9, 4))  # 2^k pixels; 4 times 9
    ),
    OperatorCase(
        "gaussian_sensing", "gaussian_sensing", lambda seed: ops.gaussian_sensing(jax.random.key(seed), (5, 4, 3), 17)
    ),
    OperatorCase(
        "matrix_operator_tall", "matrix_operator", lambda seed: ops.matrix_operator(_kernel(seed, 30, 15), (5, 3, 1))
    ),
    OperatorCase("mri_complex", "mri", lambda seed: _mri(seed, (9, 14, 2)), ops.SingleCoilMri),
    OperatorCase("mri_real", "mri", lambda seed: _mri(seed, (12, 7, 1)), ops.RealMri),
    OperatorCase("mri_coils", "mri", lambda seed: _mri(seed, (15, 8, 2), coils=3), ops.MultiCoilMri, truncation=CUT),
    *(
        OperatorCase(name, "radial_mri", make, truncation=CUT, requires="jax_finufft")
        for name, make in (
            ("radial_mri_real", lambda seed: _radial_mri(seed, (15, 7, 1))),
            # Well conditioned: else conjugate gradients amplify the rounding that vmap changes.
            ("radial_mri_coils", lambda seed: _radial_mri(seed, (6, 5, 2), coils=2)),
        )
    ),
    OperatorCase(
        "compose",
        "compose",
        lambda seed: ops.super_resolution((16, 24, 1), 4) @ ops.colorization(RGB),
        ops.LinearComposition,
    ),
    OperatorCase(
        "compose_complex",
        "compose",
        lambda seed: ops.pad((16, 12, 3), 1, boundary=B.EDGE) @ ops.linear_operator(_fourier, RGB),
        ops.LinearComposition,
    ),
    OperatorCase(
        "compose_nonlinear",
        "compose",
        lambda seed: (
            ops.operator(_gamma, (8, 12, 3), params=jnp.asarray(0.5 + seed, dtype=float), pinv=_gamma_pinv)
            @ ops.super_resolution(RGB, 2)
        ),
        ops.Composition,
    ),
    OperatorCase(
        "stacked",
        "stacked",
        lambda seed: ops.stacked(
            ops.inpainting(_mask(seed, *RGB[:2])), ops.linear_operator(_fourier, RGB), weights=_kernel(seed, 2) + 1
        ),
        ops.LinearStacked,
        truncation=CUT,
    ),
    OperatorCase(
        "stacked_nonlinear",
        "stacked",
        lambda seed: ops.stacked(ops.operator(_square, GREY), ops.inpainting(_mask(seed, *GREY[:2]), channels=1)),
        ops.Stacked,
        has_pinv=False,
    ),
    OperatorCase("scale", "scale", lambda seed: (1.0 + seed) * _fn_gain(seed), ops.LinearScaled),
    OperatorCase(
        "scale_spectral", "scale", lambda seed: (-1.0 - seed) * ops.super_resolution(RGB, 2), ops.SpectralScaled
    ),
    OperatorCase(
        "scale_nonlinear",
        "scale",
        lambda seed: 0.5 * ops.operator(_gamma, RGB, params=jnp.asarray(0.5 + seed, dtype=float), pinv=_gamma_pinv),
        ops.Scaled,
    ),
    OperatorCase("crop", "crop", lambda seed: ops.crop((9, 12, 2), ((1, 2), (0, 3)))),
    OperatorCase("pad", "pad", lambda seed: ops.pad((5, 4, 2), ((1, 0), (3, 6)), boundary=B.REFLECT)),
    OperatorCase(
        "on_channels",
        "on_channels",
        lambda seed: ops.on_channels(ops.inpainting(_mask(seed, 16, 24), channels=2), (2, 0), RGB),
        ops.LinearComposition,
    ),
    OperatorCase(
        "parallel_ct",
        "parallel_ct",
        lambda seed: ops.parallel_ct(
            (9, 14, 2), ops.view_angles(20, start=seed), detector_spacing=0.5, center=15.2 + seed, axis=(5, 6.5)
        ),
        truncation=FBP,
    ),
    OperatorCase(
        "fan_ct",
        "fan_ct",
        lambda seed: ops.fan_ct(
            (13, 8, 1),
            ops.view_angles(20, arc=2 * np.pi, start=seed / 10),
            source_distance=20.0,
            detector_distance=5.0,
        ),
        truncation=FBP,
    ),
    OperatorCase(
        "each_slice",
        "each_slice",
        lambda seed: ops.each_slice([ops.mri(_mask(seed + k, 6, 5), (6, 5, 1)) for k in range(3)], batch=2),
    ),
    OperatorCase("each_slice_shared", "each_slice", lambda seed: ops.each_slice(ops.demosaicing((4, 6, 3)), 3)),
    OperatorCase(
        "warping",
        "warping",
        # Less than half a pixel: larger flows collect pixels and lose others, which conjugate gradients take long for.
        lambda seed: ops.warping(jnp.asarray(0.4 * _kernel(seed, 7, 5, 2)), channels=2),
        truncation=CUT,
    ),
    OperatorCase("demosaicing", "demosaicing", lambda seed: ops.demosaicing((9, 14, 3))),
    OperatorCase("demosaicing_tile", "demosaicing", lambda seed: ops.demosaicing((13, 8, 3), pattern=ops.X_TRANS)),
    OperatorCase("varying_blur", "varying_blur", lambda seed: _varying_blur(seed, RGB, B.REFLECT), truncation=CUT),
    OperatorCase(
        "varying_blur_first",
        "varying_blur",
        lambda seed: _varying_blur(seed, (9, 13, 1), B.CIRCULAR, weights_first=True),
        truncation=CUT,
    ),
]

# Further shapes and options of operators that another case has: their laws are tested among the slow tests.
EXTRA_CASES = frozenset(
    {
        "bicubic2",
        "bicubic8",
        "blur_channels",
        "blur_edge",
        "blur_symmetric",
        "blur_zero",
        "colorization_weights",
        "compose_complex",
        "compressed_sensing_9x4",
        "demosaicing_tile",
        "gaussian_blur_61",
        "gaussian_blur_circular",
        "gaussian_blur_edge",
        "gaussian_blur_symmetric",
        "gaussian_blur_zero",
        "inpainting_channels",
        "inpainting_grey",
        "jpeg_grey",
        "legacy_gaussian_blur",
        "linear_operator_complex",
        "matrix_operator_tall",
        "motion_blur_circular",
        "mri_real",
        "phase_retrieval_unit",
        "radial_mri_real",
        "stacked_nonlinear",
        "super_resolution2",
        "super_resolution3",
        "varying_blur_first",
    }
)


def _squashed(z):
    return 2 * jnp.tanh(z)


def _unsquashed(x):
    return jnp.arctanh(jnp.clip(x / 2, -0.99, 0.99))


def _noise_level(problem: Any) -> jax.Array:
    return jax.tree.leaves(problem.noise)[0]  # every problem has it, and no residual depends on it


@dataclasses.dataclass(frozen=True)
class SolverCase:
    """One solver to be tested against the laws.

    Args:
        name: The test's id.
        factory: Name of the public factory.
        make: Builds it from a prior, with few steps.
        needs: Class that the operator must be of.
        needs_pinv: Whether the operator must have a pseudo-inverse.
        needs_gaussian: Whether the noise must be Gaussian.
        noise_named_by: Solver that the error about other noise names, where it is made of another.
        reads_y: Whether its result depends on the measurement at all.
        walks_timesteps: Whether it takes a timestep once, so that it cannot have more steps than there are.
        particles: Axes of a result before those of an image: the number of particles.
    """

    name: str
    factory: str
    make: Callable[[Any], Any]
    needs: type[ops.Operator] = ops.Operator
    needs_pinv: bool = False
    needs_gaussian: bool = False
    noise_named_by: str | None = None
    reads_y: bool = True
    walks_timesteps: bool = True
    particles: tuple[int, ...] = ()


SOLVERS = [
    SolverCase("reddiff", "reddiff", lambda prior: rd.reddiff(prior, num_steps=6), needs_pinv=True),
    SolverCase(
        "reddiff_averaged",
        "reddiff",
        lambda prior: rd.reddiff(
            prior,
            optax.sgd(0.1, momentum=0.9),
            num_steps=6,
            timesteps_per_update=3,
            order=rd.solvers.random,
            sigma_x0=0.1,
        ),
        needs_pinv=True,
    ),
    SolverCase(
        "reddiff_published",
        "reddiff_published",
        lambda prior: rd.reddiff_published(prior, num_steps=10, batch_size=4),
        needs_pinv=True,
    ),
    SolverCase(
        "reddiff_noise_aware",
        "reddiff",
        lambda prior: rd.reddiff(
            prior,
            num_steps=6,
            control_variate=rd.solvers.variate_projected,
            spacing=rd.schedules.log_even(prior.schedule),
        ).replace(weight=rd.solvers.NoiseAwareWeight()),
        needs_pinv=True,
        needs_gaussian=True,
        noise_named_by="noise_aware",
    ),
    SolverCase(
        "reddiff_prox",
        "reddiff",
        lambda prior: rd.reddiff(prior, rd.proximal_step(), num_steps=6, timesteps_per_update=2),
        needs=ops.LinearOperator,
        needs_pinv=True,
    ),
    SolverCase(
        "noise_aware_sample",
        "noise_aware",
        lambda prior: rd.noise_aware(prior, num_steps=6, sample=True, to_timestep=rd.Schedule.fractional),
        needs=ops.LinearOperator,
        needs_pinv=True,
        needs_gaussian=True,
        walks_timesteps=False,
    ),
    SolverCase(
        "daps", "daps", lambda prior: rd.daps(prior, num_steps=6, num_ode=2, num_langevin=3), needs_gaussian=True
    ),
    SolverCase("ddim", "ddim", lambda prior: rd.ddim(prior, eta=0.5, num_steps=6), reads_y=False),
    SolverCase(
        "ddnm", "ddnm", lambda prior: rd.ddnm(prior, num_steps=6), needs=ops.SpectralOperator, needs_gaussian=True
    ),
    SolverCase(
        "ddrm", "ddrm", lambda prior: rd.ddrm(prior, num_steps=6), needs=ops.SpectralOperator, needs_gaussian=True
    ),
    SolverCase(
        "diffpir",
        "diffpir",
        lambda prior: rd.diffpir(prior, num_steps=6),
        needs=ops.LinearOperator,
        needs_gaussian=True,
    ),
    SolverCase("dps", "dps", lambda prior: rd.dps(prior, num_steps=6), needs_pinv=True),
    SolverCase("mcg", "mcg", lambda prior: rd.mcg(prior, num_steps=6), needs=ops.LinearOperator),
    SolverCase("mmps", "mmps", lambda prior: rd.mmps(prior, num_steps=6), needs_gaussian=True),
    SolverCase(
        "pigdm", "pigdm", lambda prior: rd.pigdm(prior, num_steps=6), needs=ops.SpectralOperator, needs_gaussian=True
    ),
    SolverCase(
        "tweedie",
        "tweedie",
        lambda prior: rd.tweedie(prior, num_steps=4),
        needs=ops.Denoising,
        needs_gaussian=True,
        walks_timesteps=False,
    ),
    SolverCase("red", "red", lambda prior: rd.red(prior, num_steps=6), needs=ops.LinearOperator, walks_timesteps=False),
    SolverCase(
        "red_admm",
        "red",
        lambda prior: rd.red(prior, form=rd.solvers.red_admm, num_steps=6),
        needs=ops.LinearOperator,
        walks_timesteps=False,
    ),
    SolverCase(
        "reddiff_var",
        "reddiff_var",
        lambda prior: rd.reddiff_var(prior, num_steps=6),
        needs_pinv=True,
        needs_gaussian=True,
        walks_timesteps=False,
    ),
    SolverCase(
        "noise_aware",
        "noise_aware",
        lambda prior: rd.noise_aware(prior, num_steps=6),
        needs_pinv=True,
        needs_gaussian=True,
        walks_timesteps=False,
    ),
    SolverCase(
        "perturb_and_optimise",
        "perturb_and_optimise",
        lambda prior: rd.perturb_and_optimise(
            rd.noise_aware(prior, num_steps=6), np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
        ),
        needs_pinv=True,
        needs_gaussian=True,
        noise_named_by="noise_aware",
        walks_timesteps=False,
    ),
    SolverCase(
        "averaged",
        "averaged",
        lambda prior: rd.averaged(rd.reddiff(prior, num_steps=6), 2),
        needs_pinv=True,
        walks_timesteps=False,
    ),
    SolverCase(
        "blind",
        "blind",
        lambda prior: rd.blind(rd.noise_aware(prior, num_steps=6), _noise_level),
        needs_pinv=True,
        needs_gaussian=True,
        noise_named_by="noise_aware",
        walks_timesteps=False,
    ),
    SolverCase(
        "repulsive",
        "repulsive",
        lambda prior: rd.repulsive(rd.reddiff(prior, num_steps=6), 2),
        needs_pinv=True,
        walks_timesteps=False,
        particles=(2,),
    ),
    SolverCase(
        "parametrised",
        "parametrised",
        lambda prior: rd.parametrised(rd.reddiff(prior, num_steps=6), jnp.tanh, jnp.zeros((8, 8, 1))),
        walks_timesteps=False,
    ),
    SolverCase(
        "latent_solver",
        "latent_solver",
        lambda prior: rd.latent_solver(
            rd.reddiff(prior, num_steps=6), rd.latent(prior, rd.autoencoder(_unsquashed, _squashed, (8, 8, 1)))
        ),
        needs_pinv=True,
        walks_timesteps=False,
    ),
    SolverCase("sds", "sds", lambda prior: rd.sds(prior, num_steps=6)),
    SolverCase("sds_var", "sds_var", lambda prior: rd.sds_var(prior, num_steps=8), reads_y=False),
]
