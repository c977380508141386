"""Magnetic resonance imaging along spokes, off the Cartesian grid: the extra ``reddiff-jax[nufft]``."""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Complex, Float, Num

from reddiff_jax._checks import check_array, check_numbers
from reddiff_jax.operators._base import LinearOperator
from reddiff_jax.operators.mri import check_coil_maps, check_complex_shape, to_channels, to_complex

_TOLERANCE = {"float32": 1e-6, "float64": 1e-12}  # of the transforms; in float32 about the rounding


@struct.dataclass
class RadialMri(LinearOperator):
    """``y_jc = (H W)^-1/2 sum_p S_c(p) x(p) exp(-i k_j . p)``, p from the middle pixel; ``radial_mri`` builds it.

    ``pinv`` is that of ``LinearOperator``, a few steps of conjugate gradients.
    """

    trajectory: jax.Array  # (spokes, readout, 2), radians per pixel along rows and columns
    coil_maps: jax.Array | None  # (H, W, coils), complex

    def __call__(self, x: Float[Array, "H W C"]) -> Complex[Array, "spokes readout *coils"]:
        """Measures one image."""
        image = to_complex(x)
        if self.coil_maps is not None:
            image = jnp.moveaxis(self.coil_maps * image[:, :, None], 2, 0)  # (coils, H, W)
        image, points, tolerance = self._typed(image)
        y = _nufft().nufft2(image, *points, iflag=-1, eps=tolerance)  # (*coils, points)
        return self._scale * jnp.moveaxis(y, -1, 0).reshape(*self.trajectory.shape[:2], *y.shape[:-1])

    def adjoint(self, y: Complex[Array, "spokes readout *coils"]) -> Float[Array, "H W C"]:
        """Adds up the samples' waves and combines the coils."""
        samples = jnp.moveaxis(y.reshape(-1, *y.shape[2:]), 0, -1)  # (*coils, points)
        samples, points, tolerance = self._typed(samples.astype(jnp.result_type(samples, jnp.complex64)))
        image = _nufft().nufft1(self.in_shape[:2], samples, *points, iflag=1, eps=tolerance)  # (*coils, H, W)
        if self.coil_maps is not None:
            image = jnp.sum(jnp.conj(self.coil_maps) * jnp.moveaxis(image, 0, 2), axis=2)
        return to_channels(self._scale * image, self.in_shape[2])

    def gridding(self, y: Complex[Array, "spokes readout *coils"]) -> Float[Array, "H W C"]:
        """The classical picture: the adjoint of the samples times the area of k-space that each stands for.

        It takes one transform and is close to ``pinv`` where there are many spokes. It is not an inverse, but a cheap
        ``init`` of a problem.
        """
        weights = self.density() / self._scale**2 / (2 * jnp.pi) ** 2
        return self.adjoint(y * weights.reshape(*weights.shape, *(1,) * (y.ndim - 2)))

    def density(self) -> Float[Array, "spokes readout"]:
        """Area of k-space in radians^2 per pixel^2 that each sample stands for; the spokes may have any angles."""
        radius = jnp.linalg.norm(self.trajectory, axis=2)
        span = self.trajectory[:, -1] - self.trajectory[:, 0]  # (spokes, 2)
        step = jnp.linalg.norm(span, axis=1) / (radius.shape[1] - 1)  # (spokes,)
        angle = jnp.mod(jnp.arctan2(span[:, 0], span[:, 1]), jnp.pi)
        order = jnp.argsort(angle)
        gap = jnp.diff(angle[order], append=angle[order[:1]] + jnp.pi)  # to the next spoke
        width = jnp.zeros_like(gap).at[order].set((gap + jnp.roll(gap, 1)) / 2)
        # The samples in the middle share a disc of diameter step.
        return jnp.maximum(radius, step[:, None] / 4) * (step * width)[:, None]

    @property
    def _scale(self) -> float:
        return (self.in_shape[0] * self.in_shape[1]) ** -0.5

    def _typed(self, values: Array) -> tuple[Array, Array, float]:
        """Values, points (2, n) and tolerance of one precision, which the transforms insist on."""
        points = self.trajectory.reshape(-1, 2).T
        dtype = jnp.result_type(values, points)
        real = jnp.finfo(dtype).dtype
        return values.astype(dtype), points.astype(real), _TOLERANCE[real.name]


def radial_mri(
    trajectory: Float[Array, "spokes readout 2"] | np.ndarray,
    in_shape: tuple[int, int, int],
    *,
    coil_maps: Num[Array, "H W coils"] | np.ndarray | None = None,
) -> RadialMri:
    """Radial MRI: the Fourier transform at the points of spokes, by non-uniform fast transforms (FINUFFT).

    y is complex, (spokes, readout), or (spokes, readout, coils) with ``coil_maps``. The adjoint is exact, the
    pseudo-inverse iterates, and ``operator.gridding(y)`` is the quick approximation. The operator needs the extra
    ``pip install "reddiff-jax[nufft]"``, which runs on CPUs and, built for them, on NVIDIA GPUs; not on TPUs. A
    trajectory for each image: ``jax.vmap(lambda k: rd.radial_mri(k, in_shape))(trajectories)``.

    Args:
        trajectory: ``(spokes, readout, 2)``: frequencies along rows (down) and columns (to the right), in radians per
            pixel, in [-pi, pi]; for instance a ``radial_trajectory``.
        in_shape: ``(H, W, 2)`` for a complex picture as real and imaginary part, ``(H, W, 1)`` for a real one.
        coil_maps: Sensitivities ``(H, W, coils)``, for instance simulated ``coil_maps``; one coil of sensitivity 1 if
            None.

    Raises:
        ImportError: If jax-finufft is not installed.
        ValueError: If a shape does not fit or a frequency is beyond pi.

    Source:
        Barnett, Magland and af Klinteberg 2019, FINUFFT (arXiv 1808.06736), to a relative tolerance of 1e-6 in float32
        and 1e-12 in float64.
    """
    _nufft()
    in_shape = check_complex_shape("radial_mri", in_shape)
    check_array("radial_mri: trajectory", trajectory, "an array (spokes, readout, 2); in_shape comes after it")
    shape = np.shape(trajectory)
    if len(shape) != 3 or shape[2] != 2 or shape[0] < 1 or shape[1] < 2:
        raise ValueError(
            f"radial_mri: trajectory has shape {shape} but must be (spokes, readout, 2), for instance "
            "rd.radial_trajectory(num_spokes, num_readout); for a batch use jax.vmap."
        )
    needed, remedy = "in radians per pixel, in [-pi, pi]", "Cycles per field of view: times 2 pi / side."
    name = "radial_mri: a frequency of trajectory"
    check_numbers(name, trajectory, lambda x: np.abs(x) <= np.pi + 1e-3, needed, remedy)
    if coil_maps is not None:
        coil_maps = check_coil_maps("radial_mri", coil_maps, in_shape)
    return RadialMri(in_shape=in_shape, trajectory=jnp.asarray(trajectory, dtype=float), coil_maps=coil_maps)


def _nufft() -> ModuleType:
    """jax-finufft's transforms, imported when they are needed."""
    try:
        from jax_finufft import ops
    except ImportError as error:
        raise ImportError('radial_mri needs jax-finufft: pip install "reddiff-jax[nufft]".') from error
    # JAX 0.10.2 removed a constant that jax-finufft 1.3.1 reads under vmap (flatironinstitute/jax-finufft#227).
    if not hasattr(ops.batching, "not_mapped"):
        ops.batching.not_mapped = None  # type: ignore[attr-defined]
    return ops
