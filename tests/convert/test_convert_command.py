"""The command: a prior's folder with a full card, or one line that says why not, and no folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_files import Raw, called, instructions, program, write_checkpoint, zipped
from state_dicts import paths, published_array, published_name, state_dict
from typer.testing import CliRunner

from reddiff_jax import io, jobs, pictures, priors, schedules, training
from reddiff_jax.nets import EncoderUNet, UNet

ROOT = Path(__file__).parents[2]
PRIORS = Path(os.environ.get("REDDIFF_JAX_PRIORS", ROOT.parent / "shared" / "priors"))
OPTIONS = ("--head-channels", 16, "--attention-order", "legacy", "--schedule", "cosine")
PHOTO64 = ("--head-channels", 32, "--attention-order", "legacy", "--schedule", "linear")
SMALL = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "num_head_channels": 16}


def command(*args: object):
    from reddiff_jax.cli import app

    return CliRunner().invoke(app, [*map(str, args)])


def run(*args: object):
    return command("convert", *args)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    net = UNet(**SMALL, out_channels=6, num_classes=5)
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.pt", state_dict(net))


@pytest.fixture(scope="module")
def converted(checkpoint, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "prior"
    result = run(checkpoint, out, *OPTIONS)
    assert result.exit_code == 0, result.output
    return out


def test_the_card_says_what_a_prior_is(converted, checkpoint):
    card = io.read_card(converted)
    assert card["source"]["file"] == "tiny.pt"
    assert card["source"]["bytes"] == checkpoint.stat().st_size
    assert card["schedule"] == {"name": "cosine", "num_timesteps": 1000}
    assert (card["image_channels"], card["learned_variance_channels"], card["condition_channels"]) == (3, 3, 0)
    assert (card["num_classes"], card["prediction"], card["value_range"]) == (5, "eps", [-1, 1])


def test_the_folder_is_a_prior(converted):
    prior = io.load_prior(converted)
    assert prior.net == UNet(**SMALL, out_channels=6, num_classes=5)
    np.testing.assert_array_equal(prior.schedule.sigmas, schedules.cosine().sigmas)


def test_a_classifier_becomes_a_classifiers_folder(tmp_path):
    net = EncoderUNet(**SMALL, image_size=8, num_classes=10)
    path = write_checkpoint(tmp_path / "a.pt", state_dict(net))
    result = run(path, tmp_path / "out", *OPTIONS)
    assert result.stdout.startswith("classifier: ")
    assert io.load_classifier(tmp_path / "out")[0] == net


@pytest.mark.slow
def test_the_card_keeps_the_timesteps_and_that_they_are_rescaled(checkpoint, tmp_path):
    result = run(checkpoint, tmp_path / "out", *OPTIONS, "--timesteps", 4000, "--rescale-timesteps")
    assert result.exit_code == 0, result.output
    card = io.read_card(tmp_path / "out")
    assert (card["schedule"]["num_timesteps"], card["architecture"]["timestep_scale"]) == (4000, 0.25)
    assert io.load_prior(tmp_path / "out").net.timestep_scale == 0.25


@pytest.mark.slow
def test_two_conversions_are_the_same(checkpoint, converted, tmp_path):
    assert run(checkpoint, tmp_path / "again", *OPTIONS).exit_code == 0
    # Orbax packs the same arrays into other files.
    cards = [{**io.read_card(folder), "files": {}, "sha256": ""} for folder in (tmp_path / "again", converted)]
    assert cards[0] == cards[1]
    ours, theirs = (jax.tree.leaves(io.load_prior(folder).params) for folder in (tmp_path / "again", converted))
    assert all(map(np.array_equal, ours, theirs))


@pytest.mark.slow
def test_the_checkout_runs_as_a_module(checkpoint, tmp_path):
    command = [sys.executable, "-m", "convert", checkpoint, tmp_path / "out", *OPTIONS]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / io.CARD).is_file()


# ---- a converted prior restores a photo


@pytest.fixture(scope="module")
def saved_and_converted(tmp_path_factory) -> tuple[Path, Path]:
    """A trained prior's folder, and that of the same weights as a PyTorch checkpoint, converted by the command."""
    folder, schedule = tmp_path_factory.mktemp("saved"), schedules.linear()
    net = UNet(model_channels=32, num_res_blocks=1, channel_mult=(1, 2), num_head_channels=32)
    config = training.TrainingConfig(steps=80, batch_pixels=8 * 32**2, crops=(32,), learning_rate=2e-3, warmup=5)
    crops, state = training.Crops(tuple(jobs.sample_photos()), min_size=32), training.init_state(net, config, 3)
    for k in range(config.steps):
        batch = jnp.asarray(crops.batch(k, 32, config.count(32)))
        state, _ = training.train_step(state, batch, schedule, net=net, config=config)
    io.save_prior(priors.NetPrior(schedule, state.params, net, config.to_eps), folder / "saved")
    state = {published_name(path): published_array(path, np.asarray(leaf)) for path, leaf in paths(state.params)}
    write_checkpoint(folder / "again.pt", {name: np.ascontiguousarray(array) for name, array in state.items()})
    result = run(folder / "again.pt", folder / "converted", *PHOTO64)
    assert result.exit_code == 0, result.output
    return folder / "saved", folder / "converted"


@pytest.mark.slow
def test_a_prior_survives_being_a_checkpoint(saved_and_converted):
    saved, converted = map(io.load_prior, saved_and_converted)
    assert saved.net == converted.net
    assert all(map(np.array_equal, jax.tree.leaves(saved), jax.tree.leaves(converted)))


@pytest.mark.slow
def test_a_converted_prior_restores_a_photo_as_the_saved_one_does(saved_and_converted, compilations_are_kept, tmp_path):
    photo = pictures.read_picture(jobs.sample_photos()[0])[64:128, 64:128]
    pictures.write_picture(tmp_path / "photo.png", photo)
    measuring = command(
        "measure", tmp_path / "photo.png", "--task", "inpaint_random", "--sigma", 0.05, "--out", tmp_path / "m"
    )
    assert measuring.exit_code == 0, measuring.output
    restored = []
    for folder in saved_and_converted:
        out = tmp_path / folder.name
        result = command("restore", tmp_path / "m", "--out", out, "--steps", 3, "--prior", folder)
        assert result.exit_code == 0, result.output
        restored.append(pictures.read_picture(out / "photo.png"))
    saved, converted = restored
    np.testing.assert_array_equal(converted, saved)
    missing = pictures.read_picture(tmp_path / "m" / "preview" / "photo.png")
    assert np.square(converted - photo).mean() < 0.5 * np.square(missing - photo).mean()


# ---- errors


def assert_one_line(result, out: Path, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not out.exists()
    assert not out.parent.is_dir() or not list(out.parent.glob(".*partial"))


def _hostile() -> bytes:
    return zipped(program({"x": Raw(called("posix", "system").code + instructions(("touch ran",)) + b"R")}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 cut", "truncated or damaged zip"),
        (b"something else", "is no checkpoint"),
        (_hostile(), "x is a posix.system: nothing in a file is run"),
    ],
    ids=["empty", "truncated", "other", "hostile"],
)
def test_a_bad_file_is_one_line_and_no_folder(content, said, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    assert_one_line(run(tmp_path / "a.pt", tmp_path / "out", *OPTIONS), tmp_path / "out", said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say --heads or --head-channels and --attention-order legacy or new and --schedule linear or cosine"),
        (("--config", "ffhq256"), "is no ffhq256"),
        (("--config", "nonsense"), "is unknown; known are"),
        ((*OPTIONS, "--head-channels", 48), "does not divide into heads"),
        (("--schedule", "quadratic"), "'quadratic' is not one of"),
        ((*OPTIONS, "--timesteps", 4000), "say --rescale-timesteps or --no-rescale-timesteps"),
    ],
    ids=["nothing_said", "wrong_config", "unknown_config", "heads", "unknown_schedule", "timesteps"],
)
def test_wrong_options_are_one_line_and_no_folder(options, said, checkpoint, tmp_path):
    assert_one_line(run(checkpoint, tmp_path / "out", *options), tmp_path / "out", said)


def test_a_missing_file_is_one_line(tmp_path):
    assert_one_line(run(tmp_path / "a.pt", tmp_path / "out", *OPTIONS), tmp_path / "out", "No such file")


def test_a_folder_is_no_checkpoint(tmp_path):
    result = run(tmp_path, tmp_path / "out")
    assert_one_line(result, tmp_path / "out", "has config.json, or a unet/ that has it; this one has nothing")


def test_a_folder_that_exists_is_left_alone(checkpoint, tmp_path):
    result = run(checkpoint, tmp_path, *OPTIONS)
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_line(checkpoint, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert_one_line(run(checkpoint, tmp_path / "file" / "out", *OPTIONS), tmp_path / "file" / "out", "Not a directory")


def test_too_small_a_disk_is_one_line_and_no_folder(checkpoint, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**20, 2**20, 0))
    assert_one_line(run(checkpoint, tmp_path / "out", *OPTIONS), tmp_path / "out", "only 0 MB of the disk are free")


def test_a_disk_that_fills_up_is_one_line_and_no_folder(checkpoint, tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    def save(*args, **options):
        raise RuntimeError("RESOURCE_EXHAUSTED: No space left on device\nmore")

    monkeypatch.setattr(ocp.Checkpointer, "save", save)
    assert_one_line(run(checkpoint, tmp_path / "out", *OPTIONS), tmp_path / "out", "No space left on device")


# ---- a trained network's file


@pytest.fixture(scope="module")
def photo64(tmp_path_factory) -> Path:
    path = PRIORS / "photo64_small.pt"
    if not path.is_file():
        pytest.skip("photo64_small.pt is not there; REDDIFF_JAX_PRIORS names its folder")
    out = tmp_path_factory.mktemp("photo64") / "prior"
    result = run(path, out, *PHOTO64)
    assert result.exit_code == 0, result.output
    return out


def test_the_trained_files_card_is_its_json(photo64):
    expected = json.loads((PRIORS / "photo64_small.json").read_text())
    card = io.read_card(photo64)
    for field in (
        "in_channels",
        "model_channels",
        "out_channels",
        "num_res_blocks",
        "channel_mult",
        "num_head_channels",
    ):
        assert card["architecture"][field] == expected[field]
    for field in ("use_scale_shift_norm", "resblock_updown"):
        assert card["architecture"][field] == expected[field]
    assert card["architecture"]["attention_downsamples"] == expected["attention_resolutions"]
    assert (card["prediction"], card["value_range"]) == (expected["prediction"], expected["value_range"])
    assert (card["source"]["sha256"], card["learned_variance_channels"]) == (expected["sha256"], 0)


@pytest.mark.oracle
def test_the_trained_file_predicts_what_azulas_does(photo64, adm, rng):
    import torch

    module = adm.UNetModel(
        image_size=64,
        in_channels=3,
        model_channels=32,
        out_channels=3,
        num_res_blocks=1,
        attention_resolutions=(),
        channel_mult=(1, 2, 4),
        num_head_channels=32,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    module.load_state_dict(torch.load(PRIORS / "photo64_small.pt", weights_only=True))
    module.eval()
    images, timesteps = rng.standard_normal((4, 32, 32, 3), np.float32), np.array([0, 1, 500, 999])
    ours = jax.jit(jax.vmap(io.load_prior(photo64).eps))(images, timesteps)
    with torch.no_grad():
        theirs = module(torch.from_numpy(images).movedim(-1, 1), torch.from_numpy(timesteps))
    theirs = theirs.movedim(1, -1).numpy()
    # float32: 6e-8 a rounding, times the gain of some twenty layers in a row
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
