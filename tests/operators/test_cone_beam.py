"""A projector of another package is a linear operator with its adjoint (itk-rtk, which must be installed by hand)."""

import jax
import numpy as np
import pytest

import reddiff_jax as rd
from benchmarks.cone_beam import cone_beam

# An error that a warning becomes while SWIG builds its types ends the process.
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SHAPE = (16, 14, 12)


@pytest.fixture(scope="module")
def operator():
    if not hasattr(pytest.importorskip("itk"), "RTK"):
        pytest.skip("itk-rtk is not installed")
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    return cone_beam(SHAPE, angles, source_distance=60.0, detector_distance=100.0, detector=(18, 24), spacing=1.5)


def test_the_back_projector_is_the_adjoint(operator, rng):
    x = rng.normal(size=SHAPE).astype(np.float32)
    y = rng.normal(size=(10, 18, 24)).astype(np.float32)
    measured, back = operator(x), operator.adjoint(y)
    scale = float(np.linalg.norm(measured) * np.linalg.norm(y))
    assert abs(float((measured * y).sum() - (x * back).sum())) < 1e-5 * scale  # float32


def test_a_ray_through_the_middle_is_as_long_as_the_volume(operator):
    measured = np.asarray(operator(np.ones(SHAPE, np.float32)))[0]
    assert measured.max() * SHAPE[1] == pytest.approx(16, rel=0.1)  # of the central ray, nearly along H


def test_the_proximal_step_takes_it(operator, rng):
    problem = rd.measure(jax.random.key(0), operator, rd.gaussian(0.01), rng.normal(size=SHAPE).astype(np.float32))
    prior = rd.gaussian_prior(np.zeros(SHAPE, np.float32), 1.0, rd.schedules.linear())
    x = rd.run(jax.random.key(0), rd.noise_aware(prior, rd.proximal_step(), num_steps=3), problem).x
    assert float(problem.rms_residual(x)) < 0.5 * float(problem.rms_residual(np.zeros(SHAPE, np.float32)))
