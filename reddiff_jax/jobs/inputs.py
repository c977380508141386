"""Reading masks and kernels, of one picture or of many."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from reddiff_jax import masks, measurements, pictures
from reddiff_jax._npz import open_npz, read_npy
from reddiff_jax.jobs.errors import JobError, brief
from reddiff_jax.tasks import Arrays, Shape


def read_kernel(path: str | Path) -> np.ndarray:
    """Reads a blur kernel from a picture (brighter = more) or an ``.npy`` file, as float32 (kh, kw) with sum 1.

    Raises:
        JobError: If it is no kernel.
    """
    path = Path(path)
    with _file_errors(path, "a kernel"):
        if path.suffix in (".npy", ".npz"):
            if path.suffix == ".npy":
                loaded = read_npy(path)
            else:
                with open_npz(path) as file:
                    loaded = file["kernel" if "kernel" in file.files or not file.files else file.files[0]]
            kernel = np.asarray(loaded, np.float64)
        else:
            kernel = pictures.read_uint8(path, channels=1)[..., 0].astype(np.float64)
        if kernel.ndim != 2 or not np.isfinite(kernel).all() or kernel.min() < 0 or kernel.sum() <= 0:
            raise ValueError("it must have two axes, values of at least 0, and not only zeros")
    return (kernel / kernel.sum()).astype(np.float32)


def read_mask(path: str | Path, shape: Shape, name: str) -> np.ndarray:
    """Reads the mask of one picture, float32 (H, W, 1 or 3), 1 = observed.

    Args:
        path: Mask file, or a folder with a mask named as the picture.
        shape: Shape of the picture.
        name: Stem of the picture; also chooses among several masks in one file.

    Raises:
        JobError: If there is none, or it is not of that size.
    """
    path = own_file(Path(path), name, "mask")
    with _file_errors(path, "a mask"):
        return np.asarray(masks.load(path, shape, name=name))


def own_file(path: Path, name: str, what: str) -> Path:
    """The file itself, or the one of that name in a folder."""
    if path.is_dir():
        files = (file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith("."))
        found = [file for file in files if file.stem == name]
        if len(found) != 1:
            raise JobError(f"{path} holds {len(found)} files named {name}; one {what} for each picture is needed.")
        return found[0]
    if not path.exists():
        raise JobError(f"{what} {path} does not exist; check the name.")
    if not path.is_file():  # reading a device or a pipe might never end
        raise JobError(f"{what} {path} is no file; give a file, or a folder of them.")
    return path


@contextmanager
def _file_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except measurements.BROKEN as error:
        reason = brief(error).removeprefix("masks.load: ").rstrip(".")
        raise JobError(f"{path} cannot be used as {what}: {reason}.") from error


def own_arrays(mask: str | Path | None, kernel: str | Path | None, shape: Shape, stem: str) -> Arrays:
    """The picture's arrays, read from the files that were given; ``{}`` if none was."""
    if mask is not None:
        return {"mask": read_mask(mask, shape, stem)}
    if kernel is not None:
        return {"kernel": read_kernel(own_file(Path(kernel), stem, "kernel"))}
    return {}
