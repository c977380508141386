"""Files of any content: the reader answers with arrays or its own error, soon and in bounded memory."""

import numpy as np
import pytest
from checkpoint_files import program, write_checkpoint, zipped

from reddiff_jax.converting import CheckpointError, read_checkpoint

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

fuzzed = settings(
    max_examples=300, deadline=2000, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Instructions that the machine knows, so that random programs come far.
CODES = [b"}", b"]", b"(", b")", b"t", b"\x85", b"\x86", b"\x87", b"u", b"s", b"a", b"e", b"q\x00", b"h\x00", b"Q"]
CODES += [
    b"R",
    b"b",
    b"K\x01",
    b"J\xff\xff\xff\x7f",
    b"J\xff\xff\xff\xff",
    b"X\x01\x00\x00\x000",
    b"N",
    b"\x88",
    b"\x94",
]
CODES += [b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"]
CODES += [b"X\x07\x00\x00\x00storage", b"\x93", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"ctorch\nSize\n"]


def answers(path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        tensors = read_checkpoint(path).tensors
    except CheckpointError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) <= len(content) * max(len(tensors), 1)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    arrays = {"a.weight": np.ones((3, 2), np.float32), "b": np.zeros(5, np.float16)}
    return write_checkpoint(tmp_path_factory.mktemp("sound") / "a.pt", arrays).read_bytes()


@fuzzed
@given(changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(changes, sound, tmp_path):
    content = bytearray(sound)
    for position, value in changes:
        content[position % len(content)] = value
    answers(tmp_path / "a.pt", bytes(content))


@fuzzed
@given(codes=st.lists(st.sampled_from(CODES), max_size=40))
def test_programs_of_known_instructions(codes, tmp_path):
    answers(tmp_path / "a.pt", zipped(b"\x80\x02" + b"".join(codes) + b".", {"0": bytes(16)}))


@fuzzed
@given(code=st.binary(max_size=60))
def test_programs_of_any_bytes(code, tmp_path):
    answers(tmp_path / "a.pt", zipped(b"\x80\x02" + code + b"."))


@fuzzed
@given(header=st.binary(max_size=200), length=st.integers(0, 2**64 - 1) | st.integers(0, 200))
def test_safetensors_of_any_header(header, length, tmp_path):
    answers(tmp_path / "a.pt", length.to_bytes(8, "little") + b"{" + header)


@pytest.mark.slow
@fuzzed
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.dictionaries(st.text(), each) | st.lists(each).map(tuple),
    )
)
def test_programs_of_plain_values(value, tmp_path):
    answers(tmp_path / "a.pt", zipped(program(value)))
