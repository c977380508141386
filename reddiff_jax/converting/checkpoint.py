"""A checkpoint file of any kind as a dictionary of arrays."""

import hashlib
import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

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
_MAX_HEADER = 100_000_000  # bytes, the format's own limit


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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.relative_to(root).as_posix(), "bytes": path.stat().st_size, "sha256": digest}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads the state dict of a ``.pt``, ``.pth`` or ``.safetensors`` file; the content decides which it is.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is none of these, damaged, has no tensors, or asks for anything but tensors.
        OSError: If it cannot be opened.
    """
    path = Path(path)
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
    if length > min(content.size - 8, _MAX_HEADER):
        raise CheckpointError(f"{path} is a truncated or damaged safetensors file; download it again.")
    header, content = content[8 : 8 + length].tobytes(), content[8 + length :]
    try:
        return {
            name: _safetensor(content, entry) for name, entry in json.loads(header).items() if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is a truncated or damaged safetensors file ({type(error).__name__}: {str(error)[:100]}); "
            "download it again."
        ) from error


def _safetensor(content: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _SAFETENSORS:
        raise ValueError(f"type {str(entry['dtype'])[:20]} is none of {', '.join(_SAFETENSORS)}")
    dtype, shape, (begin, end) = _SAFETENSORS[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not all(type(number) is int and 0 <= number < 2**62 for number in (begin, end, *shape)) or len(shape) > 8:
        raise ValueError("shape and offsets must be whole numbers of at least 0")
    if not begin <= end <= content.size or end - begin != math.prod(shape) * dtype.itemsize:
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
