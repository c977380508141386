"""State dicts of blur-kernel-space-exploring: names to the parameters of ``nets.KernelWizard``."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax.converting.checkpoint import read_checkpoint
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.parameters import fill
from reddiff_jax.nets import KernelWizard

# This part finds the code of a pair of pictures; the operator draws its code instead.
_UNUSED = "kernel_extractor."


def read_kernel_wizard(path: str | Path, *, net: KernelWizard | None = None) -> dict[str, Any]:
    """Reads the weights of ``rd.nonlinear_blur`` from the published file, GOPRO_wVAE.pth; PyTorch is not needed.

    Args:
        path: File ``.pth``, ``.pt`` or ``.safetensors`` with the state dict of blur-kernel-space-exploring.
        net: The network; that of the published file if None.

    Returns:
        Parameters of the network, float32. The part that extracts codes is left out.

    Raises:
        CheckpointError: If the file is damaged, or is not the state dict of this network.
        OSError: If it cannot be opened.

    Source:
        Tran et al. 2021 (arXiv 2104.00317).
    """
    source = read_checkpoint(path)
    used = {name: tensor for name, tensor in source.tensors.items() if not name.startswith(_UNUSED)}
    remedy = (
        "Give the state dict of KernelWizard as trained with norm: none, nf: 64, front_RBs: 10 and back_RBs: 20; "
        "kernel.pth (9 kB) is a single blur code, not weights."
    )
    try:
        params = fill(KernelWizard() if net is None else net, used, target=_target, remedy=remedy)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    # Copies: the file need not stay.
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), params)


def _target(name: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """'recon_trunk.3.conv1.weight' to ('recon_trunk_3', 'conv1', 'kernel'), and the tensor in our order of axes."""
    group, _, leaf = name.rpartition(".")
    block, conv = re.fullmatch(r"(.*?)(?:\.(conv\d))?", group).groups()  # type: ignore[union-attr]
    path = (block.replace(".", "_"), *([conv] if conv else []))
    if leaf != "weight" or tensor.ndim != 4:
        return (*path, leaf), tensor
    if ".up." in name:
        # A transposed convolution is stored as the convolution whose derivative it is: (I, O, kh, kw), not flipped.
        return (*path, "kernel"), tensor.transpose(2, 3, 0, 1)[::-1, ::-1]  # (kh, kw, I, O)
    return (*path, "kernel"), tensor.transpose(2, 3, 1, 0)  # (kh, kw, I, O)
