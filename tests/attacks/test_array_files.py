"""NumPy's files of strangers: sizes are compared before anything is unpacked, and no damage passes."""

import io
import json
import random
import struct
import zipfile
import zlib

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited_memory import run_limited
from mutations import flipped, is_one_line

from reddiff_jax import jobs, masks, measurements
from reddiff_jax._npz import ArrayFileError, open_npz, read_npy
from reddiff_jax.jobs.errors import JobError

IMPORTS = (
    "import sys\nfrom reddiff_jax import measurements\nfrom reddiff_jax._npz import ArrayFileError, open_npz, read_npy"
)
META = {"format": 1, "task": "sr4", "sigma": 0.1, "y_shape": [8, 8, 3], "in_shape": [32, 32, 3], "array_shapes": {}}
Y = np.arange(192, dtype=np.float32).reshape(8, 8, 3) / 192


def npy(array=None, header: bytes | None = None, data: bytes = b"") -> bytes:
    """An .npy of an array, or of any header and data."""
    if header is None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        return file.getvalue()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def says(descr: object = "<f4", shape: object = (8, 8, 3), order: object = False) -> bytes:
    return repr({"descr": descr, "fortran_order": order, "shape": shape}).encode()


def npz(path, entries: dict[str, bytes], compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def measured(path, y: bytes, meta=None, **more: bytes):
    return npz(path, {"meta": npy(np.asarray(json.dumps(META | (meta or {})))), "y": y, **more})


# ---- amplification

READ = """
try:
    measurements.read_measurement(sys.argv[1])
except measurements.MeasurementError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked(tmp_path):
    header, length = says(shape=(4_000, 4_000, 3)), 4 * 4_000 * 4_000 * 3
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.npy", npy(np.asarray(json.dumps(META))))
        with archive.open("y.npy", "w") as file:
            file.write(npy(header=header))
            for _ in range(length // 10**6):
                file.write(bytes(10**6))
    assert path.stat().st_size < 200_000
    # What JAX's threads and first programs take is not the reader's.
    warm = f"{IMPORTS}\nfrom reddiff_jax import tasks\ntasks.by_name('sr4').array_shapes((32, 32, 3))"
    said = run_limited(warm, READ, path, megabytes=64)
    assert "its y has shape (4000, 4000, 3), but it says (8, 8, 3)" in said


@pytest.mark.parametrize(
    ("meta", "numbers"),
    [
        ({"y_shape": [10_000, 10_000, 3], "in_shape": [40_000, 40_000, 3]}, 4_800_000_000),
        ({"y_shape": [10_000, 10_000, 3], "in_shape": [10_000, 10_000, 3], "task": "denoise"}, 300_000_000),
    ],
    ids=["super-resolution", "denoising"],
)
def test_a_picture_of_more_numbers_than_are_read_is_refused(meta, numbers, tmp_path):
    path = measured(tmp_path / "a.npz", npy(Y), meta)
    with pytest.raises(measurements.MeasurementError, match=f"{numbers} numbers, more than the 268435456 allowed"):
        measurements.read_measurement(path)


LYING = {
    "a terabyte": npy(header=says(shape=(2**40,))),
    "more than there is": npy(header=says(), data=bytes(4)),
    "less than there is": npy(header=says(shape=(1,)), data=bytes(8)),
    "negative": npy(header=says(shape=(-8, -8, 3)), data=bytes(768)),
    "overflow": npy(header=says(shape=(2**62, 2**62, 8)), data=bytes(768)),
    "wide text": npy(header=says(descr="<U1000000000", shape=()), data=bytes(768)),
    "objects": npy(header=says(descr="|O", shape=(1,)), data=bytes(8)),
    "records": npy(header=says(descr=[("a", "<f4")], shape=(2,)), data=bytes(8)),
    "no shape": npy(header=b"{'descr': '<f4', 'fortran_order': False}", data=bytes(8)),
    "a shape of texts": npy(header=says(shape=("8",)), data=bytes(8)),
    "no type": npy(header=says(descr="nothing", shape=(2,)), data=bytes(8)),
    "nested": npy(header=b"(" * 5000, data=bytes(8)),
    "code": npy(header=b"__import__('os').system('true')", data=bytes(8)),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "another version": b"\x93NUMPY\x09\x00",
    "nothing": b"",
    "no array": b"PK\x03\x04",
    "odd truth": npy(header=says(descr="|b1", shape=(2,)), data=b"\x02\x01"),
}


def test_headers_that_lie_cost_no_memory(tmp_path):
    for index, content in enumerate(LYING.values()):
        (tmp_path / f"{index}.npy").write_bytes(content)
        npz(tmp_path / f"{index}.npz", {"x": content})
    code = """
    for index in range(int(sys.argv[2])):
        try:
            read_npy(f"{sys.argv[1]}/{index}.npy")
        except ArrayFileError as error:
            print("npy", index, error)
        try:
            with open_npz(f"{sys.argv[1]}/{index}.npz") as file:
                file["x"]
        except ArrayFileError as error:
            print("npz", index, error)
    """
    said = run_limited(IMPORTS, code, tmp_path, len(LYING), megabytes=32).splitlines()
    answered = {tuple(line.split()[:2]) for line in said}
    assert answered == {(kind, str(index)) for kind in ("npy", "npz") for index in range(len(LYING))}
    assert all(line.isprintable() for line in said)


@pytest.mark.parametrize("name", LYING)
def test_a_measurement_with_a_lying_header_is_one_line(name, tmp_path):
    path = measured(tmp_path / "a.npz", LYING[name])
    with pytest.raises(measurements.MeasurementError, match="cannot be read as a measurement file") as error:
        measurements.read_measurement(path)
    assert is_one_line(error.value)


def test_a_length_that_no_packing_reaches_is_refused(tmp_path):
    path = measured(tmp_path / "a.npz", npy(header=says(), data=bytes(768)))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"y.npy") - 46
    content[place + 24 : place + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(ArrayFileError, match="cannot unpack to the 2147483648 bytes"), open_npz(path) as file:
        file["y"]


def test_an_array_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("y.npy", npy(Y))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("y.npy", npy(Y))
    with pytest.raises(ArrayFileError, match="holds y twice"), open_npz(tmp_path / "a.npz"):
        pass


# ---- what is sound comes back


@pytest.mark.parametrize(
    "array",
    [Y, np.asfortranarray(Y), Y.astype(np.complex64), np.zeros((0, 3)), np.array(True), np.arange(3, dtype=">i4")],
    ids=str,
)
def test_sound_arrays_come_back(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", x=array)
    with open_npz(tmp_path / "a.npz") as file:
        header, packed = file.header("x"), file["x"]
    assert (header.shape, header.dtype) == (array.shape, array.dtype)
    for read in (packed, read_npy(tmp_path / "a.npy")):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


# ---- damage


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_flipped_bit_changes_a_number(compression, tmp_path):
    content, rng = npz(tmp_path / "a.npz", {"y": npy(Y)}, compression).read_bytes(), random.Random(0)
    for _ in range(300):
        (tmp_path / "b.npz").write_bytes(flipped(content, rng))
        try:
            with open_npz(tmp_path / "b.npz") as file:
                # A flip of the zip's dates changes nothing.
                np.testing.assert_array_equal(file["y"], Y)
        except ArrayFileError as error:
            assert is_one_line(error)  # noqa: PT017


@settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    descr=st.sampled_from(["<f4", "<f8", "|b1", "<U3", "|O", "<c8", ">i4", "|V8"]) | st.text(max_size=4),
    shape=st.lists(st.integers(-3, 9) | st.integers(), max_size=4).map(tuple) | st.text(max_size=3),
    order=st.booleans() | st.none(),
    data=st.integers(0, 800).map(bytes),
)
def test_headers_of_any_kind_are_read_or_refused(descr, shape, order, data, tmp_path):
    path = measured(tmp_path / "a.npz", npy(header=says(descr, shape, order), data=data))
    try:
        assert measurements.read_measurement(path).y.shape == (8, 8, 3)
    except measurements.MeasurementError as error:
        assert is_one_line(error)  # noqa: PT017


def test_a_wrong_checksum_is_refused(tmp_path):
    path = npz(tmp_path / "a.npz", {"y": npy(Y)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    crc = struct.pack("<I", zlib.crc32(npy(Y)))
    assert content.count(crc) == 2
    path.write_bytes(content.replace(crc, bytes(4)))
    with pytest.raises(ArrayFileError, match=r"its y is damaged .*CRC"), open_npz(path) as file:
        file["y"]


# ---- masks and kernels go through the same reader


@pytest.mark.parametrize("name", ["a terabyte", "less than there is", "objects", "nested", "nothing"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_masks_and_kernels_with_lying_headers_are_one_line(name, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(LYING[name]) if suffix == ".npy" else npz(path, {"x": LYING[name]})
    with pytest.raises(ValueError, match=r"masks\.load: .* cannot be read") as error:
        masks.load(path, (8, 8))
    assert is_one_line(error.value)
    with pytest.raises(JobError) as error:
        jobs.inputs.read_kernel(path)
    assert is_one_line(error.value)
