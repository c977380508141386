"""NIfTI volumes, with nibabel; slices are axial, and drawn as they are looked at: anterior up, the right side right."""

from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax.scans._libraries import library
from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.volume import Volume


def read_volume(path: Path) -> Volume:
    """The volume, its axes turned to (from below up, from anterior back, from left to right)."""
    nibabel: Any = library("nibabel", "NIfTI files")
    image = nibabel.load(path)
    if len(image.shape) != 3:
        raise ScanError(
            f"it has the shape {image.shape} but one volume has three axes; take one time or direction: "
            "nibabel.load(FILE).slicer[..., 0]."
        )
    canonical = nibabel.as_closest_canonical(image)
    data = np.asarray(canonical.dataobj, np.float32)  # (right, anterior, superior)
    zooms = tuple(map(float, canonical.header.get_zooms()[:3]))
    values = np.transpose(data, (2, 1, 0))[:, ::-1]
    return Volume(np.ascontiguousarray(values), spacing=(zooms[2], zooms[1], zooms[0]), like=image)


def write_volume(path: Path, values: np.ndarray, like: Any) -> None:
    """Writes a volume in the orientation and with the affine matrix of the one that was read, as float32."""
    nibabel: Any = library("nibabel", "NIfTI files")
    data = np.transpose(values[:, ::-1], (2, 1, 0)).astype(np.float32)
    if like is None:
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), path)
        return
    orientations = nibabel.orientations
    own = orientations.io_orientation(like.affine)
    canonical = orientations.axcodes2ornt("RAS")
    turned = orientations.apply_orientation(data, orientations.ornt_transform(canonical, own))
    header = like.header.copy()
    header.set_data_dtype(np.float32)
    nibabel.save(nibabel.Nifti1Image(turned, like.affine, header), path)
