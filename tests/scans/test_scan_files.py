"""Files of scans are read with their units and geometry, and written in the format that came in."""

import time

import numpy as np
import pytest
import scan_files
from scan_files import random_kspace

from reddiff_jax import scans

LINES = np.array([1, 0, 1, 1, 1, 0, 0, 1, 0, 1], bool)


@pytest.fixture
def kspace():
    return random_kspace(2, 12, 10, 3)


def test_fastmri_files_are_slices_rows_columns_coils(tmp_path, kspace):
    pytest.importorskip("h5py")
    read = scans.read_kspace(scan_files.write_fastmri(tmp_path / "a.h5", kspace))
    np.testing.assert_array_equal(read.values, kspace)
    assert (read.crop, read.num_coils, sorted(read.references)) == ((8, 8), 3, ["rss"])
    assert read.spacing == (5.0, 1.0, 1.0)
    assert read.cropped(np.zeros((2, 12, 10))).shape == (2, 8, 8)


def test_single_coil_files_have_one_coil(tmp_path, kspace):
    pytest.importorskip("h5py")
    read = scans.read_kspace(scan_files.write_fastmri(tmp_path / "a.h5", kspace[..., :1]))
    np.testing.assert_array_equal(read.values, kspace[..., :1])
    assert sorted(read.references) == ["esc"]


def test_the_mask_of_a_file_rules_and_without_one_zeros_do(tmp_path, kspace):
    pytest.importorskip("h5py")
    read = scans.read_kspace(scan_files.write_fastmri(tmp_path / "a.h5", kspace, LINES))
    np.testing.assert_array_equal(read.sampling(1), np.broadcast_to(LINES, (12, 10)))
    assert not read.values[:, :, ~LINES].any()
    zeros = scans.read_kspace(scan_files.write_fastmri(tmp_path / "b.h5", kspace * LINES[:, None]))
    np.testing.assert_array_equal(zeros.sampling(0), read.sampling(0))


def test_fastmri_results_are_the_field_reconstruction(tmp_path, kspace):
    h5py = pytest.importorskip("h5py")
    like = scans.read_kspace(scan_files.write_fastmri(tmp_path / "a.h5", kspace))
    scans.write_like(tmp_path / "out.h5", 1j * np.ones((2, 8, 8)), like)
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["reconstruction"], np.ones((2, 8, 8)))
        assert file["reconstruction"].dtype == np.float32
        assert file.attrs["acquisition"] == "CORPD_FBK"


def test_ismrmrd_lines_are_put_in_their_places(tmp_path, kspace):
    pytest.importorskip("ismrmrd")
    measured = np.flatnonzero(LINES).tolist()
    noise = random_kspace(1, 7, 1, 3)[0, :, 0]
    read = scans.read_kspace(scan_files.write_ismrmrd(tmp_path / "a.h5", kspace, measured, noise))
    np.testing.assert_allclose(read.values, kspace * LINES[:, None])
    np.testing.assert_array_equal(read.sampling(0), np.broadcast_to(LINES, (12, 10)))
    np.testing.assert_allclose(read.noise, noise)
    assert read.crop == (6, 10)  # of a readout that is oversampled twice


def test_ismrmrd_repetitions_are_averaged(tmp_path, kspace):
    pytest.importorskip("ismrmrd")
    read = scans.read_kspace(scan_files.write_ismrmrd(tmp_path / "a.h5", kspace, [4, 4, 5]))
    np.testing.assert_allclose(read.values[:, :, 4:6], kspace[:, :, 4:6])


def test_barts_files_have_the_first_axis_fastest(tmp_path):
    (tmp_path / "a.hdr").write_text("# Dimensions\n2 3 1 1\n")
    np.arange(6).astype("<c8").tofile(tmp_path / "a.cfl")
    read = scans.read_kspace(tmp_path / "a.cfl")
    np.testing.assert_array_equal(read.values[0, :, :, 0].real, [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize("sizes", [(12, 10, 1, 3), (1, 12, 10, 3), (12, 1, 10, 3)])
def test_barts_slices_lie_in_any_plane(tmp_path, kspace, sizes):
    from reddiff_jax.scans.bart import write_cfl

    write_cfl(tmp_path / "a.cfl", kspace[0].reshape(sizes))
    np.testing.assert_array_equal(scans.read_kspace(tmp_path / "a.hdr").values, kspace[:1])


def test_barts_volumes_are_transformed_along_the_readout(tmp_path, rng):
    from reddiff_jax.scans.bart import write_cfl

    slices = random_kspace(6, 4, 5, 2)
    volume = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(slices, 0), axis=0, norm="ortho"), 0)
    write_cfl(tmp_path / "a.cfl", volume)
    np.testing.assert_allclose(scans.read_kspace(tmp_path / "a.cfl").values, slices, atol=1e-5)


def test_barts_results_are_complex_slices(tmp_path):
    images = random_kspace(2, 4, 5, 1)[..., 0]
    scans.write_like(tmp_path / "out.cfl", images)
    from reddiff_jax.scans.bart import read_cfl

    np.testing.assert_array_equal(np.squeeze(read_cfl(tmp_path / "out.cfl")), np.moveaxis(images, 0, 2))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)], ids=["coils last", "coils first"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_arrays_tell_which_axis_the_coils_are(tmp_path, kspace, axes, suffix):
    path = tmp_path / f"a{suffix}"
    array = np.transpose(kspace[0], axes)
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, kspace=array, other=np.zeros(3))
    else:
        from scipy.io import savemat

        savemat(path, {"kspace": array, "other": np.zeros(3)})
    np.testing.assert_array_equal(scans.read_kspace(path).values, kspace[:1])


def test_matlabs_files_of_version_7_3_are_read(tmp_path, kspace):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        array = kspace[0].T
        compound = np.zeros(array.shape, [("real", "<f4"), ("imag", "<f4")])
        compound["real"], compound["imag"] = array.real, array.imag
        file["kspace"] = compound
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    np.testing.assert_array_equal(scans.read_kspace(path).values, kspace[:1])


def test_nifti_keeps_orientation_and_spacing(tmp_path, rng):
    nibabel = pytest.importorskip("nibabel")
    data = rng.normal(size=(4, 5, 6)).astype(np.float32)
    # The first axis runs from the right to the left, the second down: neither as in our volume.
    affine = np.array([[-2.0, 0, 0, 9], [0, 0, 3.0, 1], [0, -1.5, 0, 4], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "a.nii.gz")
    volume = scans.read_volume(tmp_path / "a.nii.gz")
    assert volume.values.shape == (5, 6, 4)  # from below up, from anterior back, from left to right
    assert volume.spacing == (1.5, 3.0, 2.0)
    np.testing.assert_array_equal(volume.values[0, 0, 0], data[3, 4, 5])
    scans.write_like(tmp_path / "out.nii.gz", 2 * volume.values, volume)
    written = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(written.get_fdata(), 2 * data)
    np.testing.assert_allclose(written.affine, affine)


@pytest.fixture
def hounsfield(rng):
    return rng.integers(-1000, 2000, (3, 6, 7)).astype(np.float32)


def test_dicom_series_are_in_hounsfield_units_and_in_order(tmp_path, hounsfield):
    pytest.importorskip("pydicom")
    volume = scans.read_volume(scan_files.write_dicom(tmp_path / "in", hounsfield, [2, 0, 1]))
    np.testing.assert_array_equal(volume.values, hounsfield)
    assert (volume.unit, volume.spacing, volume.window) == ("HU", (2.5, 0.5, 0.75), (-160.0, 240.0))


def test_dicom_results_are_a_new_series_of_the_same_geometry(tmp_path, hounsfield):
    pydicom = pytest.importorskip("pydicom")
    folder = scan_files.write_dicom(tmp_path / "in", hounsfield, [2, 0, 1])
    volume = scans.read_volume(folder)
    scans.write_like(tmp_path / "out", np.round(volume.values / 2), volume)
    again = scans.read_volume(tmp_path / "out")
    np.testing.assert_array_equal(again.values, np.round(hounsfield / 2))
    assert again.spacing == volume.spacing
    series = [pydicom.dcmread(next(each.iterdir())).SeriesInstanceUID for each in (folder, tmp_path / "out")]
    assert series[0] != series[1]


def test_a_dicom_file_of_one_slice_is_a_volume_of_one(tmp_path, hounsfield):
    pytest.importorskip("pydicom")
    folder = scan_files.write_dicom(tmp_path / "in", hounsfield, [2, 0, 1])
    volume = scans.read_volume(folder / "0.dcm")
    np.testing.assert_array_equal(volume.values, hounsfield[2:])
    scans.write_like(tmp_path / "out.dcm", volume.values, volume)
    np.testing.assert_array_equal(scans.read_volume(tmp_path / "out.dcm").values, hounsfield[2:])


def test_a_dicom_file_of_many_frames_is_a_volume_and_is_written_as_one(tmp_path, hounsfield):
    pydicom = pytest.importorskip("pydicom")
    volume = scans.read_volume(scan_files.write_dicom_frames(tmp_path / "a.dcm", hounsfield))
    np.testing.assert_array_equal(volume.values, hounsfield)
    assert (volume.unit, volume.spacing) == ("HU", (2.5, 0.5, 0.75))
    scans.write_like(tmp_path / "out.dcm", np.round(volume.values / 2), volume)
    np.testing.assert_array_equal(scans.read_volume(tmp_path / "out.dcm").values, np.round(hounsfield / 2))
    assert int(pydicom.dcmread(tmp_path / "out.dcm").NumberOfFrames) == 3


def test_a_dicom_file_in_colour_is_refused(tmp_path, hounsfield):
    pydicom = pytest.importorskip("pydicom")
    part = pydicom.dcmread(scan_files.write_dicom(tmp_path / "in", hounsfield, [0, 1, 2]) / "0.dcm")
    part.SamplesPerPixel, part.PhotometricInterpretation, part.PlanarConfiguration = 3, "RGB", 0
    part.PixelData = np.zeros((6, 7, 3), np.uint16).tobytes()
    part.save_as(tmp_path / "a.dcm")
    with pytest.raises(scans.ScanError, match="it is in colour, but scans are of one channel"):
        scans.read_volume(tmp_path / "a.dcm")


@pytest.mark.parametrize("suffix", [".dcm", ".nii.gz", ".npz", ".mat", ".tif", ".h5"])
def test_a_result_written_twice_is_the_same_file(tmp_path, hounsfield, suffix, monkeypatch):
    if suffix == ".dcm":
        pytest.importorskip("pydicom")
        like = scans.read_volume(scan_files.write_dicom(tmp_path / "in", hounsfield[:1], [0]))
    elif suffix == ".nii.gz":
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(hounsfield[:1].T, np.eye(4)), tmp_path / "a.nii.gz")
        like = scans.read_volume(tmp_path / "a.nii.gz")
    else:
        pytest.importorskip("h5py")
        like = None
    clock = time.time
    for name, later in (("one", 0), ("two", 5000)):
        monkeypatch.setattr(time, "time", lambda later=later: clock() + later)
        monkeypatch.setattr(time, "asctime", lambda *_, later=later: f"some time {later}")
        scans.write_like(tmp_path / f"{name}{suffix}", hounsfield[:1], like)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_stacks_of_tiff_are_volumes_and_are_written(tmp_path, rng):
    import tifffile

    data = rng.integers(0, 4000, (3, 6, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    volume = scans.read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.values, data)
    scans.write_like(tmp_path / "out.tif", volume.values, volume)
    np.testing.assert_array_equal(scans.read_volume(tmp_path / "out.tif").values, data)


def test_a_volume_becomes_pixels_and_comes_back(rng):
    volume = scans.Volume(rng.normal(1000, 100, (3, 6, 7)))
    limits = volume.limits()
    pixels = volume.pixels(limits)
    assert pixels.shape == (3, 6, 7, 1)
    assert (np.abs(pixels) <= 1).mean() > 0.95
    np.testing.assert_allclose(volume.of_pixels(pixels, limits), volume.values, atol=1e-3)  # float32 of 1000


def _h5(tmp_path, **fields):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in fields.items():
            file[name] = value
    return tmp_path / "a.h5"


def _npy(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    return tmp_path / "a.npy"


Z = random_kspace(1, 8, 8, 1)[0, :, :, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda at: at / "none.h5", r"none\.h5 does not exist"),
        (lambda at: _h5(at, images=np.ones(3)), "it holds images, but fastMRI's files have the field kspace"),
        (lambda at: _h5(at, kspace=Z[None], mask=np.ones(5)), r"mask has shape \(5,\) but kspace has 8 columns"),
        (lambda at: _h5(at, kspace=np.abs(Z)[None]), "Magnitudes have lost the phase"),
        (lambda at: _npy(at, np.abs(Z)), "Magnitudes have lost the phase"),
        (lambda at: _npy(at, np.stack([Z] * 7)), "does not tell whether the coils are first or last"),
        (lambda at: _npy(at, np.full((4, 4), np.nan + 0j)), "16 of the entries of k-space are not finite"),
        (lambda at: at / "a.cfl", r"a\.cfl does not exist"),
    ],
)
def test_what_is_no_kspace_is_one_line_with_the_remedy(tmp_path, make, message):
    with pytest.raises(scans.ScanError, match=message) as caught:
        scans.read_kspace(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_coils_in_the_place_of_columns_are_noticed():
    with pytest.raises(scans.ScanError, match="Are the coils first"):
        scans.KSpace(np.zeros((1, 8, 16, 100), np.complex64))


def test_barts_files_come_in_pairs(tmp_path):
    (tmp_path / "a.cfl").write_bytes(b"12345678")
    with pytest.raises(scans.ScanError, match=r"a\.hdr is missing.*pairs"):
        scans.read_kspace(tmp_path / "a.cfl")


def test_broken_files_are_one_line(tmp_path):
    pytest.importorskip("h5py")
    for name in ("a.h5", "a.mat", "a.nii.gz", "a.dcm", "a.npy"):
        path = tmp_path / name
        path.write_bytes(b"nothing of the kind\n" * 20)
        read = scans.read_kspace if name in ("a.h5", "a.mat", "a.npy") else scans.read_volume
        with pytest.raises(scans.ScanError, match=name) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_missing_library_names_the_extra(monkeypatch, tmp_path):
    import importlib

    def missing(name):
        raise ImportError(name)

    path = _h5(tmp_path, kspace=Z[None])
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(scans.ScanError, match=r"need h5py: pip install 'reddiff-jax\[science\]'"):
        scans.read_kspace(path)
