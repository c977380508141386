"""Solvers: RED-diff, and the samplers it is compared with."""

from reddiff_jax.solvers._base import Solver as Solver
from reddiff_jax.solvers._sampler import Sampler as Sampler
from reddiff_jax.solvers._sampler import SamplerInfo as SamplerInfo
from reddiff_jax.solvers._sampler import SamplerState as SamplerState
from reddiff_jax.solvers._starts import init_given as init_given
from reddiff_jax.solvers._starts import init_noise as init_noise
from reddiff_jax.solvers._starts import init_noised_pinv as init_noised_pinv
from reddiff_jax.solvers._starts import init_pinv as init_pinv
from reddiff_jax.solvers._starts import init_zeros as init_zeros
from reddiff_jax.solvers.ddim import DDIM as DDIM
from reddiff_jax.solvers.ddim import ddim as ddim
from reddiff_jax.solvers.dps import DPS as DPS
from reddiff_jax.solvers.dps import dps as dps
from reddiff_jax.solvers.reddiff import BatchMean as BatchMean
from reddiff_jax.solvers.reddiff import RedDiff as RedDiff
from reddiff_jax.solvers.reddiff import RedDiffInfo as RedDiffInfo
from reddiff_jax.solvers.reddiff import RedDiffState as RedDiffState
from reddiff_jax.solvers.reddiff import ascending as ascending
from reddiff_jax.solvers.reddiff import descending as descending
from reddiff_jax.solvers.reddiff import pixel_units as pixel_units
from reddiff_jax.solvers.reddiff import random as random
from reddiff_jax.solvers.reddiff import reddiff as reddiff
from reddiff_jax.solvers.reddiff import reddiff_gradient as reddiff_gradient
from reddiff_jax.solvers.reddiff import total as total
