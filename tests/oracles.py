"""Independent implementations, for the tests that compare with them; absent ones skip the test."""

from types import ModuleType

import pytest

from benchmarks._torch import declare_torchvision_operators


def deepinv() -> ModuleType:
    """deepinv's package: operators and solvers."""
    return _import("deepinv")


def diffusers() -> ModuleType:
    """diffusers' package: networks."""
    return _import("diffusers")


def _import(name: str) -> ModuleType:
    pytest.importorskip("torch")
    declare_torchvision_operators()
    return pytest.importorskip(name, exc_type=ImportError)
