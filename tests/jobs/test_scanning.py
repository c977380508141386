"""Scans are restored in the format that came in, in its units, with options checked first."""

import functools

import jax
import numpy as np
import pytest
import scan_files

import reddiff_jax as rd
from reddiff_jax import scans
from reddiff_jax.cli import _scans
from reddiff_jax.jobs import Item, JobError, Options, scanning
from reddiff_jax.jobs.headers import header_of
from reddiff_jax.jobs.scanning import Layout, ScanOptions, posing, restore_scans

N, SCALE = 16, 1e-5


def _gaussian(x_t, t, cond):
    """The noise that a prior N(0, 0.3 I) of any shape predicts."""
    alpha_t, sigma_t = rd.schedules.linear()(t)
    return sigma_t / (0.3 * alpha_t**2 + sigma_t**2) * x_t


PRIOR = rd.prior(_gaussian, rd.schedules.linear())


@functools.cache
def _disc() -> np.ndarray:
    rows, columns = np.mgrid[:N, :N] - N / 2
    return 1 / (1 + np.exp(2 * (np.hypot(rows + 1, columns - 1) - 5))).astype(np.float32)


@functools.cache
def _kspace(coils: int) -> np.ndarray:
    """(2, N, N, coils), in a scanner's numbers."""
    maps = np.asarray(rd.coil_maps(coils, (N, N))) if coils > 1 else 1
    images = np.stack([_disc(), _disc().T])[..., None] * maps
    moved = np.fft.fft2(np.fft.ifftshift(images, (1, 2)), axes=(1, 2), norm="ortho")
    rng = np.random.default_rng(0)
    noise = 0.002 * (rng.normal(size=moved.shape) + 1j * rng.normal(size=moved.shape))
    mask = np.ones(N)
    mask[1::2] = 0
    mask[4:12] = 1
    return (SCALE * (np.fft.fftshift(moved, (1, 2)) + noise) * mask[:, None]).astype(np.complex64)


@functools.cache
def _sinogram() -> np.ndarray:
    """(20, 25), whose detector sees the axis at 13.5."""
    angles = np.linspace(0, np.pi, 20, endpoint=False)
    operator = rd.parallel_ct((N, N, 1), angles, num_detectors=25, center=13.5, scale=1.0)
    return np.asarray(jax.jit(lambda o, x: o(x))(operator, _disc()[:, :, None]))[:, :, 0]


def _restore(path, out, options):
    outcome = restore_scans([path], PRIOR, out=out, options=options, channels=1)
    assert not outcome.failures, outcome.failures
    return outcome


MRI = ScanOptions("mri", changes={"num_steps": 3, "num_runs": 1})
CT = ScanOptions("ct", angles="0:180", center="auto", changes={"num_steps": 3, "num_runs": 1})


def _psnr(a, b):
    return float(rd.metrics.volume_psnr(np.abs(np.asarray(a)), np.asarray(b)))


@pytest.mark.slow
def test_fastmris_files_are_restored_in_their_units(tmp_path):
    h5py = pytest.importorskip("h5py")
    scan_files.write_fastmri(tmp_path / "a.h5", _kspace(4), crop=12)
    _restore(tmp_path / "a.h5", tmp_path / "out", MRI)
    with h5py.File(tmp_path / "out" / "a.h5") as file:
        restored = np.asarray(file["reconstruction"])
    truth = np.stack([_disc(), _disc().T])[:, 2:14, 2:14]
    assert restored.shape == (2, 12, 12)
    assert _psnr(restored / SCALE, truth) > 25  # zero-filled: 20


@pytest.mark.slow
def test_one_coil_of_one_slice_comes_out_as_one_complex_picture(tmp_path):
    np.save(tmp_path / "a.npy", _kspace(1)[0, :, :, 0])
    _restore(tmp_path / "a.npy", tmp_path / "out", MRI)
    restored = np.load(tmp_path / "out" / "a.npy")
    assert (restored.shape, restored.dtype.kind) == ((N, N), "c")
    assert _psnr(restored[None] / SCALE, _disc()[None]) > 25


@pytest.mark.slow
def test_barts_pairs_come_out_as_pairs(tmp_path):
    from reddiff_jax.scans.bart import read_cfl, write_cfl

    write_cfl(tmp_path / "a.cfl", _kspace(4)[0][:, :, None])
    _restore(tmp_path, tmp_path / "out", MRI)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a.cfl", "a.hdr", "manifest.jsonl"]
    assert np.squeeze(read_cfl(tmp_path / "out" / "a.cfl")).shape == (N, N)


@pytest.mark.slow
def test_a_sinogram_comes_out_as_attenuation_with_its_center_found(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", _sinogram())
    said = []
    restore_scans([tmp_path / "a.tif"], PRIOR, out=tmp_path / "out", options=CT, channels=1, report=said.append)
    (decided,) = [event.detail for event in said if event.kind == "decided"]
    assert "20 views and 25 detector elements, center 13.5" in decided
    restored = tifffile.imread(tmp_path / "out" / "a.tif")
    assert restored.shape == (25, 25)  # of ASTRA's layout, as wide as the detector
    assert abs(restored.sum() / _disc().sum() - 1) < 0.05
    assert restored.max() == pytest.approx(1, abs=0.15)


@pytest.mark.slow
def test_coupled_slices_of_a_scan_are_one_unknown(tmp_path):
    stack = np.stack([_sinogram(), _sinogram(), 0.5 * _sinogram()])
    np.save(tmp_path / "a.npy", stack)
    rough = []
    for lam_z in (0.0, 1.0):
        options = ScanOptions("ct", angles="0:180", lam_z=lam_z, changes=CT.changes)
        _restore(tmp_path / "a.npy", tmp_path / f"out{lam_z}", options)
        restored = np.load(tmp_path / f"out{lam_z}" / "a.npy")
        assert restored.shape == (3, 25, 25)
        rough.append(float(np.mean(np.diff(restored, axis=0) ** 2)))
    assert rough[1] < 0.8 * rough[0]


def test_a_series_of_dicom_is_denoised_in_hounsfield_units(tmp_path):
    pytest.importorskip("pydicom")
    clean = np.round(1000 * np.stack([_disc()] * 3) - 1000)
    noise = np.random.default_rng(0).normal(0, 60, clean.shape)
    noisy = np.clip(np.round(clean + noise), -1024, None)  # the file's least number
    scan_files.write_dicom(tmp_path / "in", noisy, [1, 0, 2])
    options = ScanOptions("denoise", lam_z=0.5, sigma=2 * 60 / 1200, changes={"num_steps": 5, "num_runs": 1})
    assert _restore(tmp_path / "in", tmp_path / "out", options).done == ["in"]
    restored = scans.read_volume(tmp_path / "out" / "in")
    assert restored.unit == "HU"
    assert np.abs(restored.values - clean).mean() < 0.8 * np.abs(noisy - clean).mean()


@pytest.mark.slow
def test_nifti_keeps_its_geometry_through_denoising(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    data = 500 * np.stack([_disc()] * 2, axis=-1)
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), tmp_path / "a.nii.gz")
    _restore(tmp_path / "a.nii.gz", tmp_path / "out", ScanOptions("denoise", sigma=0.05))
    written = nibabel.load(tmp_path / "out" / "a.nii.gz")
    np.testing.assert_array_equal(written.affine, affine)
    assert np.abs(written.get_fdata() - data).mean() < 25


@pytest.mark.slow
def test_several_restorations_are_their_mean_and_their_deviation(tmp_path):
    np.save(tmp_path / "a.npy", _sinogram())
    changes = {"num_steps": 3}
    _restore(tmp_path / "a.npy", tmp_path / "out", ScanOptions("ct", angles="0:180", samples=3, changes=changes))
    mean, std = (np.load(tmp_path / "out" / name) for name in ("a.npy", "a_std.npy"))
    assert mean.shape == std.shape == (25, 25)
    assert (std > 0).all()
    assert std.mean() < np.abs(mean).max()


@pytest.mark.slow
def test_what_is_there_is_kept_and_results_are_the_same_again(tmp_path):
    np.save(tmp_path / "a.npy", _sinogram())
    _restore(tmp_path / "a.npy", tmp_path / "out", CT)
    first = (tmp_path / "out" / "a.npy").read_bytes()
    assert _restore(tmp_path / "a.npy", tmp_path / "out", CT).skipped == ["a.npy"]
    again = ScanOptions("ct", angles="0:180", center="auto", changes=CT.changes, overwrite=True)
    assert _restore(tmp_path / "a.npy", tmp_path / "out", again).done == ["a.npy"]
    assert (tmp_path / "out" / "a.npy").read_bytes() == first


@pytest.mark.parametrize("layout", [Layout.SCIKIT_IMAGE, Layout.TOMOPY])
def test_layouts_order_the_axes(layout):
    options = ScanOptions("ct", angles="0:180", layout=layout)
    array = _sinogram().T if layout is Layout.SCIKIT_IMAGE else _sinogram()[:, None]
    read = posing.sinogram_of(array, options)
    np.testing.assert_allclose(read.values[0], _sinogram())


def test_angles_are_degrees_in_words_or_in_a_file(tmp_path):
    np.savetxt(tmp_path / "angles.txt", [0.0, 45.0, 90.0])
    np.save(tmp_path / "angles.npy", [0.0, 45.0, 90.0])
    for given in ("0:135", str(tmp_path / "angles.txt"), str(tmp_path / "angles.npy")):
        np.testing.assert_allclose(posing.degrees(ScanOptions("ct", angles=given), 3), [0, 45, 90])


@pytest.mark.slow
def test_one_bad_file_stops_nothing_but_itself(tmp_path):
    np.save(tmp_path / "a.npy", _sinogram())
    np.save(tmp_path / "b.npy", _sinogram() + 0j)
    np.save(tmp_path / "c.npy", np.zeros((20, 25)))
    outcome = restore_scans([tmp_path], PRIOR, out=tmp_path / "out", options=CT, channels=1)
    assert outcome.done == ["a.npy"]
    assert [failure.name for failure in outcome.failures] == ["b.npy", "c.npy"]
    assert all("\n" not in failure.reason for failure in outcome.failures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ScanOptions("ct"), "needs the angles of the views: --angles 0:180"),
        (ScanOptions("mri", angles="0:180"), "angles and center are of CT"),
        (ScanOptions("ct", angles="0:180", mask="m.npy"), "a mask is of MRI"),
        (ScanOptions("mri", samples=0), "at least 1"),
        (ScanOptions("mri", lam_z=-1.0), "lam-z must be at least 0"),
        (ScanOptions("mri", lam_z=1.0, solver="dps"), "is of --solver noise_aware"),
        (ScanOptions("sr4"), "volumes are restored by --task denoise"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(JobError, match=message):
        options.check()


@pytest.mark.parametrize(
    ("angles", "center", "message"),
    [
        ("none.txt", None, "must be FIRST:LAST in degrees"),
        ("0:x", None, "angles is 'x' but must be a number"),
        ("0:180", "middle", "center is 'middle' but must be a number, or auto"),
    ],
)
def test_wrong_words_name_the_remedy(tmp_path, angles, center, message):
    np.save(tmp_path / "a.npy", _sinogram())
    options = ScanOptions("ct", angles=angles, center=center)
    outcome = restore_scans([tmp_path / "a.npy"], PRIOR, out=tmp_path / "out", options=options, channels=1)
    assert len(outcome.failures) == 1
    assert message in outcome.failures[0].reason


def test_the_number_of_angles_must_be_that_of_the_views(tmp_path):
    np.save(tmp_path / "a.npy", _sinogram())
    np.savetxt(tmp_path / "angles.txt", np.arange(7))
    options = ScanOptions("ct", angles=str(tmp_path / "angles.txt"))
    outcome = restore_scans([tmp_path / "a.npy"], PRIOR, out=tmp_path / "out", options=options, channels=1)
    assert "7 angles came for 20 views" in outcome.failures[0].reason


@pytest.mark.parametrize("name", ["scan.h5", "k.npy", "head.nii.gz"])
def test_a_scan_without_its_task_is_told_how_to_be_restored(tmp_path, name):
    np.save(tmp_path / "k.npy", _kspace(1))
    (tmp_path / name).touch()
    item = Item(tmp_path / name, name)
    with pytest.raises(JobError, match="--task mri, --task ct, or --volume"):
        header_of(Options(task="denoise"), 3, item, None)


def test_the_command_line_knows_the_tasks():
    assert _scans.TASKS == scanning.TASKS


def test_options_of_pictures_are_refused_for_scans():
    with pytest.raises(ValueError, match="bits is not for scans; leave --bits out"):
        _scans._known({"task": "mri", "bits": 8})


def test_scans_error_is_a_value_error():
    assert issubclass(scans.ScanError, ValueError)
