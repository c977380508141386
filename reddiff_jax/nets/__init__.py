"""Networks, each for one sample ``(H, W, C)``."""

from reddiff_jax.nets import configs
from reddiff_jax.nets.autoencoders import AutoencoderKL, AutoencoderTiny, VQModel
from reddiff_jax.nets.classifier import EncoderUNet, Pool
from reddiff_jax.nets.conditional_unet import ConditionalUNet
from reddiff_jax.nets.cost import AutoencoderNet, Net, multiply_adds, parameter_count, parameter_shapes, tensor_count
from reddiff_jax.nets.diffusers_unet import DiffusersUNet
from reddiff_jax.nets.edm import DhariwalUNet, SongUNet
from reddiff_jax.nets.kernel_wizard import KernelWizard
from reddiff_jax.nets.residual_unet import ResidualUNet
from reddiff_jax.nets.unet import UNet

__all__ = [
    "AutoencoderKL",
    "AutoencoderNet",
    "AutoencoderTiny",
    "ConditionalUNet",
    "DhariwalUNet",
    "DiffusersUNet",
    "EncoderUNet",
    "KernelWizard",
    "Net",
    "Pool",
    "ResidualUNet",
    "SongUNet",
    "UNet",
    "VQModel",
    "configs",
    "multiply_adds",
    "parameter_count",
    "parameter_shapes",
    "tensor_count",
]
