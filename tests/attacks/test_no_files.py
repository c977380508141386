"""Pipes, sockets, devices and folders in the place of files: no reader waits for them or reads without end."""

import os
import signal
import socket

import pytest

import reddiff_jax as rd
from reddiff_jax import converting, io, jobs, masks, measurements, pictures, settings

SHAPE = (8, 8, 3)


def make_socket(path):
    before = os.getcwd()
    os.chdir(path.parent)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(before)


KINDS = {
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}
READERS = [
    (".png", pictures.look),
    (".png", rd.read_picture),
    (".tif", rd.read_picture),
    (".png", pictures.read_uint8),
    (".png", lambda path: masks.load(path, SHAPE)),
    (".npy", lambda path: masks.load(path, SHAPE)),
    (".npz", lambda path: masks.load(path, SHAPE)),
    (".png", jobs.read_kernel),
    (".npy", jobs.read_kernel),
    (".npz", jobs.read_kernel),
    (".npz", measurements.read_header),
    (".npz", measurements.read_measurement),
    (".json", lambda path: settings.read_settings(path, "prior")),
    (".npz", rd.load_run),
    (".jpg", rd.estimate_jpeg_sigma),
    (".pt", converting.read_checkpoint),
    (".safetensors", converting.read_checkpoint),
]


@pytest.fixture(autouse=True)
def nothing_hangs():
    def give_up(*_):
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "read"), READERS)
def test_a_reader_refuses_what_is_no_file(tmp_path, kind, suffix, read):
    path = tmp_path / f"x{suffix}"
    KINDS[kind](path)
    with pytest.raises((ValueError, OSError)) as error:
        read(path)
    said = str(error.value)
    assert not isinstance(error.value, TimeoutError)
    assert str(path) in said
    assert f"it is {kind}, not a file" in said or "is no file" in said or "does not exist" in said
    assert "\n" not in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["card.json", "weights/_METADATA"])
def test_a_prior_of_what_is_no_file_is_refused(tmp_path, kind, name):
    folder = tmp_path / "prior"
    for source in io.find_prior(None).rglob("*"):
        target = folder / source.relative_to(io.find_prior(None))
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            target.symlink_to(source)
    (folder / name).unlink()
    KINDS[kind](folder / name)
    with pytest.raises((ValueError, FileNotFoundError), match=r"no card\.json|incomplete|not.*file"):
        io.load_prior(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_manifest_is_an_empty_one(tmp_path, kind):
    KINDS[kind](tmp_path / "manifest.jsonl")
    assert jobs.Manifest(tmp_path / "manifest.jsonl").entries == {}


@pytest.mark.parametrize("kind", KINDS)
def test_remembered_batch_sizes_that_are_no_file_are_forgotten(tmp_path, kind):
    KINDS[kind](tmp_path / "batch_sizes.json")
    assert jobs.batch_sizes.RememberedSizes(tmp_path).get("x") is None


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_training_refuses_credits_that_are_no_file(tmp_path, kind):
    KINDS[kind](tmp_path / "credits")
    with pytest.raises(OSError, match="not a file"):
        jobs.train_prior(
            tmp_path, out=tmp_path / "out", config=rd.training.TrainingConfig(), start="x", credits=tmp_path / "credits"
        )
