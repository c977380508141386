"""HDF5 files of k-space: fastMRI's and ISMRMRD's."""

from pathlib import Path
from typing import Any

import numpy as np

from reddiff_jax.scans._libraries import library
from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.kspace import KSpace

_RECONSTRUCTIONS = {"rss": "reconstruction_rss", "esc": "reconstruction_esc"}
_GROUP = "dataset"
_TEXTS = ("ismrmrd_header",)


def read_kspace(path: Path) -> KSpace:
    """K-space of a fastMRI or an ISMRMRD file, told apart by what they hold.

    Raises:
        ScanError: If it is neither.
    """
    h5py = library("h5py", "HDF5 files")
    with h5py.File(path, "r") as file:
        if "kspace" in file:
            return _read_fastmri(file)
        fields = sorted(file)
        ismrmrd = _GROUP in file and "data" in file[_GROUP]
    if ismrmrd:
        return _read_ismrmrd(path)
    raise ScanError(
        f"it holds {', '.join(fields) or 'nothing'}, but fastMRI's files have the field kspace, and ISMRMRD's "
        f"{_GROUP}/data."
    )


def _read_fastmri(file: Any) -> KSpace:
    values = np.asarray(file["kspace"])
    if values.ndim not in (3, 4):
        raise ScanError(f"kspace has shape {values.shape} but must be (slices, H, W) or (slices, coils, H, W).")
    values = values[..., None] if values.ndim == 3 else np.moveaxis(values, 1, 3)
    measured = None
    if "mask" in file:
        mask = np.asarray(file["mask"]).astype(bool)
        width = values.shape[2]
        if mask.shape != (width,):
            raise ScanError(f"mask has shape {mask.shape} but kspace has {width} columns.")
        measured = np.broadcast_to(mask, values.shape[:3])
        values = np.where(measured[..., None], values, 0)
    references = {name: np.asarray(file[field]) for name, field in _RECONSTRUCTIONS.items() if field in file}
    crop = next((each.shape[1:] for each in references.values()), None)
    spacing = None
    text = _text(file["ismrmrd_header"]) if "ismrmrd_header" in file else None
    if text is not None:
        spaces = _spaces(text)
        crop = crop or spaces.get("crop")
        spacing = spaces.get("spacing")
    return KSpace(
        values,
        measured,
        crop=crop,
        spacing=spacing,
        references=references,
        like={"attributes": dict(file.attrs), "header": text},
    )


def write_images(path: Path, images: np.ndarray, like: Any) -> None:
    """Writes magnitudes (S, H, W) as fastMRI's leaderboard takes them: the field reconstruction."""
    h5py = library("h5py", "HDF5 files")
    like = like or {}
    with h5py.File(path, "w") as file:
        file["reconstruction"] = np.abs(images).astype(np.float32)
        for name, value in like.get("attributes", {}).items():
            file.attrs[name] = value
        if like.get("header") is not None:
            file["ismrmrd_header"] = like["header"]


def _text(field: Any) -> str:
    text = field[()]
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)


def _spaces(text: str) -> dict[str, Any]:
    """What ISMRMRD's header says of the picture: its size, and the spacing of its slices, rows and columns."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return {}
    space = root.find(".//{*}encoding/{*}reconSpace")
    if space is None:
        return {}

    def numbers(name: str) -> tuple[float, float, float] | None:
        values = [space.findtext(f"{{*}}{name}/{{*}}{axis}") for axis in "xyz"]
        return None if None in values else tuple(map(float, values))  # type: ignore[arg-type, return-value]

    size, field = numbers("matrixSize"), numbers("fieldOfView_mm")
    if size is None or min(size) < 1:
        return {}
    spacing = None if field is None else (field[2] / size[2], field[0] / size[0], field[1] / size[1])
    return {"crop": (int(size[0]), int(size[1])), "spacing": spacing}


def _read_ismrmrd(path: Path) -> KSpace:
    ismrmrd = library("ismrmrd", "ISMRMRD files")
    dataset = ismrmrd.Dataset(str(path), _GROUP, create_if_needed=False)
    try:
        text = dataset.read_xml_header()
        lines = [dataset.read_acquisition(index) for index in range(dataset.number_of_acquisitions())]
    finally:
        dataset.close()
    text = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
    noise = [each.data for each in lines if each.isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    skipped = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT, ismrmrd.ACQ_IS_NAVIGATION_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA)
    lines = [each for each in lines if not any(map(each.isFlagSet, skipped))]
    if not lines:
        raise ScanError("it holds no lines of k-space.")
    if any(each.trajectory_dimensions for each in lines):
        raise ScanError("its lines have a trajectory; only Cartesian scans are read. Radial ones: rd.radial_mri.")
    if len({each.idx.kspace_encode_step_2 for each in lines}) > 1:
        raise ScanError("it is a scan in 3D; transform it along its partitions first, to slices.")
    if len({each.data.shape[0] for each in lines}) > 1:
        raise ScanError("its lines are of different numbers of coils.")
    width, middle = _phase_encodings(text, lines)
    height = max(each.number_of_samples for each in lines)
    slices, coils = 1 + max(each.idx.slice for each in lines), lines[0].data.shape[0]
    values = np.zeros((slices, height, width, coils), np.complex64)
    counts = np.zeros((slices, height, width), int)
    for each in lines:
        column = each.idx.kspace_encode_step_1 - middle + width // 2
        top = height // 2 - (each.center_sample or each.number_of_samples // 2)
        rows = slice(max(top, 0), min(top + each.number_of_samples, height))
        if not 0 <= column < width or top < 0 or top + each.number_of_samples > height:
            raise ScanError(f"line {each.scan_counter} lies outside of the {height} x {width} points of k-space.")
        values[each.idx.slice, rows, column] += each.data.T
        counts[each.idx.slice, rows, column] += 1
    values /= np.maximum(counts, 1)[..., None]  # repetitions are averaged
    spaces = _spaces(text)
    return KSpace(
        values,
        counts > 0,
        crop=spaces.get("crop"),
        noise=np.concatenate([each.T for each in noise]) if noise else None,
        spacing=spaces.get("spacing"),
        like={"header": text, "attributes": {}},
    )


def _phase_encodings(text: str, lines: list[Any]) -> tuple[int, int]:
    """The number of columns, and the encoding step of DC."""
    from xml.etree import ElementTree

    root = ElementTree.fromstring(text)
    size = root.findtext(".//{*}encoding/{*}encodedSpace/{*}matrixSize/{*}y")
    center = root.findtext(".//{*}encoding/{*}encodingLimits/{*}kspace_encoding_step_1/{*}center")
    width = int(size) if size else 1 + max(each.idx.kspace_encode_step_1 for each in lines)
    return width, int(center) if center else width // 2
