"""BART's files: ``NAME.hdr`` with the sizes, ``NAME.cfl`` with complex64 numbers, the first axis fastest.

Axes 0 to 2 are the readout and two phase encodings, 3 the coils, 13 the slices.
"""

from pathlib import Path

import numpy as np

from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.kspace import KSpace

_COILS, _SLICES = 3, 13


def read_cfl(path: str | Path) -> np.ndarray:
    """The array of a pair of files, with all of the axes that the header names.

    Raises:
        ScanError: If a file is missing, or is of another size than the header says.
    """
    stem = Path(path).with_suffix("")
    header, data = stem.with_suffix(".hdr"), stem.with_suffix(".cfl")
    for file in (header, data):
        if not file.is_file():
            raise ScanError(f"{file} is missing; BART's files come in pairs, .hdr and .cfl.")
    lines = header.read_text(encoding="ascii", errors="replace").splitlines()
    try:
        sizes = [int(word) for word in lines[lines.index("# Dimensions") + 1].split()]
    except (ValueError, IndexError):
        raise ScanError(f"{header} has no line of sizes after '# Dimensions'.") from None
    count, expected = data.stat().st_size // 8, int(np.prod(sizes))
    if count != expected:
        raise ScanError(f"{data} holds {count} numbers but {header.name} says {expected}, {sizes}.")
    return np.fromfile(data, np.dtype("<c8")).reshape(sizes, order="F")


def write_cfl(path: str | Path, values: np.ndarray) -> None:
    """Writes an array as a pair of files."""
    stem = Path(path).with_suffix("")
    sizes = [*values.shape, *[1] * (16 - values.ndim)]
    stem.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, sizes))}\n", encoding="ascii")
    np.asarray(values, np.dtype("<c8")).ravel(order="F").tofile(stem.with_suffix(".cfl"))


def read_kspace(path: Path) -> KSpace:
    """K-space of slices, or of a volume that is transformed along its readout, which is measured whole."""
    values = read_cfl(path)
    values = values.reshape(*values.shape, *[1] * (16 - values.ndim))
    others = [axis for axis, size in enumerate(values.shape) if size > 1 and axis not in (0, 1, 2, _COILS, _SLICES)]
    if others:
        raise ScanError(
            f"it has {values.shape[others[0]]} entries along BART's axis {others[0]}, but one is needed: bart slice "
            f"{others[0]} 0."
        )
    kspace = np.moveaxis(values, _SLICES, 0)  # (S, x, y, z, coils, ...)
    kspace = kspace.reshape(kspace.shape[:5])
    short = [axis for axis in (1, 2, 3) if kspace.shape[axis] == 1]
    if not short:
        moved = np.fft.ifft(np.fft.ifftshift(kspace, 1), axis=1, norm="ortho")
        kspace = np.fft.fftshift(moved, 1).reshape(-1, *kspace.shape[2:])  # (S x, y, z, coils)
        return KSpace(kspace)
    return KSpace(np.squeeze(kspace, short[-1]))


def write_images(path: Path, images: np.ndarray) -> None:
    """Writes pictures (S, H, W), slices along their axis."""
    values = np.moveaxis(images, 0, 2)  # (H, W, S)
    write_cfl(path, values.reshape(*values.shape[:2], *[1] * (_SLICES - 2), values.shape[2]))
