"""Test-wide configuration: several host devices, strict ranks, fixed keys."""

import os

# Optimisation level 1 halves the time of compilation, which is most of the suite's.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=1 " + os.environ.get("XLA_FLAGS", "")
)

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def adm():
    """azula's module of published networks, a copy of the published PyTorch code."""
    pytest.importorskip("torch")
    pytest.importorskip("azula.plugins.adm", exc_type=ImportError)
    from azula.plugins.adm._src import unet

    return unet
