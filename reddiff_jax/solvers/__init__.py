"""Solvers: RED-diff, and the samplers it is compared with."""

from reddiff_jax.solvers._base import Solver as Solver
from reddiff_jax.solvers._control_variates import variate_none as variate_none
from reddiff_jax.solvers._control_variates import variate_projected as variate_projected
from reddiff_jax.solvers._control_variates import variate_published as variate_published
from reddiff_jax.solvers._coupling import Coupling as Coupling
from reddiff_jax.solvers._coupling import coupling as coupling
from reddiff_jax.solvers._draws import Carried as Carried
from reddiff_jax.solvers._draws import Fresh as Fresh
from reddiff_jax.solvers._draws import NoiseSource as NoiseSource
from reddiff_jax.solvers._draws import SameAlong as SameAlong
from reddiff_jax.solvers._draws import carried_noise as carried_noise
from reddiff_jax.solvers._initial_images import init_given as init_given
from reddiff_jax.solvers._initial_images import init_middle as init_middle
from reddiff_jax.solvers._initial_images import init_noise as init_noise
from reddiff_jax.solvers._initial_images import init_noised_pinv as init_noised_pinv
from reddiff_jax.solvers._initial_images import init_pinv as init_pinv
from reddiff_jax.solvers._initial_images import init_smooth as init_smooth
from reddiff_jax.solvers._initial_images import init_zeros as init_zeros
from reddiff_jax.solvers._levels import FallingLevels as FallingLevels
from reddiff_jax.solvers._levels import GridLevels as GridLevels
from reddiff_jax.solvers._levels import Levels as Levels
from reddiff_jax.solvers._levels import Scene as Scene
from reddiff_jax.solvers._levels import ascending as ascending
from reddiff_jax.solvers._levels import descending as descending
from reddiff_jax.solvers._levels import random as random
from reddiff_jax.solvers._pixel_step import PixelStep as PixelStep
from reddiff_jax.solvers._pixel_step import pixel_step as pixel_step
from reddiff_jax.solvers._reductions import BatchMean as BatchMean
from reddiff_jax.solvers._reductions import pixel_units as pixel_units
from reddiff_jax.solvers._reductions import total as total
from reddiff_jax.solvers._sampler import Sampler as Sampler
from reddiff_jax.solvers._sampler import SamplerInfo as SamplerInfo
from reddiff_jax.solvers._sampler import SamplerState as SamplerState
from reddiff_jax.solvers._steps import Step as Step
from reddiff_jax.solvers._steps import langevin_step as langevin_step
from reddiff_jax.solvers._steps import optax_step as optax_step
from reddiff_jax.solvers._steps import proximal_step as proximal_step
from reddiff_jax.solvers._variational import RedDiff as RedDiff
from reddiff_jax.solvers._variational import RedDiffInfo as RedDiffInfo
from reddiff_jax.solvers._variational import RedDiffState as RedDiffState
from reddiff_jax.solvers._variational import prior_term as prior_term
from reddiff_jax.solvers._weights import NoiseAwareWeight as NoiseAwareWeight
from reddiff_jax.solvers._weights import SnrWeight as SnrWeight
from reddiff_jax.solvers._weights import Weight as Weight
from reddiff_jax.solvers.averaged import Averaged as Averaged
from reddiff_jax.solvers.averaged import AveragedState as AveragedState
from reddiff_jax.solvers.averaged import averaged as averaged
from reddiff_jax.solvers.blind import Blind as Blind
from reddiff_jax.solvers.blind import BlindState as BlindState
from reddiff_jax.solvers.blind import blind as blind
from reddiff_jax.solvers.daps import DAPS as DAPS
from reddiff_jax.solvers.daps import daps as daps
from reddiff_jax.solvers.daps import daps_curvature as daps_curvature
from reddiff_jax.solvers.daps import daps_linear as daps_linear
from reddiff_jax.solvers.ddim import DDIM as DDIM
from reddiff_jax.solvers.ddim import ddim as ddim
from reddiff_jax.solvers.ddnm import DDNM as DDNM
from reddiff_jax.solvers.ddnm import ddnm as ddnm
from reddiff_jax.solvers.ddrm import DDRM as DDRM
from reddiff_jax.solvers.ddrm import ddrm as ddrm
from reddiff_jax.solvers.diffpir import DiffPIR as DiffPIR
from reddiff_jax.solvers.diffpir import diffpir as diffpir
from reddiff_jax.solvers.dps import DPS as DPS
from reddiff_jax.solvers.dps import dps as dps
from reddiff_jax.solvers.latent_solver import LatentSolver as LatentSolver
from reddiff_jax.solvers.latent_solver import LatentState as LatentState
from reddiff_jax.solvers.latent_solver import latent_solver as latent_solver
from reddiff_jax.solvers.mcg import MCG as MCG
from reddiff_jax.solvers.mcg import mcg as mcg
from reddiff_jax.solvers.mmps import MMPS as MMPS
from reddiff_jax.solvers.mmps import mmps as mmps
from reddiff_jax.solvers.noise_aware import POINT as POINT
from reddiff_jax.solvers.noise_aware import SAMPLE as SAMPLE
from reddiff_jax.solvers.noise_aware import noise_aware as noise_aware
from reddiff_jax.solvers.perturb_and_optimise import PerturbAndOptimise as PerturbAndOptimise
from reddiff_jax.solvers.perturb_and_optimise import perturb_and_optimise as perturb_and_optimise
from reddiff_jax.solvers.pigdm import PiGDM as PiGDM
from reddiff_jax.solvers.pigdm import pigdm as pigdm
from reddiff_jax.solvers.pigdm import pigdm_alpha_t as pigdm_alpha_t
from reddiff_jax.solvers.pigdm import pigdm_alphas as pigdm_alphas
from reddiff_jax.solvers.pigdm import pigdm_decayed as pigdm_decayed
from reddiff_jax.solvers.pigdm import pigdm_posterior as pigdm_posterior
from reddiff_jax.solvers.red import RED as RED
from reddiff_jax.solvers.red import REDInfo as REDInfo
from reddiff_jax.solvers.red import REDState as REDState
from reddiff_jax.solvers.red import red as red
from reddiff_jax.solvers.red import red_admm as red_admm
from reddiff_jax.solvers.red import red_descent as red_descent
from reddiff_jax.solvers.red import red_fixed_point as red_fixed_point
from reddiff_jax.solvers.reddiff import reddiff as reddiff
from reddiff_jax.solvers.reddiff import reddiff_gradient as reddiff_gradient
from reddiff_jax.solvers.reddiff import reddiff_published as reddiff_published
from reddiff_jax.solvers.reddiff import sds as sds
from reddiff_jax.solvers.reddiff_var import RedDiffVar as RedDiffVar
from reddiff_jax.solvers.reddiff_var import RedDiffVarInfo as RedDiffVarInfo
from reddiff_jax.solvers.reddiff_var import RedDiffVarState as RedDiffVarState
from reddiff_jax.solvers.reddiff_var import reddiff_var as reddiff_var
from reddiff_jax.solvers.reddiff_var import reddiff_var_gradient as reddiff_var_gradient
from reddiff_jax.solvers.reddiff_var import sds_var as sds_var
from reddiff_jax.solvers.reddiff_var import sds_var_gradient as sds_var_gradient
from reddiff_jax.solvers.tweedie import Tweedie as Tweedie
from reddiff_jax.solvers.tweedie import TweedieState as TweedieState
from reddiff_jax.solvers.tweedie import tweedie as tweedie

# What is public at the top level, too: `rd.NAME`.
__all__ = [
    "Solver",
    "averaged",
    "blind",
    "daps",
    "ddim",
    "ddnm",
    "ddrm",
    "diffpir",
    "dps",
    "langevin_step",
    "latent_solver",
    "mcg",
    "mmps",
    "noise_aware",
    "optax_step",
    "perturb_and_optimise",
    "pigdm",
    "pixel_step",
    "proximal_step",
    "red",
    "reddiff",
    "reddiff_gradient",
    "reddiff_published",
    "reddiff_var",
    "sds",
    "sds_var",
    "tweedie",
]
