"""A checkpoint file of any kind as a dictionary of arrays."""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from reddiff_jax._files import check_file, sha256_of
from reddiff_jax._rules import Rule, check, list_of, read_json, record, table_of, text, tuple_of, whole
from reddiff_jax._text import shown
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.torch_file import read_zip

# In order of preference: published samples are drawn with averaged parameters.
WRAPPERS = ("ema", "params_ema", "state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")

_SAFETENSORS = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
MAX_HEADER = 2**23  # bytes of a safetensors file's header, of some 80,000 tensors; the format itself allows 100 MB


_SIZE = whole(0, 2**62 - 1)
_TENSOR = record({"dtype": text(), "shape": list_of(_SIZE, 0, 8), "data_offsets": tuple_of(_SIZE, _SIZE)})


def _entries_of(header: dict[str, Any]) -> Iterator[tuple[str, Any, Rule]]:
    """The parts of a header: the tensors, and notes of texts."""
    for name, entry in header.items():
        yield f".{shown(name)}", entry, table_of(text()) if name == "__metadata__" else _TENSOR


_SAFETENSORS_HEADER = Rule(lambda value: type(value) is dict, "an object of tensors by name", _entries_of)


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and where it comes from.

    Args (fields):
        tensors: Read-only arrays by name; they lie in the file and not in memory.
        wrappers: Keys of the dictionaries around the state dict, outermost first.
        path: The file.
        mapping: The mapped file, of which the arrays are views.
    """

    tensors: dict[str, np.ndarray]
    wrappers: tuple[str, ...]
    path: Path
    mapping: mmap.mmap

    def release(self) -> None:
        """Drops what was read of the file from memory; it is read again when needed."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self.mapping.madvise(mmap.MADV_DONTNEED)

    def source(self, root: Path | None = None) -> dict[str, Any]:
        """The card's entry for the file: its name (under ``root``), size, hash and types."""
        return {
            **describe_file(self.path, root or self.path.parent),
            "state_dict": ".".join(self.wrappers) or None,
            "dtypes": sorted({tensor.dtype.name for tensor in self.tensors.values()}),
        }


def describe_file(path: Path, root: Path) -> dict[str, Any]:
    """A file's name under ``root``, size and hash."""
    return {"file": path.relative_to(root).as_posix(), "bytes": path.stat().st_size, "sha256": sha256_of(path)}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads the state dict of a ``.pt``, ``.pth`` or ``.safetensors`` file; the content decides which it is.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is none of these, damaged, has no tensors, or asks for anything but tensors.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    check_file(path)
    with path.open("rb") as file:
        start = file.read(16)
        if not start:
            raise CheckpointError(f"{path} is empty; download it again.")
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped = np.frombuffer(mapping, np.uint8)
    if start[:4] == b"PK\x03\x04":
        content = read_zip(path, mapped)
    elif start[8:9] == b"{":
        content = read_safetensors(path, mapped)
    else:
        raise CheckpointError(f"{path} {_what_else(start)}")
    tensors, wrappers = _state_dict(content)
    if not tensors:
        raise CheckpointError(
            f"{path} has no tensors by name, neither at its top nor under {', '.join(WRAPPERS)}; "
            "save the network's state dict alone: torch.save(model.state_dict(), path)."
        )
    return Checkpoint(_without_prefix(tensors), wrappers, path, mapping)


def read_safetensors(path: Path, content: np.ndarray) -> dict[str, np.ndarray]:
    """Reads a safetensors file; its arrays lie in the file, not in memory.

    Args:
        path: The file.
        content: Its bytes, mapped.

    Raises:
        CheckpointError: If it is damaged.
    """
    length = int.from_bytes(content[:8].tobytes(), "little")
    if length > min(content.size - 8, MAX_HEADER):
        raise CheckpointError(f"{path} is a truncated or damaged safetensors file; download it again.")
    header, content = content[8 : 8 + length].tobytes(), content[8 + length :]
    try:
        entries = read_json(header)
        check(entries, _SAFETENSORS_HEADER)
        entries.pop("__metadata__", None)
        # The format allows no byte that belongs to no tensor, or to two.
        end = 0
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            begin, after = entry["data_offsets"]
            if begin != end or after < begin:
                raise ValueError(f"{shown(name)} begins at byte {begin} and not {end}, where the one before it ends")
            end = after
        if end != content.size:
            raise ValueError(f"its tensors end at byte {end} and not {content.size}, where the file ends")
        return {name: _safetensor(content, entry) for name, entry in entries.items()}
    except ValueError as error:
        raise CheckpointError(
            f"{path} is a truncated or damaged safetensors file ({shown(str(error))}); download it again."
        ) from error


def _safetensor(content: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _SAFETENSORS:
        raise ValueError(f"type {shown(entry['dtype'], 20)} is none of {', '.join(_SAFETENSORS)}")
    dtype, shape, (begin, end) = _SAFETENSORS[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("a tensor does not fit its bytes")
    return content[begin:end].view(dtype).reshape(shape)


def _what_else(start: bytes) -> str:
    if start[:5] == b"\x80\x02\x8a\nl":
        return (
            "is in PyTorch's format from before version 1.6. Save it again, where PyTorch is installed: "
            "torch.save(torch.load(path, map_location='cpu', weights_only=True), new_path)."
        )
    if start.startswith(b"version https://"):
        return "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`."
    if start.lstrip()[:1] == b"<":
        return "is a web page, not a checkpoint: the download was answered with a notice. Fetch it in a browser."
    return "is no checkpoint: neither a PyTorch zip (.pt, .pth) nor safetensors."


def _state_dict(content: Any) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The tensors by name, and the wrappers passed on the way to them."""
    wrappers: tuple[str, ...] = ()
    while isinstance(content, dict) and len(wrappers) <= len(WRAPPERS):
        inner = next((name for name in WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            named = content.items()
            return {
                name: each for name, each in named if isinstance(name, str) and isinstance(each, np.ndarray)
            }, wrappers
        content, wrappers = content[inner], (*wrappers, inner)
    return {}, wrappers


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    while prefix := next((each for each in PREFIXES if all(name.startswith(each) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
