"""Reading scans from instruments' files, and writing pictures of them in the format that came in."""

from pathlib import Path

import numpy as np

from reddiff_jax._files import kind_of
from reddiff_jax.scans import arrays, bart, dicom, hdf5, nifti
from reddiff_jax.scans._libraries import reading
from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.kspace import KSpace, kspace_of_array
from reddiff_jax.scans.video import Clip, write_clip
from reddiff_jax.scans.volume import Volume

_HDF5 = (".h5", ".hdf5")
_BART = (".cfl", ".hdr")
_NIFTI = (".nii", ".nii.gz")
_DICOM = (".dcm", ".dicom", ".ima")
_ARRAYS = (".npy", ".npz", ".mat")
_TIFF = (".tif", ".tiff")

SUFFIXES = (*_HDF5, *_BART, *_NIFTI, *_DICOM, *_ARRAYS, *_TIFF)
"""Of files of scans."""

_KSPACE_NAMES = ("kspace", "k_space", "y")
_VOLUME_NAMES = ("volume", arrays.RESULT, "image", "x")
_SINOGRAM_NAMES = ("sinogram", "sino", "projections", "y")


def suffix_of(path: str | Path) -> str:
    """The suffix in lower case; ".nii.gz" is one."""
    path = Path(path)
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def read_kspace(path: str | Path) -> KSpace:
    """Reads k-space: fastMRI's and ISMRMRD's HDF5, BART's .cfl and .hdr, .npy, .npz and .mat.

    An array of three axes has its coils first or last, where there are fewer; one of four is (slices, coils, H, W).

    Raises:
        ScanError: In one line, if the file holds no k-space that can be used.
    """
    path = _found(Path(path))
    suffix = suffix_of(path)
    with reading(path, "k-space"):
        if suffix in _HDF5:
            return hdf5.read_kspace(path)
        if suffix in _BART:
            return bart.read_kspace(path)
        if suffix in _ARRAYS:
            return kspace_of_array(arrays.read_array(path, _KSPACE_NAMES))
        raise ScanError(f"k-space is read from {', '.join((*_HDF5, *_BART, *_ARRAYS))}.")


def read_volume(path: str | Path) -> Volume:
    """Reads slices of real numbers: NIfTI, DICOM (a file, or a folder with a series), stacks of TIFF, .npy, .npz, .mat.

    Raises:
        ScanError: In one line, if the file holds no volume.
    """
    path = _found(Path(path), folder=True)
    suffix = suffix_of(path)
    with reading(path, "a volume"):
        if path.is_dir() or suffix in _DICOM or dicom.is_dicom(path):
            return dicom.read_volume(path)
        if suffix in _NIFTI:
            return nifti.read_volume(path)
        if suffix in (*_ARRAYS, *_TIFF):
            values = arrays.read_array(path, _VOLUME_NAMES)
            return Volume(values[None] if values.ndim == 2 else values)
        raise ScanError(f"volumes are read from {', '.join((*_NIFTI, *_DICOM, *_TIFF, *_ARRAYS))}.")


def read_projections(path: str | Path) -> np.ndarray:
    """Reads the numbers of a sinogram, which do not say what they are: stacks of TIFF, .npy, .npz, .mat.

    ``rd.scans.from_scikit_image``, ``from_astra`` and ``from_tomopy`` take them by their conventions.

    Raises:
        ScanError: In one line, if the file holds none.
    """
    path = _found(Path(path))
    with reading(path, "a sinogram"):
        if suffix_of(path) in (*_ARRAYS, *_TIFF):
            return arrays.read_array(path, _SINOGRAM_NAMES)
        raise ScanError(f"sinograms are read from {', '.join((*_TIFF, *_ARRAYS))}.")


def write_like(path: str | Path, values: np.ndarray, like: KSpace | Volume | Clip | None = None) -> None:
    """Writes pictures (S, H, W) in the format of the file's suffix, with the geometry of the scan that was read.

    Of a clip they are frames (T, H, W, C) in [-1, 1].

    HDF5 files get magnitudes in the field "reconstruction", as fastMRI's leaderboard takes them; BART's, .npy, .npz and
    .mat keep complex numbers. NIfTI and DICOM keep orientation, spacing and units; DICOM is a new series.

    Raises:
        ScanError: If nothing is written with that suffix.
    """
    path, values = Path(path), np.asarray(values)
    if isinstance(like, Clip):
        write_clip(path, Clip(values, like.rate))
        return
    suffix, source = suffix_of(path), None if like is None else like.like
    if suffix in _HDF5:
        hdf5.write_images(path, values, source)
    elif suffix in _BART:
        bart.write_images(path, values)
    elif suffix in _NIFTI:
        nifti.write_volume(path, values, source)
    elif suffix in _DICOM or (suffix == "" and isinstance(source, list)):
        dicom.write_volume(path, values, source)
    elif suffix in (*_ARRAYS, *_TIFF):
        arrays.write_array(path, values)
    else:
        raise ScanError(f"{path}: pictures of scans are written as {', '.join(SUFFIXES)}.")


def _found(path: Path, *, folder: bool = False) -> Path:
    kind = kind_of(path)
    if kind and not (folder and kind == "a folder"):
        said = "does not exist; check the name" if kind == "missing" else f"is {kind}, not a file of a scan"
        raise ScanError(f"{path} {said}.")
    return path
