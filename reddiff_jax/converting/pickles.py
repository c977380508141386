"""A machine that interprets a checkpoint's pickle and runs nothing of it.

A pickle is a program. The machine knows containers, numbers, strings and the rebuilding of tensors. A global is a name
to it, never an object; what a program makes of other names than those of tensors (an ``argparse.Namespace``, a random
generator's state, a scalar of NumPy, a whole network) becomes a ``Placeholder``, which holds the name and nothing else.

Source:
    Python's ``pickletools`` (the instructions).
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

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
# A program of these lengths describes 20,000 tensors, and cannot make more than 200 MB of lists and dictionaries.
MAX_PROGRAM = 2**24  # bytes of data.pkl
MAX_INSTRUCTIONS = 1_000_000
_MAX_RANK = 8
_MAX_WHOLE = 2**63  # beyond which Python's numbers can be made to collide in a dictionary


@dataclass(frozen=True, eq=False)
class Placeholder:
    """What stands for an object that is not made: its class or function by name.

    Args (fields):
        name: 'argparse.Namespace'.
        is_tensor: Whether it stands for numbers in a form that is not read (sparse, quantised).
    """

    name: str
    is_tensor: bool = False


@dataclass(frozen=True)
class _Global:
    name: str  # 'torch.FloatStorage'


@dataclass(frozen=True)
class _Storage:
    dtype: np.dtype
    offset: int  # in the file, bytes
    size: int  # numbers


_MARK = object()
_LARGE = Placeholder("a whole number of more than 64 bits")
_BYTES = Placeholder("bytes")
_SET = Placeholder("set")


class Machine:
    """Interprets a pickle, of which it admits the instructions that objects in containers need.

    Args:
        content: Bytes of the file that holds the storages.
        entries: Where each entry of the file lies: (offset, size).
        prefix: Of the names of the storages' entries.
    """

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
                large = isinstance(argument, int) and abs(argument) >= _MAX_WHOLE
                self.stack.append(_LARGE if large else argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name not in _IGNORED:
                if name not in _INSTRUCTIONS:
                    raise CheckpointError(f"has the pickle instruction {name}, which no tensor needs; it is refused.")
                _INSTRUCTIONS[name](self, argument)
        raise ValueError("data.pkl has no end")

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
        """What lies on top, of this kind; None if a placeholder does, which takes anything and keeps nothing."""
        if isinstance(self.stack[-1], Placeholder):
            return None
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"{type(self.stack[-1]).__name__} where a {kind.__name__} should be")
        return self.stack[-1]

    # Containers.

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _discard(self, _: Any) -> None:
        self.stack.pop()

    def _discard_to_mark(self, _: Any) -> None:
        self._pop_to_mark()

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
        if (values := self._top(list)) is not None:
            values.append(value)

    def _appends(self, _: Any) -> None:
        more = self._pop_to_mark()
        if (values := self._top(list)) is not None:
            values.extend(more)

    def _setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set(key, value)

    def _setitems(self, _: Any) -> None:
        items = self._pop_to_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        if (items := self._top(dict)) is None:
            return
        if key is _LARGE:
            raise ValueError(f"{_LARGE.name} as a key")
        # Hashing a tuple of tuples of tuples takes time exponential in the length of the program.
        if not isinstance(key, str | int | float | Placeholder | _Global | None):
            raise TypeError(f"a {type(key).__name__} as a key")
        items[key] = value

    def _bytes(self, _: Any) -> None:
        self.stack.append(_BYTES)

    def _empty_set(self, _: Any) -> None:
        self.stack.append(_SET)

    def _frozenset(self, _: Any) -> None:
        self._pop_to_mark()
        self.stack.append(_SET)

    # Memory.

    def _binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _memoize(self, _: Any) -> None:
        self._binput(len(self.memo))

    def _binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # Objects.

    def _global(self, name: str) -> None:
        self._name(*name.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global without a name")
        self.stack.append(_Global(f"{module}.{name}"))

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Global | Placeholder) or not isinstance(arguments, tuple):
            raise TypeError("a call of what is no function")
        self.stack.append(self._call(function.name, arguments))

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match name:
            case "collections.OrderedDict" if not arguments:
                return {}
            case "collections.defaultdict" if len(arguments) < 2:
                return {}
            case "torch.Size" if len(arguments) == 1 and _is_shape(arguments[0]):
                return tuple(arguments[0])
            case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
                return self._tensor(*arguments[:4])
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" if arguments:
                if isinstance(arguments[0], np.ndarray | Placeholder):
                    return arguments[0]
            case "torch._tensor._rebuild_from_type_v2" if len(arguments) == 4:
                # A tensor with attributes: (function, type, its arguments, attributes).
                function, _, inner, _ = arguments
                if isinstance(function, _Global) and isinstance(inner, tuple) and function.name != name:
                    return self._call(function.name, inner)
            case "torch.Size" | "collections.OrderedDict" | "collections.defaultdict":
                pass
            case _:
                return Placeholder(name, is_tensor=name.startswith("torch._utils._rebuild_"))
        raise TypeError(f"a call of {name} with arguments that it does not take")

    def _new_object(self, _: Any) -> None:
        arguments, kind = self._pop(), self._pop()
        if not isinstance(kind, _Global | Placeholder) or not isinstance(arguments, tuple):
            raise TypeError("an object of what is no class")
        self.stack.append({} if kind.name == "collections.OrderedDict" else Placeholder(kind.name))

    def _new_object_of_names(self, _: Any) -> None:
        self._pop()  # arguments by name
        self._new_object(None)

    def _build(self, _: Any) -> None:
        # Attributes of a state dict (its version numbers) say nothing of the weights.
        self._pop()
        if not isinstance(self.stack[-1], np.ndarray):  # a tensor's attributes neither
            self._top(dict)

    # Tensors.

    def _binpersid(self, _: Any) -> None:
        kind, storage, key, _location, size = self._pop()
        if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str):
            raise TypeError("a persistent object that is no storage")
        dtype = _STORAGES.get(storage.name.removeprefix("torch."))
        if dtype is None:
            self.stack.append(Placeholder(storage.name, is_tensor=True))
            return
        if self.prefix + key not in self.entries:
            raise CheckpointError(f"lacks the data of storage {shown(key)}; download it again.")
        offset, num_bytes = self.entries[self.prefix + key]
        if not _is_size(size) or size * dtype.itemsize > num_bytes:
            raise CheckpointError(f"has only {num_bytes} bytes for storage {shown(key)}; download it again.")
        self.stack.append(_Storage(dtype, offset, size))

    def _tensor(self, storage: Any, start: Any, shape: Any, strides: Any) -> np.ndarray | Placeholder:
        if isinstance(storage, Placeholder) and storage.is_tensor:
            return storage
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
_INSTRUCTIONS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": Machine._mark,
    "POP": Machine._discard,
    "POP_MARK": Machine._discard_to_mark,
    "EMPTY_DICT": Machine._empty_dict,
    "EMPTY_LIST": Machine._empty_list,
    "EMPTY_SET": Machine._empty_set,
    "FROZENSET": Machine._frozenset,
    "TUPLE": Machine._tuple,
    "TUPLE1": Machine._tuple1,
    "TUPLE2": Machine._tuple2,
    "TUPLE3": Machine._tuple3,
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "ADDITEMS": Machine._appends,
    "SETITEM": Machine._setitem,
    "SETITEMS": Machine._setitems,
    "PUT": Machine._binput,
    "BINPUT": Machine._binput,
    "LONG_BINPUT": Machine._binput,
    "MEMOIZE": Machine._memoize,
    "GET": Machine._binget,
    "BINGET": Machine._binget,
    "LONG_BINGET": Machine._binget,
    "SHORT_BINBYTES": Machine._bytes,
    "BINBYTES": Machine._bytes,
    "BINBYTES8": Machine._bytes,
    "SHORT_BINSTRING": Machine._bytes,
    "BINSTRING": Machine._bytes,
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "BINPERSID": Machine._binpersid,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._new_object,
    "NEWOBJ_EX": Machine._new_object_of_names,
    "BUILD": Machine._build,
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
