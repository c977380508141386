"""Networks, each for one sample ``(H, W, C)``."""

from reddiff_jax.nets import configs
from reddiff_jax.nets.classifier import EncoderUNet
from reddiff_jax.nets.cost import multiply_adds, parameter_count, parameter_shapes, tensor_count
from reddiff_jax.nets.kernel_wizard import KernelWizard
from reddiff_jax.nets.unet import UNet

__all__ = [
    "EncoderUNet",
    "KernelWizard",
    "UNet",
    "configs",
    "multiply_adds",
    "parameter_count",
    "parameter_shapes",
    "tensor_count",
]
