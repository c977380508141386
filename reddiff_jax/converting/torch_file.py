"""PyTorch's zip checkpoints, read without PyTorch and without running anything that they contain.

A checkpoint is a zip of uncompressed entries: ``NAME/data.pkl``, a pickle, and one ``NAME/data/KEY`` for each storage.
The pickle is a program. It is interpreted here by a machine of its own that knows only containers, numbers, strings
and the rebuilding of tensors; globals are names to it, never objects, so there is nothing that a pickle could call.

Source:
    Python's ``pickletools`` (the instructions); PyTorch's documentation, "Serialization semantics" (the file).
"""

import errno
import math
import pickletools
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from reddiff_jax._npz import open_zip
from reddiff_jax._text import shown
from reddiff_jax.converting.errors import CheckpointError

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_FUNCTIONS = {
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
}
_ADMITTED = _FUNCTIONS | {f"torch.{name}" for name in _STORAGES}
# A program of these lengths describes 20,000 tensors, and cannot make more than 200 MB of lists and dictionaries.
MAX_PROGRAM = 2**24  # bytes of data.pkl
MAX_INSTRUCTIONS = 1_000_000
MAX_DIRECTORY = 2**23  # bytes of the zip's list of entries
_MAX_RANK = 8
_MAX_WHOLE = 2**63  # beyond which Python's numbers can be made to collide in a dictionary
_MAX_ORDER = 16  # bytes of the entry that names the byte order
_CHUNK = 2**22  # bytes


@dataclass(frozen=True)
class _Global:
    name: str  # 'torch.FloatStorage'


@dataclass(frozen=True)
class _Storage:
    dtype: np.dtype
    offset: int  # in the file, bytes
    size: int  # numbers


_MARK = object()


def read_zip(path: Path, content: np.ndarray) -> Any:
    """Reads what ``torch.save`` wrote; tensors become read-only arrays that lie in the file, not in memory.

    Args:
        path: A zip file.
        content: Its bytes, mapped.

    Raises:
        CheckpointError: If it is damaged, is no checkpoint, or asks for anything but tensors.
        OSError: If it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            entries = _entries(file, path.stat().st_size)
        except (
            zipfile.BadZipFile,
            struct.error,
            ValueError,
            OverflowError,
            NotImplementedError,
            OSError,
            EOFError,
            RuntimeError,
        ) as error:
            # A damaged offset may seek to before the start; that is not an error of the disk.
            if isinstance(error, CheckpointError) or (isinstance(error, OSError) and error.errno != errno.EINVAL):
                raise
            reason = shown(str(error)) or type(error).__name__
            raise CheckpointError(f"{path} is a truncated or damaged zip ({reason}); download it again.") from error
        programs = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
        if len(programs) != 1:
            raise CheckpointError(f"{path} is a zip but no PyTorch checkpoint: it has {len(programs)} data.pkl, not 1.")
        prefix = programs[0].removesuffix("data.pkl")
        order = entries.get(f"{prefix}byteorder", (0, 0))
        if order[1] <= _MAX_ORDER and _read(file, order).strip() == b"big":
            raise CheckpointError(f"{path} was written on a big-endian machine; save it again on a little-endian one.")
        if entries[programs[0]][1] > MAX_PROGRAM:
            raise CheckpointError(
                f"{path} has a data.pkl of {entries[programs[0]][1]} bytes, more than the {MAX_PROGRAM} that are read; "
                "save the network's state dict alone: torch.save(model.state_dict(), path)."
            )
        program = _read(file, entries[programs[0]])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of odd escapes in damaged names
            return _Machine(content, entries, f"{prefix}data/").run(program)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{path} has a damaged data.pkl ({type(error).__name__}: {shown(str(error))}); download it again."
        ) from error


def _entries(file: Any, total: int) -> dict[str, tuple[int, int]]:
    """Where each entry's bytes lie in the file: (offset, size); their checksums are compared."""
    entries: dict[str, tuple[int, int]] = {}
    with open_zip(file, MAX_DIRECTORY) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise CheckpointError(
                    f"{file.name} is a zip whose {shown(info.filename)} is compressed or encrypted, which no "
                    "PyTorch checkpoint's is; unpack it, perhaps the checkpoint is inside."
                )
            file.seek(info.header_offset)
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile(f"no entry where {shown(info.filename)} should be")
            name_length, extra_length = struct.unpack("<HH", header[26:])
            offset = info.header_offset + 30 + name_length + extra_length
            if offset + info.file_size > total:
                raise zipfile.BadZipFile(f"{shown(info.filename)} runs past the end of the file")
            if info.filename in entries:
                raise zipfile.BadZipFile(f"{shown(info.filename)} is there twice")
            entries[info.filename] = (offset, info.file_size)
            file.seek(offset)
            if _crc(file, info.file_size) != info.CRC:
                raise CheckpointError(
                    f"{file.name} is damaged: {shown(info.filename)} has another checksum (CRC-32) than the zip lists. "
                    "Download it again; if it was saved under torch.serialization.set_crc32_options(False), save it "
                    "without that."
                )
    return entries


def _crc(file: Any, size: int) -> int:
    """CRC-32 of the next bytes, which are never in memory as a whole."""
    crc = 0
    while size:
        chunk = file.read(min(size, _CHUNK))
        if not chunk:
            raise EOFError("an entry runs past the end of the file")
        crc, size = zlib.crc32(chunk, crc), size - len(chunk)
    return crc


def _read(file: Any, entry: tuple[int, int]) -> bytes:
    file.seek(entry[0])
    return file.read(entry[1])


class _Machine:
    """Interprets a pickle, of which it admits the instructions that tensors in containers need."""

    def __init__(self, content: np.ndarray, entries: dict[str, tuple[int, int]], prefix: str) -> None:
        self.content, self.entries, self.prefix = content, entries, prefix
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """Runs the instructions and returns what is on the stack at the end."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
            name = opcode.name
            if name == "STOP":
                return self._pop()
            if count >= MAX_INSTRUCTIONS:
                raise CheckpointError(
                    f"has more than {MAX_INSTRUCTIONS} pickle instructions; save the network's state dict alone: "
                    "torch.save(model.state_dict(), path)."
                )
            if name in _VALUES:
                self._push_value(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name not in _IGNORED:
                if name not in _INSTRUCTIONS:
                    raise CheckpointError(f"has the pickle instruction {name}, which no tensor needs; it is refused.")
                _INSTRUCTIONS[name](self, argument)
        raise ValueError("data.pkl has no end")

    def _push_value(self, value: Any) -> None:
        if isinstance(value, int) and abs(value) >= _MAX_WHOLE:
            raise ValueError("a whole number of more than 64 bits")
        self.stack.append(value)

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"{type(self.stack[-1]).__name__} where a {kind.__name__} should be")
        return self.stack[-1]

    # Containers.

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append((self._pop(),))

    def _tuple2(self, _: Any) -> None:
        last = self._pop()
        self.stack.append((self._pop(), last))

    def _tuple3(self, _: Any) -> None:
        last, middle = self._pop(), self._pop()
        self.stack.append((self._pop(), middle, last))

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def _setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set(key, value)

    def _setitems(self, _: Any) -> None:
        items = self._pop_to_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        # Hashing a tuple of tuples of tuples takes time exponential in the length of the program.
        if not isinstance(key, str | int | float | None):
            raise TypeError(f"a {type(key).__name__} as a key")
        self._top(dict)[key] = value

    # Memory.

    def _binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _memoize(self, _: Any) -> None:
        self._binput(len(self.memo))

    def _binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # Tensors.

    def _global(self, name: str) -> None:
        self._name(*name.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something without a name"
        if full not in _ADMITTED:
            raise CheckpointError(
                f"asks for {shown(full)}, which is refused: a checkpoint is read for its tensors, and nothing in "
                "it is run. If you trust the file, save its state dict alone: torch.save(model.state_dict(), path)."
            )
        self.stack.append(_Global(full))

    def _binpersid(self, _: Any) -> None:
        kind, storage, key, _location, size = self._pop()
        if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str):
            raise TypeError("a persistent object that is no storage")
        dtype = _STORAGES[storage.name.removeprefix("torch.")]
        if self.prefix + key not in self.entries:
            raise CheckpointError(f"lacks the data of storage {shown(key)}; download it again.")
        offset, num_bytes = self.entries[self.prefix + key]
        if not _is_size(size) or size * dtype.itemsize > num_bytes:
            raise CheckpointError(f"has only {num_bytes} bytes for storage {shown(key)}; download it again.")
        self.stack.append(_Storage(dtype, offset, size))

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise TypeError("a call of what is no function")
        match function.name:
            case "collections.OrderedDict" if not arguments:
                self.stack.append({})
            case "torch.Size" if len(arguments) == 1 and _is_shape(arguments[0]):
                self.stack.append(tuple(arguments[0]))
            case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
                self.stack.append(self._tensor(*arguments[:4]))
            case "torch._utils._rebuild_parameter" if arguments and isinstance(arguments[0], np.ndarray):
                self.stack.append(arguments[0])
            case name:
                raise TypeError(f"a call of {name} with arguments that it does not take")

    def _build(self, _: Any) -> None:
        # Attributes of a state dict (its version numbers) say nothing of the weights.
        self._pop()
        self._top(dict)

    def _tensor(self, storage: Any, start: Any, shape: Any, strides: Any) -> np.ndarray:
        if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
            raise TypeError("a tensor without storage, shape or strides")
        if len(shape) != len(strides) or len(shape) > _MAX_RANK:
            raise ValueError(f"a tensor of {len(shape)} axes and {len(strides)} strides")
        if not all(map(_is_size, (start, *shape, *strides))):
            raise ValueError("a tensor whose shape, strides or offset are not whole numbers of at least 0")
        count = math.prod(shape)
        last = start + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        # More numbers than the storage has: rows that repeat, by which a small file would fill the memory.
        if count and (last >= storage.size or count > storage.size):
            raise CheckpointError(f"has a tensor of shape {shape} that does not fit its storage of {storage.size}.")
        itemsize = storage.dtype.itemsize
        if not count:
            return np.zeros(shape if max(shape, default=0) < 2**31 else (0,), storage.dtype)
        return np.ndarray(
            shape,
            storage.dtype,
            self.content,  # type: ignore[arg-type]
            storage.offset + start * itemsize,
            tuple(stride * itemsize for stride in strides),
        )


# Names of instructions to what they do: a program reaches nothing else of the machine.
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "EMPTY_DICT": _Machine._empty_dict,
    "EMPTY_LIST": _Machine._empty_list,
    "TUPLE": _Machine._tuple,
    "TUPLE1": _Machine._tuple1,
    "TUPLE2": _Machine._tuple2,
    "TUPLE3": _Machine._tuple3,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "PUT": _Machine._binput,
    "BINPUT": _Machine._binput,
    "LONG_BINPUT": _Machine._binput,
    "MEMOIZE": _Machine._memoize,
    "GET": _Machine._binget,
    "BINGET": _Machine._binget,
    "LONG_BINGET": _Machine._binget,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "BINPERSID": _Machine._binpersid,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
}
_VALUES = {
    "BINFLOAT",
    "BININT",
    "BININT1",
    "BININT2",
    "BINUNICODE",
    "BINUNICODE8",
    "LONG1",
    "SHORT_BINUNICODE",
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = {"PROTO", "FRAME"}


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) <= _MAX_RANK and all(map(_is_size, value))
