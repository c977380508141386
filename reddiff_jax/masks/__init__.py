"""Masks, (H, W, 1) float32 with 1 = observed: missing pixels, and measured points of k-space."""

from reddiff_jax.masks.boxes import box as box
from reddiff_jax.masks.boxes import center as center
from reddiff_jax.masks.boxes import extreme as extreme
from reddiff_jax.masks.boxes import half as half
from reddiff_jax.masks.boxes import random_box as random_box
from reddiff_jax.masks.files import FileMask as FileMask
from reddiff_jax.masks.files import load as load
from reddiff_jax.masks.files import read as read
from reddiff_jax.masks.holes import Hole as Hole
from reddiff_jax.masks.holes import grow as grow
from reddiff_jax.masks.keys import key_of as key_of
from reddiff_jax.masks.kspace import Undersampling as Undersampling
from reddiff_jax.masks.kspace import cartesian as cartesian
from reddiff_jax.masks.kspace import variable_density as variable_density
from reddiff_jax.masks.pixels import random as random
from reddiff_jax.masks.strokes import freeform as freeform
