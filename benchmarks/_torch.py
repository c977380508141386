"""deepinv and diffusers beside a CPU build of torch."""

from types import ModuleType


def import_deepinv() -> ModuleType:
    """Imports deepinv."""
    declare_torchvision_operators()
    import deepinv

    return deepinv


def declare_torchvision_operators() -> None:
    """Lets torchvision, built for CUDA, be imported beside a CPU build of torch: its compiled operators are missing.

    Raises:
        ImportError: Without torch.
    """
    import torch

    if torch.version.cuda is not None or "torchvision" in _declared:
        return
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.add("torchvision")


_declared: set[str] = set()
