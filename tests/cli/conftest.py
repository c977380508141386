"""A tiny random prior, a few small pictures, and a way to run commands."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import reddiff_jax as rd
from reddiff_jax import io, pictures
from reddiff_jax.nets import UNet

SIZE = 32


@pytest.fixture(scope="module", autouse=True)
def programs_are_compiled_once(compilations_are_kept):
    return


@pytest.fixture(scope="module", autouse=True)
def priors_are_read_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "load_prior", cache(io.load_prior))
        yield


@pytest.fixture(scope="session")
def prior_folder(tmp_path_factory) -> Path:
    net = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,), middle_attention=False, patch_size=2)
    init = jax.jit(lambda key: net.init(key, jnp.zeros((8, 8, 3)), jnp.zeros((), jnp.int32))["params"])
    # The last layer starts at zero, and a network that predicts zeros has no pull.
    params = jax.tree.map(
        lambda leaf: leaf + 0.02 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), init(jax.random.key(0))
    )
    folder = tmp_path_factory.mktemp("priors") / "tiny"
    rd.save_prior(rd.priors.NetPrior(schedule=rd.schedules.linear(), params=params, net=net), folder)
    return folder


def picture(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    return np.stack([np.sin(4 * rows + 3 * columns + phase) for phase in phases], axis=-1).astype(np.float32)


def write_photos(folder: Path) -> Path:
    folder.mkdir()
    for i, name in enumerate("abc"):
        pictures.write_picture(folder / f"{name}.png", picture(i))
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three pictures, of each test's own."""
    return write_photos(tmp_path / "photos")


@pytest.fixture(scope="module")
def measured(invoke, tmp_path_factory) -> Path:
    """The three pictures measured; only to be read."""
    folder = tmp_path_factory.mktemp("measured")
    result = invoke("measure", write_photos(folder / "photos"), "--task", "sr4", "--sigma", 0.05, "--out", folder / "m")
    assert result.exit_code == 0, result.output
    return folder / "m"


@pytest.fixture(scope="session")
def invoke() -> Callable:
    from reddiff_jax.cli import app

    def run(*args: object):
        return CliRunner().invoke(app, [str(arg) for arg in args])

    return run


@pytest.fixture(scope="session")
def restore(invoke, prior_folder) -> Callable:
    """`restore` with the tiny prior and four steps."""

    def run(*args: object):
        return invoke("restore", *args, "--prior", prior_folder, "--steps", 4)

    return run
