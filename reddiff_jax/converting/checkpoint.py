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
from reddiff_jax._rules import (
    Rule,
    anything,
    check,
    list_of,
    read_json,
    record,
    table_of,
    text,
    tuple_of,
    whole,
)
from reddiff_jax._text import shown
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.torch_file import read_zip
from reddiff_jax.converting.weights import choose_weights

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


INDEX = ".index.json"
"""How the name of the list of a checkpoint's parts ends."""

_PART = Rule(
    lambda name: type(name) is str and Path(name).name == name and not name.startswith("."), "a file's name, no path"
)
_INDEX = record({"weight_map": table_of(_PART)}, optional={"metadata": anything()})
_MAX_PARTS = 1000


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and where it comes from.

    Args (fields):
        tensors: Read-only arrays by name; they lie in the files and not in memory.
        wrappers: Keys of the dictionaries around the state dict, outermost first.
        path: The file, or the list of the files that it is made of.
        parts: The files that it is made of, if there are several.
        mappings: The mapped files, of which the arrays are views.
    """

    tensors: dict[str, np.ndarray]
    wrappers: tuple[str, ...]
    path: Path
    mappings: tuple[mmap.mmap, ...]
    parts: tuple[Path, ...] = ()

    def release(self) -> None:
        """Drops what was read of the files from memory; it is read again when needed."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            for mapping in self.mappings:
                mapping.madvise(mmap.MADV_DONTNEED)

    def source(self, root: Path | None = None) -> dict[str, Any]:
        """The card's entry for the files: names (under ``root``), sizes, hashes and types."""
        root = root or self.path.parent
        return {
            **describe_file(self.path, root),
            **({"parts": [describe_file(part, root) for part in self.parts]} if self.parts else {}),
            "state_dict": ".".join(self.wrappers) or None,
            "dtypes": sorted({tensor.dtype.name for tensor in self.tensors.values()}),
        }


def describe_file(path: Path, root: Path) -> dict[str, Any]:
    """A file's name under ``root``, size and hash."""
    return {"file": path.relative_to(root).as_posix(), "bytes": path.stat().st_size, "sha256": sha256_of(path)}


def read_checkpoint(path: str | Path, *, weights: str | None = None) -> Checkpoint:
    """Reads the state dict of a ``.pt``, ``.pth``, ``.bin`` or ``.safetensors`` file; the content decides which it is.

    Args:
        path: The file; or the ``.index.json`` of one that is kept in parts.
        weights: Which of the file's sets of weights, by its key, such as "ema"; None where there is one.

    Raises:
        CheckpointError: If it is none of these, damaged, has no tensors, or several sets of weights.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    check_file(path)
    if path.name.endswith(INDEX):
        return _read_parts(path)
    content, mapping = _read(path)
    return _chosen(content, weights, path, (mapping,))


def _read(path: Path) -> tuple[Any, mmap.mmap]:
    """What a file holds, and the mapping in which its arrays lie."""
    with path.open("rb") as file:
        start = file.read(16)
        if not start:
            raise CheckpointError(f"{path} is empty; download it again.")
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped = np.frombuffer(mapping, np.uint8)
    if start[:4] == b"PK\x03\x04":
        return read_zip(path, mapped), mapping
    if start[8:9] == b"{":
        return read_safetensors(path, mapped), mapping
    raise CheckpointError(f"{path} {_what_else(start)}")


def _read_parts(path: Path) -> Checkpoint:
    """Reads a checkpoint in parts: its index says in which file each tensor lies."""
    try:
        index = read_json(path.read_bytes(), limit=MAX_HEADER)
        check(index, _INDEX)
    except ValueError as error:
        raise CheckpointError(f"{path} is no index of a checkpoint's parts ({shown(str(error))}).") from error
    places: dict[str, str] = index["weight_map"]
    names = sorted(set(places.values()))
    if not 0 < len(names) <= _MAX_PARTS:
        raise CheckpointError(f"{path} lists {len(names)} files; 1 to {_MAX_PARTS} are read.")
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise CheckpointError(
            f"{path} lists {len(names)} files, of which {len(missing)} are missing, as {shown(missing[0])}; download "
            "them, too."
        )
    tensors: dict[str, np.ndarray] = {}
    mappings = []
    for name in names:
        content, mapping = _read(path.parent / name)
        listed = {tensor for tensor, place in places.items() if place == name}
        held = content if isinstance(content, dict) else {}
        if differing := sorted(listed ^ {each for each in held if isinstance(each, str)}):
            how = "lacks" if differing[0] in listed else "has, against its index,"
            raise CheckpointError(f"{path.parent / name} {how} {shown(differing[0])}; download all parts again.")
        tensors |= held
        mappings.append(mapping)
    return _chosen(tensors, None, path, tuple(mappings), tuple(path.parent / name for name in names))


def _chosen(content: Any, weights: str | None, path: Path, mappings: Any, parts: tuple[Path, ...] = ()) -> Checkpoint:
    try:
        chosen = choose_weights(content, weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    return Checkpoint(chosen.tensors, chosen.path, path, mappings, parts)


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
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return (
            "is a bare Python pickle, which may hold code: it is not read. Where its publisher's code is installed and "
            "you trust the file, save the weights: torch.save(pickle.load(file)['ema'].state_dict(), path)."
        )
    if start.startswith(b"version https://"):
        return "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`."
    if start.lstrip()[:1] == b"<":
        return "is a web page, not a checkpoint: the download was answered with a notice. Fetch it in a browser."
    return "is no checkpoint: neither a PyTorch zip (.pt, .pth) nor safetensors."
