"""RED-diff in JAX: inverse problems with diffusion priors, many different measurements in one compiled call.

A Solver turns a Problem (measurement y, Operator, Noise, condition) and a Prior into a Solution::

    import jax, optax, reddiff_jax as rd

    problem = rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))
    solver = rd.reddiff(rd.load_prior(), optax.adam(0.1, b2=0.99), lam=0.25, num_steps=100)
    x = rd.run(jax.random.key(0), solver, problem).x

Everything is written for one image ``(H, W, C)`` in [-1, 1]; a batch is ``jax.vmap``.
"""

from reddiff_jax import metrics as metrics
from reddiff_jax import nets as nets
from reddiff_jax import schedules as schedules
from reddiff_jax import weightings as weightings
from reddiff_jax._tree import stack as stack
from reddiff_jax.io import load_prior as load_prior
from reddiff_jax.io import save_prior as save_prior
from reddiff_jax.noise import Gaussian as Gaussian
from reddiff_jax.noise import Noise as Noise
from reddiff_jax.noise import gaussian as gaussian
from reddiff_jax.operators import Bicubic as Bicubic
from reddiff_jax.operators import Boundary as Boundary
from reddiff_jax.operators import CircularBlur as CircularBlur
from reddiff_jax.operators import Colorization as Colorization
from reddiff_jax.operators import Denoising as Denoising
from reddiff_jax.operators import FunctionOperator as FunctionOperator
from reddiff_jax.operators import Inpainting as Inpainting
from reddiff_jax.operators import LinearFunctionOperator as LinearFunctionOperator
from reddiff_jax.operators import LinearOperator as LinearOperator
from reddiff_jax.operators import Operator as Operator
from reddiff_jax.operators import PaddedBlur as PaddedBlur
from reddiff_jax.operators import SeparableBlur as SeparableBlur
from reddiff_jax.operators import SpectralOperator as SpectralOperator
from reddiff_jax.operators import SuperResolution as SuperResolution
from reddiff_jax.operators import bicubic as bicubic
from reddiff_jax.operators import blur as blur
from reddiff_jax.operators import box_mask as box_mask
from reddiff_jax.operators import center_mask as center_mask
from reddiff_jax.operators import colorization as colorization
from reddiff_jax.operators import denoising as denoising
from reddiff_jax.operators import freeform_mask as freeform_mask
from reddiff_jax.operators import gaussian_blur as gaussian_blur
from reddiff_jax.operators import gaussian_kernel as gaussian_kernel
from reddiff_jax.operators import half_mask as half_mask
from reddiff_jax.operators import inpainting as inpainting
from reddiff_jax.operators import linear_operator as linear_operator
from reddiff_jax.operators import load_mask as load_mask
from reddiff_jax.operators import mask_key as mask_key
from reddiff_jax.operators import motion_blur as motion_blur
from reddiff_jax.operators import motion_kernel as motion_kernel
from reddiff_jax.operators import operator as operator
from reddiff_jax.operators import random_box_mask as random_box_mask
from reddiff_jax.operators import random_mask as random_mask
from reddiff_jax.operators import super_resolution as super_resolution
from reddiff_jax.operators import uniform_blur as uniform_blur
from reddiff_jax.priors import EdmPrior as EdmPrior
from reddiff_jax.priors import FunctionPrior as FunctionPrior
from reddiff_jax.priors import GaussianPrior as GaussianPrior
from reddiff_jax.priors import MixturePrior as MixturePrior
from reddiff_jax.priors import NetPrior as NetPrior
from reddiff_jax.priors import Prior as Prior
from reddiff_jax.priors import TiledPrior as TiledPrior
from reddiff_jax.priors import edm_prior as edm_prior
from reddiff_jax.priors import from_eps as from_eps
from reddiff_jax.priors import from_score as from_score
from reddiff_jax.priors import from_v as from_v
from reddiff_jax.priors import from_x0 as from_x0
from reddiff_jax.priors import gaussian_prior as gaussian_prior
from reddiff_jax.priors import mixture_prior as mixture_prior
from reddiff_jax.priors import prior as prior
from reddiff_jax.priors import tiled as tiled
from reddiff_jax.problem import Problem as Problem
from reddiff_jax.problem import measure as measure
from reddiff_jax.problem import problem as problem
from reddiff_jax.problem import unconditional as unconditional
from reddiff_jax.run import Solution as Solution
from reddiff_jax.run import run as run
from reddiff_jax.run import run_many as run_many
from reddiff_jax.schedules import Schedule as Schedule
from reddiff_jax.solvers import DDIM as DDIM
from reddiff_jax.solvers import DDNM as DDNM
from reddiff_jax.solvers import DDRM as DDRM
from reddiff_jax.solvers import DPS as DPS
from reddiff_jax.solvers import MCG as MCG
from reddiff_jax.solvers import BatchMean as BatchMean
from reddiff_jax.solvers import PiGDM as PiGDM
from reddiff_jax.solvers import RedDiff as RedDiff
from reddiff_jax.solvers import RedDiffInfo as RedDiffInfo
from reddiff_jax.solvers import RedDiffState as RedDiffState
from reddiff_jax.solvers import Sampler as Sampler
from reddiff_jax.solvers import SamplerInfo as SamplerInfo
from reddiff_jax.solvers import SamplerState as SamplerState
from reddiff_jax.solvers import Solver as Solver
from reddiff_jax.solvers import ascending as ascending
from reddiff_jax.solvers import ddim as ddim
from reddiff_jax.solvers import ddnm as ddnm
from reddiff_jax.solvers import ddrm as ddrm
from reddiff_jax.solvers import descending as descending
from reddiff_jax.solvers import dps as dps
from reddiff_jax.solvers import init_given as init_given
from reddiff_jax.solvers import init_noise as init_noise
from reddiff_jax.solvers import init_noised_pinv as init_noised_pinv
from reddiff_jax.solvers import init_pinv as init_pinv
from reddiff_jax.solvers import init_zeros as init_zeros
from reddiff_jax.solvers import mcg as mcg
from reddiff_jax.solvers import pigdm as pigdm
from reddiff_jax.solvers import pigdm_alpha_t as pigdm_alpha_t
from reddiff_jax.solvers import pigdm_alphas as pigdm_alphas
from reddiff_jax.solvers import pigdm_decayed as pigdm_decayed
from reddiff_jax.solvers import pigdm_posterior as pigdm_posterior
from reddiff_jax.solvers import pixel_units as pixel_units
from reddiff_jax.solvers import random as random
from reddiff_jax.solvers import reddiff as reddiff
from reddiff_jax.solvers import reddiff_gradient as reddiff_gradient
from reddiff_jax.solvers import total as total

__version__ = "0.1.0"
