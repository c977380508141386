"""Files that appear only when complete, whatever happens meanwhile."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields where to write; at the end the file takes its place, and is safe from a loss of power.

    After an error nothing is left; after a kill ``.DIGEST.partial``, which the next attempt overwrites.
    """
    # Not the name itself: of 255 bytes, which a file system allows, a longer name could not be written.
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    partial = path.with_name(f".{digest}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere folders cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
