"""Independent implementations, for the tests that compare with them; absent ones skip the test."""

import functools
from types import ModuleType

import pytest


@functools.cache
def _declare_torchvision_operators() -> None:
    """Lets torchvision, built for CUDA, be imported beside a CPU build of torch: its compiled operators are missing."""
    torch = pytest.importorskip("torch")
    if torch.version.cuda is not None:
        return
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def deepinv() -> ModuleType:
    """deepinv's package: operators and solvers."""
    _declare_torchvision_operators()
    return pytest.importorskip("deepinv", exc_type=ImportError)


def diffusers() -> ModuleType:
    """diffusers' package: networks."""
    _declare_torchvision_operators()
    return pytest.importorskip("diffusers", exc_type=ImportError)
