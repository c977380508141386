"""Finding pictures and measurement files, and reading masks and kernels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reddiff_jax import masks, measurements, pictures, tasks
from reddiff_jax.jobs.errors import JobError, brief
from reddiff_jax.jobs.events import Failure
from reddiff_jax.jobs.outputs import PREVIEWS, REFERENCES
from reddiff_jax.tasks import Arrays, Shape


@dataclass(frozen=True)
class Item:
    """One input file.

    Args (fields):
        path: The file.
        name: Where its results go, below the output folder and without suffix; unique.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The picture's name without folders, on which its random numbers depend."""
        return self.name.rsplit("/", 1)[-1]


def find_inputs(
    inputs: Sequence[str | Path], *, out: str | Path | None = None, measured: bool = True
) -> tuple[list[Item], list[Failure]]:
    """Finds pictures and measurement files.

    A folder's files are named by their place below it, other files by their stem. From a folder that holds measurement
    files only these are taken; a picture beside a measurement file of its name is taken for its preview.

    Args:
        inputs: Files and folders.
        out: Output folder: what lies in it is not an input.
        measured: Whether measurement files count.

    Raises:
        JobError: If two files have one name.
    """
    items, failures = [], []
    for given in map(Path, inputs):
        if given.is_dir():
            found = _files_below(given, Path(out) if out is not None else None, measured)
            items += [Item(path, path.relative_to(given).with_suffix("").as_posix()) for path in found]
            if not found:
                kinds = "pictures or measurement files" if measured else "pictures"
                failures.append(Failure(str(given), f"{given} holds no {kinds}; name a folder that does."))
        elif given.exists():
            items.append(Item(given, given.stem))
        else:
            failures.append(Failure(str(given), f"{given} does not exist; check the name."))
    if measured:
        files = {item.path.with_suffix("") for item in items if item.path.suffix == measurements.SUFFIX}
        items = [i for i in items if i.path.suffix == measurements.SUFFIX or i.path.with_suffix("") not in files]
    paths: dict[str, Path] = {}
    for item in items:
        other = paths.setdefault(item.name, item.path)
        if other != item.path:
            raise JobError(
                f"{other} and {item.path} would both be written as {item.name!r}; rename one, or give their common "
                "folder as the input."
            )
    return [Item(path, name) for name, path in sorted(paths.items())], failures


def _files_below(folder: Path, out: Path | None, measured: bool) -> list[Path]:
    avoided = []
    if out is not None:
        same = out.resolve() == folder.resolve()
        avoided = [out.resolve() / PREVIEWS, out.resolve() / REFERENCES] if same else [out.resolve()]

    def wanted(path: Path) -> bool:
        hidden = path.name.startswith(".")
        return not hidden and not any(path.resolve().is_relative_to(each) for each in avoided)

    files = sorted(path for path in folder.rglob("*" + measurements.SUFFIX) if wanted(path)) if measured else []
    return files or [path for path in pictures.find_pictures(folder) if wanted(path)]


def read_kernel(path: str | Path) -> np.ndarray:
    """Reads a blur kernel from a picture (brighter = more) or an ``.npy`` file, as float32 (kh, kw) with sum 1.

    Raises:
        JobError: If it is no kernel.
    """
    path = Path(path)
    with _file_errors(path, "a kernel"):
        if path.suffix in (".npy", ".npz"):
            with path.open("rb") as file:
                loaded = np.load(file, allow_pickle=False)
                if not isinstance(loaded, np.ndarray):
                    loaded = loaded["kernel" if "kernel" in loaded else loaded.files[0]]
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
        found = [file for file in sorted(path.iterdir()) if file.stem == name and not file.name.startswith(".")]
        if len(found) != 1:
            raise JobError(f"{path} holds {len(found)} files named {name}; one {what} for each picture is needed.")
        return found[0]
    if not path.exists():
        raise JobError(f"{what} {path} does not exist; check the name.")
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
        return {"kernel": own_kernel(kernel, stem)}
    return {}


def own_kernel(kernel: str | Path, stem: str) -> np.ndarray:
    """The picture's kernel, float32 (kh, kw) with sum 1: in words, from a file, or from one of its name in a folder."""
    if tasks.is_in_words(str(kernel)):
        return tasks.kernel_in_words(str(kernel))
    return read_kernel(own_file(Path(kernel), stem, "kernel"))


def own_bytes(mask: str | Path | None, kernel: str | Path | None, stem: str) -> bytes:
    """What the picture's mask or kernel was given by: the content of its file, or the words; nothing if none was."""
    if mask is not None:
        return own_file(Path(mask), stem, "mask").read_bytes()
    if kernel is not None:
        in_words = tasks.is_in_words(str(kernel))
        return str(kernel).encode() if in_words else own_file(Path(kernel), stem, "kernel").read_bytes()
    return b""
