"""DICOM: one file, a file of many frames, or a folder with a series of slices; with pydicom.

Values are in the units of the modality, Hounsfield units for CT, by the file's rescaling.
"""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax.scans._libraries import library, reading
from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.volume import Volume


def read_volume(path: Path) -> Volume:
    """The slices of a file or of a folder's series, in their order along the scan's axis."""
    pydicom: Any = library("pydicom", "DICOM files")
    files = sorted(file for file in path.rglob("*") if is_dicom(file)) if path.is_dir() else [path]
    if not files:
        raise ScanError("the folder holds no DICOM files.")
    parts = []
    for file in files:
        with reading(file, "DICOM"):
            parts.append(pydicom.dcmread(file))
    parts = [part for part in parts if "PixelData" in part]
    if not parts:
        raise ScanError("there are no pixels in it.")
    series = {str(part.get("SeriesInstanceUID", "")) for part in parts}
    if len(series) > 1:
        raise ScanError(f"{len(series)} series lie in it; give a folder for each.")
    shapes = {_frames(part).shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ScanError(f"its slices are of different sizes, {sorted(shapes)}.")
    parts.sort(key=_place)
    values = np.concatenate([_rescaled(part) for part in parts])
    first = parts[0]
    return Volume(
        values,
        unit="HU" if first.get("Modality") == "CT" else str(first.get("RescaleType", "")),
        spacing=_spacing(parts),
        window=_window(first),
        like=parts,
    )


def write_volume(path: Path, values: np.ndarray, like: Any) -> None:
    """Writes what was read with new pixels, as a new series: a file for a file, a folder for a folder.

    Numbers are rounded to those that the file can store. The new identifiers follow from the old ones and the pixels,
    so that the same result is the same file.

    Raises:
        ScanError: If no DICOM was read.
    """
    pydicom: Any = library("pydicom", "DICOM files")
    if not like:
        raise ScanError("DICOM is written only of what was read from it; give another format, such as .nii.gz.")
    digest, start = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(), 0
    series = _identifier(like[0], "SeriesInstanceUID", digest)
    if len(like) > 1:
        path.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(like):
        frames = _frames(part)
        own = values[start : start + len(frames)]
        start += len(frames)
        written = copy.deepcopy(part)
        limits = np.iinfo(frames.dtype)
        slope, intercept = _rescaling(part)
        raw = np.clip(np.round((own - intercept) / slope), limits.min, limits.max).astype(frames.dtype)
        written.PixelData = raw.tobytes()
        written["PixelData"].VR = "OW"
        written.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        written.SOPInstanceUID = written.file_meta.MediaStorageSOPInstanceUID = _identifier(
            part, "SOPInstanceUID", digest
        )
        written.SeriesInstanceUID = series
        written.SeriesDescription = f"{part.get('SeriesDescription', '')} reddiff_jax".strip()[:64]
        written.ImageType = ["DERIVED", "SECONDARY", *list(part.get("ImageType", []))[2:]]
        target = path / f"{number:04d}.dcm" if len(like) > 1 else path
        written.save_as(target, enforce_file_format=True)


def _identifier(part: Any, name: str, digest: str) -> str:
    pydicom: Any = library("pydicom", "DICOM files")
    return pydicom.uid.generate_uid(entropy_srcs=[str(part.get(name, "")), digest])


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _frames(part: Any) -> np.ndarray:
    """(frames, H, W) as stored."""
    frames = part.pixel_array
    if part.get("SamplesPerPixel", 1) != 1:
        raise ScanError("it is in colour, but scans are of one channel; give its picture.")
    return frames if frames.ndim == 3 else frames[None]


def _rescaling(part: Any) -> tuple[float, float]:
    return float(part.get("RescaleSlope", 1)) or 1.0, float(part.get("RescaleIntercept", 0))


def _rescaled(part: Any) -> np.ndarray:
    slope, intercept = _rescaling(part)
    return (_frames(part) * slope + intercept).astype(np.float32)


def _place(part: Any) -> tuple[float, int]:
    """Where a slice is along the normal of the slices; files that do not say it go by their number."""
    number = int(part.get("InstanceNumber") or 0)
    if "ImagePositionPatient" not in part or "ImageOrientationPatient" not in part:
        return 0.0, number
    orientation = np.asarray(part.ImageOrientationPatient, float)
    return float(np.cross(orientation[:3], orientation[3:]) @ np.asarray(part.ImagePositionPatient, float)), number


def _spacing(parts: list[Any]) -> tuple[float, float, float] | None:
    first = parts[0]
    if "PixelSpacing" not in first:
        return None
    between = float(first.get("SpacingBetweenSlices", 0) or first.get("SliceThickness", 0) or 1)
    if len(parts) > 1:
        places = np.asarray([_place(part)[0] for part in parts])
        between = float(np.median(np.diff(places))) or between
    rows, columns = map(float, first.PixelSpacing)
    return between, rows, columns


def _window(part: Any) -> tuple[float, float] | None:
    if "WindowCenter" not in part or "WindowWidth" not in part:
        return None
    center, width = (float(np.atleast_1d(np.asarray(part[name].value, float))[0]) for name in _WINDOW)
    return center - width / 2, center + width / 2


_WINDOW = ("WindowCenter", "WindowWidth")
