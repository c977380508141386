"""Independent implementations, for the tests that compare with them; absent ones skip the test."""

import contextlib
import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from unittest import mock

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


def physicsnemo() -> ModuleType:
    """The networks of NVIDIA PhysicsNeMo (Apache-2.0), without what only its cloud and profiling code needs."""
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("physicsnemo") is None:
        pytest.skip("physicsnemo is not installed")
    for name in ("nvtx", "s3fs", "treelib"):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = mock.MagicMock(annotate=lambda *_, **__: _Unmarked())
    torch.cuda.nvtx.range_push = torch.cuda.nvtx.range_pop = lambda *_: None  # absent from builds for CPUs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("physicsnemo.models.diffusion")


class _Unmarked(contextlib.ContextDecorator):
    """A stretch of code that a profiler is not told of."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False
