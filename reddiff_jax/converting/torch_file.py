"""PyTorch's zip checkpoints, read without PyTorch and without running anything that they contain.

A checkpoint is a zip of uncompressed entries: ``NAME/data.pkl``, a pickle, and one ``NAME/data/KEY`` for each storage.
``pickles`` interprets the pickle.

Source:
    PyTorch's documentation, "Serialization semantics".
"""

import errno
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax._npz import open_zip
from reddiff_jax._text import shown
from reddiff_jax.converting.errors import CheckpointError
from reddiff_jax.converting.pickles import MAX_PROGRAM, Machine

MAX_DIRECTORY = 2**23  # bytes of the zip's list of entries
_MAX_ORDER = 16  # bytes of the entry that names the byte order
_CHUNK = 2**22  # bytes


def read_zip(path: Path, content: np.ndarray) -> Any:
    """Reads what ``torch.save`` wrote; tensors become read-only arrays that lie in the file, not in memory.

    Args:
        path: A zip file.
        content: Its bytes, mapped.

    Raises:
        CheckpointError: If it is damaged or no checkpoint.
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
            return Machine(content, entries, f"{prefix}data/").run(program)
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
