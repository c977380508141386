"""Files as instruments write them, small ones."""

from pathlib import Path
from typing import Any

import numpy as np

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace>
      <matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{rows}</x><y>{columns}</y><z>5</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>{crop}</x><y>{columns}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{crop}</x><y>{columns}</y><z>5</z></fieldOfView_mm>
    </reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>{last}</maximum><center>{middle}</center>
      </kspace_encoding_step_1>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
</ismrmrdHeader>
"""


def header(rows: int, columns: int, crop: int) -> str:
    return HEADER.format(rows=rows, columns=columns, crop=crop, last=columns - 1, middle=columns // 2)


def random_kspace(slices: int, rows: int, columns: int, coils: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(2, slices, rows, columns, coils))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def write_fastmri(path: Path, values: np.ndarray, mask: np.ndarray | None = None, crop: int = 8) -> Path:
    """A file of ``values`` (S, H, W, K); of one coil if K is 1."""
    import h5py

    with h5py.File(path, "w") as file:
        single = values.shape[3] == 1
        file["kspace"] = values[..., 0] if single else np.moveaxis(values, 3, 1)
        file["ismrmrd_header"] = header(*values.shape[1:3], crop)
        file["reconstruction_esc" if single else "reconstruction_rss"] = np.ones((len(values), crop, crop), np.float32)
        if mask is not None:
            file["mask"] = mask
        file.attrs["acquisition"] = "CORPD_FBK"
    return path


def write_ismrmrd(path: Path, values: np.ndarray, columns: list[int], noise: np.ndarray | None = None) -> Path:
    """A file of the lines ``columns`` of ``values`` (S, H, W, K)."""
    import ismrmrd

    slices, rows, width = values.shape[:3]
    dataset = ismrmrd.Dataset(str(path), "dataset", create_if_needed=True)
    dataset.write_xml_header(header(rows, width, rows // 2).encode())
    if noise is not None:  # (N, K)
        line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(noise.T))
        line.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        dataset.append_acquisition(line)
    for index in range(slices):
        for column in columns:
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values[index, :, column].T))
            line.idx.slice, line.idx.kspace_encode_step_1 = index, column
            line.center_sample = rows // 2
            dataset.append_acquisition(line)
    dataset.close()
    return path


def write_dicom(folder: Path, hounsfield: np.ndarray, order: list[int]) -> Path:
    """A CT series of slices (D, H, W), in files whose names are in another order than the slices."""
    import pydicom

    folder.mkdir(exist_ok=True)
    series = pydicom.uid.generate_uid()
    for name, number in enumerate(order):
        part = _ct(series, hounsfield[number])
        part.ImagePositionPatient, part.ImageOrientationPatient = [0, 0, 2.5 * number], [1, 0, 0, 0, 1, 0]
        part.InstanceNumber, part.PixelSpacing, part.SliceThickness = number, [0.5, 0.75], 9.0
        part.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    return folder


def write_dicom_frames(path: Path, hounsfield: np.ndarray) -> Path:
    """A CT of slices (D, H, W) in one file of several frames, as enhanced CT and ultrasound are."""
    import pydicom

    part = _ct(pydicom.uid.generate_uid(), hounsfield)
    part.NumberOfFrames, part.PixelSpacing, part.SpacingBetweenSlices = len(hounsfield), [0.5, 0.75], 2.5
    part.save_as(path, enforce_file_format=True)
    return path


def _ct(series: str, hounsfield: np.ndarray) -> Any:
    """DICOM of pixels (H, W) or frames (D, H, W)."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    part = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    part.SOPClassUID, part.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    part.SeriesInstanceUID, part.Modality = series, "CT"
    part.RescaleSlope, part.RescaleIntercept = 1, -1024
    part.WindowCenter, part.WindowWidth = 40, 400
    part.Rows, part.Columns = hounsfield.shape[-2:]
    part.BitsAllocated, part.BitsStored, part.HighBit, part.PixelRepresentation = 16, 16, 15, 0
    part.SamplesPerPixel, part.PhotometricInterpretation = 1, "MONOCHROME2"
    part.PixelData = (hounsfield + 1024).astype(np.uint16).tobytes()
    part["PixelData"].VR = "OW"
    return part
