"""Cost of a network: parameters, tensors and multiply-adds, counted without allocating any."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from reddiff_jax._keys import key_from
from reddiff_jax.nets.autoencoders import AutoencoderKL, AutoencoderTiny, VQModel
from reddiff_jax.nets.classifier import EncoderUNet
from reddiff_jax.nets.conditional_unet import ConditionalUNet
from reddiff_jax.nets.diffusers_unet import DiffusersUNet
from reddiff_jax.nets.edm import DhariwalUNet, SongUNet
from reddiff_jax.nets.kernel_wizard import KernelWizard
from reddiff_jax.nets.residual_unet import ResidualUNet
from reddiff_jax.nets.unet import UNet

Net = UNet | EncoderUNet | DiffusersUNet | ConditionalUNet | ResidualUNet | DhariwalUNet | SongUNet
AutoencoderNet = AutoencoderKL | AutoencoderTiny | VQModel
_TOKENS = 77  # of CLIP's text encoder
_Any = Net | AutoencoderNet | KernelWizard


def parameter_shapes(net: _Any) -> dict[str, Any]:
    """Returns the parameters' nested dictionary with a ``jax.ShapeDtypeStruct`` for each array."""
    return jax.eval_shape(net.init, key_from(0), *_inputs(net, None))["params"]


def parameter_count(net: _Any) -> int:
    """Returns the number of parameters."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(parameter_shapes(net)))


def tensor_count(net: _Any) -> int:
    """Returns the number of parameter arrays."""
    return len(jax.tree.leaves(parameter_shapes(net)))


def multiply_adds(net: _Any, size: int | None = None) -> int:
    """Returns the multiply-adds of the convolutions and matrix products of one forward pass.

    Padded pixels count, as in published figures (XLA's own ``cost_analysis`` leaves them out: about 1 % less).

    Args:
        net: The network.
        size: Height and width of the image, in pixels; a classifier has only one, its default.
    """
    inputs = _inputs(net, size)
    variables = jax.eval_shape(net.init, key_from(0), *inputs)
    return _multiply_adds(jax.make_jaxpr(net.apply)(variables, *inputs).jaxpr)


def _inputs(net: _Any, size: int | None) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the arguments of ``net``; the smallest image by default."""
    if isinstance(net, KernelWizard):
        size = size or net.stride
        shapes = (size, size, 3), net.code_shape(size, size)
        return tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    if size is None:
        size = net.image_size if isinstance(net, EncoderUNet) else net.stride
    image = jax.ShapeDtypeStruct((size, size, net.in_channels), jnp.float32)
    if isinstance(net, AutoencoderNet):
        return (image,)
    index = jax.ShapeDtypeStruct((), jnp.int32)
    if isinstance(net, ConditionalUNet):
        return image, index, jax.ShapeDtypeStruct((_TOKENS, net.cross_attention_dim), jnp.float32)
    return (image, index, index) if not isinstance(net, EncoderUNet) and net.takes_label else (image, index)


def _multiply_adds(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        output = math.prod(equation.outvars[0].aval.shape)  # pyright: ignore[reportAttributeAccessIssue]
        shapes = [variable.aval.shape for variable in equation.invars]  # pyright: ignore[reportAttributeAccessIssue]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += output * math.prod(shapes[0][axis] for axis in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            out_axis = equation.params["dimension_numbers"].rhs_spec[0]
            total += output * math.prod(shapes[1]) // shapes[1][out_axis]
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr)):
            if isinstance(inner, ClosedJaxpr):
                total += _multiply_adds(inner.jaxpr)
            elif isinstance(inner, Jaxpr):
                total += _multiply_adds(inner)
    return total
