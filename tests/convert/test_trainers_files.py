"""Checkpoints as trainers leave them: the weights are found among the rest, and of two sets none is chosen silently."""

import argparse
import collections
import pathlib
import random

import numpy as np
import pytest
from checkpoint_files import Stored, program, zipped

from reddiff_jax.converting import CheckpointError, read_checkpoint

FOUR = np.arange(4, dtype=np.float32)
KERNEL = Stored("0", 4, (2, 2), (2, 1))
OTHER = Stored("1", 4, (2, 2), (2, 1))
SMALL = Stored("0", 4, (1, 1), (1, 1))
COUNT = Stored("0", 4, (), ())
TABLE = Stored("0", 4, (4,), (1,))


@pytest.fixture
def read(tmp_path):
    def run(content, weights=None):
        (tmp_path / "a.pt").write_bytes(zipped(program(content), {"0": FOUR.tobytes(), "1": (FOUR + 4).tobytes()}))
        return read_checkpoint(tmp_path / "a.pt", weights=weights)

    return run


class Settings:
    """A class that the reader cannot know."""

    def __init__(self):
        self.rate, self.folder = 0.1, pathlib.PurePosixPath("runs")


BESIDE = {
    "a scalar of NumPy": np.float64(0.5),
    "an array of NumPy": np.arange(3.0),
    "argparse's namespace": argparse.Namespace(lr=0.1, names=["a", "b"]),
    "a default dictionary": collections.defaultdict(list, {"loss": [1.0, 2.0]}),
    "a counter": collections.Counter("abca"),
    "a queue": collections.deque([1, 2, 3], maxlen=3),
    "Python's random state": random.Random(0).getstate(),
    "NumPy's random state": np.random.default_rng(0).bit_generator.state,  # whole numbers of 128 bits
    "an older random state": np.random.RandomState(0).get_state(),
    "a set": {1, 2},
    "a frozen set": frozenset({1, 2}),
    "bytes": b"abc",
    "a path": pathlib.PurePosixPath("a/b"),
    "settings of a class of the trainer's": Settings(),
    "a function": np.linspace,
    "a type as a key": {int: 1},
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_the_weights_is_inert(name, read):
    tensors = read({"extra": BESIDE[name], "model": {"a.weight": KERNEL}, "more": [BESIDE[name]]}).tensors
    np.testing.assert_array_equal(tensors["a.weight"], FOUR.reshape(2, 2))


NESTED = {
    "model_state_dict": {"model_state_dict": {"a.x": KERNEL}, "epoch": 3},
    "net": {"net": {"a.x": KERNEL}},
    "a name of its own": {"generator": {"a.x": KERNEL}},
    "two deep": {"checkpoint": {"state": {"a.x": KERNEL}}},
    "an optimizer's moments": {
        "model": {"a.x": KERNEL},
        "optimizer_states": [{"state": {0: {"exp_avg": OTHER}}}],
        "optimizer": {"exp_avg": {"a.x": OTHER}},
    },
    "a prefix": {"state_dict": {"model.a.x": KERNEL}},
    "two prefixes": {"module.unet.a.x": KERNEL},
    "a wrapper's tables and counts": {"model": {"step": COUNT, "betas": TABLE, "denoise_fn.a.x": KERNEL}},
    "a smaller network beside it": {"unet": {"a.x": KERNEL}, "head": {"b.x": SMALL}},
    "the same tensors twice": {"model": {"a.x": KERNEL}, "state_dict": {"a.x": KERNEL}},
    "averages of swa_utils": {"n_averaged": COUNT, "module.a.x": KERNEL},
}


@pytest.mark.parametrize("name", NESTED)
def test_the_weights_are_found_among_the_rest(name, read):
    assert {key: tensor.tolist() for key, tensor in read(NESTED[name]).tensors.items()} == {"a.x": [[0, 1], [2, 3]]}


PAIRS = {
    "ema": {"model": {"a.x": KERNEL}, "ema": {"a.x": OTHER}},
    "state_dict_ema": {"state_dict": {"a.x": KERNEL, "buffer": TABLE}, "state_dict_ema": {"a.x": OTHER}},
    "params_ema": {"params": {"a.x": KERNEL}, "params_ema": {"a.x": OTHER}},
    "ema.ema_model": {
        "ema": {"initted": COUNT, "step": COUNT, "online_model.a.x": KERNEL, "ema_model.a.x": OTHER},
    },
    "ema.shadow_params": {"model": {"a.x": KERNEL}, "ema": {"decay": 0.9, "shadow_params": [OTHER]}},
    "state_dict.model_ema": {
        "state_dict": {"model.a.x": KERNEL, "model_ema.ax": OTHER, "model_ema.decay": COUNT, "betas": TABLE}
    },
}


@pytest.mark.parametrize("name", PAIRS)
def test_raw_and_averaged_weights_stop_until_one_is_named(name, read):
    with pytest.raises(
        CheckpointError, match=rf"2 sets of weights of equal shapes; say --weights .*averaged .*: {name}\."
    ):
        read(PAIRS[name])
    chosen = read(PAIRS[name], weights=name)
    assert (chosen.tensors["a.x"].tolist(), ".".join(chosen.wrappers)) == ([[4, 5], [6, 7]], name)


def test_two_networks_stop_until_one_is_named(read):
    pair = {"g": {"a.x": KERNEL}, "d": {"b.x": Stored("0", 4, (4, 1), (1, 1))}}
    with pytest.raises(CheckpointError, match=r"has 2 sets of weights; say --weights g or --weights d\.$"):
        read(pair)
    assert list(read(pair, weights="d").tensors) == ["b.x"]
    with pytest.raises(CheckpointError, match="no single set of weights h; --weights is one of g, d"):
        read(pair, weights="h")


def test_a_whole_network_is_refused_by_the_name_of_its_class(read):
    with pytest.raises(CheckpointError, match=r"but model is a \w*\.?test_trainers_files\.Settings: .*; save the"):
        read({"model": Settings(), "epoch": 3})


def test_dictionaries_that_hold_each_other_end(read, tmp_path):
    # d = {}; d["a"] = d["b"] = d
    code = b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00u."
    (tmp_path / "b.pt").write_bytes(zipped(code))
    with pytest.raises(CheckpointError, match="has no tensors by name"):
        read_checkpoint(tmp_path / "b.pt")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_bare_pickle_says_how_to_save_its_weights(protocol, tmp_path):
    import pickle

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"ema": Settings()}, protocol))
    with pytest.raises(
        CheckpointError, match=r"a bare Python pickle, which may hold code: .*\['ema'\]\.state_dict\(\)"
    ):
        read_checkpoint(tmp_path / "a.pkl")


@pytest.mark.oracle
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_a_trainer_of_torch_saves_is_read(protocol, tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2, 4, 4)).sum().backward()
    optimizer.step()
    averaged = torch.optim.swa_utils.AveragedModel(module)
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.tag = "a"  # its pickle has attributes
    content = {
        "model": {**module.state_dict(), "tagged": tagged},
        "ema": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(device=torch.device("cpu"), dtype=torch.float32),
        "rng": torch.get_rng_state(),
        "history": collections.defaultdict(list, loss=[np.float32(1)]),
        "size": torch.Size([1, 2]),
    }
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    read = read_checkpoint(tmp_path / "a.pt", weights="ema").tensors
    assert read.keys() == module.state_dict().keys()
    np.testing.assert_array_equal(read["0.weight"], module[0].weight.detach().numpy())
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "a.pt", weights="model").tensors["tagged"], np.ones(2))
