"""`train`: a prior from a folder of pictures, which `restore` then takes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from reddiff_jax import io, pictures, schedules, training
from reddiff_jax.cli.train import _Told

pytestmark = pytest.mark.slow  # one network is compiled for training
TINY = ("--steps", 2, "--crop", 8, "--batch", 1, "--width", 32, "--mult", 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, invoke):
    folder = tmp_path_factory.mktemp("train")
    (folder / "photos").mkdir()
    noise = np.random.default_rng(0).uniform(-1, 1, (16, 16, 3))
    pictures.write_picture(folder / "photos" / "a.png", noise)
    (folder / "CREDITS").write_text("by nobody\n")
    told = (
        "--validation",
        folder / "photos",
        "--credits",
        folder / "CREDITS",
        "--note",
        "one picture",
        "--no-mirror",
        "--sheets",
    )
    result = invoke("train", folder / "photos", "--out", folder / "run", *TINY, *told)
    assert result.exit_code == 0, result.output
    return folder


def test_the_prior_s_card_says_how_it_was_trained(trained):
    card = json.loads((trained / "run" / "prior" / "card.json").read_text())
    assert (card["training"]["pictures"], card["training"]["steps"], card["training"]["note"]) == (1, 2, "one picture")
    assert card["prediction"] == "v"


def test_the_card_tells_the_command_the_credits_and_the_curves(trained):
    told = json.loads((trained / "run" / "prior" / "card.json").read_text())["training"]
    assert told["command"].startswith("reddiff-jax train photos --out run --steps 2")
    assert "--no-mirror" in told["command"]
    assert told["credits"] == ["by nobody"]
    assert told["curves"]["training"].keys() == told["curves"]["validation t999"].keys() == {"2"}
    assert told["validation_eps_loss_by_timestep"].keys() == told["eps_loss_by_timestep"].keys()


def test_a_sample_sheet_is_written_if_asked(trained):
    assert (trained / "run" / "samples-0000002.png").is_file()


def test_the_log_has_a_line_for_the_last_update(trained):
    assert (trained / "run" / "log.csv").read_text().splitlines()[-1].startswith("2,")


def test_the_residual_unet_is_trained_to_predict_v(trained, invoke):
    out = trained / "residual"
    result = invoke("train", trained / "photos", "--out", out, *TINY, "--net", "residual", "--blocks", 1)
    assert result.exit_code == 0, result.output
    card = io.read_card(out / "prior")
    expected = {"type": "ResidualUNet", "widths": [32], "num_res_blocks": 1, "patch_size": 2}
    assert card["architecture"].items() >= expected.items()
    assert card["prediction"] == "v"
    assert "--net residual" in card["training"]["command"]
    assert not list(out.glob("samples-*"))


def test_a_velocity_is_trained_on_a_rectified_flow(trained, invoke):
    out = trained / "flow"
    result = invoke("train", trained / "photos", "--out", out, *TINY, "--predict", "velocity")
    assert result.exit_code == 0, result.output
    card = io.read_card(out / "prior")
    assert (card["prediction"], card["schedule"]["name"]) == ("velocity", "rectified flow")
    prior = io.load_prior(out / "prior")
    np.testing.assert_array_equal(prior.schedule.sigmas, schedules.rectified_flow().sigmas)


@pytest.mark.oracle
def test_pytorch_trains_a_prior_that_is_loaded_like_any(trained, invoke):
    pytest.importorskip("torch")
    out = trained / "by_torch"
    options = ("--net", "residual", "--blocks", 1, "--engine", "torch")
    result = invoke("train", trained / "photos", "--out", out, *TINY, *options)
    assert result.exit_code == 0, result.output
    assert "compiling" not in result.output
    assert io.load_prior(out / "prior").net == io.net_from_card(io.read_card(out / "prior")["architecture"])


@pytest.mark.parametrize(("seconds", "said"), [(36_000, True), (60, False)], ids=["ten hours", "a minute"])
def test_a_long_training_on_a_cpu_offers_the_faster_engine_once(seconds, said):
    lines = []

    def update(fraction, text):
        pass

    update.console = SimpleNamespace(print=lambda text, **style: lines.append(text))
    config = training.TrainingConfig(steps=1001, crops=(64,))
    told = _Told(config, update, slow=True)
    for step in (1, 2):
        told(training.Report(step, 0.5, images_per_second=16 * 1000 / seconds))
    assert lines == (
        ["about 10 h to go; no accelerator was found: --net residual --engine torch is faster on a CPU"] if said else []
    )


def test_a_complete_run_is_not_trained_again(trained, invoke):
    result = invoke("train", trained / "photos", "--out", trained / "run", *TINY)
    assert result.exit_code == 2
    assert "exists already" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--crop", 9), "must be a positive multiple of 2"),
        (("--mult", "one"), "is not a list of numbers"),
        (("--from", "nowhere"), "is no prior"),
        (("--predict", "score"), "must be one of eps, x0, v"),
        (("--levels", "all"), "must be one of uniform, lognormal"),
        (("--engine", "torch"), "--engine torch trains --net residual only"),
        (("--engine", "tensorflow"), "must be one of jax, torch"),
        (("--net", "transformer"), "must be one of unet, residual"),
        (("--net", "residual", "--attention", "4", "--dropout", 0.1), "has no --attention and --dropout"),
        (("--net", "residual", "--mult", "1,2,4,4"), "must be a positive multiple of 16"),
    ],
)
def test_impossible_options_get_one_line_and_status_2(trained, invoke, tmp_path, options, said):
    result = invoke("train", trained / "photos", "--out", tmp_path / "run", *TINY, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "run" / "prior").exists()


def test_a_folder_without_pictures_is_an_error(invoke, tmp_path):
    result = invoke("train", tmp_path, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "no pictures in" in result.output
