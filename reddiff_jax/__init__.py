"""RED-diff in JAX: inverse problems with diffusion priors, many different measurements in one compiled call.

A Solver turns a Problem (measurement y, Operator, Noise, condition) and a Prior into a Solution::

    import jax, reddiff_jax as rd

    problem = rd.problem(y, rd.inpainting(mask), rd.gaussian(0.05))
    solver = rd.default_solver(rd.load_prior(), problem)
    x = rd.run(jax.random.key(0), solver, problem).x

Everything is written for one image ``(H, W, C)`` in [-1, 1]; a batch is ``jax.vmap``.
"""

from reddiff_jax import diagnostics as diagnostics
from reddiff_jax import guidance as guidance
from reddiff_jax import kernels as kernels
from reddiff_jax import masks as masks
from reddiff_jax import metrics as metrics
from reddiff_jax import nets as nets
from reddiff_jax import noise as noise
from reddiff_jax import operators as operators
from reddiff_jax import priors as priors
from reddiff_jax import problems as problems
from reddiff_jax import repulsion as repulsion
from reddiff_jax import schedules as schedules
from reddiff_jax import solvers as solvers
from reddiff_jax import weightings as weightings
from reddiff_jax._tree import stack as stack
from reddiff_jax.batching import run_many as run_many
from reddiff_jax.batching import run_with_progress as run_with_progress
from reddiff_jax.estimating import estimate_jpeg_sigma as estimate_jpeg_sigma
from reddiff_jax.estimating import estimate_sigma as estimate_sigma
from reddiff_jax.exporting import export_run as export_run
from reddiff_jax.guidance import classifier_free as classifier_free
from reddiff_jax.guidance import classifier_guided as classifier_guided
from reddiff_jax.guidance import conditional_scale as conditional_scale
from reddiff_jax.io import load_classifier as load_classifier
from reddiff_jax.io import load_prior as load_prior
from reddiff_jax.io import save_prior as save_prior
from reddiff_jax.noise import Noise as Noise
from reddiff_jax.noise import gaussian as gaussian
from reddiff_jax.noise import impulse as impulse
from reddiff_jax.noise import poisson as poisson
from reddiff_jax.noise import poisson_attenuation as poisson_attenuation
from reddiff_jax.noise import poisson_gaussian as poisson_gaussian
from reddiff_jax.noise import poisson_magnitude as poisson_magnitude
from reddiff_jax.noise import sigma_from_unit_range as sigma_from_unit_range
from reddiff_jax.noise import speckle as speckle
from reddiff_jax.noise import uniform_quantization as uniform_quantization
from reddiff_jax.operators import LinearOperator as LinearOperator
from reddiff_jax.operators import Operator as Operator
from reddiff_jax.operators import SpectralOperator as SpectralOperator
from reddiff_jax.operators import bicubic as bicubic
from reddiff_jax.operators import blur as blur
from reddiff_jax.operators import coil_maps as coil_maps
from reddiff_jax.operators import colorization as colorization
from reddiff_jax.operators import compose as compose
from reddiff_jax.operators import compressed_sensing as compressed_sensing
from reddiff_jax.operators import demosaicing as demosaicing
from reddiff_jax.operators import denoising as denoising
from reddiff_jax.operators import fan_ct as fan_ct
from reddiff_jax.operators import gaussian_blur as gaussian_blur
from reddiff_jax.operators import gaussian_sensing as gaussian_sensing
from reddiff_jax.operators import grid_weights as grid_weights
from reddiff_jax.operators import hdr as hdr
from reddiff_jax.operators import inpainting as inpainting
from reddiff_jax.operators import jpeg as jpeg
from reddiff_jax.operators import linear_operator as linear_operator
from reddiff_jax.operators import matrix_operator as matrix_operator
from reddiff_jax.operators import motion_blur as motion_blur
from reddiff_jax.operators import mri as mri
from reddiff_jax.operators import nonlinear_blur as nonlinear_blur
from reddiff_jax.operators import on_channels as on_channels
from reddiff_jax.operators import operator as operator
from reddiff_jax.operators import parallel_ct as parallel_ct
from reddiff_jax.operators import phase_retrieval as phase_retrieval
from reddiff_jax.operators import quantization as quantization
from reddiff_jax.operators import radial_mri as radial_mri
from reddiff_jax.operators import radial_trajectory as radial_trajectory
from reddiff_jax.operators import saturated_blur as saturated_blur
from reddiff_jax.operators import stacked as stacked
from reddiff_jax.operators import super_resolution as super_resolution
from reddiff_jax.operators import uniform_blur as uniform_blur
from reddiff_jax.operators import varying_blur as varying_blur
from reddiff_jax.operators import view_angles as view_angles
from reddiff_jax.priors import Prior as Prior
from reddiff_jax.priors import edm_prior as edm_prior
from reddiff_jax.priors import from_eps as from_eps
from reddiff_jax.priors import from_score as from_score
from reddiff_jax.priors import from_v as from_v
from reddiff_jax.priors import from_x0 as from_x0
from reddiff_jax.priors import gaussian_prior as gaussian_prior
from reddiff_jax.priors import gray_prior as gray_prior
from reddiff_jax.priors import mixture_prior as mixture_prior
from reddiff_jax.priors import prior as prior
from reddiff_jax.priors import tiled as tiled
from reddiff_jax.problems import Problem as Problem
from reddiff_jax.problems import least_squares as least_squares
from reddiff_jax.problems import likelihood as likelihood
from reddiff_jax.problems import measure as measure
from reddiff_jax.problems import problem as problem
from reddiff_jax.problems import unconditional as unconditional
from reddiff_jax.repulsion import repulsive as repulsive
from reddiff_jax.running import Solution as Solution
from reddiff_jax.running import best_of as best_of
from reddiff_jax.running import mean_of as mean_of
from reddiff_jax.running import run as run
from reddiff_jax.schedules import Schedule as Schedule
from reddiff_jax.settings import default_solver as default_solver
from reddiff_jax.sharding import shard_vmap as shard_vmap
from reddiff_jax.solvers import Solver as Solver
from reddiff_jax.solvers import averaged as averaged
from reddiff_jax.solvers import daps as daps
from reddiff_jax.solvers import ddim as ddim
from reddiff_jax.solvers import ddnm as ddnm
from reddiff_jax.solvers import ddrm as ddrm
from reddiff_jax.solvers import diffpir as diffpir
from reddiff_jax.solvers import dps as dps
from reddiff_jax.solvers import langevin_step as langevin_step
from reddiff_jax.solvers import mcg as mcg
from reddiff_jax.solvers import mmps as mmps
from reddiff_jax.solvers import noise_aware as noise_aware
from reddiff_jax.solvers import optax_step as optax_step
from reddiff_jax.solvers import perturb_and_optimise as perturb_and_optimise
from reddiff_jax.solvers import pigdm as pigdm
from reddiff_jax.solvers import proximal_step as proximal_step
from reddiff_jax.solvers import red as red
from reddiff_jax.solvers import reddiff as reddiff
from reddiff_jax.solvers import reddiff_gradient as reddiff_gradient
from reddiff_jax.solvers import reddiff_published as reddiff_published
from reddiff_jax.solvers import reddiff_var as reddiff_var
from reddiff_jax.solvers import sds as sds
from reddiff_jax.solvers import sds_var as sds_var

__version__ = "0.2.0"
