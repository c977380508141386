"""Test-wide configuration: several host devices, strict ranks, fixed keys."""

import gc
import os
from pathlib import Path

os.environ["REDDIFF_JAX_CACHE"] = "off"  # nothing of the tests in the user's home
# Compiling is most of the suite's time: level 1 halves it, level 0 takes another sixth off.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 " + os.environ.get("XLA_FLAGS", "")
)

import jax
import numpy as np
import pytest

from reddiff_jax import _bars

_bars.SECONDS_BETWEEN_LINES = 600.0  # what commands print must not depend on how busy the machine is
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="module")
def compilations_are_dropped():
    """Linux gives a process 65530 mappings of memory, a compiled program takes about six, and LLVM aborts without."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 10_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def compilations_are_kept(tmp_path_factory):
    """Commands compile anew each time; tests give them the same few programs over and over."""
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        # Of this worker alone: JAX warns, which is an error here, when another one holds the cache's lock for long.
        "jax_compilation_cache_dir": str(tmp_path_factory.getbasetemp() / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0.05,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def adm():
    """azula's module of published networks, a copy of the published PyTorch code."""
    pytest.importorskip("torch")
    pytest.importorskip("azula.plugins.adm", exc_type=ImportError)
    from azula.plugins.adm._src import unet

    return unet
