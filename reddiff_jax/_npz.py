"""NumPy's files from strangers: what they say of their arrays is checked before any number is unpacked.

An ``.npz`` is a zip of ``.npy`` files. Both name sizes that they need not have: a megabyte unpacks to a gigabyte, and a
header of a hundred bytes asks for a terabyte. Here an array is read only where its header, its length in the zip, and
the reader's own limit agree, and where the zip's CRC is right.
"""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from reddiff_jax._files import check_file
from reddiff_jax._text import shown

MAX_BYTES = 2**30  # of one array: a float32 picture of 9,400 x 9,400 pixels in colour
MAX_TEXT_BYTES = 2**18  # of an array that is a text: four for each character
MAX_DIRECTORY = 2**20  # bytes of a zip's list of its entries, about 10,000
_MAX_DEFLATE = 1040  # the most that deflate packs, 1032 to 1, and something for the end of a stream
_CHUNK = 2**20  # bytes
_KINDS = "biufcU"
_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    SyntaxError,
    OverflowError,
    RecursionError,
    MemoryError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,  # of a header, which NumPy reads as Python reads a program
    zipfile.BadZipFile,
    zlib.error,
)


class ArrayFileError(ValueError):
    """A file of arrays that is damaged, or larger than it may be; the message is one line without the file's name."""


@dataclass(frozen=True)
class Header:
    """What a file says of an array.

    Args (fields):
        shape: Its shape.
        dtype: Type of its numbers; no objects, and no records.
        fortran_order: Whether the first axis varies fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


class Npz:
    """An open ``.npz``: the names of its arrays, their headers, and the arrays one at a time; used as NumPy's is."""

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int):
        self._archive, self._max_bytes = archive, max_bytes
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._entries:
                raise ArrayFileError(f"it holds {shown(name)} twice")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise ArrayFileError(f"its {shown(name)} is packed in a way that NumPy does not use")
            if info.file_size > _MAX_DEFLATE * max(info.compress_size, 1):
                raise ArrayFileError(f"its {shown(name)} cannot unpack to the {info.file_size} bytes that it names")
            self._entries[name] = info

    @property
    def files(self) -> list[str]:
        """Names of the arrays."""
        return list(self._entries)

    def header(self, name: str) -> Header:
        """What the file says of an array.

        Raises:
            ArrayFileError: If there is none, or it is damaged.
        """
        with self._opened(name) as (header, _):
            return header

    def __getitem__(self, name: str) -> np.ndarray:
        """An array.

        Raises:
            ArrayFileError: If there is none, it is damaged, or it has more bytes than allowed.
        """
        with self._opened(name) as (header, file):
            return _read_array(file, header, f"its {shown(name)}", self._max_bytes)

    def read_text(self, name: str) -> str:
        """An array that is one text.

        Raises:
            ArrayFileError: If it is no text.
        """
        with self._opened(name) as (header, file):
            if header.shape != () or header.dtype.kind != "U":
                raise ArrayFileError(f"its {shown(name)} is no text")
            return str(_read_array(file, header, f"its {shown(name)}", MAX_TEXT_BYTES))

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[Header, IO[bytes]]]:
        if name not in self._entries:
            raise ArrayFileError(f"it holds {shown(', '.join(self._entries)) or 'nothing'}, and no {shown(name)}")
        info = self._entries[name]
        with _one_line(f"its {shown(name)}"), self._archive.open(info) as file:
            header = _read_header(file)
            if file.tell() + header.nbytes != info.file_size:
                raise ArrayFileError(f"its {shown(name)} has another length than its header says")
            yield header, file


@contextmanager
def open_npz(path: str | Path, *, max_bytes: int = MAX_BYTES) -> Iterator[Npz]:
    """Opens an ``.npz``.

    Args:
        path: The file.
        max_bytes: The most bytes that one of its arrays may have.

    Raises:
        ArrayFileError: If it is none, or damaged.
        OSError: If it cannot be opened.
    """
    check_file(path)
    with Path(path).open("rb") as file:
        with _one_line("the file"):
            archive = open_zip(file, MAX_DIRECTORY)
            opened = Npz(archive, max_bytes)
        with archive:
            yield opened


def read_npy(path: str | Path, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Reads an ``.npy``.

    Raises:
        ArrayFileError: If it is none, damaged, or has more bytes than allowed.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    check_file(path)
    with path.open("rb") as file, _one_line("the file"):
        header = _read_header(file)
        if file.tell() + header.nbytes != path.stat().st_size:
            raise ArrayFileError("the file has another length than its header says")
        return _read_array(file, header, "the file", max_bytes)


def open_zip(file: IO[bytes], max_directory: int) -> zipfile.ZipFile:
    """Opens a zip whose list of entries has a bounded length, as each byte of it costs ten of memory.

    Args:
        file: The file.
        max_directory: The most bytes that the list may have, and that are read of an entry at once.

    Raises:
        zipfile.BadZipFile: If the list is longer, or damaged.
    """
    return zipfile.ZipFile(_Bounded(file, max_directory))  # type: ignore[arg-type]


class _Bounded:
    """A file of which only so many bytes are read at once."""

    def __init__(self, file: IO[bytes], limit: int):
        self._file, self._limit = file, limit
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size if 0 <= size <= self._limit else self._limit + 1)
        if len(content) > self._limit:
            raise zipfile.BadZipFile(f"its list of entries has more than {self._limit} bytes")
        return content


def _read_header(file: IO[bytes]) -> Header:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ArrayFileError(f"version {version} of .npy, which is for records, is not read")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ArrayFileError(f"numbers of the type {shown(str(dtype))} are not read")
    if not all(type(size) is int and 0 <= size < 2**48 for size in shape) or len(shape) > 8:
        raise ArrayFileError(f"its shape {shown(str(shape))} is none")
    return Header(shape, dtype, fortran_order)


def _read_array(file: IO[bytes], header: Header, what: str, max_bytes: int) -> np.ndarray:
    if header.nbytes > max_bytes:
        raise ArrayFileError(f"{what} has {header.nbytes} bytes, more than the {max_bytes} that are read")
    content = bytearray(header.nbytes)
    rest = memoryview(content)
    while rest:
        chunk = file.read(min(len(rest), _CHUNK))
        if not chunk:
            raise ArrayFileError(f"{what} ends too early")
        rest[: len(chunk)] = chunk
        rest = rest[len(chunk) :]
    if file.read(1):  # the zip's CRC is compared where the end is met
        raise ArrayFileError(f"{what} goes on behind its end")
    if header.dtype.kind == "b" and content.translate(None, b"\0\1"):
        raise ArrayFileError(f"{what} has truth values other than 0 and 1")
    array = np.frombuffer(content, header.dtype)
    if not header.fortran_order:
        return array.reshape(header.shape)
    return array.reshape(header.shape[::-1]).transpose()


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turns everything that a damaged file can do to its readers into ArrayFileError."""
    try:
        yield
    except ArrayFileError:
        raise
    except _DAMAGE as error:
        raise ArrayFileError(f"{what} is damaged ({_brief(error)})") from error
    except OSError as error:
        if error.errno not in (None, 22):  # a damaged offset seeks to before the start; that is not the disk's
            raise
        raise ArrayFileError(f"{what} is damaged ({_brief(error)})") from error


def _brief(error: Exception) -> Any:
    return shown((str(error) or type(error).__name__).strip().splitlines()[0])
