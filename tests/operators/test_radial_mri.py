"""Radial MRI against the sums that define it. Skipped without the extra ``nufft``, but for its absence's error."""

import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
import reddiff_jax.operators as ops

installed = pytest.mark.skipif(importlib.util.find_spec("jax_finufft") is None, reason="needs jax-finufft")


def _dense_radial(trajectory, shape, maps):
    """The complex matrix of ``radial_mri`` by its formula, for a complex picture; y's order: samples, coils."""
    h, w = shape[:2]
    k = np.asarray(trajectory, np.float64).reshape(-1, 2)
    rows, columns = np.arange(h) - h // 2, np.arange(w) - w // 2
    phase = np.outer(k[:, 0], rows)[:, :, None] + np.outer(k[:, 1], columns)[:, None, :]
    waves = np.exp(-1j * phase).reshape(len(k), -1) / np.sqrt(h * w)
    coils = np.ones((h * w, 1)) if maps is None else np.asarray(maps).reshape(h * w, -1)
    return np.einsum("kp,pc->kcp", waves, coils).reshape(-1, h * w)


@installed
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(("shape", "coils"), [((9, 14, 2), 0), ((15, 7, 1), 0), ((8, 5, 2), 3)])
def test_radial_mri_and_its_adjoint_are_the_formulas_sums(shape, coils, x64, rng):
    with jax.enable_x64(x64):
        trajectory = ops.radial_trajectory(6, 11, start=0.3)
        maps = ops.coil_maps(coils, shape) if coils else None
        operator, dense = ops.radial_mri(trajectory, shape, coil_maps=maps), _dense_radial(trajectory, shape, maps)
        x, y = rng.normal(size=shape), rng.normal(size=operator.out_shape) + 1j * rng.normal(size=operator.out_shape)
        tolerance = 1e-10 if x64 else 1e-4  # the transforms' 1e-12 and 1e-6 of the largest sums, of about 20
        image = x[:, :, 0] + (1j * x[:, :, 1] if shape[2] == 2 else 0)
        measured = operator(jnp.asarray(x, dtype=float))
        np.testing.assert_allclose(np.ravel(measured), dense @ image.ravel(), atol=tolerance)
        back = dense.conj().T @ y.ravel()
        expected = np.stack([back.real, back.imag][: shape[2]], axis=1).reshape(shape)
        np.testing.assert_allclose(operator.adjoint(jnp.asarray(y, dtype=complex)), expected, atol=tolerance)


@installed
def test_points_of_the_grid_are_the_cartesian_measurement(rng):
    index = [2 * np.pi * (np.arange(side) - side // 2) / side for side in (6, 9)]
    grid = np.stack(np.meshgrid(*index, indexing="ij"), axis=2)  # a "spoke" for each row of k-space
    x = jnp.asarray(rng.normal(size=(6, 9, 2)), dtype=float)
    expected = ops.mri(np.ones((6, 9)), (6, 9, 2))(x)
    np.testing.assert_allclose(ops.radial_mri(grid, (6, 9, 2))(x), expected, atol=1e-5)  # float32, to 1e-6


@pytest.mark.slow
@installed
def test_trajectories_and_maps_for_each_image_equal_a_loop(rng):
    shape, starts = (8, 6, 2), jnp.asarray([0.0, 0.7])
    maps = jnp.stack([ops.coil_maps(3, shape, radius=radius) for radius in (1.5, 2.0)])

    def make(start, maps):
        return ops.radial_mri(ops.radial_trajectory(5, 12, start=start), shape, coil_maps=maps)

    xs = jnp.asarray(rng.normal(size=(2, *shape)), dtype=float)
    made = [make(start, each) for start, each in zip(starts, maps, strict=True)]
    ys = jax.jit(jax.vmap(lambda a, x: a(x)))(jax.vmap(make)(starts, maps), xs)
    np.testing.assert_allclose(ys, jnp.stack([a(x) for a, x in zip(made, xs, strict=True)]), atol=1e-5)  # float32
    back = jax.jit(jax.vmap(lambda a, y: a.adjoint(y)))(rd.stack(made), ys)
    np.testing.assert_allclose(back, jnp.stack([a.adjoint(y) for a, y in zip(made, ys, strict=True)]), atol=1e-5)


@pytest.mark.slow
@installed
def test_gradient_goes_through_a_batch_of_trajectories(rng):
    shape = (8, 6, 2)
    operators = jax.vmap(lambda start: ops.radial_mri(ops.radial_trajectory(5, 12, start=start), shape))(
        jnp.arange(2.0)
    )
    xs = jnp.asarray(rng.normal(size=(2, *shape)), dtype=float)
    problems = jax.vmap(lambda a: rd.problem(jnp.zeros((5, 12), complex), a))(operators)
    derived = jax.vmap(lambda problem, x: jax.grad(problem.misfit)(x))(problems, xs)
    np.testing.assert_allclose(jax.vmap(lambda p, x: p.misfit_gradient(x))(problems, xs), derived, atol=1e-4)  # float32


@installed
@pytest.mark.parametrize("golden", [False, True])
def test_areas_of_the_samples_fill_the_disc(golden):
    operator = ops.radial_mri(ops.radial_trajectory(20, 32, golden=golden), (16, 16, 1))
    # Rings of width 2 pi / 32: 31 of 32 half-rings on either side, so pi^3 up to a ring of the border.
    assert float(operator.density().sum()) == pytest.approx(np.pi**3, rel=0.01)


@pytest.mark.slow
@installed
@pytest.mark.parametrize("coils", [0, 4])
def test_gridding_shows_a_smooth_picture(coils):
    shape = (24, 20, 2)
    rows, columns = np.arange(24)[:, None] - 12, np.arange(20)[None, :] - 10
    blob = np.exp(-(rows**2 + columns**2) / 18)
    x = jnp.asarray(np.stack([blob, 0.5 * blob], axis=2), dtype=float)
    maps = ops.coil_maps(coils, shape) if coils else None
    operator = ops.radial_mri(ops.radial_trajectory(40, 48), shape, coil_maps=maps)
    # A rule of midpoints in k-space, where this blob is smooth.
    np.testing.assert_allclose(operator.gridding(operator(x)), x, atol=0.03)


@pytest.mark.slow
@installed
def test_reddiff_runs_from_the_gridded_picture(key, rng):
    shape = (8, 6, 2)
    operator = ops.radial_mri(ops.radial_trajectory(8, 12), shape)
    x = jnp.asarray(rng.normal(size=shape), dtype=float)
    measured = rd.measure(key, operator, rd.gaussian(0.01), x)
    problem = rd.problem(measured.y, operator, measured.noise, init=operator.gridding(measured.y))
    prior = rd.gaussian_prior(jnp.zeros(shape), 1.0, rd.schedules.linear())
    solution = rd.run(key, rd.reddiff(prior, lam=0.01, num_steps=50, init=rd.solvers.init_given), problem)
    assert float(problem.misfit(solution.x)) < 0.1 * float(problem.misfit(problem.init))


@installed
@pytest.mark.parametrize(
    ("trajectory", "message"),
    [(np.zeros((5, 2)), r"must be \(spokes, readout, 2\)"), (np.full((2, 3, 2), 12.0), "radians per pixel")],
)
def test_errors_name_the_argument_and_the_remedy(trajectory, message):
    with pytest.raises(ValueError, match=message):
        ops.radial_mri(trajectory, (8, 8, 2))


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax_finufft", None)
    with pytest.raises(ImportError, match=r'pip install "reddiff-jax\[nufft\]"'):
        ops.radial_mri(ops.radial_trajectory(2, 4), (4, 4, 2))
