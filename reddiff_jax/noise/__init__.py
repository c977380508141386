"""Measurement noise: how to draw it, and how likely a measurement is."""

from reddiff_jax.noise._base import Noise as Noise
from reddiff_jax.noise.gaussian import Gaussian as Gaussian
from reddiff_jax.noise.gaussian import gaussian as gaussian
from reddiff_jax.noise.gaussian import sigma_from_unit_range as sigma_from_unit_range
from reddiff_jax.noise.impulse import Impulse as Impulse
from reddiff_jax.noise.impulse import impulse as impulse
from reddiff_jax.noise.poisson import Poisson as Poisson
from reddiff_jax.noise.poisson import PoissonAttenuation as PoissonAttenuation
from reddiff_jax.noise.poisson import PoissonGaussian as PoissonGaussian
from reddiff_jax.noise.poisson import PoissonMagnitude as PoissonMagnitude
from reddiff_jax.noise.poisson import poisson as poisson
from reddiff_jax.noise.poisson import poisson_attenuation as poisson_attenuation
from reddiff_jax.noise.poisson import poisson_gaussian as poisson_gaussian
from reddiff_jax.noise.poisson import poisson_magnitude as poisson_magnitude
from reddiff_jax.noise.quantization import UniformQuantization as UniformQuantization
from reddiff_jax.noise.quantization import uniform_quantization as uniform_quantization
from reddiff_jax.noise.speckle import Speckle as Speckle
from reddiff_jax.noise.speckle import speckle as speckle

# What is public at the top level, too: `rd.NAME`.
__all__ = [
    "Noise",
    "gaussian",
    "impulse",
    "poisson",
    "poisson_attenuation",
    "poisson_gaussian",
    "poisson_magnitude",
    "sigma_from_unit_range",
    "speckle",
    "uniform_quantization",
]
