"""Diffusion priors: what a solver knows about images."""

from reddiff_jax.priors._base import Prior, check_prior
from reddiff_jax.priors.denoiser import as_denoiser
from reddiff_jax.priors.exact import GaussianPrior, MixturePrior, gaussian_prior, mixture_prior
from reddiff_jax.priors.functions import EdmPrior, FlowPrior, FunctionPrior, edm_prior, flow_prior
from reddiff_jax.priors.gray import GrayPrior, gray_prior
from reddiff_jax.priors.host import torch_prior
from reddiff_jax.priors.modules import ModulePrior, prior
from reddiff_jax.priors.networks import NetPrior
from reddiff_jax.priors.predictions import ToEps, from_eps, from_score, from_v, from_velocity, from_x0
from reddiff_jax.priors.tiling import TiledPrior, tiled

__all__ = [
    "EdmPrior",
    "FlowPrior",
    "FunctionPrior",
    "GaussianPrior",
    "GrayPrior",
    "MixturePrior",
    "ModulePrior",
    "NetPrior",
    "Prior",
    "TiledPrior",
    "ToEps",
    "as_denoiser",
    "check_prior",
    "edm_prior",
    "flow_prior",
    "from_eps",
    "from_score",
    "from_v",
    "from_velocity",
    "from_x0",
    "gaussian_prior",
    "gray_prior",
    "mixture_prior",
    "prior",
    "tiled",
    "torch_prior",
]
