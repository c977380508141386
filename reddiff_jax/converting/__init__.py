"""PyTorch checkpoints of other projects as priors of this one; PyTorch is not needed."""

from reddiff_jax.converting.checkpoint import Checkpoint, read_checkpoint
from reddiff_jax.converting.conversion import convert
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.kernel_wizard import read_kernel_wizard

__all__ = ["Checkpoint", "CheckpointError", "convert", "read_checkpoint", "read_kernel_wizard"]
