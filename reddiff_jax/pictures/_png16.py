"""PNG files of 16 bits a channel, which Pillow writes for gray pictures only."""

import struct
import zlib
from collections.abc import Mapping

import numpy as np

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # gray, gray and alpha, RGB, RGB and alpha


def encode(
    array: np.ndarray, *, profile: bytes | None = None, exif: bytes | None = None, text: Mapping[str, str] | None = None
) -> bytes:
    """A picture uint16 (H, W, 1 to 4) as the bytes of a PNG file.

    Source:
        W3C, Portable Network Graphics (PNG) Specification, third edition, 2025.
    """
    h, w, c = array.shape
    rows = np.frombuffer(array.astype(">u2").tobytes(), np.uint8).reshape(h, -1)  # (H, 2 W C)
    # Differences to the row above compress better than the numbers themselves.
    differences = rows - np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((h, 1), 2, np.uint8), differences], axis=1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, _COLOUR_TYPES[c], 0, 0, 0))]
    if profile:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    for keyword, words in (text or {}).items():
        chunks.append((b"tEXt", keyword.encode("latin-1") + b"\0" + words.encode("latin-1", "replace")))
    if exif:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
