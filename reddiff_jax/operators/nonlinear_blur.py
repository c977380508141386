"""Nonlinear blur: a network, trained on pairs of sharp and blurred frames, blurs by a code."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_image_shape
from reddiff_jax._keys import as_key
from reddiff_jax.nets import KernelWizard, parameter_shapes
from reddiff_jax.operators._base import SaturatingOperator

_REMEDY = (
    "The weights are GOPRO_wVAE.pth of Tran et al. 2021 (arXiv 2104.00317), which DPS and DAPS link to; read the file "
    "by reddiff_jax.converting.read_kernel_wizard(path). Without them use rd.saturated_blur, which needs none."
)
_CODE_SCALE = 1.2


@struct.dataclass
class NonlinearBlur(SaturatingOperator):
    """A network's blur by a fixed code; build it with ``nonlinear_blur``."""

    params: Any  # of the network
    code: jax.Array  # (H / 128, W / 128, 512), the blur
    net: KernelWizard = struct.field(pytree_node=False)

    keeps_range = True

    def unsaturated(self, x: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
        """What the network gives."""
        blurred: jax.Array = self.net.apply({"params": self.params}, (x + 1) / 2, self.code)  # type: ignore[assignment]
        return 2 * blurred - 1

    def middle(self, y: Float[Array, "H W 3"], margin: Float[Array, ""] | float) -> Float[Array, "H W 3"]:
        """The blurred picture itself: it says nothing of how much was cut off."""
        return y

    def pinv(self, y: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
        """The blurred picture itself, to start from; no inverse."""
        return y


def nonlinear_blur(
    key: PRNGKeyArray, in_shape: tuple[int, int, int], params: Any, *, net: KernelWizard | None = None
) -> NonlinearBlur:
    """Blur by the network of Tran et al.: ``y = clip(2 G((x + 1) / 2, code) - 1, -1, 1)``, code = 1.2 N(0, I).

    The code is drawn once, here, so that A is a function; own codes: ``operator.replace(code=code)``. Codes for each
    image of a batch without copies of the weights: stack the codes alone, and give ``jax.vmap`` the ``in_axes``
    ``jax.tree.map(lambda _: None, operator).replace(code=0)``.

    Args:
        key: PRNG key of the code.
        in_shape: ``(H, W, 3)`` of one image; sides divisible by 128.
        params: Weights, of ``converting.read_kernel_wizard``.
        net: The network; that of the published weights if None.

    Raises:
        ValueError: If there are no weights, they are not the network's, or it cannot take images of this shape.

    Source:
        Chung et al. 2022 (arXiv 2209.14687) for the task, with the scale 1.2 of Mardani et al. 2023 (arXiv
        2305.04391). The published RED-diff code draws another code at every call and never loads the weights;
        DPS and DAPS fix both, as we do. Its start blurs y once more; ours is y.
    """
    key = as_key("nonlinear_blur: key", key)
    net = KernelWizard() if net is None else net
    in_shape = check_image_shape("nonlinear_blur: in_shape", in_shape)
    if in_shape[2] != 3 or in_shape[0] % net.stride or in_shape[1] % net.stride:
        raise ValueError(
            f"nonlinear_blur: in_shape is {in_shape} but the network takes 3 channels and sides divisible by "
            f"{net.stride}. Pad or crop the pictures."
        )
    _check_params(net, params)
    code = _CODE_SCALE * jax.random.normal(key, net.code_shape(*in_shape[:2]))
    return NonlinearBlur(in_shape=in_shape, params=params, code=code, net=net)


def _check_params(net: KernelWizard, params: Any) -> None:
    if not jax.tree.leaves(params):
        raise ValueError(f"nonlinear_blur: there are no weights (params is {params!r}). {_REMEDY}")
    given, needed = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (params, parameter_shapes(net))
    )
    wrong = sorted(name for name in given.keys() | needed.keys() if given.get(name) != needed.get(name))
    if wrong:
        raise ValueError(
            f"nonlinear_blur: params are not the weights of {type(net).__name__}: {wrong[0]} has shape "
            f"{given.get(wrong[0])}, needed is {needed.get(wrong[0])} ({len(wrong)} such). {_REMEDY}"
        )
