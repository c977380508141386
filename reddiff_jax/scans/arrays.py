"""Arrays in files that say nothing of what they are: .npy, .npz, .mat and stacks of TIFF."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax._npz import open_npz, read_npy
from reddiff_jax.scans._libraries import library
from reddiff_jax.scans.errors import ScanError

RESULT = "reconstruction"
"""Name of what is written into files that hold several arrays."""

_MATLAB_TEXT = "MATLAB 5.0 MAT-file, of reddiff_jax"


def read_array(path: Path, names: Sequence[str]) -> np.ndarray:
    """The array of a file: the one of a name, in their order, or the only one.

    Raises:
        ScanError: If there are several arrays, none of a name.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".npz":
        with open_npz(path) as file:
            return np.asarray(file[_chosen(file.files, names)])
    if suffix == ".mat":
        return _read_matlab(path, names)
    import tifffile

    stack = tifffile.imread(path)
    return np.asarray(stack)


def write_array(path: Path, values: np.ndarray) -> None:
    """Writes pictures (S, H, W) by the file's suffix; one of them as (H, W)."""
    suffix = path.suffix.lower()
    values = values[0] if len(values) == 1 else values
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, reconstruction=values)
    elif suffix == ".mat":
        from scipy.io import savemat

        savemat(path, {RESULT: values}, do_compression=True)
        with path.open("rb+") as file:  # the text has the time, with which the same result would be another file
            file.write(_MATLAB_TEXT.ljust(116).encode())
    else:
        import tifffile

        values = np.abs(values) if np.iscomplexobj(values) else values
        tifffile.imwrite(path, values.astype(np.float32), photometric="minisblack")


def _read_matlab(path: Path, names: Sequence[str]) -> np.ndarray:
    from scipy.io import loadmat

    with path.open("rb") as file:
        hdf5 = b"MATLAB 7.3" in file.read(128)
    if not hdf5:
        found: dict[str, Any] = loadmat(path, variable_names=None)
        arrays = [name for name, value in found.items() if not name.startswith("__") and _is_numeric(value)]
        return np.asarray(found[_chosen(arrays, names)])
    h5py: Any = library("h5py", "MATLAB's files of version 7.3")
    with h5py.File(path, "r") as file:
        name = _chosen([each for each in file if isinstance(file[each], h5py.Dataset)], names)
        values = np.asarray(file[name])
    if values.dtype.names == ("real", "imag"):
        values = values["real"] + 1j * values["imag"]
    return values.T  # MATLAB's first axis is the fastest


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"


def _chosen(found: Sequence[str], names: Sequence[str]) -> str:
    named = [name for name in names if name in found]
    if named:
        return named[0]
    if len(found) == 1:
        return found[0]
    raise ScanError(
        f"it holds {', '.join(sorted(found)) or 'no arrays'}; save the one that is meant alone, or name it {names[0]}."
    )
