"""Checkpoints' files: what is read is what was written, nothing is run, and what cannot be read says why."""

import os
import pickle
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from checkpoint_files import Raw, Stored, called, instructions, program, safetensors, write_checkpoint, zipped

from reddiff_jax.converting import CheckpointError, read_checkpoint

FOUR = np.arange(4, dtype=np.float32)


@pytest.fixture
def read(tmp_path):
    """Reads a file of given bytes."""

    def run(content: bytes):
        (tmp_path / "a.pt").write_bytes(content)
        return read_checkpoint(tmp_path / "a.pt")

    return run


@pytest.fixture
def read_state(read):
    """Reads a zip of a state dict whose storage 0 is 0, 1, 2, 3 in float32."""
    return lambda state: read(zipped(program(state), {"0": FOUR.tobytes()})).tensors


# ---- what is read


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
def test_arrays_come_back_in_their_types(dtype, tmp_path):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = read_checkpoint(write_checkpoint(tmp_path / "a.pt", {"x": array})).tensors["x"]
    assert tensor.dtype == array.dtype
    np.testing.assert_array_equal(tensor, array)


def test_arrays_lie_in_the_file_and_not_in_memory(tmp_path):
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "a.pt", {"x": FOUR}))
    tensor = checkpoint.tensors["x"]
    assert np.shares_memory(tensor, np.frombuffer(checkpoint.mappings[0], np.uint8))
    assert not tensor.flags.writeable
    checkpoint.release()
    np.testing.assert_array_equal(tensor, FOUR)


def test_non_contiguous_tensors_are_strided_views(read_state):
    tensors = read_state({"x": Stored("0", 4, (2, 2), (1, 2))})
    np.testing.assert_array_equal(tensors["x"], [[0, 2], [1, 3]])


def test_tensors_may_share_a_storage(read_state):
    tensors = read_state({"x": Stored("0", 4, (3,), (1,)), "y": Stored("0", 4, (2,), (1,), start=2)})
    np.testing.assert_array_equal(tensors["x"], [0, 1, 2])
    np.testing.assert_array_equal(tensors["y"], [2, 3])


def test_scalars_and_empty_tensors_are_read(read_state):
    tensors = read_state({"x": Stored("0", 4, (), (), start=3), "y": Stored("0", 4, (0, 2), (2, 1))})
    assert tensors["x"] == 3
    assert tensors["y"].shape == (0, 2)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "ema", "params_ema"])
def test_wrappers_are_unwrapped(wrapper, read):
    state = {"step": 3, wrapper: {"x": Stored("0", 4, (4,), (1,))}}
    checkpoint = read(zipped(program(state), {"0": FOUR.tobytes()}))
    assert (list(checkpoint.tensors), checkpoint.wrappers) == (["x"], (wrapper,))


def test_prefixes_that_all_names_have_are_cut(read_state):
    tensor = Stored("0", 4, (4,), (1,))
    assert list(read_state({"module.a.x": tensor, "module.b": tensor})) == ["a.x", "b"]


def test_prefixes_that_some_names_have_stay(read_state):
    tensor = Stored("0", 4, (4,), (1,))
    assert list(read_state({"module.a": tensor, "b": tensor})) == ["module.a", "b"]


def test_source_tells_size_and_hash(tmp_path):
    import hashlib

    path = write_checkpoint(tmp_path / "a.pt", {"x": FOUR})
    source = read_checkpoint(path).source()
    content = path.read_bytes()
    assert (source["file"], source["bytes"], source["dtypes"]) == ("a.pt", len(content), ["float32"])
    assert source["sha256"] == hashlib.sha256(content).hexdigest()


def test_safetensors_are_read(read):
    header = {
        "__metadata__": {"format": "pt"},
        "x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "y": {"dtype": "BF16", "shape": [2], "data_offsets": [16, 20]},
    }
    half = np.array([1.5, -2], ml_dtypes.bfloat16)
    tensors = read(safetensors(header, FOUR.tobytes() + half.tobytes())).tensors
    np.testing.assert_array_equal(tensors["x"], FOUR.reshape(2, 2))
    np.testing.assert_array_equal(tensors["y"], half)


@pytest.mark.oracle
def test_what_safetensors_saves_is_read(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    state = {"x": FOUR.reshape(2, 2), "half": FOUR.astype(np.float16), "scalar": np.array(3, np.float32)}
    numpy_files.save_file(state, tmp_path / "a.safetensors")
    tensors = read_checkpoint(tmp_path / "a.safetensors").tensors
    assert tensors.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)


@pytest.mark.oracle
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read(protocol, tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(2, 3, 4)
    state = {
        "base": base,
        "transposed": base.transpose(0, 2),
        "slice": base[1, 1:, ::2],
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "step": torch.tensor(3),
        "parameter": torch.nn.Parameter(base),
        "empty": torch.zeros(0, 2),
    }
    module = torch.nn.Linear(2, 3)  # its state dict is an OrderedDict with attributes
    state |= module.state_dict()
    path = tmp_path / "a.pt"
    torch.save(
        {"epoch": 1, "lr": 1e-3, "names": ["a", None, True], "state_dict": state}, path, pickle_protocol=protocol
    )
    tensors = read_checkpoint(path).tensors
    assert tensors.keys() == state.keys()
    for name, tensor in state.items():
        assert tensors[name].shape == tuple(tensor.shape)
        np.testing.assert_array_equal(tensors[name].astype(np.float64), tensor.detach().double().numpy())


@pytest.mark.oracle
def test_an_ordered_state_dict_with_attributes_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.BatchNorm2d(3).state_dict(), tmp_path / "a.pt")
    assert "running_mean" in read_checkpoint(tmp_path / "a.pt").tensors


@pytest.mark.slow
def test_torch_is_not_imported(tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", {"x": FOUR})
    code = f"import sys, reddiff_jax.converting as c; c.read_checkpoint({str(path)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


# ---- what is not run

REDUCED = [
    ("posix", "system"),
    ("os", "system"),
    ("nt", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("__builtin__", "open"),
    ("subprocess", "Popen"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("collections", "Counter"),
    ("numpy.core.multiarray", "scalar"),
    ("reddiff_jax.io", "shutil.rmtree"),
]


@pytest.mark.parametrize(("module", "name"), REDUCED, ids=lambda part: part)
def test_globals_other_than_tensors_are_names_and_nothing_is_run(module, name, read_state, tmp_path):
    code = called(module, name).code + instructions((f"touch {tmp_path / 'ran'}",)) + b"R"
    with pytest.raises(CheckpointError, match=rf"has no tensors by name \(but x is a {module}.{name}: nothing in a"):
        read_state({"x": Raw(code)})
    assert list(read_state({"x": Raw(code), "y": Stored("0", 4, (4,), (1,))})) == ["y"]
    assert not (tmp_path / "ran").exists()


class _Hostile:
    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_of_any_protocol_is_not_run(protocol, read, tmp_path):
    content = pickle.dumps({"x": _Hostile(f"touch {tmp_path / 'ran'}")}, protocol)
    with pytest.raises(CheckpointError):
        read(zipped(content))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"(S'touch ran'\nios\nsystem\n",  # INST
        b"cposix\nsystem\n(S'touch ran'\no",  # OBJ
        b"\x82\x01",  # EXT1
        b"P0\n",  # PERSID
        b"\x96" + (2**40).to_bytes(8, "little"),  # BYTEARRAY8
        b"\x97",  # NEXT_BUFFER
    ],
)
def test_instructions_that_no_tensor_needs_are_refused(code, read_state):
    with pytest.raises(CheckpointError, match=r"asks for|is refused|damaged"):
        read_state({"x": Raw(code)})


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (Stored("0", 4, (5,), (1,)), "does not fit its storage of 4"),
        (Stored("0", 4, (4,), (1,), start=1), "does not fit its storage"),
        (Stored("0", 4, (2, 2), (3, 1)), "does not fit its storage"),
        (Stored("0", 4, (10**6, 10**6), (0, 0)), "does not fit its storage"),
        (Stored("0", 4, (2**61, 8), (0, 0)), "does not fit its storage"),
        (Stored("0", 5, (4,), (1,)), "has only 16 bytes for storage 0"),
        (Stored("0", 4, (4,), (1,), storage="DoubleStorage"), "has only 16 bytes"),
        (Stored("1", 4, (4,), (1,)), "lacks the data of storage 1"),
        (Stored("../data.pkl", 4, (4,), (1,)), "lacks the data"),
        (Stored("0", 4, (4,), (-1,), start=3), "at least 0"),
        (Stored("0", 4, (2,), (1,), start=-1), "at least 0"),
        (Stored("0", 4, (4.0,), (1,)), "whole numbers"),
        (Stored("0", 4, (True,), (1,)), "whole numbers"),
        (Stored("0", 4, (4,), (1, 1)), "1 axes and 2 strides"),
        (Stored("0", 4, (1,) * 40, (1,) * 40), "40 axes"),
        (Stored("0", -1, (4,), (1,)), "has only 16 bytes"),
        (Stored("0", 4, (4,), (1,), storage="UntypedStorage"), r"x in a form that is not read \(torch.Untyped"),
        (Stored("0", 4, (4,), (1,), rebuild="_rebuild_sparse_tensor"), r"not read \(torch._utils._rebuild_sparse"),
    ],
    ids=str,
)
def test_tensors_outside_their_storage_are_refused(tensor, said, read_state):
    with pytest.raises(CheckpointError, match=said):
        read_state({"x": tensor})


def test_nested_tuples_as_keys_are_refused(read_state):
    doubled = b")" + b"q\x00h\x00\x86" * 60  # t = (t, t), sixty times: hashing it would never end
    with pytest.raises(CheckpointError, match="a tuple as a key"):
        read_state({"x": Raw(b"}" + doubled + b"K\x01s")})


def test_a_zip_cut_anywhere_is_refused(tmp_path):
    content = write_checkpoint(tmp_path / "a.pt", {"x": FOUR, "y": FOUR}).read_bytes()
    for length in range(4, len(content), 7):
        (tmp_path / "a.pt").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"truncated or damaged zip .*download it again"):
            read_checkpoint(tmp_path / "a.pt")


@pytest.mark.oracle
def test_legacy_files_say_how_to_save_them_again(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.zeros(2)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"from before version 1.6. Save it again"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 30, "is no checkpoint"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6"),
        (zipped(program({})), "has no tensors by name"),
        (zipped(program({"optimizer": {"step": 1}})), "has no tensors by name"),
        (zipped(program({}), compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
        (zipped(b"nonsense"), "damaged data.pkl"),
        (zipped(b""), "damaged data.pkl"),
        (zipped(b"\x80\x02}"), "damaged data.pkl"),
        (zipped(b"\x80\x02(."), "damaged data.pkl"),
        (zipped(b"\x80\x02."), "damaged data.pkl"),
        (zipped(b"\x80\x02h\x05."), "damaged data.pkl"),
        (zipped(b"\x80\x02X\xff\xff\xff\x7fabc"), "damaged data.pkl"),
        (safetensors({}), "has no tensors"),
        (safetensors(b"{" * 100_000), "damaged safetensors"),
        (safetensors(b"{\xff}"), "damaged safetensors"),
        ((2**60).to_bytes(8, "little") + b"{}", "damaged safetensors"),
        (
            safetensors({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"0" * 15),
            "at byte 16 and not 15",
        ),
        (safetensors({"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 16]}}, b"0" * 16), "number from 0"),
        (safetensors({"x": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, b"0" * 16), "number from 0"),
        (safetensors({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"0"), "F8_E4M3 is none of"),
        (safetensors({"x": 3}), "damaged safetensors"),
    ],
    ids=range(23),
)
def test_what_is_no_checkpoint_says_what_it_is(content, said, read):
    with pytest.raises(CheckpointError, match=said):
        read(content)


def test_a_zip_of_something_else_is_no_checkpoint(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    with pytest.raises(CheckpointError, match=r"has 0 data.pkl, not 1"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "missing.pt")
