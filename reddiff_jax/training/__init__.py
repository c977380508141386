"""Training a diffusion prior on a folder of pictures."""

from reddiff_jax.training.crops import Crops as Crops
from reddiff_jax.training.engines import Engine as Engine
from reddiff_jax.training.engines import MakeEngine as MakeEngine
from reddiff_jax.training.engines import TrainState as TrainState
from reddiff_jax.training.engines import init_state as init_state
from reddiff_jax.training.engines import jax_engine as jax_engine
from reddiff_jax.training.engines import train_step as train_step
from reddiff_jax.training.looking import loss_by_noise_level as loss_by_noise_level
from reddiff_jax.training.looking import sample as sample
from reddiff_jax.training.looking import sample_sheet as sample_sheet
from reddiff_jax.training.loop import Report as Report
from reddiff_jax.training.loop import train as train
from reddiff_jax.training.objective import TARGETS as TARGETS
from reddiff_jax.training.objective import Levels as Levels
from reddiff_jax.training.objective import TrainingConfig as TrainingConfig
from reddiff_jax.training.objective import denoising_loss as denoising_loss
from reddiff_jax.training.objective import draw_task as draw_task
from reddiff_jax.training.objective import lognormal_levels as lognormal_levels
from reddiff_jax.training.objective import uniform_levels as uniform_levels
from reddiff_jax.training.pytorch import torch_engine as torch_engine
