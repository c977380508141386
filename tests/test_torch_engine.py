"""Updates by PyTorch are those of JAX: the same batches, noise, targets and optimizer."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax import pictures, schedules, training
from reddiff_jax.converting.residual_unet import Layout
from reddiff_jax.nets import ResidualUNet, UNet, parameter_shapes
from reddiff_jax.priors import from_v

NET = ResidualUNet(widths=(8, 12), num_res_blocks=1, patch_size=2)
CONFIG = training.TrainingConfig(
    steps=6, batch_pixels=2 * 16 * 16, crops=(16, 16, 32), warmup=2, learning_rate=1e-3, to_eps=from_v
)
in_float32 = partial(training.torch_engine, bfloat16=False)


@pytest.fixture
def crops(tmp_path, rng):
    pictures.write_picture(tmp_path / "a.png", rng.uniform(-1, 1, (40, 48, 3)))
    return training.Crops((tmp_path / "a.png",), min_size=16)


def train(crops, folder, *, config=CONFIG, **options):
    return training.train(NET, schedules.linear(), crops, config, folder, **options)


def losses_of(crops, folder, engine):
    """The loss of each update."""
    reports = []
    train(crops, folder, engine=engine, report=reports.append, report_every=1)
    return [report.loss for report in reports if report.step and not report.doing]


def largest_difference(a, b) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)))) for x, y in pairs)


def test_another_network_is_refused():
    net = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1,), middle_attention=False)
    state = training.TrainState({}, {}, (), jnp.asarray(0))
    with pytest.raises(TypeError, match="net is a UNet, but PyTorch trains residual UNets only"):
        training.torch_engine(state, net, schedules.linear(), CONFIG)


@pytest.mark.parametrize(
    "net", [NET, NET.clone(in_channels=1, out_channels=1, patch_size=3, widths=(8,))], ids=["colour", "gray"]
)
def test_parameters_come_back_from_pytorchs_layout(net):
    params = jax.tree.map(
        lambda leaf: np.random.default_rng(leaf.size).normal(size=leaf.shape).astype(np.float32),
        parameter_shapes(net),
    )
    layout = Layout(net)
    assert largest_difference(layout.from_torch(layout.to_torch(params)), params) == 0


@pytest.mark.oracle
def test_updates_equal_those_of_jax(crops, tmp_path):
    pytest.importorskip("torch")
    of_jax = losses_of(crops, tmp_path / "jax", training.jax_engine)
    of_torch = losses_of(crops, tmp_path / "torch", in_float32)
    assert len(of_torch) == CONFIG.steps
    np.testing.assert_allclose(of_torch, of_jax, rtol=1e-4)  # float32; six updates carry roundings on
    of_jax, of_torch = (train(crops, tmp_path / name) for name in ("jax", "torch"))  # finished: only read
    moved = largest_difference(of_jax.params, training.init_state(NET, CONFIG, 3).params)
    # Adam divides a gradient by its own size, which magnifies the roundings of small ones.
    assert largest_difference(of_jax, of_torch) < 0.02 * moved


@pytest.mark.oracle
@pytest.mark.parametrize("first", ["jax", "torch"])
def test_an_engine_goes_on_from_what_the_other_has_reached(crops, tmp_path, first):
    pytest.importorskip("torch")
    engines = {"jax": training.jax_engine, "torch": in_float32}
    second = {"jax": "torch", "torch": "jax"}[first]
    # A constant rate, as the rate falls towards the last of the steps.
    config = replace(CONFIG, decay=1e-9)
    whole = train(crops, tmp_path / "whole", config=config)
    half = train(crops, tmp_path / "parts", config=replace(config, steps=3), engine=engines[first])
    both = train(crops, tmp_path / "parts", config=config, engine=engines[second])
    assert (int(half.step), int(both.step)) == (3, 6)
    moved = largest_difference(whole.params, half.params)
    assert largest_difference(whole, both) < 0.02 * moved  # as above


@pytest.mark.oracle
def test_bfloat16_has_the_same_losses_within_its_precision(crops, tmp_path):
    pytest.importorskip("torch")
    exact, rounded = (
        losses_of(crops, tmp_path / str(bfloat16), partial(training.torch_engine, bfloat16=bfloat16))
        for bfloat16 in (False, True)
    )
    assert exact != rounded
    np.testing.assert_allclose(rounded, exact, rtol=0.02)  # a rounding is 4e-3
