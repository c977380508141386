"""Checkpoints of strangers: bounded memory and time, nothing damaged passes, nothing more than the formats allow."""

import json
import struct
import zipfile

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from limited_memory import run_limited
from mutations import is_one_line

from reddiff_jax.converting import CheckpointError, read_checkpoint
from reddiff_jax.converting.pickles import MAX_INSTRUCTIONS
from tests.convert.checkpoint_files import Raw, Stored, called, program, safetensors, write_checkpoint, zipped

FOUR = np.arange(4, dtype=np.float32)
IMPORTS = "import sys, time\nfrom reddiff_jax.converting import CheckpointError, read_checkpoint"
REFUSED = """
began = time.perf_counter()
try:
    read_checkpoint(sys.argv[1])
except CheckpointError as error:
    print(time.perf_counter() - began, error)
"""


def refused(path, content: bytes, megabytes: int = 256) -> str:
    """The error of a file, in a process that gets little memory; it comes soon."""
    path.write_bytes(content)
    said = run_limited(IMPORTS, REFUSED, path, megabytes=megabytes)
    seconds, _, message = said.partition(" ")
    assert message, "the file was read"
    assert float(seconds) < 60  # of a loaded machine; a second or ten of an idle one
    return message.strip()


# ---- amplification


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 60])
def test_a_size_is_no_way_to_copy_a_text(rounds, tmp_path):
    # torch.Size of a memoised megabyte of text: 17 bytes of program for a tuple of a million.
    text = b"X" + struct.pack("<I", 2**20) + b"0" * 2**20
    size = called("torch", "Size").code
    code = text + b"q\x00" + (size + b"h\x00\x85R") * rounds
    assert "damaged data.pkl" in refused(tmp_path / "a.pt", zipped(b"\x80\x02" + code + b"."))


def test_a_size_is_of_a_few_whole_numbers(tmp_path):
    size = Raw(called("torch", "Size").code + b"K\x04\x85\x85R")
    state = {"x": Stored("0", 4, size, (1,))}
    (tmp_path / "a.pt").write_bytes(zipped(program(state), {"0": FOUR.tobytes()}))
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "a.pt").tensors["x"], FOUR)


@pytest.mark.parametrize(
    "code",
    [b"}", *(pytest.param(code, marks=pytest.mark.slow) for code in (b"]q\x00", b"h\x00", b")\x85"))],
    ids=repr,
)
def test_a_program_without_end_is_cut_short(code, tmp_path):
    start = b"\x80\x02]q\x00"
    content = zipped(start + code * (MAX_INSTRUCTIONS // len(code) + 2) * len(code) + b".")
    assert "more than 1000000 pickle instructions" in refused(tmp_path / "a.pt", content, megabytes=512)


def test_a_long_program_is_not_read(tmp_path):
    assert "more than the 16777216 that are read" in refused(tmp_path / "a.pt", zipped(b"\x80\x02" + b"N" * 2**24))


def test_numbers_that_collide_in_a_dictionary_are_refused(tmp_path):
    # All multiples of 2**61 - 1 have the hash 0: a dictionary of them takes time quadratic in their number.
    keys = b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(4, 20_000))
    said = refused(tmp_path / "a.pt", zipped(b"\x80\x02}(" + keys + b"u."))
    assert "more than 64 bits" in said


def test_a_list_of_entries_without_end_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", program({}))
    content = (tmp_path / "a.pt").read_bytes()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    count = 2**23 // (end - start) + 1
    directory = content[start:end] * count
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFE, 0xFFFE, len(directory), start, 0)
    assert "list of entries" in refused(tmp_path / "b.pt", content[:start] + directory + tail)


def test_a_header_of_lists_is_not_parsed(tmp_path):
    header = b'{"x":[' + b"[]," * (10 * 2**20) + b"[]]}"
    assert "damaged safetensors" in refused(tmp_path / "a.safetensors", safetensors(header))


# ---- damage


def test_a_changed_number_is_found_by_the_zips_checksum(tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", {"x": FOUR, "y": FOUR + 8})
    content = bytearray(path.read_bytes())
    content[content.index((FOUR + 8).tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"archive/data/1 has another checksum \(CRC-32\)"):
        read_checkpoint(path)


def test_every_flipped_bit_of_the_numbers_and_of_the_program_is_found(tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", {"x": FOUR})
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = [content.index(archive.read(name)) for name in archive.namelist()]
        sizes = [info.file_size for info in archive.infolist()]
    for place, size in zip(places, sizes, strict=True):
        for byte in range(place, place + size, max(1, size // 16)):
            for bit in range(8):
                changed = bytearray(content)
                changed[byte] ^= 1 << bit
                path.write_bytes(changed)
                with pytest.raises(CheckpointError):
                    read_checkpoint(path)


# ---- safetensors is no wider than its format

X, Y = ({"dtype": "F32", "shape": [2], "data_offsets": [begin, begin + 8]} for begin in (0, 8))
EIGHT = bytes(8)
UNSOUND = {
    "overlap": (json.dumps({"x": X, "y": {**Y, "data_offsets": [4, 12]}}), bytes(12)),
    "the same bytes": (json.dumps({"x": X, "y": X}), EIGHT),
    "hole": (json.dumps({"x": X, "y": {**Y, "data_offsets": [12, 20]}}), bytes(20)),
    "hole at the start": (json.dumps({"x": Y}), bytes(16)),
    "trailing bytes": (json.dumps({"x": X}), bytes(9)),
    "too few bytes": (json.dumps({"x": X, "y": Y}), bytes(15)),
    "twice": (f'{{"x": {json.dumps(X)}, "x": {json.dumps(Y)}}}', bytes(16)),
    "twice the same": (f'{{"x": {json.dumps(X)}, "x": {json.dumps(X)}}}', EIGHT),
    "backwards": (json.dumps({"x": {**X, "data_offsets": [8, 0]}}), EIGHT),
    "other size": (json.dumps({"x": {**X, "shape": [3]}}), EIGHT),
    "negative": (json.dumps({"x": {**X, "shape": [-2]}}), EIGHT),
    "fraction": (json.dumps({"x": {**X, "shape": [2.0]}}), EIGHT),
    "notes that are no texts": (json.dumps({"__metadata__": {"a": 1}, "x": X}), EIGHT),
    "no offsets": (json.dumps({"x": {"dtype": "F32", "shape": [2]}}), EIGHT),
    "unknown type": (json.dumps({"x": {**X, "dtype": "F33"}}), EIGHT),
    "list": (json.dumps([X]), EIGHT),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_what_the_format_forbids_is_refused(name, tmp_path):
    header, data = UNSOUND[name]
    (tmp_path / "a.safetensors").write_bytes(safetensors(header.encode(), data))
    with pytest.raises(CheckpointError, match=r"damaged safetensors|is no checkpoint") as error:
        read_checkpoint(tmp_path / "a.safetensors")
    assert is_one_line(error.value)


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(UNSOUND.keys() - {"twice the same"}))  # there the last one counts
def test_what_we_refuse_the_formats_own_reader_refuses_too(name, tmp_path):
    official = pytest.importorskip("safetensors")
    header, data = UNSOUND[name]
    with pytest.raises(official.SafetensorError):
        official.deserialize(safetensors(header.encode(), data))


def test_empty_tensors_and_padding_are_the_formats(tmp_path):
    empty = {"dtype": "F32", "shape": [0, 2], "data_offsets": [8, 8]}
    header = json.dumps({"__metadata__": {"a": "b"}, "e": empty, "x": X, "y": Y}).encode() + b"   "
    (tmp_path / "a.safetensors").write_bytes(safetensors(header, FOUR.tobytes()))
    tensors = read_checkpoint(tmp_path / "a.safetensors").tensors
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"e": [], "x": [0, 1], "y": [2, 3]}


# ---- what is shown


def test_names_that_a_terminal_would_obey_are_escaped(tmp_path):
    from reddiff_jax.converting import convert

    state = {"\x1b]0;owned\x07\x1b[2J\u202etxt.evil": Stored("0", 4, (4,), (1,))}
    (tmp_path / "a.pt").write_bytes(zipped(program(state), {"0": FOUR.tobytes()}))
    with pytest.raises(CheckpointError, match=r"are not named as") as error:
        convert(tmp_path / "a.pt", tmp_path / "out")
    assert is_one_line(error.value)
    assert r"\x1b]0;owned\x07" in str(error.value)
