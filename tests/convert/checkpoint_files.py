"""PyTorch checkpoints written without PyTorch, sound and unsound ones."""

import io
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage", "int64": "LongStorage"}


@dataclass(frozen=True)
class Stored:
    """A tensor on a storage; shape and strides in numbers."""

    key: str
    size: int
    shape: tuple
    strides: tuple
    start: int = 0
    storage: str = "FloatStorage"
    rebuild: str = "_rebuild_tensor_v2"


@dataclass(frozen=True)
class Raw:
    """Instructions as they are."""

    code: bytes


def instructions(value) -> bytes:
    """The pickle instructions that put a value on the stack."""
    match value:
        case Raw():
            return value.code
        case Stored():
            storage = ("storage", called("torch", value.storage), value.key, "cpu", value.size)
            pieces = [instructions(storage) + b"Q", value.start, value.shape, value.strides, False, {}]
            code = b"".join(piece if isinstance(piece, bytes) else instructions(piece) for piece in pieces)
            return called("torch._utils", value.rebuild).code + b"(" + code + b"tR"
        case dict():
            items = b"".join(instructions(key) + instructions(item) for key, item in value.items())
            return b"}(" + items + b"u"
        case list():
            return b"](" + b"".join(map(instructions, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(instructions, value)) + b"t"
        case _:
            return pickle.dumps(value, 2)[2:-1]


def called(module: str, name: str) -> Raw:
    return Raw(b"c" + module.encode() + b"\n" + name.encode() + b"\n")


def program(value) -> bytes:
    return b"\x80\x02" + instructions(value) + b"."


def zipped(data_pkl: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint's zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return file.getvalue()


def write_checkpoint(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Writes a state dict, each tensor on a storage of its own."""
    state, storages = {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        strides = tuple(stride // array.itemsize for stride in np.empty(array.shape, array.dtype).strides)
        state[name] = Stored(str(i), array.size, array.shape, strides, storage=STORAGES[array.dtype.name])
        storages[str(i)] = array.tobytes()
    path.write_bytes(zipped(program(state), storages))
    return path


def safetensors(header: object, data: bytes = b"") -> bytes:
    """A file of the format."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Writes a state dict of float32."""
    header, data = {}, b""
    for name, array in arrays.items():
        begin, data = len(data), data + array.tobytes()
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [begin, len(data)]}
    path.write_bytes(safetensors(header, data))
    return path
